"""Theory of capacity beside simulation and limits, and what the experiments on capacity claim, at the smallest size."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from dispersed.paper.continuous import measure as continuous
from dispersed.paper.equivalence import measure as equivalence
from dispersed.paper.theta import measure as theta
from dispersed.theory import random_energy_rate
from tests.paper.recorded import claims


@pytest.mark.parametrize("name", ["gaussian", "spherical", "correlated"])
@pytest.mark.parametrize("decoder", ["distance", "dot product"])
def test_expected_capacity_of_continuous_patterns_is_that_of_a_simulation(name, decoder, rng, monkeypatch):
    monkeypatch.setattr(continuous, "TRIALS", 20_000)
    d = 6
    expected = continuous.expected_capacity(name, decoder, d)
    if (name, decoder) == ("correlated", "distance"):
        assert expected is None
        return
    n, trials = round(expected), 4000
    ensemble = continuous.kinds(d)[name].ensemble
    wrong = 0
    for _ in range(trials):
        y = ensemble(rng, n, d)
        z = y[0] + continuous.SIGMA * rng.standard_normal(d)
        metric = y @ z - (y**2).sum(axis=1) / 2 * (decoder == "distance")
        wrong += metric.argmax() != 0
    share = -math.expm1((n - 1) / (expected - 1) * math.log(0.5))  # about what theory has at the whole number n
    assert wrong / trials == pytest.approx(share, abs=4 * 0.5 / math.sqrt(trials) + 0.02)


def test_limits_of_continuous_patterns():
    for decoder, name in (("distance", "euclidean"), ("dot product", "dot")):
        isotropic = random_energy_rate(continuous.ALPHA, "gaussian", decoder=name)
        assert continuous.limit_rate("gaussian", decoder, 8) == isotropic
        assert continuous.limit_rate("correlated", decoder, 8) < isotropic
        # With equal eigenvalues the formula for correlated patterns is that of the random energy model.
        power = np.ones(8) / continuous.SIGMA**2
        formula = {
            "distance": np.log1p(power).sum() / 16,
            "dot product": power.sum() ** 2 / (16 * (power * (power + 1)).sum()),
        }
        assert formula[decoder] == pytest.approx(isotropic)


@pytest.mark.slow
def test_continuous():
    rows, large, recalls = continuous.continuous(dimensions=(4, 8), precision=0.15, sets=20)
    tables = {"continuous": rows, "continuous_theory": large, "continuous_recall": recalls}
    assert all(claim.judge(tables).holds for claim in claims("continuous"))


def test_equivalence(monkeypatch):
    chosen = {name: equivalence.ensembles()[name] for name in ("±1", "heavy-tailed")}
    monkeypatch.setattr(equivalence, "ensembles", lambda: chosen)
    rows = equivalence.equivalence(betas=(0.05, 1.0, 20.0), sets=2)
    decided = {claim.name: claim.judge({"equivalence": rows}).holds for claim in claims("equivalence")}
    assert decided["equal_norms"]
    assert decided["repaired"]
    assert decided["bound"]
    assert decided["predicted"]
    assert not decided["unequal_norms"]


def test_responsibilities_of_unequal_norms_can_be_as_far_apart_as_the_bound():
    """Two patterns: for the cue between both, p = 1/(1 + e^{−H/2}) and q = 1 − p, H the range of the log ratio."""
    half = 0.7
    p, q = (1 / (1 + np.exp(-sign * half / 2)) for sign in (1, -1))
    assert p - q == pytest.approx(np.tanh(half / 4))


def test_theta(monkeypatch):
    decided = {claim.name: claim for claim in claims("theta")}
    monkeypatch.setattr(theta, "THRESHOLDS", (0.03,))
    monkeypatch.setattr(theta, "RECALLED", (4,))
    rows, slopes, recalls = theta.theta(alphas=(0.4, 0.8), dimensions=(6, 9), precision=0.3, sets=20)
    assert [(row["alpha"], row["dimension"]) for row in rows] == [(0.4, 6), (0.4, 9), (0.8, 6), (0.8, 9)]
    tables = {"theta": rows, "theta_slopes": slopes, "theta_recall": recalls}
    assert all(decided[name].judge(tables).holds for name in ("channel", "growth", "union_bound"))
    by = {(row["alpha"], row["dimension"]): row for row in recalls}
    # What recall leaves, beside the cue: Φ(−1/σ) of its units are wrong.
    assert by[0.8, 9]["cue_error"] == pytest.approx(norm.cdf(-0.8 / 0.6))
    assert by[0.8, 9]["hamming_mean"] < 0.5 * by[0.8, 9]["cue_error"]

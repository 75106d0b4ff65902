"""Theory of capacity beside simulation and limits, and what the experiments on capacity claim, at the smallest size."""

import math

import numpy as np
import pytest

from dispersed import theory
from dispersed.paper.continuous import measure as continuous
from tests.paper.recorded import claims


@pytest.mark.parametrize("name", ["gaussian", "spherical", "correlated"])
@pytest.mark.parametrize("decoder", ["distance", "dot product"])
def test_expected_capacity_of_continuous_patterns_is_that_of_a_simulation(name, decoder, rng):
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
        isotropic = theory.random_energy_rate(continuous.ALPHA, "gaussian", decoder=name)
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

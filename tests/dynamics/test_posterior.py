"""Many recalls of a cue are samples of the posterior: tested by their distribution, at fixed keys."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dispersed
from dispersed import VE, VP, AncestralSampling, InputError, PatternMemory, ReverseSDE, recall_many
from dispersed.dynamics.posterior import Posterior, wilson

PATTERNS = np.array([[1.0, 0.2], [-0.3, 0.9], [-1.0, -0.6], [0.5, -1.2]], np.float32)
CUE = np.array([1.0, 0.5], np.float32)
SIGMA = 2.0
P_MIN = 1e-4
"""Tests reject a right sampler once in 10,000 keys; the keys are fixed."""


@pytest.fixture(scope="module")
def memory():
    return PatternMemory(PATTERNS, weights=np.array([1, 2, 1, 1]))


@pytest.mark.parametrize(
    ("dynamics", "process"),
    [
        (ReverseSDE(steps=150), VE(rate=0.7)),
        (ReverseSDE(steps=150), VP(rate=0.8)),
        (ReverseSDE(dfx.Heun(), steps=60), VP()),
        (AncestralSampling(150, order=1), VE()),
        (AncestralSampling(), VP()),
    ],
    ids=["ve", "vp", "vp_heun", "ancestral_1", "ancestral_2"],
)
def test_4000_recalls_sample_the_exact_posterior(memory, dynamics, process, key):
    x = process.scale(process.time(jnp.asarray(SIGMA))) * CUE
    posterior = recall_many(memory, x, dynamics, sigma=SIGMA, process=process, key=key)
    slow = np.array([1, 2, 1, 1]) * np.exp([-((CUE - y) ** 2).sum() / (2 * SIGMA**2) for y in PATTERNS])
    np.testing.assert_allclose(posterior.exact, slow / slow.sum(), rtol=1e-5)
    assert float(posterior.total_variation) < 0.05
    assert float(posterior.chi_squared().p_value) > P_MIN
    assert int(posterior.counts.sum()) == 4000


def test_variance_exploding_and_preserving_time_give_one_posterior(memory, key):
    """The same cue in both coordinates: two samples of one distribution, by the two-sample χ² test."""
    counts = []
    for number, process in enumerate((VE(rate=1.3), VP(rate=0.8))):
        x = process.scale(process.time(jnp.asarray(SIGMA))) * CUE
        key = jax.random.fold_in(key, number)
        counts.append(recall_many(memory, x, ReverseSDE(steps=150), sigma=SIGMA, process=process, key=key).counts)
    assert stats.chi2_contingency(np.stack(counts)).pvalue > P_MIN


@pytest.mark.parametrize("rate", [0.3, 1.0, 2.5])
def test_the_reverse_sde_is_one_process_in_every_time(memory, rate, x64):
    """In z = x/s and σ, drift and noise of VP are those of VE: dz/dσ and dz²/dσ are equal at every state."""
    patterns = PatternMemory(np.asarray(PATTERNS, dtype=np.float64))
    z = np.array([0.3, -0.7])

    @jax.jit
    def slopes(sigma, denoised):
        found = []
        for process in (VE(rate=rate), VP(rate=rate)):
            t = process.time(sigma)
            s = process.scale(t)
            ds, dsigma = jax.grad(process.scale)(t), jax.grad(process.sigma)(t)
            dz = (process.reverse_drift(s * z, t, denoised) - ds * z) / s / dsigma
            found.append([*dz, (process.diffusion(t) / s) ** 2 / dsigma])
        return found

    for sigma in (0.2, 1.0, 3.0):
        found = slopes(jnp.asarray(sigma), patterns.denoise(z, sigma))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
        np.testing.assert_allclose(found[0][2], 2 * sigma, rtol=1e-10)


def test_recalls_depend_on_key_cue_and_sample_alone(memory, key):
    cues = np.stack([CUE, -CUE, CUE / 2])
    all_three = recall_many(memory, cues, samples=20, sigma=SIGMA, key=key)
    alone = recall_many(memory, cues[:1], samples=50, sigma=SIGMA, key=key)
    np.testing.assert_array_equal(all_three.x[0], alone.x[0, :20])
    shaped = recall_many(memory, cues[:, None], samples=20, sigma=SIGMA, key=key)
    np.testing.assert_array_equal(shaped.x[:, 0], all_three.x)
    assert shaped.counts.shape == (3, 1, 4)
    other = recall_many(memory, cues, samples=20, sigma=SIGMA, key=jax.random.key(1))
    assert not np.array_equal(other.x, all_three.x)


def test_each_cue_may_have_its_own_noise_and_mask(memory, key):
    cues = np.stack([CUE, CUE])
    posterior = recall_many(memory, cues, samples=2000, sigma=np.array([0.5, 3.0]), key=key)
    np.testing.assert_allclose(posterior.exact, memory.responsibilities(cues, np.array([0.5, 3.0])), rtol=1e-6)
    assert (posterior.chi_squared().p_value > P_MIN).all()
    seen = recall_many(memory, CUE, samples=2000, sigma=0.8, known=np.array([True, False]), key=key)
    evidence = np.array([1, 2, 1, 1]) * stats.norm.pdf(float(CUE[0]), PATTERNS[:, 0], 0.8)
    np.testing.assert_allclose(seen.exact, evidence / evidence.sum(), rtol=1e-5)
    assert float(seen.chi_squared().p_value) > P_MIN


def test_duplicates_count_as_one_memory(key):
    memory = PatternMemory(np.array([[1.0, 0], [-1, 0], [1, 0]]))
    posterior = recall_many(memory, np.array([0.1, 0.0]), samples=2000, sigma=1.0, key=key)
    assert int(posterior.counts[2]) == 0
    assert float(posterior.exact[2]) == 0
    np.testing.assert_allclose(posterior.exact.sum(), 1, rtol=1e-6)
    assert float(posterior.chi_squared().p_value) > P_MIN


def test_doubt_is_told(memory, key):
    lost = recall_many(memory, CUE, samples=50, sigma=1e3, key=key)
    np.testing.assert_allclose(lost.exact, memory.weights, atol=1e-4)
    np.testing.assert_allclose(lost.effective_number, np.exp(stats.entropy([1, 2, 1, 1])), rtol=1e-4)
    sure = recall_many(memory, PATTERNS[2], samples=50, sigma=1e-2, key=key)
    assert float(sure.entropy) == 0
    assert float(sure.expected_total_variation) == pytest.approx(0, abs=1e-6)
    best = lost.top(2)
    assert int(best.index[0]) == 1
    assert best.exact[0] >= best.exact[1]
    assert float(best.low[0]) < float(best.frequency[0]) < float(best.high[0])
    assert float(lost.recalled_entropy) > 1


def test_the_sampling_floor_is_what_exact_draws_give(memory, rng):
    posterior = recall_many(memory, CUE, samples=50, sigma=SIGMA, key=jax.random.key(0))
    p = np.asarray(posterior.exact, dtype=float)
    draws = np.abs(rng.multinomial(50, p / p.sum(), 20_000) / 50 - p).sum(axis=1) / 2
    assert float(posterior.expected_total_variation) == pytest.approx(draws.mean(), abs=4 * draws.std() / 20_000**0.5)


def test_chi_squared_is_scipys_and_joins_rare_cells():
    many = dispersed.Posterior(
        jnp.zeros((100, 1)), jnp.array([50, 30, 20]), jnp.array([0.4, 0.35, 0.25]), jnp.array(1.0)
    )
    expected = stats.chisquare([50, 30, 20], [40, 35, 25])
    np.testing.assert_allclose(many.chi_squared().statistic, expected.statistic, rtol=1e-5)
    np.testing.assert_allclose(many.chi_squared().p_value, expected.pvalue, rtol=1e-4)
    rare = dispersed.Posterior(
        jnp.zeros((100, 1)), jnp.array([60, 38, 1, 1]), jnp.array([0.6, 0.36, 0.03, 0.01]), jnp.array(1.0)
    )
    joined = stats.chisquare([60, 40], [60, 40])
    np.testing.assert_allclose(rare.chi_squared().statistic, joined.statistic, atol=1e-5)
    assert int(rare.chi_squared().freedom) == 1


def test_probabilities_of_many_recalls_keep_their_digits():
    """Of a million recalls, whose factorials have no digits left in single precision; in programs too."""
    samples, exact = 10**6, np.array([0.3, 0.7 - 1e-6, 1e-6], np.float32)
    counts = jnp.array([300_400, 699_596, 4])
    found = Posterior(jnp.zeros((samples, 0)), counts, jnp.asarray(exact), jnp.array(1.0))
    p = exact.astype(float)
    k = np.floor(samples * p) + 1
    floor = np.sum(2 * k * (1 - p) * stats.binom.pmf(k, samples, p)) / samples / 2
    np.testing.assert_allclose(found.expected_total_variation, floor, rtol=1e-5)
    rare = stats.binom.sf(3, samples, p[2])
    np.testing.assert_allclose(found.chi_squared().p_value, 3 * rare, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(lambda found: found.chi_squared().p_value)(found), 3 * rare, rtol=1e-4)


def of_counts(counts, exact):
    counts, exact = jnp.asarray(counts), jnp.asarray(exact)
    return dispersed.Posterior(jnp.zeros((int(counts.sum()), 1)), counts, exact, jnp.array(1.0)).chi_squared()


def test_rare_memories_are_no_blind_spot():
    """Whether they are too many together or one of them alone, whatever χ² makes of the cell they are joined to."""
    assert float(of_counts([500, 500], [1 - 1e-7, 1e-7]).p_value) < 1e-6
    assert float(of_counts([0, 1000], [1 - 1e-7, 1e-7]).p_value) < 1e-6
    assert float(of_counts([1000, 0], [1 - 1e-7, 1e-7]).p_value) == 1
    assert float(of_counts([999, 1], [1.0, 0.0]).p_value) < 1e-6
    one_of_many = [900, *[10, *[0] * 999]]
    assert float(of_counts(one_of_many, [0.99, *[1e-5] * 1000]).p_value) < 1e-6
    spread = np.bincount(np.random.default_rng(0).integers(0, 1000, 10), minlength=1000)
    assert float(of_counts([990, *spread], [0.99, *[1e-5] * 1000]).p_value) > 0.1
    tail = stats.binom.sf(6, 1000, 2e-3)
    np.testing.assert_allclose(of_counts([993, 7], [0.998, 0.002]).p_value, 3 * tail, rtol=1e-3)


def test_p_values_with_rare_memories_are_not_too_small(rng):
    exact = np.array([0.6, 0.39, 0.004, 0.003, 0.002, 0.001])
    found = [float(of_counts(rng.multinomial(500, exact), exact).p_value) for _ in range(400)]
    for level in (0.05, 0.2):
        assert np.mean(np.array(found) <= level) < level + 3 * np.sqrt(level / 400)


def test_rows_are_one_a_cue_and_pattern():
    exact = jnp.array([[0.25, 0.75], [1.0, 0.0]])
    found = Posterior(jnp.zeros((2, 4, 3)), jnp.array([[1, 3], [4, 0]]), exact, jnp.ones(2))
    rows = found.rows()
    assert [(row["cue"], row["pattern"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row["exact"] for row in rows] == [0.25, 0.75, 1, 0]
    assert [row["frequency"] for row in rows] == [0.25, 0.75, 1, 0]
    assert all(row["ci_low"] <= row["frequency"] <= row["ci_high"] for row in rows)


def test_wilson_interval_covers_as_stated():
    n = 200
    counts = np.arange(n + 1)
    low, high = wilson(counts, n)
    assert float(low[0]) == 0
    assert float(high[-1]) == pytest.approx(1, abs=1e-6)
    coverage = [stats.binom.pmf(counts, n, p)[(low <= p) & (p <= high)].sum() for p in (0.02, 0.2, 0.5)]
    assert np.all(np.abs(np.array(coverage) - 0.95) < 0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": dispersed.ModernHopfield(PATTERNS, 1.0)}, "memory: got ModernHopfield"),
        ({"dynamics": dispersed.OneStep()}, "dynamics: OneStep recalls a cue the same way"),
        ({"samples": 0}, "samples: got 0"),
        ({"sigma": -1.0}, "sigma: got -1"),
        ({"sigma": np.ones(2)}, "alpha, sigma: got shape"),
        ({"cue": np.ones(3)}, "cue: got shape"),
        ({"cue": np.array([1.0, np.nan])}, "cue: got 1 NaN"),
        ({"cue": np.zeros((0, 2))}, "cue: got shape"),
    ],
)
def test_bad_input_is_one_line(memory, key, change, message):
    arguments = {"memory": memory, "cue": CUE, "sigma": 1.0, "samples": 3, "key": key} | change
    with pytest.raises(InputError, match=message) as error:
        recall_many(**arguments)
    assert "\n" not in str(error.value)


def test_top_and_level_are_checked(memory, key):
    posterior = recall_many(memory, CUE, samples=50, sigma=1.0, key=key)
    with pytest.raises(InputError, match="k: got 5"):
        posterior.top(5)
    with pytest.raises(InputError, match="level: got 1"):
        posterior.intervals(1.0)

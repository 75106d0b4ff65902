"""The noise level by maximum likelihood, against a brute-force grid in double precision and against the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import dispersed as ds
from dispersed.conditioning import Observation
from dispersed.dynamics import noise_level
from dispersed.engines import dense

DROP = stats.chi2.ppf(0.95, 1) / 2


def profile(y, log_w, x, s):
    """Log p_σ(x) + const of one cue at the levels exp(s), in double precision."""
    y, x = np.asarray(y, float), np.asarray(x, float)
    squared = ((x - y) ** 2).sum(axis=1)
    return special.logsumexp(log_w - squared / 2 * np.exp(-2 * s)[:, None], axis=1) - len(x) * s


def brute(s, likelihood):
    """The maximum and the ends of the set that a likelihood ratio test does not reject, on a fine grid."""
    inside = np.flatnonzero(likelihood >= likelihood.max() - DROP)
    ends = [np.exp(s[i]) for i in (likelihood.argmax(), inside[0], inside[-1])]
    return [ends[0], 0 if inside[0] == 0 else ends[1], ends[2]]


def parts(found):
    return np.stack([np.asarray(part, float) for part in (found.sigma, found.low, found.high)])


def cues_of(rng, n, d, count, spread=2.0):
    y = rng.standard_normal((n, d)).astype(np.float32)
    sigma = np.exp(rng.uniform(-spread, spread, count))
    x = y[rng.integers(n, size=count)] + sigma[:, None] * rng.standard_normal((count, d))
    return y, x.astype(np.float32), sigma


@pytest.mark.parametrize(("n", "d"), [(3, 1), (50, 2), (20, 8), (300, 64), (60, 784)])
def test_the_estimate_is_that_of_a_fine_grid(rng, n, d):
    y, x, _ = cues_of(rng, n, d, 20, 3)
    weights = rng.random(n)
    found = parts(ds.estimate_sigma(ds.PatternMemory(y, weights), x))
    s = np.linspace(np.log(1e-6), np.log(300), 8000)
    log_w = np.log(weights / weights.sum())
    for got, cue in zip(found.T, x, strict=True):
        likelihood = profile(y, log_w, cue, s)
        assert np.interp(np.log(got[0]), s, likelihood) >= likelihood.max() - 2e-3
        np.testing.assert_allclose(got[1:], brute(s, likelihood)[1:], rtol=5e-3)


def test_the_higher_of_two_maxima_is_found(rng):
    """A cue near one rare pattern and far from many: which of two levels is likelier depends on the prior alone."""
    d = 32
    far = rng.standard_normal((200, d)) * 3
    x = np.zeros(d, np.float32)
    near = 0.05 * rng.standard_normal(d)
    y = np.vstack([near, far]).astype(np.float32)
    s = np.linspace(-6, 4, 20000)
    levels = []
    for log_ratio in (-150.0, -120.0, -60.0, 0.0):
        log_w = np.concatenate([[log_ratio], np.zeros(200)])
        log_w -= special.logsumexp(log_w)
        likelihood = profile(y, log_w, x, s)
        found = parts(ds.estimate_sigma(ds.PatternMemory(y, log_weights=log_w), x))
        np.testing.assert_allclose(found, brute(s, likelihood), rtol=5e-3)
        levels.append(found[0])
    assert levels[0] > 1
    assert levels[-1] < 0.1


@pytest.mark.parametrize("d", [8, 64])
def test_the_interval_covers_the_truth(rng, d):
    """Of 400 cases a binomial count: 95 % ± 2.1 % where Wilks' theorem is exact; it is nearly, already for d = 8."""
    y, x, sigma = cues_of(rng, 30, d, 400, 1.0)
    found = ds.estimate_sigma(ds.PatternMemory(y), x)
    covered = (np.asarray(found.low) <= sigma) & (sigma <= np.asarray(found.high))
    assert 0.91 <= covered.mean() <= 0.99
    bias = np.log(np.asarray(found.sigma, float) / sigma)
    # The standard error of log σ is 1/√(2d), its bias of the order of 1/d.
    assert abs(bias.mean()) < 1.5 / d + 4 / np.sqrt(2 * d * 400)


def test_masked_cues_are_judged_by_what_is_known(rng):
    y, x, _ = cues_of(rng, 20, 16, 20)
    known = rng.random(x.shape) < 0.6
    found = parts(ds.estimate_sigma(ds.PatternMemory(y), np.where(known, x, np.nan), known))
    s = np.linspace(np.log(1e-6), np.log(300), 8000)
    for got, cue, seen in zip(found.T, x, known, strict=True):
        likelihood = profile(y[:, seen], np.full(20, -np.log(20)), cue[seen], s)
        assert np.interp(np.log(got[0]), s, likelihood) >= likelihood.max() - 2e-3
        np.testing.assert_allclose(got[1:], brute(s, likelihood)[1:], rtol=5e-3)


def test_a_gaussian_of_one_variance_has_a_closed_form(rng):
    """For N(m, λI) the sum λ + σ² is ‖x − m‖²/d at the maximum."""
    d, variance, levels = 20, 0.3, np.array([0.5, 2.0, 30.0])
    mean, direction = rng.standard_normal((2, d))
    direction *= np.sqrt(d) / np.linalg.norm(direction)
    memory = ds.GaussianMemory(mean, np.sqrt(variance) * np.eye(d))
    x = mean + np.sqrt(variance + levels**2)[:, None] * direction
    inside = mean + 0.9 * np.sqrt(variance) * direction
    found = ds.estimate_sigma(memory, np.vstack([x, inside]))
    np.testing.assert_allclose(np.asarray(found.sigma)[:3], levels, rtol=2e-3)
    assert found.sigma[3] < 1e-6
    assert found.low[3] == 0


def memories(y):
    yield ds.Segment(y[0], y[1])
    yield ds.Sphere(y[0], 1.5)
    yield ds.Box(y[0], y[0] + 1)
    yield ds.Subspace(y[0], np.eye(6)[:2])
    yield ds.Mixture([ds.PatternMemory(y[:3]), ds.Segment(y[3], y[4]), ds.Sphere(y[5], 1.0)])
    yield ds.Smoothed(ds.PatternMemory(y), 0.3)
    yield ds.GaussianMemory(y[0], y[:3].T)


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("masked", [False, True])
def test_every_memory_with_a_density(rng, index, masked):
    y = rng.standard_normal((12, 6)).astype(np.float32)
    memory = list(memories(y))[index]
    x = (y[:4] + np.array([[0.01], [0.1], [1], [10]]) * rng.standard_normal((4, 6))).astype(np.float32)
    known = np.arange(6) < 4 if masked else None
    found = parts(ds.estimate_sigma(memory, x, known))
    s = np.linspace(np.log(1e-5), np.log(1e3), 3000)
    with jax.enable_x64(True):
        wide = memory._in_precision(jnp.float64)

        def of_one(x, level):
            return (
                wide._log_density(x, level)
                if known is None
                else wide._conditioned(Observation(x, jnp.asarray(known), sigma=level).of(wide.dimension))[1]
            )

        likelihoods = jax.jit(jax.vmap(jax.vmap(of_one, (None, 0)), (0, None)))(x.astype(float), np.exp(s))
    for got, likelihood in zip(found.T, np.asarray(likelihoods), strict=True):
        assert np.interp(np.log(got[0]), s, likelihood) >= likelihood.max() - noise_level.HIDDEN
        np.testing.assert_allclose(got[1:], brute(s, likelihood)[1:], rtol=0.02)


def test_a_cue_counts_alike_alone_and_in_a_batch(rng):
    y, x, _ = cues_of(rng, 20, 16, 20)
    memory = ds.PatternMemory(y)
    whole = parts(ds.estimate_sigma(memory, x.reshape(2, 10, 16)))
    assert whole.shape == (3, 2, 10)
    for i in range(0, 20, 3):
        np.testing.assert_allclose(parts(ds.estimate_sigma(memory, x[i])), whole.reshape(3, 20)[:, i], rtol=2e-3)


@pytest.mark.parametrize("unit", [1e-15, 1e-8, 1e8, 1e15])
def test_units_cancel(rng, unit):
    y, x, _ = cues_of(rng, 20, 16, 6)
    if 1e-10 < unit < 1e10:  # beyond, the round-off of a cue is no level of single precision
        x[0] = y[0]
    one, other = (parts(ds.estimate_sigma(ds.PatternMemory(np.float32(u) * y), np.float32(u) * x)) for u in (1, unit))
    np.testing.assert_allclose(other / unit, one, rtol=2e-3)


def test_a_cue_on_a_pattern_has_the_noise_of_round_off(rng):
    y, _, _ = cues_of(rng, 20, 16, 1)
    found = ds.estimate_sigma(ds.PatternMemory(y), y)
    np.testing.assert_array_equal(found.low, 0)
    assert (np.asarray(found.sigma) < 1e-6).all()
    assert (np.asarray(found.high) < 2e-6).all()
    far = parts(ds.estimate_sigma(ds.PatternMemory(y), 1e6 * y))
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far[0], 1e6 * np.sqrt((y**2).mean(axis=1)), rtol=1e-3)


def test_scanned_patterns_count_as_dense_ones(rng):
    y, x, _ = cues_of(rng, 200, 16, 5)
    signs = np.sign(y)
    for encoded, plain in (
        (ds.PatternMemory(y, engine=ds.Scanned()), ds.PatternMemory(y)),
        (ds.PatternMemory(ds.storage.InMemory(signs, ds.storage.Bits())), ds.PatternMemory(signs)),
    ):
        np.testing.assert_allclose(
            parts(ds.estimate_sigma(encoded, x)), parts(ds.estimate_sigma(plain, x)), rtol=2e-3, atol=1e-7
        )


def test_few_levels_are_evaluated(rng, monkeypatch):
    """Of a memory of several parts; that of patterns is told by their distances, which are computed once."""
    counted, passes = [], []
    plain, misfits = noise_level._fits, dense.misfit_logits

    def counting(memory, x, known, levels):
        counted.append(len(levels))
        return plain(memory, x, known, levels)

    def passing(*given):
        passes.append(given)
        return misfits(*given)

    monkeypatch.setattr(noise_level, "_fits", counting)
    monkeypatch.setattr(dense, "misfit_logits", passing)
    y, x, _ = cues_of(rng, 500, 200, 32)
    memory = ds.PatternMemory(y)
    alone = ds.estimate_sigma(memory, x)
    assert not counted
    assert len(passes) == 1
    apart = ds.estimate_sigma(ds.Mixture([memory, memory], [0.5, 0.5]), x)
    assert 0 < sum(counted) <= 24
    np.testing.assert_allclose(parts(alone), parts(apart), rtol=2e-3)


@pytest.mark.parametrize(
    "case", ["plain", "ties", "unequal weights", "masked", "far", "one pattern", "tiny", "on a line"]
)
def test_distances_tell_what_densities_do(rng, monkeypatch, case):
    """From all distances at once as level by level, where patterns are near each other and where they are not."""
    n, d = (1, 8) if case == "one pattern" else (40, 1) if case == "on a line" else (300, 8)
    y, x, _ = cues_of(rng, n, d, 60, 6)
    known, weights = None, None
    if case == "ties":
        y = np.repeat(y[:100], 3, axis=0)
        y[::3] += 1e-5 * rng.standard_normal(y[::3].shape).astype(np.float32)
        x[:20] = y[:20]
    elif case == "unequal weights":
        weights = np.exp(rng.uniform(-300, 0, n))
    elif case == "masked":
        known = rng.random((60, d)) < 0.5
        known[:, 0] = True
    elif case == "far":
        y, x = y + np.float32(1e4), x + np.float32(1e4)
    elif case == "tiny":
        y, x = y * np.float32(1e-12), x * np.float32(1e-12)
    memory = ds.PatternMemory(y, weights)
    at_once = parts(ds.estimate_sigma(memory, x, known))
    monkeypatch.setattr(ds.PatternMemory, "_misfits", lambda *_: None)
    by_level = parts(ds.estimate_sigma(memory, x, known))
    log_w = np.asarray(memory.log_weights, float)
    likelier = 0
    for i, cue in enumerate(x):
        seen = np.ones(d, bool) if known is None else known[i]
        more, less = profile(y[:, seen], log_w, cue[seen], np.log([at_once[0, i], by_level[0, i]]))
        assert more >= less - 2e-3
        likelier += more > less + 2e-3
    if case == "on a line":  # where patterns are dense, few levels miss some maxima by hundredths of a nat
        assert likelier > 0
    else:
        np.testing.assert_allclose(at_once, by_level, rtol=4e-3, atol=1e-6 * np.abs(x).max())


def test_many_cues_are_searched_some_at_a_time(rng, monkeypatch):
    y, x, _ = cues_of(rng, 50, 8, 100)
    memory = ds.PatternMemory(y)
    whole = parts(ds.estimate_sigma(memory, x))
    search, counts = noise_level._search, []

    def counting(memory, x, known):
        counts.append(len(x))
        return search(memory, x, known)

    monkeypatch.setattr(noise_level, "_search", counting)
    monkeypatch.setattr(ds.PatternMemory, "_most_states", lambda self, hook: 30)
    np.testing.assert_allclose(parts(ds.estimate_sigma(memory, x)), whole, rtol=2e-3)
    assert counts == [30, 30, 30, 10]


def test_recall_estimates_a_level_that_is_not_given(rng, key):
    y, x, _ = cues_of(rng, 20, 16, 20, 0.5)
    memory = ds.PatternMemory(y)
    result = ds.recall(memory, x)
    expected = ds.estimate_sigma(memory, x)
    np.testing.assert_array_equal(result.estimate.sigma, expected.sigma)
    assert "noise level estimated" in repr(result)
    given = ds.recall(memory, x, sigma=expected.sigma)
    np.testing.assert_array_equal(result.x, given.x)
    assert given.estimate is None
    assert "estimated" not in repr(given)
    known = np.arange(16) < 12
    masked = ds.recall(memory, x, known=known)
    np.testing.assert_array_equal(masked.estimate.high, ds.estimate_sigma(memory, x, known).high)
    many = ds.recall_many(memory, x, samples=20, key=key)
    np.testing.assert_array_equal(many.estimate.sigma, expected.sigma)
    assert "noise level estimated" in repr(many)
    assert ds.estimate_sigma(memory, x[:0]).sigma.shape == (0,)
    assert ds.recall(ds.ModernHopfield(y, 1.0), x).estimate is None


def test_what_has_no_density_and_what_is_traced_gets_one_line(rng):
    y, x, _ = cues_of(rng, 20, 16, 2)
    memory = ds.PatternMemory(y)
    learned = ds.LearnedMemory(lambda z, sigma: z, 16)
    cases = [
        (lambda: ds.estimate_sigma(learned, x), "has no density"),
        (lambda: ds.estimate_sigma(ds.ModernHopfield(y, 1.0), x), "has no density"),
        (lambda: ds.estimate_sigma(memory, x[:, :3]), "cue"),
        (lambda: ds.estimate_sigma(memory, x, np.zeros(16, bool)), "no entry is known"),
        (lambda: jax.jit(lambda x: ds.estimate_sigma(memory, x).sigma)(x), "inside of a program"),
        (lambda: jax.jit(lambda x: ds.recall(memory, x).x)(x), "inside of a program"),
        (lambda: ds.recall(learned, x), "alpha, sigma"),
        (lambda: ds.recall(memory, x, process=ds.VP()), "alpha, sigma"),
        (lambda: ds.recall(memory, x, alpha=0.5, sigma=0.5), "alpha, sigma"),
    ]
    for call, message in cases:
        with pytest.raises(ds.InputError, match=message) as error:
            call()
        assert "\n" not in str(error.value)

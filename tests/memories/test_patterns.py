import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import dispersed
from dispersed import ExponentialIntegrator, InputError, ModernHopfield, Observation, PatternMemory, condition

from . import oracle

SIGMAS = [1e-6, 1e-4, 1e-2, 0.3, 1.0, 3.0, 1e2, 1e4, 1e6]


def uniform(n):
    return np.full(n, -np.log(n))


def tolerance(y, x, sigma):
    """What rounding the input itself to float32 does to a difference of logits."""
    reach = np.abs(x).max() + np.abs(y).max()
    apart = np.ptp(np.asarray(y), axis=0).max(initial=0)
    return 4 * np.finfo(np.float32).eps * reach * apart * y.shape[1] / float(sigma) ** 2


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 1), (40, 3), (25, 64), (3, 10_000)])
def test_agrees_with_the_oracle_in_single_precision(rng, n, d, sigma):
    """Cues as noise makes them: at a distance of σ√d from a pattern."""
    y = rng.standard_normal((n, d)).astype(np.float32)
    x = (y[0] + sigma * rng.standard_normal(d)).astype(np.float32)
    memory = PatternMemory(y)
    assert memory.patterns.dtype == jnp.float32
    r = oracle.responsibilities(y, uniform(n), x, sigma)
    off = 1e-5 + min(1.0, tolerance(y, x, sigma) if sigma > 0.1 else 1e-4)
    np.testing.assert_allclose(memory.responsibilities(x, sigma), r, atol=off)
    np.testing.assert_allclose(memory.denoise(x, sigma), oracle.denoise(y, uniform(n), x, sigma), atol=8 * off)
    expected = oracle.log_density(y, uniform(n), x, sigma)
    np.testing.assert_allclose(memory.log_density(x, sigma), expected, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_agrees_with_the_oracle_in_double_precision(rng, x64, sigma):
    n, d = 50, 20
    y = rng.standard_normal((n, d)) * rng.uniform(0.1, 5, (n, 1))
    w = rng.uniform(0, 1, n)
    w[3] = 0
    with np.errstate(divide="ignore"):
        log_w = np.log(w / w.sum())
    memory = PatternMemory(y, w)
    assert memory.patterns.dtype == jnp.float64
    for x in (y[5] + sigma * rng.standard_normal(d), rng.standard_normal(d), np.zeros(d)):
        np.testing.assert_allclose(
            memory.responsibilities(x, sigma), oracle.responsibilities(y, log_w, x, sigma), atol=1e-9, rtol=1e-6
        )
        np.testing.assert_allclose(memory.denoise(x, sigma), oracle.denoise(y, log_w, x, sigma), atol=1e-9)
        np.testing.assert_allclose(memory.log_density(x, sigma), oracle.log_density(y, log_w, x, sigma), rtol=1e-12)


def test_a_hundred_thousand_patterns(rng):
    y = rng.standard_normal((100_000, 8)).astype(np.float32)
    x = (y[17] + 0.5 * rng.standard_normal(8)).astype(np.float32)
    r = oracle.responsibilities(y, uniform(len(y)), x, 0.5)
    np.testing.assert_allclose(PatternMemory(y).responsibilities(x, 0.5), r, atol=1e-6)
    # Sums of n terms in single precision: √n rounding errors of 6e-8.
    np.testing.assert_allclose(PatternMemory(y).denoise(x, 0.5), r @ y, rtol=2e-5, atol=2e-6)


@eqx.filter_jit
def slopes(memory, x, sigma):
    return jax.grad(memory.log_density)(x, sigma), jax.grad(memory.energy)(x, sigma)


@eqx.filter_jit
def second_slopes(memory, x, sigma):
    return jax.jacfwd(memory.denoise)(x, sigma), jax.hessian(memory.energy)(x, sigma)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_score_denoiser_and_energy_are_one_object(rng, x64, sigma):
    """Tweedie: D = x + σ² s = x − ∇E, with s and ∇E by automatic differentiation of the scalars."""
    y = rng.standard_normal((12, 4))
    memory = PatternMemory(y, rng.uniform(0.1, 1, 12))
    x = y[2] + min(sigma, 3.0) * rng.standard_normal(4)
    score, slope = map(np.asarray, slopes(memory, x, jnp.asarray(sigma)))
    np.testing.assert_allclose(memory.score(x, sigma), score, rtol=1e-7, atol=1e-9 * np.abs(score).max())
    np.testing.assert_allclose(memory.denoise(x, sigma), x + sigma**2 * score, atol=1e-9)
    np.testing.assert_allclose(x - slope, memory.denoise(x, sigma), atol=1e-9)


@pytest.mark.parametrize("sigma", [0.2, 0.7, 2.0])
def test_jacobian_and_hessian_agree_with_automatic_differentiation(rng, x64, sigma):
    memory = PatternMemory(rng.standard_normal((9, 4)), rng.uniform(0.1, 1, 9))
    x = rng.standard_normal(4)
    jacobian, (expected, hessian) = np.asarray(memory.jacobian(x, sigma)), second_slopes(memory, x, jnp.asarray(sigma))
    np.testing.assert_allclose(jacobian, expected, atol=1e-10)
    np.testing.assert_allclose(memory.hessian(x, sigma), hessian, atol=1e-9)
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-12)


@pytest.mark.parametrize("kind", [PatternMemory, ModernHopfield])
def test_slopes_of_slopes_follow_the_patterns(rng, x64, kind):
    """Against a softmax that is written out: mixed and second derivatives by patterns, also by those of a memory."""
    y, x = jnp.asarray(rng.standard_normal((4, 2))) + 3, jnp.asarray(rng.standard_normal(2)) + 3
    norms = kind is PatternMemory

    def plain(y, x):
        return jax.nn.softmax((x @ y.T - norms * (y * y).sum(axis=1) / 2) / 0.8**2) @ y

    def made(y, x):
        return of_memory(PatternMemory(y) if norms else ModernHopfield(y, 1 / 0.8**2), x)

    def of_memory(memory, x):
        return memory.denoise(x, 0.8) if norms else memory.update(x)

    def penalty(mean, x):
        return (jax.jacfwd(mean)(x) ** 2).sum()

    for first, second in ((0, 0), (0, 1), (1, 0)):
        found, expected = (
            jax.jit(jax.jacfwd(jax.grad(lambda y, x, mean=mean: (mean(y, x) ** 2).sum(), first), second))(y, x)
            for mean in (made, plain)
        )
        np.testing.assert_allclose(found, expected, atol=1e-10)
    memory = PatternMemory(y) if norms else ModernHopfield(y, 1 / 0.8**2)
    slope = eqx.filter_jit(eqx.filter_grad(lambda memory: penalty(lambda x: of_memory(memory, x), x)))(memory)
    expected = jax.jit(jax.grad(lambda y: penalty(lambda x: plain(y, x), x)))(y)
    np.testing.assert_allclose(slope.patterns, expected, atol=1e-10)


def test_recalls_have_second_derivatives(rng, x64):
    """In reverse mode the steps are made again, and only their tangents are mapped: by differences of the gradient."""
    memory, x = PatternMemory(rng.standard_normal((5, 2))), jnp.asarray(rng.standard_normal(2))
    dynamics = ExponentialIntegrator(4, sigma_min=0.4)
    slope = jax.jit(jax.grad(lambda x: dispersed.recall(memory, x, dynamics, sigma=1.0).x.sum()))
    steps = 1e-5 * np.eye(2)
    expected = np.stack([(slope(x + step) - slope(x - step)) / 2e-5 for step in steps])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(jax.jit(jax.jacfwd(slope))(x), expected, rtol=1e-5, atol=1e-6)


def test_duplicates_share_their_weight_exactly(rng):
    y = np.repeat(rng.standard_normal((3, 16)) * 40, [1, 2, 5], axis=0).astype(np.float32)
    for sigma in SIGMAS:
        r = np.asarray(PatternMemory(y).responsibilities(y[7], sigma))
        assert np.all(r[3:] == r[3])
        assert r[1] == r[2]
        assert r.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 1e-2])
def test_near_ties_far_from_the_origin_survive_single_precision(rng, sigma):
    """Two memories a tenth of σ apart, of norm 80: expanded dot products would be off by many nats."""
    y = rng.standard_normal((6, 64)).astype(np.float32) * 10
    step = np.zeros(64, np.float32)
    step[0] = np.spacing(np.float32(y[0, 0])) * 4
    y[1] = y[0] + step
    x = y[0] + step / 2
    r = oracle.responsibilities(y, uniform(6), x, sigma)
    np.testing.assert_allclose(PatternMemory(y).responsibilities(x, sigma), r, atol=1e-6)


@pytest.mark.parametrize("far", [1e3, 1e10, 1e20, 1e37])
def test_far_cues_are_finite_and_go_to_the_pattern_that_reaches_out(far):
    y = np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1]])
    memory = PatternMemory(y)
    for sigma in SIGMAS:
        d = memory.denoise([far, 0.0], sigma)
        assert np.isfinite(d).all()
        if far / sigma**2 > 1e3:
            np.testing.assert_allclose(d, y[0], atol=1e-6)


def test_zero_patterns_and_a_zero_cue():
    memory = PatternMemory(np.zeros((3, 5)))
    for sigma in SIGMAS:
        np.testing.assert_allclose(memory.denoise(np.zeros(5), sigma), 0)
        np.testing.assert_allclose(memory.responsibilities(np.zeros(5), sigma), 1 / 3, rtol=1e-6)


# Patterns closer together than 1e-15 are refused.
finite = st.floats(-1e6, 1e6, width=32).map(lambda value: value if abs(value) > 1e-12 else 0.0)


@settings(max_examples=60, deadline=None)
@given(
    y=st.lists(st.tuples(finite, finite, finite), min_size=4, max_size=4),
    x=st.tuples(finite, finite, finite),
    log_sigma=st.floats(-6, 6),
)
def test_never_a_nan_and_always_inside_the_hull(y, x, log_sigma):
    memory = PatternMemory(np.array(y))
    sigma = 10**log_sigma
    y32 = np.asarray(memory.patterns)
    r, d = np.asarray(memory.responsibilities(x, sigma)), np.asarray(memory.denoise(x, sigma))
    assert float(r.sum()) == pytest.approx(1, abs=1e-5)
    slack = 1e-5 * np.abs(y32).max() + 1e-30
    assert np.all(d >= y32.min(axis=0) - slack)
    assert np.all(d <= y32.max(axis=0) + slack)
    for value in (memory.log_density(x, sigma), memory.energy(x, sigma), memory.score(x, sigma)):
        assert not np.isnan(value).any()


def test_permuting_patterns_permutes_responsibilities(rng):
    y = rng.standard_normal((20, 6))
    w = rng.uniform(0.1, 1, 20)
    x = rng.standard_normal(6)
    order = rng.permutation(20)
    a, b = PatternMemory(y, w), PatternMemory(y[order], w[order])
    permuted = np.asarray(a.responsibilities(x, 0.8))[order]
    np.testing.assert_allclose(permuted, b.responsibilities(x, 0.8), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(a.denoise(x, 0.8), b.denoise(x, 0.8), atol=1e-6)


def test_a_batch_is_its_states(rng):
    memory = PatternMemory(rng.standard_normal((20, 6)))
    x = rng.standard_normal((4, 5, 6))
    sigma = rng.uniform(0.1, 2, (4, 5))
    for method in (memory.log_density, memory.energy, memory.score, memory.denoise, memory.responsibilities):
        whole = np.asarray(method(x, sigma))
        one = np.asarray(method(x[2, 3], sigma[2, 3]))
        np.testing.assert_allclose(whole[2, 3], one, rtol=2e-5, atol=1e-6)
    assert memory.jacobian(x, 0.5).shape == (4, 5, 6, 6)
    assert memory.denoise(x[0, 0], sigma[0]).shape == (5, 6)


def test_one_pattern_is_a_gaussian(x64):
    memory = PatternMemory([[1.0, 2.0]])
    x, sigma = np.array([0.3, -0.7]), 0.6
    expected = scipy.stats.norm.logpdf(x, [1.0, 2.0], sigma).sum()
    np.testing.assert_allclose(memory.log_density(x, sigma), expected, rtol=1e-12)
    np.testing.assert_allclose(memory.denoise(x, sigma), [1.0, 2.0])


def test_density_integrates_to_one(x64):
    memory = PatternMemory([[-1.0], [0.5], [2.0]], [0.2, 0.5, 0.3])
    grid = np.linspace(-12, 12, 4001)
    mass = np.trapezoid(np.exp(memory.log_density(grid[:, None], 0.8)), grid)
    np.testing.assert_allclose(mass, 1, rtol=1e-9)


def test_evidence_reweights_the_prior(rng, x64):
    """Conditioning on known entries is Bayes' rule, and leaves the patterns what they are."""
    y, w = rng.standard_normal((10, 5)), rng.uniform(0.1, 1, 10)
    memory = PatternMemory(y, w)
    x, known, sigma = rng.standard_normal(5), np.array([True, False, True, True, False]), 0.7
    conditioned = condition(memory, Observation(x, mask=known, sigma=sigma))
    expected = oracle.responsibilities(y[:, known], np.log(w), x[known], sigma)
    np.testing.assert_allclose(conditioned.weights, expected, rtol=1e-9)
    np.testing.assert_array_equal(conditioned.patterns, y)


def test_the_uninformed_state_says_nothing(rng):
    memory = PatternMemory(rng.standard_normal((30, 8)) * 5)
    mean, sigma = memory.prior_start()
    np.testing.assert_allclose(memory.responsibilities(mean, sigma), 1 / 30, rtol=2e-2)


def test_methods_are_traced_once_per_shape(rng):
    """A second call with the same shapes, other numbers and another memory must not trace again."""
    traces = []

    class Traced(PatternMemory):
        def _log_density(self, x, sigma):
            traces.append(x.shape)
            return PatternMemory._log_density(self, x, sigma)

    for scale in (1.0, 2.0):
        Traced(rng.standard_normal((5, 3))).log_density(np.full((7, 3), scale), 0.5 * scale)
    assert traces == [(3,)]


@pytest.mark.parametrize(
    ("patterns", "weights", "message"),
    [
        (np.zeros((0, 3)), None, "patterns"),
        (np.zeros((3, 0)), None, "patterns"),
        (np.zeros(3), None, "shape"),
        ([[1.0, np.nan]], None, "NaN"),
        ([[1.0, np.inf]], None, "infinite"),
        ([[1e30, 0.0]], None, "overflow"),
        ([["a", "b"]], None, "dtype"),
        ([[1.0], [1.0, 2.0]], None, "patterns"),
        (np.ones((2, 2)), [1.0], "weights"),
        (np.ones((2, 2)), [1.0, -1.0], "weights"),
        (np.ones((2, 2)), [0.0, 0.0], "weights"),
        (np.ones((2, 2)), [1.0, np.nan], "weights"),
    ],
)
def test_bad_patterns_and_weights_get_one_line(patterns, weights, message):
    with pytest.raises(InputError, match=message) as error:
        PatternMemory(patterns, weights)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
def test_bad_sigma_gets_one_line(sigma):
    with pytest.raises(InputError, match="sigma"):
        PatternMemory(np.ones((2, 3))).denoise(np.zeros(3), sigma)


def test_wrong_dimension_gets_one_line():
    with pytest.raises(InputError, match="3 units"):
        PatternMemory(np.ones((2, 3))).denoise(np.zeros(4), 1.0)
    with pytest.raises(InputError, match="sigma"):
        PatternMemory(np.ones((2, 3))).denoise(np.zeros((5, 3)), np.ones(4))


def test_repr_says_what_it_is():
    assert repr(dispersed.PatternMemory(np.ones((2, 3)))) == "PatternMemory(2 patterns of 3 units, float32, Dense())"


def test_a_single_pattern_starts_somewhere():
    """Also one that conditioning has left alone."""
    for y in ([[3.0, 4.0]], [[0.0, 0.0]], [[3.0, 4.0], [3.0, 4.0]]):
        memory = PatternMemory(y)
        x, sigma = memory.prior_start()
        assert float(sigma) > 0
        np.testing.assert_allclose(memory.denoise(x, sigma), y[0], atol=1e-6)

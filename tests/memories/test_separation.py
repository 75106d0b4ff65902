"""Sparse separations against bisection in double precision, their Jacobians, and networks of any similarity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from dispersed import (
    Entmax,
    Exponential,
    FenchelYoungHopfield,
    InputError,
    Max,
    ModernHopfield,
    Normmax,
    PatternMemory,
    Polynomial,
    UniversalHopfield,
    recall,
)
from dispersed.memories.separation import entmax, normmax

from . import oracle

ALPHAS = [1.01, 1.2, 1.5, 2.0, 2.5, 6.0]
GAMMAS = [1.2, 2.0, 5.0]


def slow_normmax(scores, gamma):
    z, k = scores - scores.max(), gamma / (gamma - 1)
    tau = brentq(lambda tau: np.sum(np.maximum(z - tau, 0) ** k) - 1, -1 - 1e-9, 0, xtol=1e-15)
    u = np.maximum(z - tau, 0) ** (1 / (gamma - 1))
    return u / u.sum()


def scores(rng, spread, n=200):
    return np.asarray(rng.standard_normal(n) * spread, np.float32)


@functools.partial(jax.jit, static_argnums=(1, 2))
def weights_of(theta, alphas, gammas=()):
    """The weights by every α and γ, which programs are compiled for: one program for all scores of a size."""
    return [entmax(theta, alpha) for alpha in alphas], [normmax(theta, gamma) for gamma in gammas]


@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0])
def test_weights_solve_their_equation(spread):
    rng = np.random.default_rng(0)
    theta = scores(rng, spread)
    (soft, *sparse), even = weights_of(theta, (1.0, *ALPHAS), tuple(GAMMAS))
    for alpha, found in zip(ALPHAS, sparse, strict=True):
        np.testing.assert_allclose(found, oracle.entmax(np.asarray(theta, float), alpha), atol=5e-6)
    for gamma, found in zip(GAMMAS, even, strict=True):
        np.testing.assert_allclose(found, slow_normmax(np.asarray(theta, float), gamma), atol=5e-6)
    np.testing.assert_allclose(soft, jax.nn.softmax(theta), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4096, 20_000])
def test_equal_scores_have_equal_weights_whatever_their_offset(n):
    for offset in (3e4, -3e4):
        sparse, even = weights_of(np.full(n, offset, np.float32), (1.5, 2.0, 4.0), (2.0,))
        for found in (*sparse, *even):
            np.testing.assert_allclose(found, 1 / n, rtol=1e-4)


def test_many_scores_in_blocks(rng):
    theta = scores(rng, 1.0, 20_011)
    for alpha, found in zip((1.5, 2.0), weights_of(theta, (1.5, 2.0))[0], strict=True):
        np.testing.assert_allclose(found, oracle.entmax(np.asarray(theta, float), alpha), atol=2e-6)


def test_jacobians_are_exact(x64, rng):
    """Forward and reverse, against central differences; and the potential has the weights for its gradient."""
    theta = jnp.asarray(rng.standard_normal(7))

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(function, separation, theta, steps):
        slow = jax.vmap(lambda step: function(theta + step) - function(theta - step), out_axes=1)(steps)
        jacobians = jax.jacfwd(function)(theta), jax.jacrev(function)(theta)
        return slow, jacobians, jax.grad(separation.potential)(theta), function(theta)

    for function, separation in [
        *[(functools.partial(entmax, alpha=alpha), Entmax(alpha)) for alpha in (1.3, 1.5, 2.0, 3.0)],
        *[(functools.partial(normmax, gamma=gamma), Normmax(gamma)) for gamma in (1.5, 2.0, 4.0)],
    ]:
        slow, jacobians, slope, weights = all_of(function, separation, theta, 1e-6 * jnp.eye(7))
        for jacobian in jacobians:
            np.testing.assert_allclose(jacobian, slow / 2e-6, atol=1e-7)
        np.testing.assert_allclose(slope, weights, atol=1e-9)


@pytest.mark.parametrize(("arguments", "margin"), [({"alpha": 1.5}, 2.0), ({"alpha": 2.0}, 1.0), ({"gamma": 3.0}, 1.0)])
def test_recall_is_exact_under_the_margin_and_not_without_it(rng, arguments, margin):
    """At a finite β, to the last bit, where β x·y exceeds all others by the margin."""
    patterns = rng.standard_normal((20, 64)).astype(np.float32)
    cues = patterns + 0.3 * rng.standard_normal(patterns.shape).astype(np.float32)
    overlaps = cues.astype(float) @ patterns.T.astype(float)
    own = np.diag(overlaps)
    least = np.min(own - (overlaps - np.diag(np.full(20, np.inf))).max(axis=1))
    assert least > 0
    sharp, blunt = (FenchelYoungHopfield(patterns, beta * margin / least, **arguments) for beta in (1.001, 0.98))
    np.testing.assert_array_equal(sharp.update(cues), patterns)
    assert not np.array_equal(blunt.update(cues), patterns)
    np.testing.assert_array_equal(sharp.responsibilities(cues), np.eye(20))


def test_softmax_of_products_is_the_modern_network(rng):
    """Also where norms are large and patterns lie far from the origin."""
    for patterns in (rng.standard_normal((30, 16)), 300 + rng.standard_normal((30, 16))):
        cues = patterns[:8] + 0.2 * rng.standard_normal((8, 16))
        modern = ModernHopfield(patterns, 2.0)
        for network in (
            UniversalHopfield(patterns, "dot", Exponential(2.0)),
            FenchelYoungHopfield(patterns, 2.0, alpha=1.0),
        ):
            np.testing.assert_allclose(network.update(cues), modern.update(cues), rtol=1e-6, atol=1e-5)
            np.testing.assert_allclose(network.energy(cues), modern.energy(cues), rtol=1e-5, atol=1e-5)


def test_softmax_of_distances_is_the_exact_memory(rng):
    patterns = 50 + rng.standard_normal((30, 16)).astype(np.float32)
    cues = patterns[:8] + 0.2 * rng.standard_normal((8, 16)).astype(np.float32)
    network = UniversalHopfield(patterns, "euclidean", Exponential(4.0))
    np.testing.assert_allclose(network.update(cues), PatternMemory(patterns).denoise(cues, 0.5), atol=1e-5)


SIMILAR = {
    "dot": lambda x, y: x @ y,
    "cosine": lambda x, y: x @ y / np.linalg.norm(x) / np.linalg.norm(y),
    "euclidean": lambda x, y: -np.sum((x - y) ** 2) / 2,
    "manhattan": lambda x, y: -np.sum(np.abs(x - y)),
}
SEPARATED = {
    "softmax": (Exponential(3.0), lambda s: np.exp(3 * (s - s.max())) / np.exp(3 * (s - s.max())).sum()),
    "entmax": (Entmax(1.5, 3.0), lambda s: oracle.entmax(3 * s, 1.5)),
    "max": (Max(), lambda s: (s == s.max()).astype(float)),
    "function": (lambda s: jnp.tanh(s), np.tanh),
}


@pytest.mark.parametrize("similarity", SIMILAR)
@pytest.mark.parametrize("separation", SEPARATED)
def test_every_similarity_with_every_separation(rng, similarity, separation):
    patterns, cue = rng.standard_normal((9, 5)), rng.standard_normal(5)
    given, slow = SEPARATED[separation]
    expected = slow(np.array([SIMILAR[similarity](cue, y) for y in patterns])) @ patterns
    for name in (similarity, {"dot": jnp.dot}.get(similarity, similarity)):
        np.testing.assert_allclose(UniversalHopfield(patterns, name, given).update(cue), expected, atol=2e-5)


def test_powers_of_scores_and_of_inverse_distances(rng):
    patterns, cue = rng.standard_normal((9, 5)), rng.standard_normal(5)
    products = (patterns @ cue) ** 3
    found = UniversalHopfield(patterns, "dot", Polynomial(3)).update(cue)
    np.testing.assert_allclose(found, products @ patterns / np.abs(products).sum(), atol=1e-5)
    inverse = np.sum(np.abs(patterns - cue), axis=1) ** -4.0
    network = UniversalHopfield(patterns, "manhattan", Polynomial(4))
    np.testing.assert_allclose(network.update(cue), inverse @ patterns / inverse.sum(), atol=1e-5)
    np.testing.assert_allclose(network.update(patterns[3]), patterns[3], atol=1e-6)


def test_the_maximum_distinguishes_what_single_precision_products_do_not():
    patterns = np.array([[4096.0, 1.0], [4096.0, 1.0 + 2**-10], [1.0, 4096.0]], np.float32)
    network = UniversalHopfield(patterns, "dot", Max())
    np.testing.assert_array_equal(network.update([4096.0, 1.0]), patterns[1])
    twice = UniversalHopfield(np.concatenate([patterns, patterns[1:2]]), "dot", Max())
    np.testing.assert_allclose(twice.responsibilities([4096.0, 1.0]), [0, 0.5, 0, 0.5])


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_units_do_not_matter(rng, scale):
    patterns = rng.standard_normal((6, 4)).astype(np.float32)
    cue = rng.standard_normal(4).astype(np.float32)
    for make in (
        lambda c: FenchelYoungHopfield(c * patterns, 1 / c**2),
        lambda c: UniversalHopfield(c * patterns, "euclidean", Normmax(2.0, 1 / c**2)),
        lambda c: UniversalHopfield(c * patterns, "manhattan", Exponential(1 / c)),
        lambda c: UniversalHopfield(c * patterns, "cosine", Entmax(2.0, 3.0)),
    ):
        found = make(np.float32(scale)).update(np.float32(scale) * cue) / scale
        np.testing.assert_allclose(found, make(np.float32(1)).update(cue), rtol=1e-4, atol=1e-4)


def test_clamped_units_and_gradients(rng):
    patterns = np.sign(rng.standard_normal((5, 32))).astype(np.float32)
    known = np.arange(32) < 16
    result = recall(FenchelYoungHopfield(patterns, 1.0), np.where(known, patterns, 0), known=known)
    np.testing.assert_allclose(result.x, patterns, atol=1e-6)
    assert result.converged.all()

    def recalled(beta):
        return recall(FenchelYoungHopfield(patterns, beta, 1.2), 0.5 * patterns[0] + 0.5 * patterns[1]).x.sum()

    both = jax.jit(jax.value_and_grad(recalled))
    slow = (both(0.052)[0] - both(0.048)[0]) / 0.004
    np.testing.assert_allclose(both(0.05)[1], slow, rtol=2e-2)


def test_near_softmax_weights_and_their_potential_keep_their_digits(rng):
    """The root is near −1 there, whose digits a power of millions would take."""
    theta = np.array([0, -0.5, -1, -3, -10])
    soft = np.exp(theta) / np.exp(theta).sum()
    for alpha in (1 + 1e-7, 1 + 1e-5):
        weights = entmax(jnp.asarray(theta, jnp.float32), alpha)
        np.testing.assert_allclose(weights, soft, rtol=60 * (alpha - 1) + 1e-6)
        potential = Entmax(alpha).potential(jnp.asarray(theta, jnp.float32))
        np.testing.assert_allclose(potential, np.log(np.exp(theta).sum()), rtol=3 * (alpha - 1) + 1e-6)


def test_slopes_of_steep_weights_sum_to_zero():
    """What one pattern gains others lose, also where slopes differ by factors of a million."""
    slopes = jax.jacfwd(lambda z: entmax(z, 25.0))(jnp.array([0.0, -0.001, -0.01]))
    np.testing.assert_allclose(slopes.sum(axis=0), 0, atol=1e-5 * jnp.abs(slopes).max())


def test_distances_keep_the_digits_that_decide(rng):
    """Between two patterns at a low temperature, and far away, where all distances round to the same number."""
    patterns = rng.standard_normal((6, 30)).astype(np.float32)
    between = (patterns[0] + patterns[1]) / 2
    far = 1e10 * np.sign(rng.standard_normal((2, 30))).astype(np.float32)
    x = np.concatenate([between[None], far, 1e20 * far])
    wide, y = x.astype(float)[:, None], patterns.astype(float)
    # Far away a unit differs by what the patterns differ by.
    distances = np.where(np.abs(wide) > 1e9, -np.sign(wide) * y, np.abs(wide - y)).sum(axis=2)
    for beta in (1.0, 1e5):
        network = UniversalHopfield(patterns, "manhattan", Exponential(beta))
        logits = beta * (distances.min(axis=1, keepdims=True) - distances)
        weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(network.responsibilities(x), weights, atol=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: FenchelYoungHopfield([[1.0]], 1.0, 0.5),
        lambda: FenchelYoungHopfield([[1.0]], -1.0),
        lambda: FenchelYoungHopfield([[1.0]], [1.0, 2.0]),
        lambda: FenchelYoungHopfield([[1.0]], 1.0, gamma=1.0),
        lambda: UniversalHopfield([[1.0]], "hamming"),
        lambda: UniversalHopfield([[1.0]], "dot", "softmax"),
        lambda: UniversalHopfield([[1.0]], "cosine", Max()).energy([1.0]),
        lambda: UniversalHopfield([[1.0]], "dot", Polynomial(2)).energy([1.0]),
    ],
)
def test_what_is_outside_the_domain_gets_one_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_cosines_do_not_depend_on_the_length_of_a_state(rng):
    network = UniversalHopfield(rng.standard_normal((6, 12)), "cosine", Exponential(5.0))
    x = rng.standard_normal(12)
    x /= np.abs(x).max()
    for length in (1e-36, 1e-18, 1e18, 8.4e37, 8.6e37, 3.3e38):
        np.testing.assert_allclose(network.responsibilities(x * length), network.responsibilities(x), rtol=1e-5)

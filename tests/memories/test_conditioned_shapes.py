"""Half-seen memories: every kind that can be completed, against itself at equal noise and against quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dispersed import (
    AncestralSampling,
    Box,
    GaussianMemory,
    Mixture,
    PatternMemory,
    ReconstructiveMemory,
    Segment,
    Smoothed,
    Sphere,
    Subspace,
    SumOfCores,
    manifold,
    recall,
)
from dispersed.memories.bingham import sphere_integral
from dispersed.validation import InputError

KNOWN = jnp.array([True, False, True, False])
MIDDLE = np.array([0.1, 0.2, -0.3, 0.4])
TILTED = np.array([[1.0, 2, 0, 0], [0, 1, 1, -1]])
inf = np.inf


def semantic():
    rng = np.random.default_rng(5)
    return Mixture([GaussianMemory(rng.normal(size=4), rng.normal(size=(4, 4))) for _ in range(2)], [1, 2])


def mixed():
    few = [KINDS["segment"](), KINDS["blob"](), GaussianMemory(-MIDDLE, np.eye(4)), PatternMemory([MIDDLE, -MIDDLE])]
    return Mixture(few, [1.0, 2, 3, 4])


ENCODER = np.array([[1.0, 0.5, 0, 0], [0, 0, 1, -1]])
KINDS = {
    "segment": lambda: Segment(MIDDLE, [1.1, -0.4, 0.5, 0.7]),
    "box": lambda: Box([-1.0, 0.2, -inf, 0.0], [1.0, 0.2, inf, 0.001]),
    "line": lambda: Subspace(MIDDLE, TILTED[:1], -0.5),
    "open subspace": lambda: Subspace(MIDDLE, TILTED),
    "sphere": lambda: Sphere(MIDDLE, 0.9),
    "circle": lambda: Sphere(MIDDLE, 0.9, TILTED),
    "pair": lambda: Sphere(MIDDLE, 0.9, TILTED[:1]),
    "point": lambda: Sphere(MIDDLE, 0.0),
    "blob": lambda: GaussianMemory(MIDDLE, np.array([[1.0, 0], [0.5, 1e-3], [0, 2e-3], [0.2, 0]])),
    "mixture": mixed,
    "smoothed": lambda: Smoothed(PatternMemory([MIDDLE, -MIDDLE]), 0.3),
    "cores": lambda: ReconstructiveMemory(semantic(), ENCODER, [[0.5, 0.2], [-1.0, 0.3]]),
    "nonlinear cores": lambda: ReconstructiveMemory(semantic(), lambda y: jnp.tanh(y[:1]), [[0.5], [-0.2]], noise=0.1),
}


@eqx.filter_jit
def compiled(memory, known, x, z, tau, sigma):
    seen, state = memory.given(x, known, tau), jnp.where(known, x, z)
    density, slope = jax.value_and_grad(seen.log_density)(state, sigma)
    whole = memory.log_density(state, sigma), memory.denoise(state, sigma)
    return (density, memory.evidence(x, known, tau), seen.denoise(state, sigma), slope), whole


def completed(memory, known, x, z, tau, sigma):
    """Of the memory of which x was seen log p'_σ, log p_τ(x_K), D'_σ and ∇ log p'_σ; and of the memory itself."""
    dtype = jnp.asarray(MIDDLE).dtype
    return compiled(memory, jnp.asarray(known), *(jnp.asarray(value, dtype) for value in (x, z, tau, sigma)))


@pytest.mark.parametrize("kind", KINDS)
def test_entries_seen_with_the_noise_of_all_others_leave_the_memory_itself(x64, rng, kind):
    """p(z_U | x_K) p(x_K) = p(x_K, z_U), from the smallest noise to the largest and for cues far from the memory."""
    memory = KINDS[kind]()
    start = MIDDLE if kind in ("mixture", "smoothed", "cores", "nonlinear cores") else memory.project(np.zeros(4))
    for sigma in (1e-4, 1e-2, 1.0, 1e3):
        for scale in {sigma, 0.3} if kind == "smoothed" else {sigma, 3.0}:
            x = np.asarray(start) + scale * rng.normal(size=4)
            state = jnp.where(KNOWN, x, x + scale * rng.normal(size=4))
            (density, evidence, mean, slope), (log_p, expected) = completed(memory, KNOWN, x, state, sigma, sigma)
            kept = 2 * np.log(sigma * np.sqrt(2 * np.pi))
            np.testing.assert_allclose(density + evidence + kept, log_p, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean, jnp.where(KNOWN, x, expected), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean, state + sigma**2 * slope, rtol=1e-6, atol=1e-8)


def nodes_of(kind):
    """The same shapes as quadrature nodes, whose completion is a sum over points."""
    if kind == "segment":
        end = jnp.array([1.1, -0.4, 0.5, 0.7])
        return manifold(lambda u: MIDDLE + u[0] * (end - MIDDLE), [0.0], [1.0], 300)
    if kind == "circle":
        rows = KINDS[kind]().directions
        return manifold(
            lambda u: MIDDLE + 0.9 * (jnp.cos(u[0]) * rows[0] + jnp.sin(u[0]) * rows[1]),
            [0.0],
            [2 * np.pi],
            600,
            periodic=True,
        )
    plane = KINDS["open subspace"]().directions
    return manifold(lambda u: MIDDLE + u @ plane, [-12.0, -12.0], [12.0, 12.0], 160)


@pytest.mark.parametrize("kind", ["segment", "circle", "open subspace"])
def test_entries_seen_with_noise_of_their_own_are_evidence(x64, rng, kind):
    memory, nodes = KINDS[kind](), nodes_of(kind)
    area = np.log(24.0**2) if kind == "open subspace" else 0  # the nodes' density is 1/576, the subspace's is 1
    # The nodes of the plane end where less than 1e-6 of what noise of 0.5 leaves open lies beyond.
    levels = ((0.3, 0.3), (0.3, 1.0), (0.5, 0.3)) if area else ((0.1, 0.1), (0.1, 30.0), (0.3, 0.1), (3.0, 0.2))
    for tau, sigma in levels:
        x = MIDDLE + rng.normal(size=4)
        z = x + rng.normal(size=4)
        found, _ = completed(memory, KNOWN, x, z, tau, sigma)
        exact, _ = completed(nodes, KNOWN, x, z, tau, sigma)
        np.testing.assert_allclose(found[0], exact[0], rtol=1e-6)
        np.testing.assert_allclose(found[1], exact[1] + area, rtol=1e-6)
        np.testing.assert_allclose(found[2], exact[2], rtol=1e-6, atol=1e-7)


def test_a_sphere_is_completed_like_its_nodes(x64, rng):
    memory = Sphere(np.zeros(3), 1.5)

    def at_angles(u):
        return 1.5 * jnp.array([jnp.cos(u[0]), jnp.sin(u[0]) * jnp.cos(u[1]), jnp.sin(u[0]) * jnp.sin(u[1])])

    nodes = manifold(at_angles, [0.0, 0.0], [np.pi, 2 * np.pi], [100, 140], periodic=[False, True])
    for known in ([True, False, True], [False, True, False]):
        for tau, sigma in ((0.2, 0.2), (0.2, 30.0), (3.0, 0.2)):
            x, z = rng.normal(size=3), rng.normal(size=3)
            (found, _), (exact, _) = (completed(m, known, x, z, tau, sigma) for m in (memory, nodes))
            np.testing.assert_allclose(found[0], exact[0], rtol=1e-7)
            np.testing.assert_allclose(found[1], exact[1], rtol=1e-7)
            np.testing.assert_allclose(found[2], exact[2], atol=1e-8)


integral = jax.jit(jax.vmap(sphere_integral))


@pytest.mark.parametrize("m", [1, 2, 3, 64])
def test_the_sphere_integral_of_equal_noise_is_a_bessel_function(x64, rng, m):
    kappa = np.logspace(-6, 8, 15)
    u = rng.normal(size=(15, m))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    point, excess, mean = integral(jnp.full((15, m), 7.0), jnp.asarray(kappa[:, None] * u))
    nu = m / 2 - 1
    lower, upper = scipy.special.ive(nu, kappa), scipy.special.ive(nu + 1, kappa)
    sound = (kappa < 1e7) & (lower > 1e-250)  # beyond, products of κ lose the digits compared
    log_mean = np.log(lower) + kappa + scipy.special.gammaln(nu + 1) + nu * np.log(2 / kappa) - 7
    found = np.sum(kappa[:, None] * u * point - 7 * point**2, axis=1) + excess
    # In one dimension the integrand falls off slowest.
    np.testing.assert_allclose(found[sound], log_mean[sound], rtol=1e-10, atol=3e-8 if m == 1 else 1e-8)
    means = (upper / lower)[sound, None] * u[sound]
    np.testing.assert_allclose(mean[sound], means, atol=1e-8 if m == 1 else 1e-10)
    np.testing.assert_allclose(np.sum(np.asarray(point) ** 2, axis=1), 1, rtol=1e-12)


def test_the_sphere_integral_of_unequal_noise_is_its_integral_over_the_circle(x64, rng):
    theta = np.array([[0, 5.0], [300, 0], [40, 900], [0, 1e4]] * 4)
    beta = np.repeat([0.0, 1.0, 30.0, 2e3], 4)[:, None] * rng.normal(size=(16, 2))
    point, excess, mean = integral(jnp.asarray(theta), jnp.asarray(beta))
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    exponent = beta @ circle.T - theta @ (circle.T**2)
    heights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    expected = np.log(heights.mean(axis=1)) + exponent.max(axis=1)
    found = np.sum(beta * point - theta * np.asarray(point) ** 2, axis=1) + excess
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(mean, heights @ circle / heights.sum(axis=1, keepdims=True), atol=1e-9)
    assert float(jnp.abs(excess).max()) < 12


def test_a_half_seen_circle_is_recalled_on_both_of_its_sides():
    circle, cue, known = Sphere(np.zeros(2), 1.0), np.array([0.6, 7.0]), np.array([True, False])
    many = np.broadcast_to(cue, (400, 2))
    dynamics = AncestralSampling(20, sigma_min=0.01)
    found = np.asarray(recall(circle, many, dynamics, sigma=0.02, known=known, key=jax.random.key(0)).x)
    np.testing.assert_array_equal(found[:, 0], np.float32(0.6))
    # The entry seen is known to 0.02, and so is the other, 0.8, to 0.02 · 0.6/0.8.
    assert abs(np.abs(found[:, 1]) - 0.8).max() < 0.08
    assert 0.4 < (found[:, 1] > 0).mean() < 0.6
    between = recall(circle, cue, sigma=0.02, known=known).x
    np.testing.assert_allclose(between, [0.6, 0.0], atol=1e-6)


@pytest.mark.slow
def test_single_precision_completes_at_every_noise(rng):
    for kind in ("segment", "circle", "open subspace"):
        for tau, sigma in ((1e-4, 1e3), (1e3, 1e-4), (1e-4, 1e-4), (0.1, 0.1)):
            x, z = (np.asarray(MIDDLE + rng.normal(size=4), np.float32) for _ in range(2))
            found, _ = completed(KINDS[kind](), KNOWN, x, z, tau, sigma)
            assert all(bool(jnp.isfinite(part).all()) for part in found)
            with jax.enable_x64(True):
                mean = np.asarray(completed(KINDS[kind](), KNOWN, x, z, tau, sigma)[0][2])
            # Directions are only known to 1e-7 of a state, and what was seen magnifies that at most a few times.
            np.testing.assert_allclose(found[2], mean, rtol=1e-3, atol=1e-4 * max(1, sigma))


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (Subspace(MIDDLE, TILTED, -1, 1), "known: got a mask for a Subspace with limits in 2 directions; a Box, a Seg"),
        (Mixture([Subspace(MIDDLE, TILTED, -1), PatternMemory([MIDDLE])]), "known: got a mask for a Subspace with lim"),
        (SumOfCores(PatternMemory([MIDDLE]), lambda x: x[:1], [[0.0]]), "known: got a mask for a SumOfCores; points,"),
    ],
)
def test_what_cannot_be_completed_says_so_in_one_line(memory, message):
    with pytest.raises(InputError, match=message):
        recall(memory, MIDDLE, sigma=0.1, known=KNOWN)

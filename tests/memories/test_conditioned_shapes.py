"""Every kind of memory after a measurement: against itself at equal noise, and shapes against quadrature."""

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
    Observation,
    PatternMemory,
    ReconstructiveMemory,
    Segment,
    Smoothed,
    Sphere,
    Subspace,
    SumOfCores,
    condition,
    manifold,
    recall,
)
from dispersed.memories.bingham import sphere_integral
from dispersed.validation import InputError

KNOWN = np.array([True, False, True, False])
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
def compiled(memory, observation, z, sigma, slope):
    seen = condition(memory, observation)
    density = seen.log_density(z, sigma)
    slope = jax.grad(seen.log_density)(z, sigma) if slope else None
    return density, seen.log_evidence, seen.denoise(z, sigma), slope


@eqx.filter_jit
def whole(memory, x, sigma):
    return memory.log_density(x, sigma), memory.denoise(x, sigma)


def after(memory, observation, z, sigma, slope=False):
    """Of the memory after a measurement log p'_σ, log p(v), D'_σ and, if asked for, ∇ log p'_σ."""
    dtype = jnp.asarray(MIDDLE).dtype
    found = compiled(memory, observation, jnp.asarray(z, dtype), jnp.asarray(sigma, dtype), slope)
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_was_measured_twice_is_one_measured_once(x64, rng, kind):
    """Two observations of all entries are one, at their mean by precision: from the smallest noise to the largest, and
    for states far from the memory.
    """
    memory = KINDS[kind]()
    start = MIDDLE if kind in ("mixture", "smoothed", "cores", "nonlinear cores") else memory.project(np.zeros(4))
    for sigma in (1e-4, 1e-2, 1.0, 1e3):
        for scale in {sigma, 0.3} if kind == "smoothed" else {sigma, 3.0}:
            x = np.asarray(start) + scale * rng.normal(size=4)
            z, tau = x + sigma * rng.normal(size=4), 2 * sigma
            density, evidence, mean, slope = after(memory, Observation(x, sigma=tau), z, sigma, slope=True)
            both = 1 / (1 / sigma**2 + 1 / tau**2)
            middle = both * (z / sigma**2 + x / tau**2)
            log_p, expected = whole(memory, jnp.asarray(middle), jnp.asarray(np.sqrt(both)))
            spread = sigma**2 + tau**2
            shared = -np.sum((x - z) ** 2) / 2 / spread - 2 * np.log(2 * np.pi * spread)
            np.testing.assert_allclose(density + evidence, float(log_p) + shared, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean, z + sigma**2 * slope, rtol=1e-6, atol=1e-8)


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


def measurements(rng, x, tau):
    """A mask, and an operator, of one state."""
    matrix = rng.normal(size=(2, len(x)))
    known = np.arange(len(x)) % 2 == 0
    return [
        Observation(np.where(known, x, np.nan), mask=known, sigma=tau),
        Observation(matrix @ x, operator=matrix, sigma=[tau, tau]),
        Observation(matrix @ x, operator=matrix, sigma=[tau, 2 * tau]),
    ]


def test_sharp_measurements_are_evidence_of_rounded_points(rng):
    """In single precision, with noise below the round-off of the point that fits best: what lies within the limits fits
    all the same, and says no more than how wide they are.
    """
    low, high = np.full(40, -0.7), np.linspace(0.5, 3, 40)
    v = np.float32(low + (high - low) * rng.uniform(0.1, 0.9, 40))
    segment, row = Segment([0.1, 0.2], [0.7, 1.0]), np.float32([[1.0, 2.0]])
    for tau in (1e-6, 1e-7, 1e-8):
        box = condition(Box(low, high), Observation(v, sigma=tau))
        np.testing.assert_allclose(box.log_evidence, -np.log(high - low).sum(), atol=1e-3)
        # A state at the same level is the sum of two noises off.
        density = -2 * np.log(tau * np.sqrt(4 * np.pi))
        assert float(condition(Box(low[:2], high[:2]), Observation(v[:2], sigma=tau)).log_density(v[:2], tau)) == (
            pytest.approx(density, abs=1e-3)
        )
        seen = [float(condition(segment, Observation([at], operator=row, sigma=tau)).log_evidence) for at in (0.9, 1.7)]
        np.testing.assert_allclose(seen, -np.log(2.2), atol=1e-3)  # it goes from 0.5 to 2.7


@pytest.mark.parametrize("kind", ["segment", "circle", "open subspace"])
def test_measurements_with_noise_of_their_own_are_evidence(x64, rng, kind):
    memory, nodes = KINDS[kind](), nodes_of(kind)
    area = np.log(24.0**2) if kind == "open subspace" else 0  # the nodes' density is 1/576, the subspace's is 1
    # The nodes of the plane end where less than 1e-6 of what noise of 0.5 leaves open lies beyond.
    levels = ((0.3, 0.3), (0.3, 1.0), (0.5, 0.3)) if area else ((0.1, 0.1), (0.1, 30.0), (0.3, 0.1), (3.0, 0.2))
    for tau, sigma in levels:
        x = MIDDLE + rng.normal(size=4)
        z = x + rng.normal(size=4)
        for observation in measurements(rng, x, tau)[: 1 if area else 3]:
            found, exact = (after(m, observation, z, sigma) for m in (memory, nodes))
            np.testing.assert_allclose(found[0], exact[0], rtol=1e-6)
            np.testing.assert_allclose(found[1], exact[1] + area, rtol=1e-6)
            np.testing.assert_allclose(found[2], exact[2], rtol=1e-6, atol=1e-7)


def test_a_sphere_is_conditioned_like_its_nodes(x64, rng):
    memory = Sphere(np.zeros(3), 1.5)

    def at_angles(u):
        return 1.5 * jnp.array([jnp.cos(u[0]), jnp.sin(u[0]) * jnp.cos(u[1]), jnp.sin(u[0]) * jnp.sin(u[1])])

    nodes = manifold(at_angles, [0.0, 0.0], [np.pi, 2 * np.pi], [100, 140], periodic=[False, True])
    for tau, sigma in ((0.2, 0.2), (0.2, 30.0), (3.0, 0.2)):
        x, z = rng.normal(size=3), rng.normal(size=3)
        for observation in measurements(rng, x, tau):
            found, exact = (after(m, observation, z, sigma) for m in (memory, nodes))
            np.testing.assert_allclose(found[0], exact[0], rtol=1e-7)
            np.testing.assert_allclose(found[1], exact[1], rtol=1e-7)
            np.testing.assert_allclose(found[2], exact[2], atol=1e-8)


integral = jax.jit(jax.vmap(sphere_integral))


@pytest.mark.parametrize("m", [1, 2, 3, 64])
def test_the_sphere_integral_of_equal_noise_is_a_bessel_function(x64, rng, m):
    kappa = np.logspace(-6, 8, 15)
    u = rng.normal(size=(15, m))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    point, excess, mean = map(np.asarray, integral(np.full((15, m), 7.0), kappa[:, None] * u))
    nu = m / 2 - 1
    lower, upper = scipy.special.ive(nu, kappa), scipy.special.ive(nu + 1, kappa)
    sound = (kappa < 1e7) & (lower > 1e-250)  # beyond, products of κ lose the digits compared
    log_mean = np.log(lower) + kappa + scipy.special.gammaln(nu + 1) + nu * np.log(2 / kappa) - 7
    found = np.sum(kappa[:, None] * u * point - 7 * point**2, axis=1) + excess
    # In one dimension the integrand falls off slowest.
    np.testing.assert_allclose(found[sound], log_mean[sound], rtol=1e-10, atol=3e-8 if m == 1 else 1e-8)
    means = (upper / lower)[sound, None] * u[sound]
    np.testing.assert_allclose(mean[sound], means, atol=1e-8 if m == 1 else 1e-10)
    np.testing.assert_allclose(np.sum(point**2, axis=1), 1, rtol=1e-12)


def test_the_sphere_integral_of_unequal_noise_is_its_integral_over_the_circle(x64, rng):
    theta = np.array([[0, 5.0], [300, 0], [40, 900], [0, 1e4]] * 4)
    beta = np.repeat([0.0, 1.0, 30.0, 2e3], 4)[:, None] * rng.normal(size=(16, 2))
    point, excess, mean = map(np.asarray, integral(theta, beta))
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    exponent = beta @ circle.T - theta @ (circle.T**2)
    heights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    expected = np.log(heights.mean(axis=1)) + exponent.max(axis=1)
    found = np.sum(beta * point - theta * point**2, axis=1) + excess
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(mean, heights @ circle / heights.sum(axis=1, keepdims=True), atol=1e-9)
    assert np.abs(excess).max() < 12


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
def test_single_precision_conditions_at_every_noise(rng):
    for kind in ("segment", "circle", "open subspace"):
        for tau, sigma in ((1e-4, 1e3), (1e3, 1e-4), (1e-4, 1e-4), (0.1, 0.1)):
            x, z = (np.asarray(MIDDLE + rng.normal(size=4), np.float32) for _ in range(2))
            observation = Observation(x, mask=KNOWN, sigma=tau)
            found = after(KINDS[kind](), observation, z, sigma)
            assert all(bool(jnp.isfinite(part).all()) for part in found)
            with jax.enable_x64(True):
                observation = Observation(x.astype(float), mask=KNOWN, sigma=tau)
                mean = np.asarray(after(KINDS[kind](), observation, z, sigma)[2])
            # Directions are only known to 1e-7 of a state, and what was seen magnifies that at most a few times.
            np.testing.assert_allclose(found[2], mean, rtol=1e-3, atol=1e-4 * max(1, sigma))


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (Subspace(MIDDLE, TILTED, -1, 1), "observation: got one of a Subspace with limits in several directions"),
        (Mixture([Subspace(MIDDLE, TILTED, -1), PatternMemory([MIDDLE])]), "observation: got one of a Subspace with"),
        (SumOfCores(PatternMemory([MIDDLE]), lambda x: x[:1], [[0.0]]), "observation: got one of a SumOfCores; patt"),
    ],
)
def test_what_cannot_be_conditioned_says_so_in_one_line(memory, message):
    with pytest.raises(InputError, match=message):
        recall(memory, MIDDLE, sigma=0.1, known=KNOWN)
    with pytest.raises(InputError, match=message):
        condition(memory, Observation(MIDDLE, mask=KNOWN, sigma=0.1))


def test_a_box_takes_operators_that_leave_its_edges_orthogonal(x64, rng):
    box, tilted = Box(-np.ones(4), np.ones(4)), np.array([[1.0, 1, 0, 0]])
    with pytest.raises(InputError, match="images are not orthogonal"):
        condition(box, Observation([0.5], operator=tilted, sigma=0.1))
    scaled = np.diag([2.0, 0, 0.5, 0])
    value = rng.normal(size=4)
    found = condition(box, Observation(value, operator=scaled, sigma=0.3))
    # The same as a mask, with the noise that is left after division.
    masked = Observation([value[0] / 2, np.nan, value[2] * 2, np.nan], mask=KNOWN, sigma=[0.15, 1, 0.6, 1])
    expected = condition(box, masked)
    np.testing.assert_allclose(found.denoise(MIDDLE, 0.4), expected.denoise(MIDDLE, 0.4), rtol=1e-12)


@pytest.mark.parametrize("kind", ["segment", "box", "line", "blob", "mixture", "smoothed", "cores"])
def test_what_was_measured_is_drawn_from(x64, kind):
    """Means and covariances of draws, from the memory after a measurement and from its posterior at a level."""
    bounded = {
        "box": lambda: Box([-1.0, 0.2, 0.1, 0.0], [1.0, 0.2, 2.0, 0.001]),
        "line": lambda: Subspace(MIDDLE, TILTED[:1], -0.5, 1),
    }
    memory = bounded.get(kind, KINDS[kind])()
    seen = condition(memory, Observation([0.4, 0.0, 0.3, 0.0], mask=KNOWN, sigma=0.4))
    count, wide, level, x = 10_000, 300.0, 0.3, jnp.array([0.2, 0.1, -0.2, 0.3])
    # Tweedie: as σ grows, D is the mean, and σ² (∂D/∂x) the covariance.
    start = seen.prior_start()[0]
    moments_agree(np.asarray(seen.sample(jax.random.key(0), count)), seen, start, wide)
    keys = jax.random.split(jax.random.key(1), count)
    last, _ = posterior_draws(keys, seen, x, jnp.asarray(level))
    moments_agree(np.asarray(last), seen, x, level)


@eqx.filter_jit
def posterior_draws(keys, memory, x, sigma):
    return jax.vmap(lambda key: memory._posterior_draw(key, x, sigma))(keys)


@eqx.filter_jit
def mean_and_slope(memory, x, sigma):
    return memory.denoise(x, sigma), memory.jacobian(x, sigma)


def moments_agree(draws, memory, x, sigma):
    """Within five standard errors, and 2e-4 for the widest level, which is finite."""
    mean, slope = map(np.asarray, mean_and_slope(memory, x, jnp.asarray(sigma)))
    covariance = sigma**2 * slope
    sd = np.sqrt(np.maximum(np.diag(covariance), 0))
    assert (np.abs(draws.mean(0) - mean) <= 5 * sd / np.sqrt(len(draws)) + 2e-4).all()
    found = np.cov(draws.T)
    assert (np.abs(found - covariance) <= 8 * np.outer(sd, sd) / np.sqrt(len(draws)) + 2e-4).all()


WIDE = {
    "segment": lambda: Segment([0.0, 0, 0, 0], [0, 1000, 0, 0]),
    "box": lambda: Box(np.zeros(4), [1, 1000, 1, 1]),
    "open subspace": KINDS["open subspace"],
    "circle": KINDS["circle"],
}


@pytest.mark.parametrize("kind", WIDE)
def test_where_nothing_was_observed_a_shape_stays_what_it_was(kind):
    memory = WIDE[kind]()
    same = condition(memory, Observation(MIDDLE, mask=False, sigma=0.3))
    np.testing.assert_allclose(same.log_evidence, 0, atol=1e-6)
    (log_p, mean), (expected, expected_mean) = (
        whole(m, jnp.asarray(MIDDLE, jnp.float32), jnp.float32(0.5)) for m in (same, memory)
    )
    np.testing.assert_allclose(log_p, expected, rtol=1e-5)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5, atol=1e-6)
    if same._proper:
        wide, single = (np.asarray(m.sample(jax.random.key(0), (200,))).std(axis=0) for m in (same, memory))
        np.testing.assert_allclose(wide, single, rtol=0.2, atol=1e-6)


@eqx.filter_jit
def sharply(memory, observation, z, sigma):
    after = condition(memory, observation)
    return after.denoise(z, sigma), after.log_evidence, after.prior_start()[0]


@pytest.mark.parametrize("kind", WIDE)
def test_sharp_measurements_leave_what_they_do_not_see(kind):
    """The posterior mean, and the evidence, after a measurement of one unit or one sum, in single precision."""
    z = np.array([0.2, 500.0, 300.0, -100.0])
    for tau in (1e-2, 1e-8):
        for measured in ({"value": MIDDLE, "mask": np.arange(4) == 0}, {"value": [0.3], "operator": [[1, -1, 0.5, 2]]}):
            if kind == "box" and "operator" in measured:
                continue
            found = []
            for wide in (False, True):
                with jax.enable_x64(wide):
                    found.append(sharply(WIDE[kind](), Observation(**measured, sigma=tau), z, jnp.asarray(1e3)))
            np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-4, atol=1e-4)
            if tau == 1e-2:  # where a miss that is round-off in single precision is none beside the noise
                np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-9, 1e9, 1e15])
@pytest.mark.parametrize("of", [lambda a: Segment(0 * a, a), lambda a: Box(0 * a, a)], ids=["segment", "box"])
def test_draws_of_shapes_are_the_same_in_all_units(of, unit):
    end, key = np.array([1.0, 0.5]), jax.random.key(0)
    keys = jax.random.split(key, 100)
    states = [
        np.asarray(posterior_draws(keys, of(u * end), jnp.array(u * end / 4), jnp.array(u / 5))[0]) for u in (1.0, unit)
    ]
    np.testing.assert_allclose(states[1] / unit, states[0], rtol=1e-4, atol=1e-5)

"""Every extended memory against autodiff, against quadrature in double precision, and at its degenerate ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dispersed import ExponentialIntegrator, Mixture, PatternMemory, recall
from dispersed.memories import Box, GaussianMemory, Segment, Sphere, Subspace
from dispersed.validation import InputError

SIGMAS = (1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3)
inf = np.inf


def kinds():
    """One memory of every kind, in four units."""
    tilted = np.array([[1.0, 2, 0, 0], [0, 1, 1, -1]])
    return {
        "segment": Segment([0.1, 0.2, -0.3, 0.4], [1.1, -0.4, 0.5, 0.7]),
        "box": Box([-1.0, 0.2, -0.5, 0.0], [1.0, 0.2, 2.0, 0.001]),
        "open box": Box([-inf, 0.0, -inf, 0.3], [inf, inf, 0.5, 0.3]),
        "subspace": Subspace([0.1, 0.2, -0.3, 0.4], tilted, -0.5, [1.0, 2.0]),
        "open subspace": Subspace([0.1, 0.2, -0.3, 0.4], tilted),
        "sphere": Sphere([0.1, 0.2, -0.3, 0.4], 0.9),
        "circle": Sphere([0.1, 0.2, -0.3, 0.4], 0.9, tilted),
        "pair": Sphere([0.1, 0.2, -0.3, 0.4], 0.9, tilted[:1]),
        "blob": GaussianMemory([0.1, 0.2, -0.3, 0.4], np.array([[1.0, 0], [0.5, 1e-3], [0, 2e-3], [0.2, 0]])),
    }


def near_and_far(memory, sigma, rng):
    """States within the noise of the memory, on it, and a few units away."""
    start = np.array(memory.project(jnp.zeros(4)))
    return np.stack([start + sigma * rng.normal(size=4), start, rng.normal(size=4), 3 * rng.normal(size=4)])


@pytest.mark.parametrize("kind", kinds())
def test_score_and_denoiser_are_the_slope_of_the_density(x64, rng, everything, kind):
    memory = kinds()[kind]
    for sigma in SIGMAS:
        x = near_and_far(memory, sigma, rng)
        of = everything(memory, x, sigma)
        # A slope of rounded squares ‖x−p‖²/σ² holds to about 1e-16 of the distance in units of σ².
        noise = 1e-13 * (1 + np.abs(x).max()) / sigma**2
        np.testing.assert_allclose(of["score"], of["slope"], rtol=1e-6, atol=noise)
        np.testing.assert_allclose(of["denoise"], x + sigma**2 * of["slope"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(of["denoise"], x + sigma**2 * of["score"], atol=1e-12)
        np.testing.assert_allclose(of["energy"], -(sigma**2) * of["log_density"], rtol=1e-12)


@pytest.mark.parametrize("kind", ["segment", "box", "circle", "blob"])
def test_jacobian_is_symmetric_positive_and_the_slope_of_the_denoiser(x64, rng, kind):
    memory = kinds()[kind]
    for sigma in (0.01, 0.3, 30.0):
        x = near_and_far(memory, sigma, rng)[[0, 2]]
        jacobian = np.array(memory.jacobian(x, sigma))
        size = 1e-4 * sigma
        steps = size * np.concatenate([np.eye(4), -np.eye(4)])
        ends = np.asarray(memory.denoise(x[:, None] + steps, sigma))
        numeric = np.moveaxis(ends[:, :4] - ends[:, 4:], 1, 2) / (2 * size)
        np.testing.assert_allclose(jacobian, numeric, atol=3e-6)
        np.testing.assert_allclose(jacobian, np.swapaxes(jacobian, 1, 2), atol=1e-9)
        assert np.linalg.eigvalsh(jacobian).min() > -1e-9


def flat_oracle(memory, x, sigma, nodes):
    """log p_σ and D_σ of a flat shape, coordinate by coordinate by quadrature."""
    if isinstance(memory, Box):
        origin, directions, low, high = np.zeros(4), np.eye(4), memory.low, memory.high
    elif isinstance(memory, Subspace):
        origin, directions, low, high = memory.origin, memory.directions, memory.low, memory.high
    else:
        origin, directions = memory.start, memory.direction[None]
        low, high = np.zeros(1), memory.length[None]
    origin, directions, low, high = map(np.asarray, (origin, directions, low, high))
    u = directions @ (x - origin)
    rest = x - origin - u @ directions
    log_p = -rest @ rest / (2 * sigma**2) - (4 - len(u)) * np.log(sigma * np.sqrt(2 * np.pi))
    mean = origin.copy()
    for k in range(len(u)):
        anchor = np.clip(u[k], low[k], high[k])
        away = u[k] - anchor
        s, weight = nodes(max(low[k] - anchor, -40 * sigma), min(high[k] - anchor, 40 * sigma), away, sigma)
        volume = 1 if np.isinf(high[k] - low[k]) or high[k] == low[k] else high[k] - low[k]
        heights = weight / volume * np.exp(-s * (s - 2 * away) / (2 * sigma**2))
        log_p += np.log(heights.sum()) - away**2 / (2 * sigma**2) - np.log(sigma * np.sqrt(2 * np.pi))
        mean += (anchor + heights @ s / heights.sum()) * directions[k]
    return log_p, mean


@pytest.mark.parametrize("kind", ["segment", "box", "open box", "subspace", "open subspace"])
def test_flat_memories_are_their_integrals(x64, rng, nodes, everything, kind):
    memory = kinds()[kind]
    for sigma in SIGMAS:
        x = near_and_far(memory, sigma, rng)
        of = everything(memory, x, sigma)
        log_p, mean = zip(*(flat_oracle(memory, state, sigma, nodes) for state in x), strict=True)
        np.testing.assert_allclose(of["log_density"], log_p, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(of["denoise"], mean, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("m", [1, 2, 40])
def test_spheres_are_their_integrals(x64, rng, everything, m):
    d = m + 1
    directions = rng.normal(size=(m, d))
    memory = Sphere(rng.normal(size=d), 0.8, directions)
    q = np.asarray(memory.directions)
    at, half = np.polynomial.legendre.leggauss(400)
    for sigma in SIGMAS:
        for scale in (sigma, 0.01, 1.0, 5.0):
            x = np.asarray(memory.centre) + 0.8 * q[0] + scale * rng.normal(size=d)
            v = q @ (x - np.asarray(memory.centre))
            rho = np.linalg.norm(v)
            off = np.linalg.norm(x - np.asarray(memory.centre) - v @ q)
            # The mean of e^{κ(cos − 1)} over the sphere, by the angle; steep for large κ.
            kappa = rho * 0.8 / sigma**2
            if m == 1:
                mass, cosine = 0.5 * (1 + np.exp(-2 * kappa)), np.tanh(kappa)
            else:
                top = min(np.pi, 60 / np.sqrt(max(kappa, 1e-9)))
                angle, weight = (at + 1) / 2 * top, half / 2 * top
                heights = weight * np.exp(-kappa * 2 * np.sin(angle / 2) ** 2) * np.sin(angle) ** (m - 2)
                area = np.sqrt(np.pi) * np.exp(scipy.special.gammaln((m - 1) / 2) - scipy.special.gammaln(m / 2))
                mass = heights.sum() / area
                cosine = 1 - heights @ (2 * np.sin(angle / 2) ** 2) / heights.sum()
            expected = np.log(mass) - ((rho - 0.8) ** 2 + off**2) / (2 * sigma**2)
            expected -= d * np.log(sigma * np.sqrt(2 * np.pi))
            of = everything(memory, x[None], sigma)
            np.testing.assert_allclose(of["log_density"][0], expected, rtol=1e-9, atol=1e-9)
            mean = np.asarray(memory.centre) + 0.8 * cosine * (v / rho) @ q
            np.testing.assert_allclose(of["denoise"][0], mean, rtol=1e-8, atol=1e-10)


def test_blob_is_its_dense_gaussian(x64, rng):
    factor = rng.normal(size=(6, 3)) * np.array([1.0, 1e-3, 10.0])
    mean = rng.normal(size=6)
    memory = GaussianMemory(mean, factor)
    for sigma in (1e-2, 0.3, 1.0, 30.0, 1e3):
        x = mean + rng.normal(size=6)
        covariance = factor @ factor.T + sigma**2 * np.eye(6)
        solved = np.linalg.solve(covariance, x - mean)
        log_p = -(x - mean) @ solved / 2 - np.linalg.slogdet(2 * np.pi * covariance)[1] / 2
        np.testing.assert_allclose(memory.log_density(x, sigma), log_p, rtol=1e-8)
        np.testing.assert_allclose(memory.denoise(x, sigma), x - sigma**2 * solved, rtol=1e-6, atol=1e-9)
    full = GaussianMemory.from_covariance(mean, factor @ factor.T)
    np.testing.assert_allclose(full.log_density(x, 1.0), memory.log_density(x, 1.0), rtol=1e-10)
    low = GaussianMemory.from_covariance(mean, factor @ factor.T, rank=2)
    assert low.variances.shape == (2,)


def degenerate(y):
    still = np.zeros((4, 2))
    return {
        "segment": Segment(y, y),
        "box": Box(y, y),
        "subspace": Subspace(y, np.eye(4)[:2], 0.0, 0.0),
        "sphere": Sphere(y, 0.0),
        "circle": Sphere(y, 0.0, np.eye(4)[:2]),
        "blob": GaussianMemory(y, still),
        "rank zero": GaussianMemory(y, np.zeros((4, 0))),
    }


@pytest.mark.parametrize("kind", degenerate(np.zeros(4)))
def test_a_place_without_extent_is_the_point_memory(x64, rng, everything, kind):
    y = rng.normal(size=4)
    memory, point = degenerate(y)[kind], PatternMemory(y[None])
    for sigma in SIGMAS:
        x = np.stack([y, y + sigma * rng.normal(size=4), rng.normal(size=4), 100 * rng.normal(size=4)])
        found, expected = everything(memory, x, sigma), everything(point, x, sigma)
        for name in ("log_density", "denoise", "energy", "score"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)
    np.testing.assert_allclose(memory.project(x), np.broadcast_to(y, x.shape), rtol=1e-12)


@pytest.mark.parametrize("kind", kinds())
def test_single_precision_follows_double_from_the_smallest_noise_to_the_largest(rng, everything, kind):
    memory = kinds()[kind]
    for sigma in SIGMAS:
        x = near_and_far(memory, sigma, rng).astype(np.float32)
        found, far = (everything(memory, states, sigma, ("log_density", "denoise")) for states in (x, x + 1e15))
        assert all(np.isfinite(value).all() for value in found.values())
        assert not np.isnan(far["denoise"]).any()
        with jax.enable_x64(True):
            exact = np.asarray(everything(kinds()[kind], x.astype(float), sigma)["denoise"])
        # Cues of size max(|x|, σ) are only known to 6e-8 of themselves.
        np.testing.assert_allclose(found["denoise"], exact, rtol=2e-4, atol=2e-6 * max(1, sigma))


def test_an_interval_of_any_number_of_levels_has_its_density():
    """Beyond 10¹⁵ levels too: far inside, and at its end, of which noise takes half."""
    for length, sigma in ((1e6, 1e-8), (1e8, 1e-10), (1e4, 1e-18)):
        x = np.array([length / 3, 0.0])[:, None]
        found = Segment([0.0], [length]).log_density(x, sigma)
        np.testing.assert_allclose(found, -np.log(length * np.array([1, 2])), rtol=1e-5)


def test_slopes_of_a_sphere_are_numbers_at_any_noise():
    """In single precision, in both modes of differentiation: 0 where noise is all, r/ρ across where there is none."""
    sphere, x = Sphere(np.zeros(3), 1.5), jnp.array([1e6, 0, 0])

    def slopes(sigma):
        return jax.jacfwd(sphere._denoise)(x, sigma), jax.jacrev(sphere._denoise)(x, sigma)

    for found in jax.vmap(slopes)(jnp.array([1e-8, 1.0, 1e14])):
        np.testing.assert_allclose(found[:2], np.diag([0, 1.5e-6, 1.5e-6])[None].repeat(2, 0), atol=1e-9)
        np.testing.assert_allclose(found[2], 0, atol=1e-9)


@pytest.mark.parametrize("kind", kinds())
def test_no_noise_leads_to_the_nearest_point(x64, rng, everything, kind):
    memory = kinds()[kind]
    x = rng.normal(size=(4, 4))
    nearest = memory.project(x)
    np.testing.assert_allclose(everything(memory, x, 1e-6)["denoise"], nearest, atol=1e-5)
    np.testing.assert_allclose(memory.project(nearest), nearest, atol=1e-12)


@pytest.mark.parametrize("kind", ["segment", "circle", "blob"])
def test_recall_ends_on_the_memory(x64, rng, kind):
    memory = kinds()[kind]
    mean, level = memory.prior_start()
    dynamics = ExponentialIntegrator(20, sigma_min=0.01)
    result = recall(memory, mean + 0.5 * rng.normal(size=(20, 4)), dynamics, sigma=0.5)
    np.testing.assert_allclose(result.x, memory.project(result.x), atol=1e-3)
    assert float(level) > 1


def test_sphere_directions_are_made_orthonormal(x64):
    circle = Sphere(np.zeros(3), 1.0, [[2.0, 0, 0], [5.0, 3.0, 0]])
    np.testing.assert_allclose(circle.directions, np.eye(3)[:2], atol=1e-14)


def test_volumes(x64):
    np.testing.assert_allclose(Segment([0.0, 0], [3.0, 4.0]).volume, 5)
    np.testing.assert_allclose(Box([0.0, 1, 2], [2.0, 1, 5]).volume, 6)
    np.testing.assert_allclose(Sphere(np.zeros(3), 2.0).volume, 16 * np.pi)
    np.testing.assert_allclose(Sphere(np.zeros(3), 2.0, np.eye(3)[:2]).volume, 4 * np.pi)
    assert np.isinf(Subspace(np.zeros(3), np.eye(3)[:1]).volume)
    assert Sphere(np.zeros(3), 0.0).volume == 0
    np.testing.assert_allclose(Sphere(np.zeros(3), 0.0, np.eye(3)[:1]).volume, 2)
    np.testing.assert_allclose(jax.grad(lambda r: Sphere(np.zeros(3), r).volume)(2.0), 16 * np.pi)
    np.testing.assert_allclose(jax.grad(lambda a: Box(jnp.zeros(2), a * jnp.array([1.0, 1.5])).volume)(2.0), 6)


@pytest.mark.parametrize("unit", [1e-13, 1e13])
def test_volumes_are_weights_in_any_unit(unit):
    """In single precision the volume of three sides of 1e-13 is zero, and of 1e13 infinite."""
    boxes = [Box(np.zeros(3), np.full(3, side * unit)) for side in (1.0, 2.0)]
    np.testing.assert_allclose(Mixture(boxes, [box.volume for box in boxes]).weights, [1 / 9, 8 / 9], rtol=1e-5)
    spheres = [Sphere(np.zeros(6), radius * unit) for radius in (1.0, 2.0)]
    np.testing.assert_allclose(Mixture(spheres, [s.volume for s in spheres]).weights, [1 / 33, 32 / 33], rtol=1e-5)
    planes = [Subspace(np.zeros(4), np.eye(4)[:3], 0.0, side * unit) for side in (1.0, 2.0)]
    np.testing.assert_allclose(Mixture(planes, [s.volume for s in planes]).weights, [1 / 9, 8 / 9], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segment([0.0, 1], [0.0]), r"end: got shape \(1,\); one state, shape \(2,\)"),
        (lambda: Segment([0.0, np.nan], [0.0, 1]), "start: got 1 NaN"),
        (lambda: Box([0.0, 2], [1.0, 1]), "low, high: got 2 and 1 at entry 1; low ≤ high"),
        (lambda: Box([inf], [inf]), "low, high: got 1 NaN or infinite"),
        (lambda: Box([0.0], [1.0, 2]), "low, high: got shapes"),
        (lambda: Subspace([0.0, 0], [[1.0, 0], [2.0, 0]]), "directions: direction 1 depends on those before it"),
        (lambda: Subspace([0.0, 0], [[1.0, 0]], [0.0, 1], 1.0), "low, high: got shapes"),
        (lambda: Sphere([0.0, 0], -1.0), "radius: got -1; one number from 0"),
        (lambda: Sphere([0.0, 0], [1.0]), r"radius: got shape \(1,\)"),
        (lambda: Sphere([0.0, 0], 1.0, [[0.0, 0]]), "directions: direction 0 depends"),
        (lambda: GaussianMemory([0.0, 0], [[1.0, 0]]), r"factor: got shape \(1, 2\)"),
        (lambda: GaussianMemory([0.0, 0], [[inf], [0.0]]), "factor: got 1 NaN"),
        (
            lambda: GaussianMemory.from_covariance([0.0, 0], [[1.0, 0], [0, -1]]),
            "covariance: got an eigenvalue of -1; no negative",
        ),
        (
            lambda: GaussianMemory.from_covariance([0.0, 0], [[1.0, 1], [0, 1]]),
            "covariance: got a matrix that differs from its transpose",
        ),
        (
            lambda: GaussianMemory.from_covariance([0.0, 0], np.eye(2), rank=3),
            "rank: got 3; whole numbers from 0 to 2",
        ),
        (lambda: Segment(0.0, 1.0), r"start: got shape \(\)"),
    ],
)
def test_bad_shapes_get_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()

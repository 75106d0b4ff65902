"""Cores with reconstructed detail (Eq. 25)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    ExponentialIntegrator,
    GaussianMemory,
    Mixture,
    PatternMemory,
    ReconstructiveMemory,
    Segment,
    SumOfCores,
    recall,
)
from dispersed.validation import InputError

ENCODER = np.array([[1.0, 0.5, 0, 0], [0, 1, -1, 0.3]])


def semantic(rng, k=3):
    return Mixture(
        [GaussianMemory(2 * rng.normal(size=4), 0.6 * rng.normal(size=(4, 4))) for _ in range(k)],
        np.arange(1.0, k + 1),
    )


def dense(memory, part):
    """Mean and covariance of one Gaussian of a mixture."""
    group = jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(memory.order)[part]], memory.groups[0])
    return group.mean, (group.directions.T * group.variances) @ group.directions


def conditioned(memory, core, noise, x, sigma):
    """log p_σ and D_σ of the semantic density given A y + τ ε = core, by dense algebra."""
    terms, means = [], []
    for part in range(len(memory.weights)):
        mean, covariance = dense(memory, part)
        seen = ENCODER @ covariance @ ENCODER.T + noise**2 * np.eye(2)
        gain = covariance @ ENCODER.T @ np.linalg.inv(seen)
        gap = core - ENCODER @ mean
        evidence = -gap @ np.linalg.solve(seen, gap) / 2 - np.linalg.slogdet(seen)[1] / 2
        posterior = covariance - gain @ ENCODER @ covariance
        total, off = posterior + sigma**2 * np.eye(4), x - mean - gain @ gap
        solved = np.linalg.solve(total, off)
        density = -off @ solved / 2 - np.linalg.slogdet(2 * np.pi * total)[1] / 2
        terms.append((np.log(memory.weights[part]) + evidence, density))
        means.append(x - sigma**2 * solved)
    prior, density = np.array(terms).T
    prior -= np.logaddexp.reduce(prior)
    log_p = np.logaddexp.reduce(prior + density)
    return log_p, np.exp(prior + density - log_p) @ np.array(means)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_memory_is_the_semantic_density_given_its_cores(x64, rng, noise):
    known = semantic(rng)
    cores = rng.normal(size=(3, 2))
    weights = np.array([1.0, 2.0, 1.0]) / 4
    memory = ReconstructiveMemory(known, ENCODER, cores, weights, noise)
    slope = jax.jit(jax.grad(memory.log_density))
    for sigma in (0.03, 0.5, 20.0):
        for x in 2 * rng.normal(size=(3, 4)):
            each = [conditioned(known, core, noise, x, sigma) for core in cores]
            terms = np.log(weights) + np.array([log_p for log_p, _ in each])
            log_p = np.logaddexp.reduce(terms)
            share = np.exp(terms - log_p)
            np.testing.assert_allclose(memory.log_density(x, sigma), log_p, rtol=1e-8)
            np.testing.assert_allclose(memory.responsibilities(x, sigma), share, atol=1e-7)
            mean = share @ np.array([d for _, d in each])
            np.testing.assert_allclose(memory.denoise(x, sigma), mean, rtol=1e-7, atol=1e-8)
            tweedie = x + sigma**2 * slope(jnp.asarray(x), sigma)
            np.testing.assert_allclose(memory.denoise(x, sigma), tweedie, rtol=1e-6, atol=1e-9)


def test_recalled_states_carry_the_stored_core_exactly(x64, rng):
    known = semantic(rng)
    cores = 2 * rng.normal(size=(5, 2))
    memory = ReconstructiveMemory(known, ENCODER, cores)
    cues = memory.prior_start()[0] + 2 * rng.normal(size=(40, 4))
    result = recall(memory, cues, ExponentialIntegrator(30, sigma_min=1e-3), sigma=2.0)
    found = np.asarray(result.x) @ ENCODER.T
    np.testing.assert_allclose(found, cores[np.asarray(result.index)], atol=1e-5)
    assert len(np.unique(result.index)) > 1
    # The rest is not stored: recalls of one core differ from each other.
    same = np.asarray(result.x)[np.asarray(result.index) == np.bincount(result.index).argmax()]
    assert same.std(0).max() > 0.05
    np.testing.assert_allclose(memory.project(result.x), result.x, atol=1e-2)


def bent(curvature):
    """A core whose level sets are parabolas."""
    return lambda y: y[:1] + curvature * y[1:2] ** 2


def curved_semantics(pieces):
    """N(0, diag(0.3², 1)), whole or as narrow Gaussians side by side along the second unit."""
    if pieces == 1:
        return GaussianMemory(np.zeros(2), np.diag([0.3, 1.0]))
    at, weight = np.polynomial.hermite_e.hermegauss(pieces)
    narrow = 0.35
    centres = np.sqrt(1 - narrow**2) * at
    return Mixture([GaussianMemory([0.0, m], np.diag([0.3, narrow])) for m in centres], weight)


@pytest.mark.slow
def test_a_nonlinear_core_is_the_conditional_density_up_to_curvature(x64):
    """Against brute force over a grid; the error falls with the curvature and with the size of the Gaussians."""
    axis = np.linspace(-4, 4, 161)
    y = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    x = jnp.asarray(y[(abs(y) < 3.5).all(axis=1)][::7])
    noise, core, sigma = 0.1, 0.25, 0.2

    def distance(curvature, pieces):
        log_weights = -((y[:, 0] / 0.3) ** 2) / 2 - y[:, 1] ** 2 / 2
        log_weights -= ((y[:, 0] + curvature * y[:, 1] ** 2 - core) / noise) ** 2 / 2
        exact = PatternMemory(y, log_weights=log_weights)
        memory = ReconstructiveMemory(curved_semantics(pieces), bent(curvature), [[core]], noise=noise)
        p, q = (np.exp(m.log_density(x, sigma)) for m in (exact, memory))
        return float(abs(p - q).sum() / (p + q).sum())

    assert distance(0.0, 1) < 1e-4  # the grid ends at four standard deviations
    whole = [distance(curvature, 1) for curvature in (0.02, 0.04, 0.3)]
    assert whole[0] < 0.05
    assert 1.7 < whole[1] / whole[0] < 2.3
    assert distance(0.3, 15) < whole[2] / 4 < 0.1


def test_a_nonlinear_core_that_is_linear_is_the_linear_one(x64, rng):
    known = semantic(rng)
    cores = rng.normal(size=(3, 2))
    linear = ReconstructiveMemory(known, ENCODER, cores, noise=0.2)
    same = ReconstructiveMemory(known, lambda y: jnp.asarray(ENCODER) @ y, cores, noise=0.2)
    x = 2 * rng.normal(size=(3, 4))
    np.testing.assert_allclose(same.denoise(x, 0.3), linear.denoise(x, 0.3), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(same.event(1).log_density(x, 0.3), linear.event(1).log_density(x, 0.3), rtol=1e-8)
    np.testing.assert_allclose(same.project(x), linear.project(x), atol=1e-6)


def test_one_gaussian_serves_as_semantic_memory(x64, rng):
    blob = GaussianMemory(rng.normal(size=4), rng.normal(size=(4, 3)))
    alone = ReconstructiveMemory(blob, ENCODER, rng.normal(size=(2, 2)))
    assert alone.means.shape == (2, 1, 4)
    assert repr(alone) == "ReconstructiveMemory(2 cores, 1 Gaussians of 4 units, float64)"


def test_vanishing_precision_of_the_core_leaves_the_semantic_memory(x64, rng):
    known = semantic(rng)
    vague = ReconstructiveMemory(known, ENCODER, rng.normal(size=(1, 2)), noise=1e6)
    x = rng.normal(size=(4, 4))
    np.testing.assert_allclose(vague.log_density(x, 0.3), known.log_density(x, 0.3), rtol=1e-6)


def test_eq_25_as_printed_is_a_mixture_of_points_and_the_semantic_memory(x64, rng):
    known = semantic(rng)
    rows = np.linalg.qr(ENCODER.T)[0].T
    cores = rng.normal(size=(3, 2))
    printed = SumOfCores(known, lambda x: jnp.asarray(rows) @ x, cores)
    points = Mixture([PatternMemory(cores @ rows), known], [3.0, 1.0])
    x = 2 * rng.normal(size=(5, 4))
    for sigma in (0.05, 0.5, 20.0):
        np.testing.assert_allclose(
            printed.log_density(x, sigma), points.log_density(x, sigma) + np.log(4), rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(printed.denoise(x, sigma), points.denoise(x, sigma), rtol=1e-6, atol=1e-8)


def test_eq_25_as_printed_is_its_sum_for_a_nonlinear_core(x64, rng):
    known = semantic(rng)
    cores = rng.normal(size=(2, 1))
    memory = SumOfCores(known, lambda x: jnp.tanh(x[:1]) + x[1:2] ** 2, cores)
    x, sigma = rng.normal(size=4), 0.8
    beta = sigma**-2
    core = np.tanh(x[:1]) + x[1:2] ** 2
    total = sum(np.exp(beta * core @ xi - beta * xi @ xi / 2) for xi in cores)
    # ∫ e^{β xᵀy − β‖y‖²/2} φ dy = e^{β‖x‖²/2} (2πσ²)^{d/2} p_σ(x)
    log_semantic = beta * x @ x / 2 + 4 * np.log(sigma * np.sqrt(2 * np.pi)) + known.log_density(x, sigma)
    energy = -(sigma**2) * np.log(total + np.exp(log_semantic)) + x @ x / 2
    shift = sigma**2 * 4 * np.log(sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(memory.energy(x, sigma), energy + shift, rtol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: ReconstructiveMemory(g, ENCODER, np.zeros((1, 3))), r"encoder: got shape \(2, 4\) for cores of 3"),
        (lambda g: ReconstructiveMemory(g, ENCODER[[0, 0]], np.zeros((1, 2))), "encoder: got rows that depend"),
        (lambda g: ReconstructiveMemory(g, ENCODER, np.zeros(2)), r"cores: got shape \(2,\)"),
        (lambda g: ReconstructiveMemory(g, ENCODER, [[np.nan, 0.0]]), "cores: got 1 NaN"),
        (lambda g: ReconstructiveMemory(g, ENCODER, np.zeros((1, 2)), noise=-1.0), "noise: got -1.0"),
        (lambda g: ReconstructiveMemory(g, lambda x: x[:1], np.zeros((1, 1))), "noise: got 0 for a core that is a fun"),
        (lambda g: ReconstructiveMemory(g, lambda x: x[:2], np.zeros((1, 1)), noise=1.0), "encoder: maps 4 units to"),
        (lambda g: ReconstructiveMemory(g, ENCODER, np.zeros((1, 2)), [0.0]), "weights: got only zeros"),
        (
            lambda g: ReconstructiveMemory(Mixture([g, Segment(np.zeros(4), np.ones(4))]), ENCODER, np.zeros((1, 2))),
            "semantic: got",
        ),
        (
            lambda g: ReconstructiveMemory(GaussianMemory(np.zeros(4), np.eye(4)[:, :1]), ENCODER, np.zeros((1, 2))),
            "encoder: got a core that some Gaussian .* leaves no freedom; noise > 0",
        ),
        (lambda g: SumOfCores(g, lambda x: x[:2], np.zeros((1, 3))), r"encoder: maps 4 units to \(2,\) for cores of 3"),
        (lambda g: SumOfCores(g, lambda x: x, np.zeros((1, 4))), "encoder: maps 4 units to .* fewer than the units"),
        (lambda g: SumOfCores(g, lambda x, y: x, np.zeros((1, 4))), "encoder: cannot be evaluated at a state"),
        (lambda g: SumOfCores(g, lambda x: x[:, 0], np.zeros((1, 4))), "encoder: cannot be evaluated at a state"),
    ],
)
def test_cores_that_are_not_functions_of_the_state_get_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make(GaussianMemory(np.zeros(4), np.eye(4)))


def test_a_mixture_of_one_gaussian_is_that_gaussian(rng):
    gaussian = GaussianMemory(rng.normal(size=4), rng.normal(size=(4, 4)))
    alone, mixed = (ReconstructiveMemory(part, ENCODER, np.eye(2)) for part in (gaussian, Mixture([gaussian], [3.0])))
    x = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(mixed.denoise(x, 0.5), alone.denoise(x, 0.5))

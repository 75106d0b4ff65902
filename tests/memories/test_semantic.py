"""Densities as memories: smoothed samples and parametrised manifolds (Eq. 24)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    GaussianMemory,
    Mixture,
    Observation,
    PatternMemory,
    Segment,
    Smoothed,
    Sphere,
    condition,
    manifold,
    recall,
)
from dispersed.validation import InputError

SIGMAS = (1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3)


def test_smoothed_samples_are_a_gaussian_mixture(x64, rng):
    samples = rng.normal(size=(7, 3))
    memory = Smoothed(PatternMemory(samples), 0.4)
    blobs = Mixture([GaussianMemory(y, 0.4 * np.eye(3)) for y in samples])
    slope = jax.jit(jax.vmap(jax.grad(memory.log_density), in_axes=(0, None)))
    x = 2 * rng.normal(size=(6, 3))
    for sigma in SIGMAS:
        np.testing.assert_allclose(memory.log_density(x, sigma), blobs.log_density(x, sigma), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(memory.denoise(x, sigma), blobs.denoise(x, sigma), atol=1e-9)
        np.testing.assert_allclose(memory.responsibilities(x, sigma), blobs.responsibilities(x, sigma), atol=1e-9)
        np.testing.assert_allclose(memory.denoise(x, sigma), x + sigma**2 * slope(x, sigma), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(memory.score(x, sigma), slope(x, sigma), rtol=1e-6, atol=1e-7)


def test_smoothing_adds_up_and_vanishes(x64, rng):
    memory = PatternMemory(rng.normal(size=(5, 2)))
    x = rng.normal(size=(4, 2))
    twice = Smoothed(Smoothed(memory, 0.3), 0.4)
    np.testing.assert_allclose(twice.denoise(x, 0.7), Smoothed(memory, 0.5).denoise(x, 0.7), rtol=1e-12)
    np.testing.assert_allclose(Smoothed(memory, 1e-9).denoise(x, 0.7), memory.denoise(x, 0.7), rtol=1e-12)


def test_smoothed_samples_are_conditioned_like_the_gaussian_mixture_they_are(x64, rng):
    samples = 2 * rng.normal(size=(6, 4))
    matrix, known = rng.normal(size=(2, 4)), np.array([True, True, False, False])
    x, probe = samples[2] + 0.2, rng.normal(size=4)
    kernel, blobs = (
        Smoothed(PatternMemory(samples), 0.4),
        Mixture([GaussianMemory(y, 0.4 * np.eye(4)) for y in samples]),
    )
    for observation in (Observation(x, mask=known, sigma=0.3), Observation(matrix @ x, operator=matrix, sigma=0.3)):
        one, other = (condition(memory, observation) for memory in (kernel, blobs))
        np.testing.assert_allclose(one.log_evidence, other.log_evidence, rtol=1e-9)
        for sigma in (1e-6, 0.6, 1e4):
            np.testing.assert_allclose(one.denoise(probe, sigma), other.denoise(probe, sigma), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(one.log_density(probe, sigma), other.log_density(probe, sigma), rtol=1e-9)
            np.testing.assert_allclose(
                one.responsibilities(probe, sigma), other.responsibilities(probe, sigma), rtol=1e-8, atol=1e-12
            )


def test_recall_between_the_samples_is_possible_only_when_smoothed(x64):
    samples = np.array([[-0.5, 0], [0.5, 0]])
    cue = np.array([0.1, 0.0])
    exact = recall(PatternMemory(samples), cue, sigma=0.3)
    smoothed = recall(Smoothed(PatternMemory(samples), 1.0), cue, sigma=0.3)
    np.testing.assert_allclose(exact.x, samples[1], atol=1e-3)
    assert np.abs(np.asarray(smoothed.x) - cue).max() < 0.1


def test_a_manifold_is_the_closed_form_of_its_shape(x64, rng):
    circle = manifold(lambda u: jnp.array([jnp.cos(u[0]), jnp.sin(u[0]), 0.0]), [0.0], [2 * np.pi], 128, periodic=True)
    line = manifold(lambda u: u[0] ** 3 * jnp.array([1.0, 2, 2]), [0.0], [1.0], 64)

    def at_angles(u):
        return 1.5 * jnp.array([jnp.cos(u[0]), jnp.sin(u[0]) * jnp.cos(u[1]), jnp.sin(u[0]) * jnp.sin(u[1])])

    sphere = manifold(at_angles, [0.0, 0.0], [np.pi, 2 * np.pi], [64, 96], periodic=[False, True])
    x = rng.normal(size=(5, 3))
    for sigma in (0.25, 1.0, 30.0):
        for memory, shape in [
            (circle, Sphere(np.zeros(3), 1.0, np.eye(3)[:2])),
            (line, Segment(np.zeros(3), [1.0, 2, 2])),
            (sphere, Sphere(np.zeros(3), 1.5)),
        ]:
            np.testing.assert_allclose(memory.log_density(x, sigma), shape.log_density(x, sigma), rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(memory.denoise(x, sigma), shape.denoise(x, sigma), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-14, 3e-13, 1.0, 1e15])
def test_volumes_of_manifolds_have_no_unit(unit):
    """Of a solid ball, whose volume elements in single precision are no numbers in small and large units."""

    def ball(u):
        at = jnp.array([jnp.sin(u[1]) * jnp.cos(u[2]), jnp.sin(u[1]) * jnp.sin(u[2]), jnp.cos(u[1])])
        return unit * u[0] * at

    memory = manifold(ball, [0.0] * 3, [1.0, np.pi, 2 * np.pi], 8, periodic=[False, False, True])
    inside = np.asarray(memory.patterns, float) / unit
    np.testing.assert_allclose(memory.weights @ inside**2, [0.2] * 3, rtol=1e-5)


def test_a_density_on_a_manifold_weighs_its_nodes(x64):
    line = manifold(lambda u: jnp.array([u[0], 0.0]), [0.0], [1.0], 40, density=lambda u: 2 * u[0])
    np.testing.assert_allclose(line.weights @ line.patterns, [2 / 3, 0], rtol=1e-12)


def not_finite(u):
    return jnp.array([jnp.log(u[0] - 0.5), 0.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Smoothed(PatternMemory(np.zeros((1, 1))), 0.0), "bandwidth: got 0; numbers above 0"),
        (lambda: Smoothed(PatternMemory(np.zeros((1, 1))), [1.0]), r"bandwidth: got shape \(1,\)"),
        (lambda: manifold(lambda u: u[0], [0.0], [1.0]), "embedding: returns"),
        (lambda: manifold(lambda u, v: u, [0.0], [1.0]), "embedding: cannot be called on 1 parameters"),
        (lambda: manifold(lambda u: jnp.ones(2), [0.0], [1.0]), "embedding, density: got a manifold without volume"),
        (lambda: manifold(not_finite, [0.0], [1.0]), "embedding: got .* NaN or infinite"),
        (lambda: manifold(lambda u: jnp.array([u[0], 0]), [1.0], [0.0]), "low, high: got"),
        (lambda: manifold(lambda u: u, [0.0], [1.0], [3, 4]), "nodes: got 2 values"),
        (lambda: manifold(lambda u: u, [0.0], [1.0], density=lambda u: -u[0]), "density: got -.*must not be negative"),
    ],
)
def test_bad_densities_get_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()

"""Memories in other units: lengths times c have the same slopes, in single precision too."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import Box, GaussianMemory, Mixture, Observation, ReconstructiveMemory, Segment, Sphere, condition

MEAN, FACTOR = np.array([1.0, 0.5, -0.25]), np.array([[1.0, 0.25], [0.5, -0.5], [0, 0.25]])
VALUE, OPERATOR = np.array([0.25, -0.375]), np.array([[1.0, 0.5, -0.25], [0.5, 0.0, 1.0]])
SIGMA = np.array([0.0625, 0.5, 4.0])


def blobs(c):
    return Mixture([GaussianMemory(c * MEAN * k, c * FACTOR * k) for k in (1, 2)])


def measured(memory, c):
    return condition(memory, Observation(c * VALUE, operator=OPERATOR, sigma=c * np.array([0.5, 0.75])))


def observed(memory, c):
    return condition(memory, Observation(c * MEAN, [True, False, True], sigma=c * 0.5))


MEMORIES = {
    "Gaussians, measured": lambda c: measured(blobs(c), c),
    "shapes": lambda c: Mixture([Segment(-c * MEAN, c * MEAN), Sphere(c * MEAN, c), blobs(c)]),
    "box, observed": lambda c: observed(Box(-c * np.ones(3), c * np.ones(3)), c),
    "cores": lambda c: ReconstructiveMemory(blobs(c), [[1.0, 0.5, 0]], c * np.array([[0.5], [-1]])),
}


@eqx.filter_jit
def slopes(memory, x, sigma):
    """∂D/∂x, σ ∂D/∂σ and σ ∂log p/∂σ."""

    def one(sigma):
        in_sigma = jax.jacfwd(memory._denoise, argnums=1)(x, sigma)
        return memory._jacobian(x, sigma), in_sigma, sigma * jax.grad(memory._log_density, argnums=1)(x, sigma)

    return jax.vmap(one)(sigma)


@pytest.mark.parametrize("name", MEMORIES)
def test_slopes_are_those_of_other_units(name):
    def found(c):
        arrays = (jnp.asarray(c * part, jnp.float32) for part in (MEAN + 0.25, SIGMA))
        return slopes(MEMORIES[name](c), *arrays)

    plain = found(1.0)
    for c in (2.0**-33, 2.0**33):  # σ⁴ is beyond single precision
        for part, other in zip(found(c), plain, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-3, atol=1e-4)

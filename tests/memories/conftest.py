"""Slow, plain oracles in double precision that the closed forms are held against."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest


def interval_nodes(low, high, away, sigma, panels=60, order=20):
    """Gauss–Legendre nodes and weights on [low, high] ∋ 0 for a Gaussian at `away`, whose nearest point is 0.

    Panels follow σ, and σ²/|away| where the falloff from an end is steeper. An empty interval is one point.
    """
    if low == high:
        return np.array([low]), np.array([1.0])
    at, weight = np.polynomial.legendre.leggauss(order)
    scale = min(sigma, sigma**2 / max(abs(away), sigma))
    edges = np.unique(np.clip(np.concatenate([[low, high], scale * np.linspace(-40, 40, 2 * panels + 1)]), low, high))
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * at).ravel(), (half[:, None] * weight).ravel()


@pytest.fixture
def nodes():
    return interval_nodes


METHODS = ("log_density", "energy", "score", "denoise", "nearest")


@eqx.filter_jit
def compiled(memory, x, sigma, names):
    found = {name: getattr(memory, name)(x, sigma) for name in names if name != "slope"}
    if "slope" in names:
        found["slope"] = jax.vmap(jax.grad(memory.log_density), in_axes=(0, None))(x, sigma)
    return found


def all_of(memory, x, sigma, names=(*METHODS, "slope")):
    """Every scalar and vector of a memory, and the slope of its density by autodiff; or only some of them.

    One program per kind of memory and shape of x, shared by all tests.
    """
    return compiled(memory, jnp.asarray(x), jnp.asarray(sigma, jnp.asarray(x).dtype), names)


@pytest.fixture
def everything():
    return all_of

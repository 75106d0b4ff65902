"""Figure 1: three kinds of memory in two dimensions, as energy landscapes with their gradient fields.

a) point memories (Eq. 12), b) extended, localised memories (Eq. 23), c) a non-localised, semantic memory, a
density on a curve (Eq. 24). The paper draws them; here each landscape is the exact energy −σ² log p_σ(x), and
its gradient field is D_σ(x) − x, the step that recall takes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.diagnostics import distance_to_memory, local_dimension
from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.memories import GaussianMemory, Memory, Mixture, PatternMemory, Segment, Sphere, manifold
from dispersed.paper.results import Row
from dispersed.types import Array, Float
from dispersed.validation import at_least, random_seed

REACH = 2.0
"""The panels show [−2, 2]²."""
SIGMA = 0.3
"""The noise level of the landscapes."""
Landscape = dict[str, np.ndarray]
"""The arrays of a panel by name."""


def _heart(u: Float[Array, " k"]) -> Float[Array, " d"]:
    """A closed curve, a circle with three lobes."""
    radius = 1.15 + 0.4 * jnp.cos(3 * u[0])
    return radius * jnp.array([jnp.cos(u[0] + 0.4), jnp.sin(u[0] + 0.4)])


def memories() -> dict[str, tuple[str, Memory]]:
    """The memory of each panel and the equation of its energy."""
    points = PatternMemory(np.array([[-1.2, 0.9], [1.1, 1.2], [0.9, -1.0], [-0.8, -1.1], [0.0, 0.2]]))
    extended = Mixture(
        [
            Segment(np.array([-1.5, 0.5]), np.array([-0.4, 1.5])),
            Sphere(np.array([0.9, 0.8]), 0.45),
            Segment(np.array([-1.4, -1.2]), np.array([-0.5, -0.6])),
            GaussianMemory(np.array([0.9, -1.0]), np.array([[0.35], [0.2]])),
        ]
    )
    semantic = manifold(
        _heart, 0.0 * np.ones(1), 2 * np.pi * np.ones(1), 200, density=lambda u: 1.2 + jnp.sin(u[0]), periodic=True
    )
    return {
        "points": ("Eq. 12", points),
        "extended": ("Eq. 23", extended),
        "semantic": ("Eq. 24", semantic),
    }


def figure1(seed: int = 0, starts: int = 400, resolution: int = 120) -> tuple[list[Row], dict[str, Landscape]]:
    """Recall in each landscape from `starts` random states, and the landscapes themselves.

    Returns one row per panel: `memory`, `equation`, `sigma`, the mean local dimension of the recalled states
    at σ = 0.05, their largest distance to the memory, and the number of `cells` of side 0.1 that they occupy;
    and for the figure, per panel, `energy` on a grid, `field` on a coarser one, and the recalled states.
    """
    random_seed(seed)
    at_least("starts", starts, 10)
    at_least("resolution", resolution, 10)
    axis = jnp.linspace(-REACH, REACH, resolution)
    coarse = jnp.linspace(-REACH, REACH, 21)
    cues = jax.random.uniform(jax.random.key(seed), (starts, 2), minval=-REACH, maxval=REACH)
    rows: list[Row] = []
    panels: dict[str, Landscape] = {}
    for name, (equation, memory) in memories().items():
        recalled = recall(memory, cues, ExponentialIntegrator(30, sigma_min=0.03), sigma=SIGMA).x
        cells = np.unique(np.round(np.asarray(recalled) / 0.1), axis=0)
        rows.append(
            {
                "memory": name,
                "equation": equation,
                "sigma": SIGMA,
                "local_dimension": float(local_dimension(memory, recalled, 0.05).mean()),
                "largest_distance": float(distance_to_memory(memory, recalled).max()),
                "cells": len(cells),
            }
        )
        grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1)
        sites = jnp.stack(jnp.meshgrid(coarse, coarse), axis=-1)
        panels[name] = {
            "energy": np.asarray(memory.energy(grid, SIGMA)),
            "sites": np.asarray(sites),
            "field": np.asarray(memory.denoise(sites, SIGMA) - sites),
            "recalled": np.asarray(recalled),
        }
    return rows, panels

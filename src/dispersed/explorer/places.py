r"""Where recall at a held σ ends, and the σ at which one such place splits into several.

A place is an attractor of x ← D_σ(x), that is a minimum of the energy E_σ, since D_σ(x) = x − ∇E_σ(x). It is found
from many starts at once by steps along the gradient, stretched where the energy is flat: along an eigenvector of
the Hessian with eigenvalue λ the step is that of D_σ divided by |λ|, where |λ| < 1. At a minimum that is Newton's
method, which is what counts near a split: there λ → 0 and iterating D_σ alone would take for ever. Across a saddle
the step leads away from it. Extended memories are iterated plainly; their splits are found to a few per cent.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components

from dispersed.dynamics import Iteration, recall
from dispersed.explorer.scene import CORES, LEAST, MOST, REACH, Item, Scene
from dispersed.memories import Memory, Mixture, Smoothed
from dispersed.types import Array, Float

LEVELS = {"points": 48, "smoothed": 48, "gaussians": 48, "extended": 24, "reconstructive": 24}
"""Noise levels asked at once."""
STEPS = 16
REFINEMENTS = 2
"""How often the interval in which a split lies is divided into smaller ones."""
SAME = {"points": 0.02, "smoothed": 0.02, "gaussians": 0.05, "extended": 0.1, "reconstructive": 0.1}
"""Ends no further apart than this are one place."""
ALONG = 0.5
"""Ends of neighbouring starts on one item are one place up to this distance."""
STARTS = 64


class Split(NamedTuple):
    """As σ falls below `sigma` the number of places changes from `before` to `after`."""

    sigma: float
    before: int
    after: int


class Places(NamedTuple):
    """The places at each of some noise levels, and the splits between them."""

    sigma: np.ndarray
    states: list[np.ndarray]
    """Per level one row a place."""
    splits: list[Split]


def places(scene: Scene, memory: Memory) -> Places:
    """The places of a scene's memory over all noise levels that the sliders reach."""
    count = LEVELS[scene.kind]
    ask = functools.partial(_states, memory, *_starts(scene), SAME[scene.kind])
    sigma = np.geomspace(MOST, LEAST, count)
    states = ask(sigma)
    changes = _changes([float(level) for level in sigma], [len(found) for found in states])
    for _ in range(REFINEMENTS):
        changes = _refined(ask, changes, count)
    splits = [Split(float(np.sqrt(high * low)), before, after) for high, low, before, after in changes]
    return Places(sigma, states, splits)


def _changes(sigma: list[float], counts: list[int]) -> list[tuple[float, float, int, int]]:
    """The intervals of σ over which the number of places changes, and from what to what."""
    steps = zip(sigma[:-1], sigma[1:], counts[:-1], counts[1:], strict=True)
    return [step for step in steps if step[2] != step[3]]


def _refined(ask: Callable[[np.ndarray], list[np.ndarray]], changes: list[Any], count: int) -> list[Any]:
    """The same changes in smaller intervals; one interval may turn out to hold several."""
    if not changes or len(changes) > count:
        return changes
    inside = count // len(changes)
    levels = [np.geomspace(high, low, inside + 2)[1:-1] for high, low, *_ in changes]
    asked = np.concatenate(levels)
    # As many levels as the program was compiled for.
    counts = iter([len(found) for found in ask(np.resize(asked, count))][: len(asked)])
    finer = []
    for (high, low, before, after), between in zip(changes, levels, strict=True):
        edges = [high, *map(float, between), low]
        finer += _changes(edges, [before, *(next(counts) for _ in between), after])
    return finer


def _states(memory: Memory, starts: np.ndarray, linked: np.ndarray, same: float, sigma: np.ndarray) -> list[np.ndarray]:
    """The places at each level, one row each."""
    if isinstance(memory, Smoothed):  # its minima are those of what it smooths, and there they are better conditioned
        sigma, memory = np.hypot(sigma, np.asarray(memory.bandwidth)), memory.memory
    levels = jnp.asarray(sigma, starts.dtype)
    if linked.any() and isinstance(memory, Mixture):
        # Second derivatives of shapes are costly, and along a shape Newton's method has nowhere to go.
        many = jnp.broadcast_to(starts, (len(levels), *starts.shape))
        ends = np.asarray(recall(memory, many, Iteration(60, tol=1e-4), sigma=levels[:, None]).x)
        settled = np.ones(ends.shape[:2], bool)
    else:
        ends, settled = jax.tree.map(np.asarray, _settle(memory, jnp.asarray(starts), levels))
    found: list[np.ndarray] = []
    for at, good in zip(ends, settled | linked.any(axis=1), strict=True):
        distance = np.linalg.norm(at[good][:, None] - at[good][None], axis=-1)
        near = (distance < same) | (linked[good][:, good] & (distance < ALONG))
        count, label = connected_components(near, directed=False)
        if count:
            found.append(np.array([at[good][label == group].mean(axis=0) for group in range(count)]))
        else:  # at the very split no start is at rest yet; the places are then those just above it
            found.append(found[-1] if found else starts[:1])
    return found


@jax.jit
def _settle(
    memory: Memory, starts: Float[Array, "n 2"], sigma: Float[Array, " levels"]
) -> tuple[Float[Array, "levels n 2"], Array]:
    """Where each start ends at each level, and whether it is at rest there, at a minimum."""

    def look(x: Array, level: Array) -> tuple[Array, Array]:
        """The step from x, and the least eigenvalue of the Hessian."""
        hessian = jnp.eye(2) - memory.jacobian(x, level)
        mean = jnp.trace(hessian) / 2
        rest = (hessian + hessian.T) / 2 - mean * jnp.eye(2)
        half = jnp.sqrt(rest[0, 0] ** 2 + rest[0, 1] ** 2)
        slope = memory.denoise(x, level) - x
        high, low = (1 / jnp.clip(jnp.abs(value), 3e-4, 1) for value in (mean + half, mean - half))
        # Any function of a symmetric 2 × 2 matrix is linear in it.
        move = (high + low) / 2 * slope + (high - low) / jnp.where(half > 0, 2 * half, 1) * (rest @ slope)
        return move * jnp.minimum(1, 0.5 / jnp.maximum(jnp.sqrt(move @ move), 1e-9)), mean - half

    def one(x: Array, level: Array) -> tuple[Array, Array]:
        x, _ = jax.lax.scan(lambda x, _: (x + look(x, level)[0], None), x, None, length=STEPS)
        move, least = look(x, level)
        return x, (jnp.sqrt(move @ move) < 0.01) & (least > -1e-3 * jnp.minimum(1, level))

    return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(starts, sigma)


def _starts(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Where to start from, and which starts are neighbours on one item, which may be a place in all its length."""
    if scene.kind in ("points", "smoothed"):
        axis = np.linspace(-REACH, REACH, 6)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        starts = np.concatenate([grid, np.resize([item.at for item in scene.items], (STARTS - len(grid), 2))])
        return starts.astype(np.float32), np.zeros((STARTS, STARTS), bool)
    if scene.kind == "gaussians":
        starts = np.resize([item.at for item in scene.items], (STARTS, 2))
        return starts.astype(np.float32), np.zeros((STARTS, STARTS), bool)
    items = list(scene.items)
    if scene.kind == "reconstructive":
        # An event is the line of all states with its core.
        a, b = CORES[scene.core]
        items = [Item("segment", event.at, (-b * REACH, a * REACH), event.weight) for event in scene.of("event")]
    owner = np.arange(STARTS) * len(items) // STARTS
    starts = np.concatenate([_along(item, int((owner == i).sum())) for i, item in enumerate(items)])
    number = np.arange(STARTS)
    gap = np.abs(number[:, None] - number[None])
    closed = np.array([item.shape in ("circle", "box") for item in items])[owner]
    around = closed & (gap == np.bincount(owner)[owner] - 1)
    return starts.astype(np.float32), (owner[:, None] == owner[None]) & ((gap == 1) | around)


def _along(item: Item, count: int) -> np.ndarray:
    """States along an item: on the line through it, or around it."""
    at, reach = np.array(item.at), np.array(item.reach)
    if item.shape in ("segment", "blob"):
        return at + np.linspace(-1, 1, count)[:, None] * reach
    turn = 2 * np.pi * np.arange(count) / count
    around = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    if item.shape == "circle":
        return at + np.hypot(*reach) * around
    return at + np.abs(reach) * around / np.abs(around).max(axis=-1, keepdims=True)

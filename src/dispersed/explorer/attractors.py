"""Attractors by kind of memory: the starts, and the items along which all states are attractors."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dispersed.bifurcation import Bifurcations, attractors_at, attractors_of, distinct, located
from dispersed.dynamics import Iteration, recall
from dispersed.explorer.scene import CORES, LEAST, MOST, REACH, ROOM, Item, Scene
from dispersed.explorer.work import Check

LEVELS = {"points": 48, "smoothed": 48, "gaussians": 48, "extended": 24, "reconstructive": 24}
"""Noise levels that are examined at once."""
SAME = {"points": 0.02, "smoothed": 0.02, "gaussians": 0.05, "extended": 0.1, "reconstructive": 0.1}
"""Ends no further apart than this are one attractor."""
ALONG = 0.5
"""Ends of neighbouring starts on one item are one attractor up to this distance."""
STARTS = 64
BETWEEN = 40
"""The middles of so many pairs of patterns, the closest, are starts: patterns that act together have minima there."""


def attractors(scene: Scene, memory: Any, check: Check) -> Bifurcations:
    """The attractors of a scene's memory over all levels that the sliders reach, and their splits."""
    starts, linked = _starts(scene)
    same = SAME.get(scene.kind, 0.02)

    def find(sigma: np.ndarray) -> list[np.ndarray]:
        check()
        if scene.is_network:
            networks: list[Any] = [scene.at(float(level)).memory() for level in sigma]
            return attractors_of(networks, starts, REACH, same)
        if linked is None:
            return attractors_at(memory, starts, sigma, REACH, same)
        # Along a shape all states are attractors: second derivatives are costly there and lead nowhere.
        many = np.broadcast_to(starts, (len(sigma), *starts.shape))
        ends = np.asarray(recall(memory, many, Iteration(60, tol=1e-4), sigma=jnp.asarray(sigma, "f4")[:, None]).x)
        return [*distinct(ends, np.ones(ends.shape[:2], bool), same, linked, ALONG)]

    return located(find, np.geomspace(MOST, LEAST, LEVELS.get(scene.kind, 48)))


def _starts(scene: Scene) -> tuple[np.ndarray, np.ndarray | None]:
    """Where to start from; of extended items also which starts are neighbours on one."""
    if scene.is_network:
        return _between(np.array([item.at for item in scene.items])), None
    if scene.kind in ("points", "smoothed"):
        axis = np.linspace(-REACH, REACH, 6)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        starts = np.concatenate([grid, np.resize([item.at for item in scene.items], (STARTS - len(grid), 2))])
        return starts.astype(np.float32), None
    if scene.kind == "gaussians":
        return np.resize([item.at for item in scene.items], (STARTS, 2)).astype(np.float32), None
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


def _between(patterns: np.ndarray) -> np.ndarray:
    """A grid, the patterns, and the middles of the closest pairs."""
    axis = np.linspace(-REACH, REACH, 8)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    one, other = np.triu_indices(len(patterns))  # the pair of a pattern with itself has it as its middle
    distance = np.linalg.norm(patterns[one] - patterns[other], axis=1)
    order = np.argsort(distance, kind="stable")[: len(patterns) + BETWEEN]
    middles = (patterns[one] + patterns[other])[order] / 2
    return np.concatenate([grid, np.resize(middles, (BETWEEN + ROOM["pattern"], 2))]).astype(np.float32)


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

"""What linear measurements say of any number of patterns, by NumPy alone: block after block, in double precision."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.collectives import all_gather
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.machine import cores, on_cores

TOLERANCE = 1e-5
"""The most by which round-off of products may change a logit in the worst case."""
ROWS = 1 << 14
"""Patterns that are converted to double precision at once."""


def after_measurement(placed: PlacedPatterns, observation: Observation) -> tuple[np.ndarray, float]:
    """The log weights of this host's patterns after a measurement, and log E exp(−½‖(v − A y)/τ‖²)."""
    found = _logits(placed, observation)
    if placed.uniform:
        found -= math.log(placed.total)
    top = all_gather(found.max()).max()
    total = top + np.log(all_gather(np.exp(found - top).sum()).sum())
    return found - total, float(total)


def _logits(placed: PlacedPatterns, observation: Observation) -> np.ndarray:
    """Log w_j − ½‖(v − A y_j)/τ‖² of this host's patterns for one measurement, (n,); log w_j = 0 if all weigh alike."""
    one = [np.asarray(part)[None] if part is not None else None for part in _parts(observation)]
    n = len(placed.storage)
    found = placed.log_weights(np.arange(n)).copy()

    def weigh(block: tuple[int, np.ndarray, Any]) -> tuple[int, np.ndarray]:
        start, codes, scale = block
        y = placed.encoding.decode(codes, scale, placed.shape[1]).astype(float)
        return start, _fit(y, *one)[0]

    for start, fit in on_cores(cores("cpu"), weigh, placed.storage.blocks(ROWS)):
        found[start : start + len(fit)] += fit
    return found


def misfit_logits(placed: PlacedPatterns, x: np.ndarray, known: np.ndarray | None, sigma: np.ndarray) -> np.ndarray:
    """−‖x − y_j‖²/2σ² over the observed entries of each cue (b, d) less the largest, of this host's patterns, (b, n).

    By products in double precision from the mean; where their round-off could change a weight, by differences.
    """
    observed = np.ones(x.shape, bool) if known is None else known
    precision = np.where(observed, 1.0 / sigma[:, None] ** 2, 0)
    centre = placed.mean
    z = np.where(observed, x - centre, 0)
    found = np.empty((len(x), len(placed.storage)))
    same = bool((observed == observed[0]).all())

    def decoded(block: tuple[int, np.ndarray, Any]) -> tuple[slice, np.ndarray]:
        start, codes, scale = block
        y = placed.encoding.decode(codes, scale, placed.shape[1]).astype(float)
        return slice(start, start + len(y)), y

    def by_products(block: tuple[int, np.ndarray, Any]) -> np.ndarray:
        where, y = decoded(block)
        y -= centre
        squares = (1 / sigma**2)[:, None] * (y**2 @ observed[0]) if same else precision @ (y**2).T
        found[:, where] = (precision * z) @ y.T - squares / 2
        return squares.max(axis=1)

    def by_differences(block: tuple[int, np.ndarray, Any]) -> None:
        where, y = decoded(block)
        for i in np.flatnonzero(~sufficient):
            found[i, where] = -((x[i] - y) ** 2 @ precision[i]) / 2

    def over(part: Any) -> list[Any]:
        return list(on_cores(cores("cpu"), part, placed.storage.blocks(ROWS)))

    square = np.max(over(by_products), axis=0)
    own = (precision * z * z).sum(axis=1)
    gamma = (x.shape[1] + 10) * float(np.finfo(float).eps)
    sufficient = gamma * (np.sqrt(own * square) + square) <= TOLERANCE / 2
    if not sufficient.all():
        over(by_differences)
    return found - found.max(axis=1, keepdims=True)


def batch_fits(y: np.ndarray, observations: Sequence[Observation]) -> Any:
    """Σ −½‖(v − A y_j)/τ‖² of patterns (k, d) over measurements of a batch of b states, (b, k); 0 without any.

    The arrays of the observations have an axis of states in front.
    """
    return sum((_fit(y, *_parts(observation)) for observation in observations), np.zeros(()))


def _parts(observation: Observation) -> tuple[Any, Any, Any, Any]:
    return observation.value, observation.mask, observation.operator, observation.sigma


def _fit(y: np.ndarray, value: Any, mask: Any, operator: Any, sigma: Any) -> np.ndarray:
    """−½‖(v − A y_j)/τ‖² for each of b measurements, (b, k)."""
    b = len(value)
    value = np.asarray(value, float)
    levels = np.broadcast_to(np.asarray(sigma, float).reshape(b, -1), value.shape)
    found = np.empty((b, len(y)))
    images = None
    for i in range(b):
        if operator is not None:
            if i == 0 or not np.array_equal(operator[i], operator[i - 1]):
                images = y @ np.asarray(operator[i], float).T
            off = (value[i] - images) / levels[i]
        else:
            seen = np.flatnonzero(mask[i])
            off = (value[i, seen] - y[:, seen]) / levels[i, seen]
        found[i] = -np.einsum("km,km->k", off, off) / 2
    return found


__all__ = ["after_measurement", "batch_fits"]

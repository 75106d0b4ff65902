"""What linear measurements say of any number of patterns, by NumPy alone: block after block, in double precision."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.collectives import all_gather
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.machine import cores, on_cores

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

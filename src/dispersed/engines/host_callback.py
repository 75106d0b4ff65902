"""Every pattern asked by NumPy alone, block after block in double precision: what a compiled program calls on its host.

A program that is running must not start another one, so the scans of this package cannot serve it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dispersed.engines.placed_patterns import PlacedPatterns

ROWS = 4096


class Answer(NamedTuple):
    """Of states (b, d)."""

    mean: Any
    """D_σ(x), (b, d)."""
    log_mass: Any
    """log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), (b,)."""
    square: Any
    """The posterior mean of ‖x − y‖², (b,)."""
    nearest: Any
    """The index of the likeliest pattern, (b,)."""
    responsibility: Any
    """The probability of that pattern, (b,)."""


def sums(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, known: np.ndarray | None = None) -> Answer:
    """What all patterns say of states x (b, d) at noise levels sigma (b,); only of their entries `known`, if given."""
    b, d = x.shape
    x = np.asarray(x, float)
    half = 1 / (2 * np.asarray(sigma, float) ** 2)
    seen = x if known is None else np.where(known, x, 0)
    own = np.sum(seen * seen, axis=1)
    top, mass, total, spread = np.full(b, -np.inf), np.zeros(b), np.zeros((b, d)), np.zeros(b)
    index, rows = np.zeros(b, np.int64), np.arange(b)
    for start, codes, scale in placed.storage.blocks(ROWS):
        y = placed.encoding.decode(codes, scale, d).astype(float)
        squares = np.sum(y * y, axis=1) if known is None else known @ (y * y).T
        distance = np.maximum(own[:, None] - 2 * seen @ y.T + squares, 0)
        logits = placed.log_weights(np.arange(start, start + len(y))) - half[:, None] * distance
        best = logits.argmax(axis=1)
        highest = logits[rows, best]
        index = np.where(highest > top, start + best, index)
        highest = np.maximum(top, highest)
        # A block of patterns without weight contributes nothing.
        safe = np.where(np.isfinite(highest), highest, 0)
        weight = np.exp(logits - safe[:, None])
        shrink = np.exp(top - safe)
        mass = mass * shrink + weight.sum(axis=1)
        total = total * shrink[:, None] + weight @ y
        spread = spread * shrink + np.sum(weight * distance, axis=1)
        top = highest
    log_mass = top + np.log(mass)
    prior = -np.log(len(placed.storage)) if placed.uniform else 0.0
    return Answer(total / mass[:, None], log_mass + prior, spread / mass, index, np.exp(top - log_mass))


def responsibilities(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """p(j | x) of all patterns for states x (b, d) at noise levels sigma (b,), (b, n)."""
    logits = np.concatenate(list(_logits(placed, x, sigma)), axis=1)
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def jacobian(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Cov[y | x]/σ² of states x (b, d) at noise levels sigma (b,), (b, d, d)."""
    found = sums(placed, x, sigma)
    log_mass = found.log_mass + (np.log(len(placed.storage)) if placed.uniform else 0)
    total = np.zeros((len(x), x.shape[1], x.shape[1]))
    for (_, y), logits in zip(_slices(placed), _logits(placed, x, sigma), strict=True):
        for i, weight in enumerate(np.exp(logits - log_mass[:, None])):
            step = y - found.mean[i]
            total[i] += (weight[:, None] * step).T @ step
    return total / np.asarray(sigma, float)[:, None, None] ** 2


def closest(placed: PlacedPatterns, x: np.ndarray) -> np.ndarray:
    """The patterns nearest to states x (b, d), (b, d)."""
    best, index = np.full(len(x), np.inf), np.zeros(len(x), np.int64)
    for start, y in _slices(placed):
        for i, state in enumerate(np.asarray(x, float)):
            distance = np.sum((y - state) ** 2, axis=1)
            nearest = distance.argmin()
            if distance[nearest] < best[i]:
                best[i], index[i] = distance[nearest], start + nearest
    return placed.patterns(index)


def draw(placed: PlacedPatterns, bits: np.ndarray) -> np.ndarray:
    """Patterns drawn by their prior weights, one for each pair of random words (b, 2), (b, d)."""
    high, low = np.asarray(bits, np.uint64).T
    uniform = (high * 2.0**21 + (low >> np.uint64(11))) * 2.0**-53
    n = len(placed.storage)
    if placed.uniform:
        return placed.patterns(np.floor(uniform * n).astype(np.int64))
    total = np.cumsum(np.exp(placed.log_weights(np.arange(n))))
    return placed.patterns(np.searchsorted(total, uniform * total[-1], side="right"))


def start(placed: PlacedPatterns) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the patterns by their prior weights, (d,), and the root-mean-square distance from it."""
    if placed.uniform:
        return placed.mean, np.asarray(placed.spread)
    parts = [(np.exp(placed.log_weights(np.arange(first, first + len(y)))), y) for first, y in _slices(placed)]
    mean = np.sum([weight @ y for weight, y in parts], axis=0)
    return mean, np.asarray(np.sqrt(np.sum([weight @ np.sum((y - mean) ** 2, axis=1) for weight, y in parts])))


def _slices(placed: PlacedPatterns) -> Iterator[tuple[int, np.ndarray]]:
    """The index of the first and the patterns themselves, in double precision, block after block."""
    for start, codes, scale in placed.storage.blocks(ROWS):
        yield start, placed.encoding.decode(codes, scale, placed.shape[1]).astype(float)


def _logits(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> Iterator[np.ndarray]:
    """The logits log w_j − ‖x − y_j‖²/(2σ²), block after block."""
    x = np.asarray(x, float)
    half = 1 / (2 * np.asarray(sigma, float) ** 2)
    own = np.sum(x * x, axis=1)
    for start, y in _slices(placed):
        distance = np.maximum(own[:, None] - 2 * x @ y.T + np.sum(y * y, axis=1), 0)
        yield placed.log_weights(np.arange(start, start + len(y))) - half[:, None] * distance

"""Every pattern asked by NumPy alone, block after block in double precision: what a compiled program calls on its host.

A program that is running must not start another one, so the scans of this package cannot serve it.
"""

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


def ask(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, known: np.ndarray | None = None) -> Answer:
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

"""Every pattern by NumPy alone, block after block in double precision: what a compiled program calls on its host.

A program that is running must not start another one, so the scans of this package cannot serve it. Measurements that
were made inside of a program are weighed with the patterns, in the same pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.host_evidence import batch_fits
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


def sums(placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray) -> Answer:
    """What all patterns say of states x (b, d) at noise levels sigma (b,); nothing but their weights where σ = ∞."""
    b, d = x.shape
    top, mass, total, spread = np.full(b, -np.inf), np.zeros(b), np.zeros((b, d)), np.zeros(b)
    index, rows = np.zeros(b, np.int64), np.arange(b)
    for start, y, logits, distance in _logits(placed, observations, np.asarray(x, float), np.asarray(sigma, float)):
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


def squares(
    placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray, number: int
) -> np.ndarray:
    """The posterior mean of ((v − A y)/τ)² of every entry of one of the measurements, (b, m)."""
    observation = observations[number]
    operator: Any = observation.operator
    b = len(x)
    value = np.asarray(observation.value, float)
    levels = np.broadcast_to(np.asarray(observation.sigma, float).reshape(b, -1), value.shape)
    top, mass, total = np.full(b, -np.inf), np.zeros(b), np.zeros(value.shape)
    for _, y, logits, _ in _logits(placed, observations, np.asarray(x, float), np.asarray(sigma, float)):
        highest = np.maximum(top, logits.max(axis=1))
        safe = np.where(np.isfinite(highest), highest, 0)
        weight, shrink = np.exp(logits - safe[:, None]), np.exp(top - safe)
        mass, top = mass * shrink + weight.sum(axis=1), highest
        for i in range(b):
            images = y if operator is None else y @ np.asarray(operator[i], float).T
            total[i] = total[i] * shrink[i] + weight[i] @ ((value[i] - images) / levels[i]) ** 2
    found = total / mass[:, None]
    return found if observation.mask is None else np.where(observation.mask, found, 0)


def responsibilities(
    placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """p(j | x) of all patterns for states x (b, d) at noise levels sigma (b,), (b, n)."""
    parts = _logits(placed, observations, np.asarray(x, float), np.asarray(sigma, float))
    return _normalised(np.concatenate([logits for _, _, logits, _ in parts], axis=1))


def jacobian(
    placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """Cov[y | x]/σ² of states x (b, d) at noise levels sigma (b,), (b, d, d)."""
    total = np.zeros((*x.shape, x.shape[1]))
    for i, weight, step in _deviations(placed, observations, x, sigma, sums(placed, observations, x, sigma)):
        total[i] += (weight[:, None] * step).T @ step
    return total / np.asarray(sigma, float)[:, None, None] ** 2


def pushed(
    placed: PlacedPatterns,
    observations: Sequence[Observation],
    v: np.ndarray,
    x: np.ndarray,
    sigma: np.ndarray,
    found: Answer | None = None,
) -> np.ndarray:
    """Cov[y | x] v/σ² of vectors v and states x (b, d) at noise levels sigma (b,), (b, d), summed over these patterns.

    `found` holds the mean and the mass of the patterns of all hosts.
    """
    total = np.zeros(x.shape)
    found = sums(placed, observations, x, sigma) if found is None else found
    for i, weight, step in _deviations(placed, observations, x, sigma, found):
        total[i] += (weight * (step @ np.asarray(v[i], float))) @ step
    return total / np.asarray(sigma, float)[:, None] ** 2


def _deviations(
    placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray, found: Answer
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Block after block and state after state its number, the probabilities of the patterns, (k,), and y_j − D."""
    log_mass = found.log_mass + (np.log(placed.total) if placed.uniform else 0)
    for _, y, logits, _ in _logits(placed, observations, np.asarray(x, float), np.asarray(sigma, float)):
        for i, weight in enumerate(np.exp(logits - log_mass[:, None])):
            yield i, weight, y - found.mean[i]


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


def draw(
    placed: PlacedPatterns, observations: Sequence[Observation], bits: np.ndarray, x: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Patterns drawn by their probabilities p(j | x), one for each pair of random words (b, 2), (b, d), and their
    indices, (b,); by their weights where σ = ∞.
    """
    high, low = np.asarray(bits, np.uint64).T
    uniform = (high * 2.0**21 + (low >> np.uint64(11))) * 2.0**-53
    n = len(placed.storage)
    if placed.uniform and not observations and np.isinf(sigma).all():
        index = np.floor(uniform * n).astype(np.int64)
    else:
        total = np.cumsum(responsibilities(placed, observations, x, sigma), axis=1)
        index = np.array([np.searchsorted(t, u * t[-1], side="right") for t, u in zip(total, uniform, strict=True)])
    return placed.patterns(index), index


def start(placed: PlacedPatterns, observations: Sequence[Observation], b: int) -> tuple[np.ndarray, np.ndarray]:
    """The means of the patterns by their weights, (b, d), and the root-mean-square distances from them, (b,)."""
    if not observations:
        mean = placed.prior_mean / placed.statistics.factor
        return np.broadcast_to(mean, (b, *mean.shape)), np.full(b, placed.spreads.weighted)
    # Squared distances from a point among the patterns keep the digits of a spread that is small beside the offset.
    first = np.broadcast_to(placed.mean, (b, placed.shape[1]))
    found = sums(placed, observations, first, np.full(b, np.inf))
    square = found.square - np.sum((found.mean - first) ** 2, axis=1)
    return found.mean, np.sqrt(np.maximum(square, 0))


def _normalised(logits: np.ndarray) -> np.ndarray:
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def _slices(placed: PlacedPatterns) -> Iterator[tuple[int, np.ndarray]]:
    """The index of the first and the patterns themselves, in double precision, block after block."""
    for start, codes, scale in placed.storage.blocks(ROWS):
        yield start, placed.encoding.decode(codes, scale, placed.shape[1]).astype(float)


def _logits(
    placed: PlacedPatterns, observations: Sequence[Observation], x: np.ndarray, sigma: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Block after block the index of the first pattern, the patterns, their logits (b, k), and ‖x − y_j‖² (b, k)."""
    half, centre = 1 / (2 * sigma**2), placed.mean
    # Squares of what is far from the origin would hide the distances.
    off = x - centre
    own = np.sum(off * off, axis=1)
    for start, y in _slices(placed):
        near = y - centre
        distance = np.maximum(own[:, None] - 2 * off @ near.T + np.sum(near * near, axis=1), 0)
        logits = placed.log_weights(np.arange(start, start + len(y))) - half[:, None] * distance
        yield start, y, logits + batch_fits(y, observations), distance

"""A slow, plain posterior in extended precision, and pattern sets that are hard for a fast one."""

import numpy as np

from dispersed.engines.dataset_statistics import DatasetStatistics
from dispersed.engines.options import ScanOptions
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.storage import InMemory, Storage


def exact(patterns, log_weights, x, sigma):
    """log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), D_σ(x) and p(j | x) of one state, in extended precision."""
    y, x = patterns.astype(np.longdouble), np.asarray(x, np.longdouble)
    logits = np.asarray(log_weights, np.longdouble) - ((y - x) ** 2).sum(axis=1) / (2 * np.longdouble(sigma) ** 2)
    top = logits.max()
    share = np.exp(logits - top)
    total = share.sum()
    return top + np.log(total), share @ y / total, share / total


def families(rng, n, d):
    """Pattern sets by name, each with prior weights."""
    centres = rng.normal(size=(8, d))
    clustered = centres[rng.integers(8, size=n)] + 0.01 * rng.normal(size=(n, d))
    near = np.repeat(rng.normal(size=(n // 4, d)), 4, axis=0) * (1 + 1e-4 * rng.normal(size=(n // 4 * 4, 1)))
    directions = rng.normal(size=(n, d))
    heavy = (
        directions
        / np.linalg.norm(directions, axis=1, keepdims=True)
        * np.minimum(np.abs(rng.standard_t(1.5, size=(n, 1))), 300)
    )
    sets = {
        "gaussian": rng.normal(size=(n, d)),
        "binary": np.sign(rng.normal(size=(n, d))),
        "clustered": clustered,
        "duplicated": rng.normal(size=(n // 5, d))[rng.integers(n // 5, size=n)],
        "nearly tied": near,
        "heavy-tailed": heavy,
        "far from zero": 50 + rng.normal(size=(n, d)),
    }
    uneven = np.where(rng.random(n) < 0.2, 0, rng.exponential(size=n) ** 4)
    for name, patterns in sets.items():
        yield name, patterns.astype(np.float32), np.ones(len(patterns))
        yield f"{name}, uneven", patterns.astype(np.float32), uneven[: len(patterns)]


def placed(patterns, weights=None, log_weights=None, **options):
    """Patterns, or a storage, ready to be scanned."""
    storage = patterns if isinstance(patterns, Storage) else InMemory(np.asarray(patterns, np.float32))
    if weights is not None:
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
    if log_weights is not None:
        log_weights = log_weights - np.logaddexp.reduce(log_weights)
    return PlacedPatterns(storage, log_weights, None, ScanOptions(**options))


def described(patterns, log_weights=None, centre=0.0, radius=1.0, flush=0.0, max_log_weight=0.0, **options):
    """Patterns on no device, with any statistics: all that what is computed on the host reads of them."""
    held = object.__new__(PlacedPatterns)
    y = np.asarray(patterns, np.float32)
    n, d = y.shape
    held.storage, held.options, held._log_weights = InMemory(y), ScanOptions(**options), log_weights
    held.first, held.total, held.present, held.height = 0, n, n, n
    centre = np.full(d, float(centre))
    held.statistics = DatasetStatistics(0, centre, centre, radius, radius, flush, max_log_weight)
    return held

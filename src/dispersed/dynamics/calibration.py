r"""Calibration: of the memories given probability p, does a fraction p turn out to be the right one?

Cues are made from known patterns, so the truth behind each is known. All pairs (cue, pattern) are sorted by
their stated probability p(j | cue) into bins; in every bin the fraction of pairs in which j is the truth is set
beside the mean stated probability. On the diagonal the memory knows how much it knows.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dispersed.dynamics.posterior import wilson
from dispersed.types import ArrayLike
from dispersed.validation import InputError, at_least, double_array, plain_array

FEW = 5
"""Where fewer truths than this are expected in a bin, draws from the stated probabilities take the place of χ²."""
DRAWS = 4000
AT_ONCE = 1 << 20
"""Truths that are drawn at once."""


class Reliability(NamedTuple):
    """A reliability curve over the bins that hold any pair, and a test that it is the diagonal."""

    stated: Float[np.ndarray, " bins"]
    """Mean stated probability of the pairs in each bin."""
    observed: Float[np.ndarray, " bins"]
    """Fraction of them in which the pattern is the truth."""
    low: Float[np.ndarray, " bins"]
    """Wilson interval of that fraction, lower end."""
    high: Float[np.ndarray, " bins"]
    """Upper end."""
    pairs: Int[np.ndarray, " bins"]
    """Pairs in each bin."""
    chi_squared: float
    """Dᵀ C⁺ D, with D the observed minus the stated number of truths in each bin and C its covariance."""
    freedom: int
    """The rank of C."""
    p_value: float
    """How often calibrated probabilities would be this far from the diagonal: by χ², or by 4,000 draws of the truths
    where fewer than five are expected in a bin."""
    gap: float
    """Σ_b |truths − stated truths| over the bins, per cue: the calibration error."""
    expected_gap: float
    """The gap that calibrated probabilities would have on average, over as many cues."""


def reliability(probabilities: ArrayLike, truth: ArrayLike, bins: int = 10, level: float = 0.95) -> Reliability:
    """The reliability of stated `probabilities` (cues, n) of which pattern lies behind each cue.

    **Arguments**: `truth`, (cues,), the index of the pattern that does; `bins` of equal width in [0, 1];
    `level` of the intervals.

    The truth of a cue falls into exactly one bin, bin b with the probability P_b that its patterns there sum
    to. The numbers of truths in the bins are therefore sums of independent categorical draws with covariance
    C = Σ_cues (diag P − P Pᵀ), which makes the χ² exact up to the normal approximation. That fails where few truths are
    expected in a bin, as of a memory that is sure of nearly all cues: truths are then drawn from the probabilities.
    """
    from scipy import stats  # half a second to import

    p, right = double_array("probabilities", probabilities), plain_array("truth", truth)
    bins = at_least("bins", bins, 2)
    if p.ndim != 2 or 0 in p.shape:
        raise InputError("probabilities", f"got shape {p.shape}", "one row per cue, shape (cues, n), is accepted")
    if right.shape != (len(p),) or right.dtype.kind not in "iu" or not ((right >= 0) & (right < p.shape[1])).all():
        accepted = f"one index from 0 to {p.shape[1] - 1} per cue, shape ({len(p)},), is accepted"
        raise InputError("truth", f"got shape {right.shape} of {right.dtype}", accepted)
    if not np.isfinite(p).all() or (p < 0).any() or (abs(p.sum(axis=1) - 1) > 1e-3).any():
        raise InputError("probabilities", "got rows that are no distributions", "each row must sum to 1")
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    in_bin = bin_of[..., None] == np.arange(bins)
    stated = np.einsum("cn,cnb->cb", p / p.sum(axis=1, keepdims=True), in_bin)
    expected = stated.sum(axis=0)
    truths = in_bin[np.arange(len(p)), right].sum(axis=0)
    pairs = in_bin.sum(axis=(0, 1))
    covariance = np.diag(expected) - stated.T @ stated
    values, vectors = np.linalg.eigh(covariance)
    carried = values > 1e-12 * max(values.max(), 1e-300)

    def chi_squared(difference: np.ndarray) -> np.ndarray:
        along = difference @ vectors
        # Infinite where a truth lies in a bin that it could not be in.
        impossible = np.abs(along[..., ~carried]).max(axis=-1, initial=0) > 1e-6
        return np.where(impossible, np.inf, (along[..., carried] ** 2 / values[carried]).sum(axis=-1))

    difference = truths - expected
    statistic, freedom = float(chi_squared(difference)), int(carried.sum())
    p_value = float(stats.chi2.sf(statistic, freedom)) if freedom else float(statistic == 0)
    expected_gap = float(np.sqrt(2 / np.pi * np.diag(covariance).clip(0)).sum() / len(p))
    if expected[expected > 0].min() < FEW:
        drawn = _drawn(stated) - expected
        larger = int((chi_squared(drawn) >= statistic * (1 - 1e-9)).sum())  # equal up to round-off
        p_value = (larger + 1) / (DRAWS + 1) if np.isfinite(statistic) else 0.0
        expected_gap = float(np.abs(drawn).sum() / DRAWS / len(p))
    used = pairs > 0
    low, high = wilson(truths[used], pairs[used], level)
    return Reliability(
        expected[used] / pairs[used],
        truths[used] / pairs[used],
        np.asarray(low),
        np.asarray(high),
        pairs[used],
        statistic,
        freedom,
        p_value,
        float(np.abs(difference).sum() / len(p)),
        expected_gap,
    )


def _drawn(stated: Float[np.ndarray, "cues bins"]) -> Int[np.ndarray, "draws bins"]:
    """Numbers of truths in the bins, drawn from the stated probabilities."""
    rng, cumulative = np.random.default_rng(0), stated.cumsum(axis=1)[:, :-1]
    step = max(1, AT_ONCE // len(stated))
    parts = []
    for start in range(0, DRAWS, step):
        uniform = rng.random((min(step, DRAWS - start), len(stated)))
        index = np.sum([uniform >= edge for edge in cumulative.T], axis=0)
        parts.append(np.stack([(index == b).sum(axis=1) for b in range(stated.shape[1])], axis=1))
    return np.concatenate(parts)

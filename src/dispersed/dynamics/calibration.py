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
    """How often calibrated probabilities would be this far from the diagonal."""
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
    C = Σ_cues (diag P − P Pᵀ), which makes the χ² exact up to the normal approximation.
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
    stated = np.einsum("cn,cnb->cb", p, in_bin)
    truths = in_bin[np.arange(len(p)), right].sum(axis=0)
    pairs = in_bin.sum(axis=(0, 1))
    covariance = np.diag(stated.sum(axis=0)) - stated.T @ stated
    values, vectors = np.linalg.eigh(covariance)
    carried = values > 1e-6 * max(values.max(), 1e-300)
    difference = truths - stated.sum(axis=0)
    statistic = float(((vectors[:, carried].T @ difference) ** 2 / values[carried]).sum())
    used = pairs > 0
    low, high = wilson(truths[used], pairs[used], level)
    return Reliability(
        stated.sum(axis=0)[used] / pairs[used],
        truths[used] / pairs[used],
        np.asarray(low),
        np.asarray(high),
        pairs[used],
        statistic,
        int(carried.sum()),
        float(stats.chi2.sf(statistic, carried.sum())),
        float(np.abs(difference).sum() / len(p)),
        float(np.sqrt(2 / np.pi * np.diag(covariance).clip(0)).sum() / len(p)),
    )

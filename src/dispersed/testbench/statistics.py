r"""Tests that samples are draws of a known distribution, without cells that are too rare to count.

Counts c_j of N draws are held against probabilities p_j by the likelihood ratio

    G = 2 Σ_j c_j log(c_j/(N p_j)),

whose distribution is taken from multinomial draws themselves and not from χ², so no cell is joined to another and a
count of 3 where 10⁻⁷ was expected decides. Where G is far out, the bound of Agrawal (2020, Theorem I.2)

    P(G ≥ g) ≤ e^{−g/2} (e g/(2(k−1)))^{k−1},    g > 2(k−1),

for k cells holds at every N, and no draws are needed. G hardly sees that many rare cells were never drawn, each of
which was not expected once; the sums of the rarest cells, which are binomial, do.
"""

from typing import Any

import numpy as np
from scipy.special import xlogy
from scipy.stats import binom, ks_2samp

SIMULATED, ENOUGH, BLOCK = 50_000, 30, 1000


def likelihood_ratio(counts: np.ndarray, p: np.ndarray) -> Any:
    """G of counts (..., k)."""
    expected = counts.sum(axis=-1, keepdims=True) * np.maximum(p, 1e-300)
    return 2 * (xlogy(counts, counts) - counts * np.log(expected)).sum(axis=-1)


def multinomial_p_value(counts: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> float:
    """The probability that draws of p have a G as large as the counts (k,) have, or an upper bound on it below 10⁻⁶.

    Draws stop once `ENOUGH` of them were as large (Besag & Clifford 1991), which leaves the p-value exact.
    """
    found, freedom = float(likelihood_ratio(counts, p)), len(p) - 1
    if freedom == 0:
        return 1.0
    if found > 2 * freedom:
        bound = np.exp(-found / 2 + freedom * (1 + np.log(found / 2 / freedom)))
        if bound < 1e-6:
            return float(bound)
    total, larger = int(counts.sum()), 0
    for done in range(BLOCK, SIMULATED + 1, BLOCK):
        # Equal counts have an equal G up to round-off.
        simulated = likelihood_ratio(rng.multinomial(total, p, BLOCK).astype(float), p) >= found - 1e-9 * abs(found)
        if larger + simulated.sum() >= ENOUGH:
            at = done - BLOCK + int(np.flatnonzero(np.cumsum(simulated) == ENOUGH - larger)[0]) + 1
            return ENOUGH / at
        larger += int(simulated.sum())
    return (larger + 1) / (SIMULATED + 1)


def cumulative_p_value(counts: np.ndarray, p: np.ndarray) -> float:
    """The least probability of a count of the 1, 2, … k−1 rarest cells together, times the 2(k−1) tails."""
    order = np.argsort(p, kind="stable")[:-1]
    if not order.size:
        return 1.0
    total, of_rare, expected = counts.sum(), np.cumsum(counts[order]), np.clip(np.cumsum(p[order]), 0, 1)
    tails = np.minimum(binom.cdf(of_rare, total, expected), binom.sf(of_rare - 1, total, expected))
    return float(min(1.0, 2 * len(order) * tails.min()))


def goodness_of_fit(counts: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> float:
    """The p-value of counts (k,) under p by both tests: twice the smaller one."""
    return min(1.0, 2 * min(multinomial_p_value(counts, p, rng), cumulative_p_value(counts, p)))


def total_variation_floor(p: np.ndarray, draws: int) -> float:
    """The total variation that so many independent draws of p have on average.

    De Moivre's mean absolute deviation of a binomial count: E|K − mp| = 2k(1−p) P(K = k), k = ⌊mp⌋ + 1.
    """
    k = np.floor(draws * p) + 1
    return float(np.sum(2 * k * (1 - p) * binom.pmf(k, draws, p)) / draws / 2)


def projections(reference: np.ndarray, others: int, rng: np.random.Generator) -> np.ndarray:
    """Directions (m, d) along which samples are compared: the principal axes of a reference, and random ones."""
    _, _, axes = np.linalg.svd(reference - reference.mean(axis=0), full_matrices=False)
    random = rng.standard_normal((others, reference.shape[1]))
    return np.concatenate([axes[:16], random / np.linalg.norm(random, axis=1, keepdims=True)])


def largest_distance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The largest Kolmogorov–Smirnov distance of columns of (n, m) and (k, m), and its p-value, that of m tests."""
    tests = [ks_2samp(a, b, method="asymp") for a, b in zip(one.T, other.T, strict=True)]
    return max(float(t.statistic) for t in tests), min(1.0, len(tests) * min(float(t.pvalue) for t in tests))


__all__ = [
    "cumulative_p_value",
    "goodness_of_fit",
    "largest_distance",
    "likelihood_ratio",
    "multinomial_p_value",
    "projections",
    "total_variation_floor",
]

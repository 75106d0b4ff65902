r"""Which samples are nearer to the training patterns than held-out states are, at a stated rate of false alarms.

Held-out states h_1 … h_m and a sample x of a model that generalises are exchangeable. So the rank of x among all m + 1,
by whatever score that treats them alike, is uniform, and p = rank/(m + 1) is below a with a probability of at most a,
whatever the data and the dimension (Vovk, Gammerman & Shafer 2005). The score here is the smaller of the two ranks
that a state has by its distance to the nearest pattern and by the ratio of that to the next distance; the larger one
decides between equals.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binom

from dispersed.types import Float

TAIL = 0.025
"""How improbable what was found may be at the ends of an interval."""
AT_ONCE = 1 << 21
"""Pairs of a sample and a held-out state that are in memory at once."""
NODES = 400
"""Values of the rate of false alarms over which probabilities are averaged."""


class Rate(NamedTuple):
    """The fraction of samples that are copies, and its 95 % interval."""

    copied: float
    low: float
    high: float


def p_values(held_out: list[np.ndarray], samples: list[np.ndarray]) -> Float[np.ndarray, " n"]:
    """The p-value of each sample by one or two statistics, of which small values say that it is a copy.

    The rank of a state by a statistic is the number of all m + 1 states with a value that is not larger, itself
    included; its score is its smallest rank, and its largest one among equals; p is the fraction of the m + 1 scores
    that are not larger.
    """
    m = len(held_out[0])
    ranks = [_ranks(values, values) for values in held_out]
    # The sample adds one to its own rank, and to those of the states that it is not above.
    own = [_ranks(values, new) + 1 for values, new in zip(held_out, samples, strict=True)]
    if len(own) == 1:
        return own[0] / (m + 1)
    score = _score(own, m)
    p = np.empty(len(score))
    step = max(1, AT_ONCE // m)
    for start in range(0, len(score), step):
        part = slice(start, start + step)
        beside = [
            rank + (new[part, None] <= values) for rank, values, new in zip(ranks, held_out, samples, strict=True)
        ]
        p[part] = ((_score(beside, m) <= score[part, None]).sum(axis=1) + 1) / (m + 1)
    return p


def false_alarm_count(held_out: list[np.ndarray], false_alarms: float) -> int:
    """How many held-out states would be called copies beside the others: fewer than allowed where there are ties."""
    m = len(held_out[0])
    score = _score([_ranks(values, values) for values in held_out], m)
    return int((_ranks(score, score) / (m + 1) <= false_alarms + 1e-12).sum())


def _ranks(values: np.ndarray, states: np.ndarray) -> np.ndarray:
    """How many values are not larger than that of each state."""
    ranks = np.searchsorted(np.sort(values), states, "right")
    # Half the time where scores, which are below (m + 2)², have room in it.
    return ranks.astype(np.int32 if len(values) < 40_000 else np.int64)


def _score(ranks: list[np.ndarray], m: int) -> np.ndarray:
    """Whole numbers in the order of the smallest rank, and of the largest among equals."""
    score = np.minimum(ranks[0], ranks[-1])
    score *= m + 2
    score += np.maximum(ranks[0], ranks[-1])
    return score


def rate(found: int, samples: int, alarms: int, held_out: int) -> Rate:
    """The fraction of copies when `found` samples were called copies, without the false alarms among them.

    With a fraction π of copies, all of which are found, each sample is called a copy with the probability π + (1 − π)a.
    The rate a of false alarms is itself random: if `alarms` of the m held-out states lie beyond the limit it is
    distributed as Beta(alarms, m + 1 − alarms), whatever the data are. The interval holds every π for which neither so
    many samples called copies, nor so few, have a probability below 2.5 %.
    """
    if not held_out:
        return Rate(found / samples, *proportion(found, samples, 0.025))
    # Quantiles of equal probability, and no false alarm at all where ties allow none.
    nodes = (np.arange(NODES) + 0.5) / NODES
    few = beta.ppf(nodes, alarms, held_out + 1 - alarms) if alarms else np.zeros(1)
    many = beta.ppf(nodes, max(alarms, 1), held_out + 1 - max(alarms, 1))
    a = alarms / held_out

    def so_many(copied: float) -> float:
        return float(binom.sf(found - 1, samples, copied + (1 - copied) * many).mean())

    def so_few(copied: float) -> float:
        return float(binom.cdf(found, samples, copied + (1 - copied) * few).mean())

    # Where every held-out state would be called a copy, calls say nothing.
    copied = max(0.0, (found / samples - a) / (1 - a)) if a < 1 else 0.0
    low = 0.0 if so_many(0.0) >= TAIL else float(brentq(lambda copied: so_many(copied) - TAIL, 0, 1))
    # Where even no copies at all leave too few, 0 is all that is left.
    high = 1.0 if found == samples else 0.0
    if found < samples and so_few(0.0) > TAIL:
        high = float(brentq(lambda copied: so_few(copied) - TAIL, 0, 1))
    return Rate(copied, min(low, copied), max(high, copied))


def proportion(count: int, total: int, tail: float) -> tuple[float, float]:
    """The interval of a probability by `count` of `total`, each end wrong with a probability of at most `tail`."""
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return low, high

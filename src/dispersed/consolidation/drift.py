r"""What replay does by chance alone: the neutral baseline, exactly.

A memory that is trained on its own M replays draws its next weights as w' = K/M with K ~ Multinomial(M, w). This
is the Wright–Fisher model of population genetics: weights drift without any tendency until one memory is left.

- The expected diversity 1 − Σ_j w_j² shrinks by 1 − 1/M in every generation.
- Each memory is the last one with the probability of its first weight: 1/N of N equal ones.
- Looking back, k traces have as many ancestors one generation earlier as k balls fill of M boxes. All traces
  show one memory if all their A first ancestors, drawn independently, do: P = E[N^{1−A}].

**Source**: Fisher (1930); Wright (1931); Kingman (1982) for the ancestors.
"""

import numpy as np
from jaxtyping import Float

from dispersed.validation import InputError, at_least


def diversity(weights: np.ndarray) -> np.ndarray:
    """1 − Σ_j w_j² over the last axis: the chance that two replays show different memories."""
    return 1 - (np.asarray(weights, dtype=float) ** 2).sum(axis=-1)


def fixed_by(replays: int, memories: int, generations: int) -> Float[np.ndarray, " times"]:
    """The probability that one of N equal memories is alone after 0, 1, …, `generations` generations."""
    replays, memories, generations = (
        at_least("replays", replays, 1),
        at_least("memories", memories, 2),
        at_least("generations", generations, 1),
    )
    # Row k: the distribution of the boxes that k balls fill, one ball after the other.
    boxes = np.arange(replays + 1) / replays
    filled = np.zeros((replays + 1, replays + 1))
    filled[0, 0] = 1
    for k in range(replays):
        filled[k + 1] = filled[k] * boxes
        filled[k + 1, 1:] += filled[k, :-1] * (1 - boxes[:-1])
    ancestors = filled[replays] * 0
    ancestors[replays] = 1
    alone = float(memories) ** (1 - np.arange(replays + 1))
    probabilities = [0.0]
    for _ in range(generations):
        probabilities.append(float(ancestors[1:] @ alone[1:]))
        ancestors = ancestors @ filled
    return np.array(probabilities)


def mean_fixation_time(replays: int, memories: int) -> float:
    """Generations until one of N equal memories is alone, on average; −2M(N−1) ln(1 − 1/N) for large M."""
    survival = 1 - fixed_by(replays, memories, 60 * replays)
    return float(survival.sum())


def fixation_probability(replays: int, weight: float, advantage: float = 0.0) -> float:
    """The probability that a memory of initial weight `weight` is the last one.

    `advantage` s: its replays are e^s times as likely as its weight says. Exact, by the chain of its number of
    traces; `weight` alone if s = 0. Kimura's (1 − e^{−2Msw})/(1 − e^{−2Ms}) is the limit of many replays.
    """
    from scipy.special import expit, logit
    from scipy.stats import binom  # half a second to import

    replays = at_least("replays", replays, 1)
    if not 0 < weight < 1:
        raise InputError("weight", f"got {weight!r}", "a weight in (0, 1) is accepted")

    def step(share: np.ndarray) -> np.ndarray:
        return binom.pmf(np.arange(replays + 1), replays, expit(logit(share) + advantage)[:, None])

    chain = step(np.arange(replays + 1) / replays)
    inner = chain[1:-1, 1:-1]
    wins = np.linalg.solve(np.eye(replays - 1) - inner, chain[1:-1, -1])
    return float(step(np.array([weight]))[0] @ np.concatenate([[0], wins, [1]]))

"""The likeliest patterns of states that a scan has summed, found among few and ordered in double precision."""

from typing import NamedTuple

import numpy as np

from dispersed.engines.candidate_screening import States
from dispersed.engines.collectives import all_gather
from dispersed.engines.full_scan import ScanResult, products
from dispersed.engines.options import TILE
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.roundoff import gamma


def leading_patterns(
    placed: PlacedPatterns, states: States, total: ScanResult, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k likeliest patterns of every state and their responsibilities, (b, k) each, −1 and 0 where fewer are known,
    and whether the first one is the likeliest for certain, (b,).

    They are among the candidates, or else in the tiles with the largest maxima.
    """
    b = len(states.x)
    if not k:
        return np.full((b, 0), -1), np.zeros((b, 0)), np.zeros(b, bool)
    members, ceiling = _members(placed, states, total, k)
    index, every, logits, error = _ordered(placed, states, members, k)
    index, every, logits = (np.concatenate(list(all_gather(part)), axis=1) for part in (index, every, logits))
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    index, every, logits = (np.take_along_axis(part, order, 1) for part in (index, every, logits))
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.where(index >= 0, np.minimum(np.exp(logits - total.log_sum[:, None]), 1), 0)
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
        # Ties within round-off may go either way.
        certain = (index[:, 0] >= 0) & (every[:, 0] + all_gather(error).max(axis=0) >= all_gather(ceiling).max(axis=0))
    return index, share, certain


def _members(placed: PlacedPatterns, states: States, total: ScanResult, k: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Patterns of this host among which are the likeliest of each state, and the largest logit that others can have."""
    n, most = len(placed.storage), k + placed.options.spare_tiles
    off = states.logit_error(placed, np.float64)
    members: list[np.ndarray] = []
    ceiling = total.other_tiles.copy()
    for i, one in enumerate(total.candidates):
        if one is not None:
            members.append(one.indices[:most])
            ceiling[i] = one.log_tail_max + states.half_square[i]
            if len(one.indices) > most:
                # Candidates are in the order of their logits.
                last = products(placed, states, np.array([i]), one.indices[most - 1 : most])[0]
                ceiling[i] = max(ceiling[i], last + 2 * off[i])
        else:
            tiles = total.tiles[i][total.tiles[i] >= 0]
            some = (tiles[:, None] + np.arange(TILE)).ravel()
            members.append(some[some < n])
    return members, ceiling


class _Ordered(NamedTuple):
    """The likeliest members of each state."""

    indices: np.ndarray
    """Among the patterns of all hosts, (b, k); −1 where there are fewer."""
    exact: np.ndarray
    """Their logits, by which they are ordered, (b, k); −∞ where there are fewer."""
    logits: np.ndarray
    """The same by products, as the sums are, (b, k)."""
    error: np.ndarray
    """How far a difference of two of the former may be off, (b,)."""


def _ordered(placed: PlacedPatterns, states: States, members: list[np.ndarray], k: int) -> _Ordered:
    b, d = states.x.shape
    off, half = states.logit_error(placed, np.float64), states.half_square
    counts = [len(some) for some in members]
    whose, which = np.repeat(np.arange(b), counts), np.concatenate(members).astype(int)
    away, logits = np.empty(len(whose)), np.empty(len(whose))
    size = max(1, placed.options.product_units // d)
    for start in range(0, len(whose), size):
        some = slice(start, start + size)
        state, those = whose[some], which[some]
        away[some] = states.beta[state] * np.sum((states.x[state] - placed.internal_patterns(those)) ** 2, axis=1) / 2
        logits[some] = products(placed, states, state, those)
    ends = np.cumsum(counts)
    found = _Ordered(np.full((b, k), -1), np.full((b, k), -np.inf), np.zeros((b, k)), np.zeros(b))
    for i in range(b):
        mine = slice(ends[i] - counts[i], ends[i])
        # By differences, unless these lose more than products: for states far beyond all patterns.
        lost = gamma(d + 8, float) * (away[mine].min(initial=np.inf) + placed.statistics.max_log_weight)
        # In order before the square of the state joins, which may exceed what patterns differ by.
        exact, common = (placed.log_weights(which[mine]) - away[mine], half[i]) if lost < off[i] else (logits[mine], 0)
        order = np.lexsort((which[mine], -exact))[:k]
        order = order[logits[mine][order] > -np.inf]
        there = slice(len(order))
        found.indices[i, there] = which[mine][order] + placed.first
        found.exact[i, there], found.logits[i, there] = exact[order] + common, logits[mine][order]
        found.error[i] = 2 * min(lost, off[i])
    return found

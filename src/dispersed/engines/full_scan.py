r"""Every pattern summed, nearly all of them in single precision, and still certified to many digits.

In single precision the worst case of a logit's round-off, at d = 64 and low noise, is about 10⁻³: no responsibility
could be trusted to more. But a few patterns carry nearly all the weight, as a rule. Those are weighed apart, in double
precision; what is left is off by a part of its own share only, which is small (`mean_error`).

The patterns that were weighed apart also serve further along a recall: what all others weigh together is known, and so
is how far away they are at least (`dispersed.engines.shortlist`).
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from dispersed.engines.bitmask import MaskedTiles, chunk_starts, words
from dispersed.engines.candidate_screening import (
    SAMPLE_SIZE,
    STATES_PER_PASS,
    Candidates,
    LogitSample,
    distance_from_logit,
    sample_logits,
)
from dispersed.engines.collectives import all_gather, all_reduce
from dispersed.engines.online_softmax import CHUNK, TILE, BlockScan, SoftmaxSums, merge, padded_batch, scan_block
from dispersed.engines.placed_patterns import Block, PlacedPatterns
from dispersed.engines.roundoff import JOINED, gamma, joined_terms, log_sum_at_least, logit_error, mean_error
from dispersed.machine import cores, on_cores
from dispersed.types import Array

DOMINANCE = 8.0
"""Nats by which a pattern may weigh less than all others together and still be weighed apart,"""
DOMINANT_FRACTION = 64
"""unless more than one in so many could be."""
CONDENSATION = 1.3
"""Deviations of the logits, in units of √(2 log n), from which on a few patterns are likely to carry nearly all,"""
CONDENSED_REST = 1e-3
"""but for about so much."""
SMALL = 1 << 13
"""Patterns up to which double precision takes hardly longer."""
NUMBERS_AT_ONCE = 1 << 19
"""Numbers of the patterns that are weighed apart at once: as many as stay in the caches."""


class ScanResult(NamedTuple):
    """What all patterns together say of each state, in double precision, (b, …)."""

    mean: np.ndarray
    bound: np.ndarray
    log_mass: np.ndarray
    entropy: np.ndarray
    found: np.ndarray
    """What was weighed apart, a `Found` each, with what is known of the others; None where that is not most of it."""
    tiles: np.ndarray
    """The first patterns of the tiles with the likeliest patterns, (b, k)."""


_combine = functools.partial(merge, numpy=np)


@eqx.filter_jit
def _best_tiles(tops: Array, k: int) -> tuple[Array, Array]:
    """The k largest of tops (chunks, b, tiles) and the numbers of their tiles, (b, k); ties may go either way."""
    # In double precision it would be a whole sort.
    flat = jnp.moveaxis(tops, 1, 0).reshape(tops.shape[1], -1).astype(jnp.float32)
    largest, tile = jax.lax.top_k(flat, min(k, flat.shape[1]))
    return largest, tile


def full_scan(
    placed: PlacedPatterns,
    x: np.ndarray,
    sigma: np.ndarray,
    dtype: type,
    guess: LogitSample | None = None,
    leading: int = 0,
) -> ScanResult:
    """Every pattern summed: the peaks in double precision, the others with logits and products of precision `dtype`.

    The tiles of the `leading` likeliest patterns are named.
    """
    guess = sample_logits(placed, x, sigma) if guess is None else guess
    statistics = placed.statistics
    b, d = x.shape
    n = len(placed.storage)
    beta = 1 / sigma**2
    moved = x - statistics.centre.astype(float)
    # As if all patterns were like the first of them.
    floor = guess.log_mass + np.log(max(n / SAMPLE_SIZE, 1))
    near = float(np.clip(np.log(n / DOMINANT_FRACTION), 0, DOMINANCE))
    states = [padded_batch(a, dtype) for a in (moved, beta, floor, np.full(b, near))]
    asked = _scan_blocks(placed, states, b, dtype, leading)
    owner, index = asked.dominant.patterns()
    order = np.argsort(owner, kind="stable")
    owner, index = owner[order], index[order]
    # What decides must be the same on all hosts.
    terms = int(all_gather(np.array(placed.terms(len(states[0])))).max()) + JOINED * jax.process_count()
    off, fine = (
        logit_error(
            d,
            t,
            beta,
            np.linalg.norm(moved, axis=1),
            statistics.centre_norm,
            statistics.norm,
            statistics.max_log_weight,
        )
        for t in (dtype, np.float64)
    )
    logit, apart, most = _weigh_dominant(placed, x, beta, owner, index)
    with np.errstate(divide="ignore"):
        log_tail_mass = log_sum_at_least(asked.rest.top + np.log(asked.rest.mass), asked.rest.top, n, off, terms, dtype)
    blur = off + fine + gamma(d + 8, np.float64) * beta * np.sum(x * x, axis=1)
    found = _candidates(placed, x, sigma, owner, index, logit, floor, near, blur, log_tail_mass + blur, asked.free)
    rest, apart = all_reduce((asked.rest, apart), lambda one, other: tuple(map(_combine, one, other)))
    top, mass, total, slope = jax.tree.leaves(_combine(rest, apart))
    # Where round-off exceeds all differences between patterns nothing may be left; the bound is infinite then.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = top + np.log(mass)
        share = np.exp(rest.top + np.log(rest.mass) - log_mass)
        mean, entropy = total / mass[:, None], np.log(mass) - slope / mass
    spread = statistics.radius + np.linalg.norm(mean - statistics.centre, axis=1)
    wrong = mean_error(off, terms, dtype, spread, statistics.norm)
    # Weights that may be off by any factor may also have been taken for nothing.
    bound = np.multiply(share, wrong, out=np.full(b, np.inf), where=np.isfinite(wrong))
    bound += mean_error(fine, most, np.float64, spread, statistics.norm)
    bound[~np.isfinite(bound)] = np.inf
    found[~(share <= 0.5)] = None
    return ScanResult(mean, bound, log_mass - beta * np.sum(x * x, axis=1) / 2, entropy, found, asked.tiles)


class _DominantSplit(NamedTuple):
    """What one pass over this host's patterns says of each of b states."""

    rest: SoftmaxSums
    """Of all that are no peaks, in double precision."""
    dominant: MaskedTiles
    free: np.ndarray
    """The largest ℓ − log w of the others, if they do not all weigh alike."""
    tiles: np.ndarray
    """The first patterns of the likeliest tiles, (b, leading)."""


def _scan_blocks(placed: PlacedPatterns, states: list[np.ndarray], b: int, dtype: type, leading: int) -> _DominantSplit:
    x, beta, floor, near = states
    centre: np.ndarray = placed.statistics.centre.astype(dtype)
    rest = _nothing(b, x.shape[1])
    dominant: list[MaskedTiles] = []
    free = np.full(b, -np.inf)
    tiles = [(np.full((b, leading), -np.inf), np.full((b, leading), -1))]
    rows = (lambda block: block.rows) if dtype == np.float32 else placed.rows_in_double

    def ask(block: Block) -> tuple[int, BlockScan, Any]:
        here = scan_block(rows(block), x, beta, centre, floor, near, True)
        return block.start, here, _best_tiles(here.tops, leading) if leading else None

    with jax.enable_x64(dtype == np.float64):
        for start, here, best in placed.each(ask):
            rest = _combine(rest, jax.tree.map(lambda a: np.asarray(a, float)[:b], here.others))
            marks = np.asarray(here.marks)
            dominant.append(words(marks, b, chunk_starts(start, marks))[0])
            if here.nearest is not None:
                free = np.maximum(free, np.asarray(here.nearest, float)[:b])
            if best is not None:
                tops, tile = (np.asarray(part)[:b] for part in best)
                tiles.append((tops, start + TILE * tile.astype(np.int64)))
    tops, tile = (np.concatenate(part, axis=1) for part in zip(*tiles, strict=True))
    tile = np.take_along_axis(tile, np.argsort(-tops, axis=1, kind="stable")[:, :leading], 1)
    return _DominantSplit(rest, MaskedTiles.joined(dominant), free, tile)


def weigh_candidates(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, found: np.ndarray) -> ScanResult:
    """What states keep, a `Found` each, weighed in double precision by products, and a bound on what all would say."""
    statistics = placed.statistics
    b, d = x.shape
    beta = 1 / sigma**2
    counts = [len(kept.indices) for kept in found]
    owner, index = np.repeat(np.arange(b), counts), np.concatenate([kept.indices for kept in found])
    logit, apart, most = _weigh_dominant(placed, x, beta, owner, index)
    top, mass, total, slope = jax.tree.leaves(all_reduce(apart, _combine))
    off = logit_error(
        d,
        float,
        beta,
        np.linalg.norm(x - statistics.centre, axis=1),
        statistics.centre_norm,
        statistics.norm,
        statistics.max_log_weight,
    )
    square = beta * np.sum(x * x, axis=1) / 2
    off = off + gamma(d + 8, float) * square
    mean, entropy = total / mass[:, None], np.log(mass) - slope / mass
    log_mass = top + np.log(mass) - square
    log_tail_mass = np.logaddexp.reduce(all_gather(np.array([kept.log_tail_mass for kept in found])), axis=0)
    spread = statistics.radius + np.linalg.norm(mean - statistics.centre, axis=1)
    missing = scipy.special.expit(log_tail_mass + 2 * (off + gamma(most, float)) - log_mass)
    bound = missing * spread + mean_error(off, most, np.float64, spread, statistics.norm)
    best = np.full(b, None, object)
    for i, stop in enumerate(np.cumsum(counts)):
        mine = slice(stop - counts[i], stop)
        best[i] = found[i]._replace(indices=index[mine][np.argsort(-logit[mine], kind="stable")])
    return ScanResult(mean, bound, log_mass, entropy, best, np.full((b, 0), -1))


def _nothing(b: int, d: int) -> Any:
    """As `nothing`, by NumPy: for any number of states without another program."""
    return SoftmaxSums(np.full(b, np.finfo(float).min / 4), np.zeros(b), np.zeros((b, d)), np.zeros(b))


def _weigh_dominant(
    placed: PlacedPatterns, x: np.ndarray, beta: np.ndarray, owner: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, SoftmaxSums, int]:
    """Logits of patterns, what they say of the states (b, d) that own them, in double precision, and as how many terms
    that counts; owners ascend.
    """
    b, d = x.shape
    size = max(1, NUMBERS_AT_ONCE // d)
    logits = np.empty(len(owner))

    def ask(start: int) -> tuple[np.ndarray, SoftmaxSums]:
        some = slice(start, start + size)
        state, y = owner[some], placed.patterns(index[some]).astype(float)
        mine, first = np.unique(state, return_index=True)
        stops = np.append(first[1:], len(state))
        logit = np.empty(len(state))
        for i, low, high in zip(mine, first, stops, strict=True):
            logit[low:high] = y[low:high] @ x[i]
        logit = beta[state] * (logit - np.einsum("kd,kd->k", y, y) / 2) + placed.log_weights(index[some])
        top = np.maximum.reduceat(logit, first)
        fall = logit - np.repeat(top, stops - first)
        share = np.exp(fall)
        total = np.stack([share[low:high] @ y[low:high] for low, high in zip(first, stops, strict=True)])
        logits[some] = logit
        return mine, SoftmaxSums(top, np.add.reduceat(share, first), total, np.add.reduceat(share * fall, first))

    # Products of this size take one thread each.
    parts = list(on_cores(cores("cpu"), ask, range(0, len(owner), size)))
    whole = _nothing(b, d)
    for mine, part in parts:
        here = _combine(jax.tree.map(lambda a, mine=mine: a[mine], whole), part)
        for array, new in zip(jax.tree.leaves(whole), jax.tree.leaves(here), strict=True):
            array[mine] = new
    # What decides must be the same on all hosts.
    most = joined_terms(int(np.bincount(owner, minlength=b).max()), 2 + len(owner) // size)
    return logits, whole, int(all_gather(np.asarray(most)).sum()) + JOINED * jax.process_count()


def _candidates(
    placed: PlacedPatterns,
    x: np.ndarray,
    sigma: np.ndarray,
    owner: np.ndarray,
    index: np.ndarray,
    logit: np.ndarray,
    floor: np.ndarray,
    near: float,
    off: np.ndarray,
    others: np.ndarray,
    free: np.ndarray,
) -> np.ndarray:
    """What each state keeps of its peaks: those that are surely above all others, which weigh at most e^`others`.

    Logits are those of products, without −β‖x‖²/2, and off by `off` at most. `free` are the largest of all others
    without their prior weights, where these differ.
    """
    b = len(x)
    half = np.sum(x * x, axis=1) / (2 * sigma**2)
    top = np.full(b, -np.inf)
    np.maximum.at(top, owner, logit)
    # What is no peak fell short of the floor or of the best, as computed, by `near`.
    short = np.maximum(floor, top + off) - near + off
    order = np.lexsort((-logit, owner))
    owner, index, logit = owner[order], index[order], logit[order]
    surely = logit > short[owner]
    low = ~surely
    weight = np.bincount(owner[low], np.exp(logit[low] - short[owner[low]]), b)
    with np.errstate(divide="ignore"):
        log_tail_mass = np.logaddexp(others, short + np.log(weight) + off) - half
    log_tail_mass[np.isnan(log_tail_mass)] = np.inf
    if not placed.uniform:
        short = free + off
        np.maximum.at(short, owner[low], logit[low] - placed.log_weights(index[low]) + off[owner[low]])
    excluded_distance = distance_from_logit(short, sigma, 2 * sigma**2 * half)
    start = np.searchsorted(owner, np.arange(b))
    stop = start + np.bincount(owner[surely], minlength=b)
    found = np.full(b, None, object)
    for i in range(b):
        found[i] = Candidates(index[start[i] : stop[i]], float(log_tail_mass[i]), float(excluded_distance[i]))
    return found


def scan_to_tolerance(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, tol: float, leading: int = 0
) -> ScanResult:
    """Every pattern summed, in single precision where that is likely to meet the tolerance, else in double.

    A random energy model whose energies deviate by more than √(2 log n) is frozen: a few of n patterns carry nearly all
    the weight (Derrida 1981). Where that is not so, single precision serves only if it does for every pattern.
    """
    statistics = placed.statistics
    moved = np.linalg.norm(x - statistics.centre.astype(float), axis=1)
    off = logit_error(
        x.shape[1], np.float32, sigma**-2.0, moved, statistics.centre_norm, statistics.norm, statistics.max_log_weight
    )
    # The mean lies within the radius of the centre.
    wrong = mean_error(off, CHUNK, np.float32, 2 * statistics.radius, statistics.norm)
    likely = wrong <= tol
    guess = sample_logits(placed, x, sigma)
    frozen = guess.deviation > CONDENSATION * np.sqrt(2 * np.log(placed.shape[0]))
    likely |= all_gather(frozen).any(axis=0) & (CONDENSED_REST * wrong <= tol)
    bound, log_mass, entropy = (np.full(len(x), np.inf) for _ in range(3))
    tiles = np.full((len(x), leading), -1)
    result = ScanResult(np.zeros_like(x), bound, log_mass, entropy, np.full(len(x), None, object), tiles)
    likely &= placed.shape[0] > SMALL
    for dtype, some in ((np.float32, likely), (np.float64, np.ones(len(x), bool))):
        left = np.flatnonzero(some & ~(result.bound <= tol))
        for start in range(0, len(left), STATES_PER_PASS):
            group = left[start : start + STATES_PER_PASS]
            here = jax.tree.map(lambda a, group=group: a[group], guess)
            part = full_scan(placed, x[group], sigma[group], dtype, here, leading)
            for whole, new in zip(result, part, strict=True):
                whole[group] = new
    return result


def leading_patterns(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, total: ScanResult, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k likeliest patterns of every state and their responsibilities, (b, k) each; −1 for those not told apart.

    They are among those weighed apart, or else among the tiles whose best are the k largest.
    """
    b, d = x.shape
    n = len(placed.storage)
    flat = np.array([kept is None for kept in total.found])
    index, exact = np.full((b, k), -1), np.full((b, k), -np.inf)

    def logits(states: np.ndarray, among: np.ndarray) -> np.ndarray:
        here = np.maximum(among, 0)
        away = np.sum((x[states, None] - placed.patterns(here)) ** 2, axis=2)
        return np.where(among < 0, -np.inf, placed.log_weights(here) - away / (2 * sigma[states, None] ** 2))

    peaked = np.flatnonzero(~flat)
    for i in peaked:
        some = total.found[i].indices[:k]
        index[i, : len(some)] = some
    exact[peaked] = logits(peaked, index[peaked])
    members = total.tiles.shape[1] * TILE
    for start in range(0, b, at_once := max(1, NUMBERS_AT_ONCE // max(members * d, 1))):
        some = start + np.flatnonzero(flat[start : start + at_once])
        among = (total.tiles[some][:, :, None] + np.arange(TILE)).reshape(len(some), members)
        among = np.where((among < n) & np.repeat(total.tiles[some] >= 0, TILE, axis=1), among, -1)
        value = logits(some, among)
        order = np.argsort(-value, axis=1, kind="stable")[:, :k]
        width = order.shape[1]
        index[some, :width], exact[some, :width] = (np.take_along_axis(a, order, 1) for a in (among, value))
    index, exact = (np.concatenate(list(all_gather(part)), axis=1) for part in (index + placed.first, exact))
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    index, exact = np.take_along_axis(index, order, 1), np.take_along_axis(exact, order, 1)
    with np.errstate(invalid="ignore"):
        return np.where(exact > -np.inf, index, -1), np.exp(exact - total.log_mass[:, None])

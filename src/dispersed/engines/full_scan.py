r"""Sums over every pattern, nearly all of them in single precision, and still certified to many digits.

In single precision the worst case of a logit's round-off, at d = 64 and low noise, is about 10⁻³: no responsibility
could be trusted to more. But a few patterns carry nearly all the weight, as a rule. Those dominant terms are weighed
apart, in double precision; what is left is off by a part of its own fraction only, which is small (`mean_error`).

The dominant terms also serve further along a recall: what all others weigh together is known, and so is how far away
they are at least (`dispersed.engines.shortlist`).
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.bitmask import SelectedTiles, chunk_starts, selected_tiles
from dispersed.engines.candidate_screening import LogitSample, States, as_candidates, sample_logits
from dispersed.engines.collectives import all_gather, all_reduce
from dispersed.engines.online_softmax import (
    BlockScan,
    SoftmaxSums,
    batch_size,
    empty_sums,
    merge,
    padded_batch,
    scan_block,
)
from dispersed.engines.options import TILE
from dispersed.engines.placed_patterns import Block, PlacedPatterns
from dispersed.engines.roundoff import MERGED, gamma, log_sum_bound, mean_error, merged_terms
from dispersed.machine import cores, on_cores
from dispersed.types import Array


class ScanResult(NamedTuple):
    """The sums over all patterns for each state, in double precision and internal units, (b, …)."""

    mean: np.ndarray
    """D_σ(x), (b, d)."""
    bound: np.ndarray
    """An upper bound on ‖mean − D_σ(x)‖, (b,)."""
    log_sum: np.ndarray
    """Log Σ e^ℓ with the logits ℓ of products, (b,)."""
    entropy: np.ndarray
    """−Σ p log p, (b,)."""
    candidates: np.ndarray
    """The dominant terms of each state as `Candidates`, the likeliest first; None if they are not most of the mass."""
    tiles: np.ndarray
    """The first patterns of the tiles with the largest maxima, (b, t)."""
    other_tiles: np.ndarray
    """An upper bound on the logits of all patterns in other tiles, (b,)."""


_merge = functools.partial(merge, numpy=np)


@eqx.filter_jit
def _best_tiles(tile_maxima: Array, k: int) -> tuple[Array, Array]:
    """The k largest of tile maxima (chunks, b, tiles) and the numbers of their tiles, (b, k), in single precision."""
    # In double precision it would be a whole sort.
    flat = jnp.moveaxis(tile_maxima, 1, 0).reshape(tile_maxima.shape[1], -1).astype(jnp.float32)
    largest, tile = jax.lax.top_k(flat, min(k, flat.shape[1]))
    return largest, tile


def full_scan(
    placed: PlacedPatterns, states: States, dtype: type, guess: LogitSample | None = None, leading: int = 0
) -> ScanResult:
    """The sums over every pattern: dominant terms in double precision, all others with products of precision `dtype`,
    in which logits must not overflow. The tiles of the `leading` likeliest patterns are named, and a few more.
    """
    known, options = placed.statistics, placed.options
    b, n = len(states.x), len(placed.storage)
    beta = states.beta
    guess = sample_logits(placed, states) if guess is None else guess
    # As if all patterns were like the first of them.
    floor = guess.log_sum + np.log(max(n / options.sample_patterns, 1))
    depth = float(np.clip(np.log(max(n * options.dominant_fraction, 1e-300)), 0, options.dominance))
    arrays = [padded_batch(a, dtype, n) for a in (states.moved, beta, floor, np.full(b, depth))]
    tiles = leading + options.spare_tiles if leading else 0
    split = _scan_blocks(placed, arrays, b, dtype, tiles)
    whose, which = split.dominant.patterns()
    order = np.argsort(whose, kind="stable")
    whose, which = whose[order], which[order]
    # What decides must be the same on all hosts.
    terms = int(all_gather(np.array(placed.terms(batch_size(b, n)))).max()) + MERGED * jax.process_count()
    off, fine = (states.logit_error(placed, t) for t in (dtype, np.float64))
    logit, weighed, most = _weigh(placed, states, whose, which)
    with np.errstate(divide="ignore"):
        log_tail = log_sum_bound(
            split.rest.max_logit + np.log(split.rest.mass), split.rest.max_logit, n, off, terms, dtype
        )
    candidates = _candidates(placed, states, whose, which, logit, floor, depth, dtype, log_tail, split)
    rest, weighed = all_reduce((split.rest, weighed), lambda one, other: tuple(map(_merge, one, other)))
    total = _merge(rest, weighed)
    mean, log_sum, entropy = _statistics(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.exp(rest.max_logit + np.log(rest.mass) - log_sum)
    # Weights that may be off by any factor may also have been taken for nothing.
    bound = _mean_error(placed, mean, ((fraction, off, terms, dtype), (np.ones(b), fine, most, np.float64)))
    mean[np.isinf(bound)] = 0
    candidates[~(fraction <= 0.5)] = None
    return ScanResult(mean + known.centre, bound, log_sum, entropy, candidates, split.tiles, split.other_tiles + off)


def _statistics(total: SoftmaxSums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, the log of the sum and the entropy that sums amount to."""
    # Where round-off exceeds all differences between patterns nothing may be left; the bound is infinite then.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.log(total.mass)
        entropy = log_mass - total.weighted_logits / total.mass
        return total.weighted_sum / total.mass[:, None], total.max_logit + log_mass, entropy


Part = tuple[np.ndarray, np.ndarray, int, type]
"""A part of a sum: its fraction of the weight, the round-off of its logits, its number of terms and its precision."""


def _mean_error(placed: PlacedPatterns, mean: np.ndarray, parts: tuple[Part, ...], missing: Any = 0.0) -> np.ndarray:
    """The most by which means (b, d), taken from the centre, can be off, if `missing` is the fraction of the weight
    that was left out, at most; infinite where nothing can be said.
    """
    known = placed.statistics

    def total(norm: np.ndarray) -> np.ndarray:
        """The sum over all parts, if ‖D − c‖ is at most `norm`."""
        spread = known.radius + norm
        bound = missing * spread
        for fraction, off, terms, dtype in parts:
            error = mean_error(off, terms, dtype, spread, norm)
            bound = bound + np.multiply(fraction, error, out=np.full(len(mean), np.inf), where=np.isfinite(error))
        return bound

    with np.errstate(invalid="ignore", over="ignore"):
        radius, length = np.full(len(mean), known.radius), np.linalg.norm(mean, axis=1)
        bound = total(np.minimum(radius, length + total(radius)))
        # The mean was divided, and moved back by the centre; patterns may have been flushed.
        bound += gamma(4, float) * (length + np.linalg.norm(known.centre)) + known.flush
    return np.where(np.isfinite(bound), bound, np.inf)


class _Split(NamedTuple):
    """What one pass over this host's patterns says of each of b states."""

    rest: SoftmaxSums
    """The sums over all patterns that are not dominant."""
    dominant: SelectedTiles
    """The dominant ones."""
    max_unweighted: np.ndarray
    """The largest ℓ − log w of the others, if they do not all weigh alike."""
    tiles: np.ndarray
    """The first patterns of the tiles with the largest maxima, (b, tiles)."""
    other_tiles: np.ndarray
    """The largest logit that any other tile can have, as computed, (b,)."""


def _scan_blocks(placed: PlacedPatterns, arrays: list[np.ndarray], b: int, dtype: type, tiles: int) -> _Split:
    x, beta, floor, depth = arrays
    rest = empty_sums(b, x.shape[1], float, np)
    dominant: list[SelectedTiles] = []
    max_unweighted = np.full(b, -np.inf)
    best = [(np.full((b, tiles), -np.inf), np.full((b, tiles), -1))]
    rows = (lambda block: block.rows) if dtype == np.float32 else placed.rows_in_double
    size = placed.chunk(len(x))

    def evaluate(block: Block) -> tuple[int, BlockScan, Any]:
        here = scan_block(rows(block), x, beta, floor, depth, True, size)
        return block.start, here, _best_tiles(here.tile_maxima, tiles) if tiles else None

    with jax.enable_x64(dtype == np.float64):
        for start, here, largest in placed.map_blocks(evaluate):
            rest = _merge(rest, jax.tree.map(lambda a: np.asarray(a, float)[:b], here.others))
            bitmask = np.asarray(here.bitmask)
            dominant.append(selected_tiles(bitmask, b, chunk_starts(start, bitmask))[0])
            if here.max_unweighted is not None:
                max_unweighted = np.maximum(max_unweighted, np.asarray(here.max_unweighted, float)[:b])
            if largest is not None:
                maxima, tile = (np.asarray(part)[:b] for part in largest)
                best.append((maxima.astype(float), start + TILE * tile.astype(np.int64)))
    maxima, tile = (np.concatenate(part, axis=1) for part in zip(*best, strict=True))
    order = np.argsort(-maxima, axis=1, kind="stable")[:, :tiles]
    maxima, tile = np.take_along_axis(maxima, order, 1), np.take_along_axis(tile, order, 1)
    # A list that is not full has all tiles.
    last = maxima[:, -1] if tiles else np.full(b, np.inf)
    full = (tile >= 0).all(axis=1) & np.isfinite(last)
    others = np.where(full, last + np.finfo(np.float32).eps * np.abs(np.where(full, last, 0)), -np.inf)
    return _Split(rest, SelectedTiles.concatenated(dominant), max_unweighted, tile, others)


def weigh_candidates(placed: PlacedPatterns, states: States, found: np.ndarray) -> ScanResult:
    """The sums over the candidates of states, a `Candidates` each, in double precision by products, with a bound on
    what all patterns would add.
    """
    from scipy.special import expit  # slow to import

    known = placed.statistics
    b = len(states.x)
    counts = [len(one.indices) for one in found]
    whose, which = np.repeat(np.arange(b), counts), np.concatenate([one.indices for one in found])
    logit, weighed, most = _weigh(placed, states, whose, which)
    total = all_reduce(weighed, _merge)
    off = states.logit_error(placed, np.float64)
    mean, log_sum, entropy = _statistics(total)
    half, error = states.half_square, states.half_square_error()
    log_tail = np.logaddexp.reduce(all_gather(np.array([one.log_tail_mass for one in found])), axis=0)
    with np.errstate(invalid="ignore"):
        missing = expit(log_tail - log_sum + half + error + off + gamma(most, float))
    bound = _mean_error(placed, mean, ((np.ones(b), off, most, np.float64),), missing)
    mean[np.isinf(bound)] = 0
    best = np.full(b, None, object)
    for i, stop in enumerate(np.cumsum(counts)):
        mine = slice(stop - counts[i], stop)
        best[i] = found[i]._replace(indices=which[mine][np.argsort(-logit[mine], kind="stable")])
    return ScanResult(mean + known.centre, bound, log_sum, entropy, best, np.full((b, 0), -1), np.full(b, np.inf))


def products(placed: PlacedPatterns, states: States, whose: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The logits of patterns `which` (k,) for states `whose` (k,), by products in double precision on the host."""
    y = placed.internal_patterns(which).astype(float) - placed.statistics.centre
    logit = np.einsum("kd,kd->k", y, states.moved[whose]) - np.einsum("kd,kd->k", y, y) / 2
    return states.beta[whose] * logit + placed.log_weights(which)


def _weigh(
    placed: PlacedPatterns, states: States, whose: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, SoftmaxSums, int]:
    """The logits of patterns `which`, the sums over them for the states `whose`, in ascending order, in double
    precision, and the number of terms that these count.
    """
    b, d = states.x.shape
    x, beta = states.moved, states.beta
    size = max(1, placed.options.product_units // d)
    logits = np.empty(len(whose))

    def evaluate(start: int) -> tuple[np.ndarray, SoftmaxSums]:
        some = slice(start, start + size)
        state, y = whose[some], placed.internal_patterns(which[some]).astype(float) - placed.statistics.centre
        mine, first = np.unique(state, return_index=True)
        stops = np.append(first[1:], len(state))
        logit = np.empty(len(state))
        for i, low, high in zip(mine, first, stops, strict=True):
            logit[low:high] = y[low:high] @ x[i]
        logit = beta[state] * (logit - np.einsum("kd,kd->k", y, y) / 2) + placed.log_weights(which[some])
        top = np.maximum.reduceat(logit, first)
        fall = logit - np.repeat(top, stops - first)
        weight = np.exp(fall)
        total = np.stack([weight[low:high] @ y[low:high] for low, high in zip(first, stops, strict=True)])
        logits[some] = logit
        return mine, SoftmaxSums(top, np.add.reduceat(weight, first), total, np.add.reduceat(weight * fall, first))

    # Products of this size take one thread each; for one of them none is started.
    starts = range(0, len(whose), size)
    parts = list(on_cores(cores("cpu") if len(starts) > 1 else 1, evaluate, starts))
    whole = empty_sums(b, d, float, np)
    for mine, part in parts:
        here = _merge(jax.tree.map(lambda a, mine=mine: a[mine], whole), part)
        for array, new in zip(jax.tree.leaves(whole), jax.tree.leaves(here), strict=True):
            array[mine] = new
    # What decides must be the same on all hosts.
    most = merged_terms(int(np.bincount(whose, minlength=b).max()), 2 + len(whose) // size)
    return logits, whole, int(all_gather(np.asarray(most)).sum()) + MERGED * jax.process_count()


def _candidates(
    placed: PlacedPatterns,
    states: States,
    whose: np.ndarray,
    which: np.ndarray,
    logit: np.ndarray,
    floor: np.ndarray,
    depth: float,
    dtype: type,
    log_tail: np.ndarray,
    split: _Split,
) -> np.ndarray:
    """The dominant terms that are surely above all others, which weigh at most e^`log_tail`, as `Candidates`."""
    b, eps = len(floor), 4 * np.finfo(dtype).eps
    off, fine = (states.logit_error(placed, t) for t in (dtype, np.float64))
    top = np.full(b, -np.inf)
    np.maximum.at(top, whose, logit)
    # What is not dominant fell short of the floor or of the best, as computed, by `depth`.
    best = np.maximum(floor, top + fine + off)
    short = best - depth + eps * (np.abs(best) + depth) + off
    order = np.lexsort((-logit, whose))
    whose, which, logit = whose[order], which[order], logit[order]
    surely = logit > short[whose]
    low = ~surely
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        weight = np.bincount(whose[low], np.exp(logit[low] - short[whose[low]]), b)
        log_tail = np.logaddexp(log_tail, short + np.log(weight) + fine)
    log_tail[np.isnan(log_tail)] = np.inf
    unweighted = short + fine
    if not placed.uniform:
        unweighted = split.max_unweighted + eps * np.abs(split.max_unweighted) + off
        np.maximum.at(unweighted, whose[low], logit[low] - placed.log_weights(which[low]) + fine[whose[low]])
    # These bounds contain the round-off of logits already.
    some = np.ones(b, bool)
    found = as_candidates(states, np.zeros(b), log_tail, short + fine, unweighted, some, whose[surely], which[surely])
    result = np.full(b, None, object)
    result[:] = found
    return result

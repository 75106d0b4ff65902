r"""One cheap pass that finds every pattern that can matter, and bounds the weight of all others together.

Logits are computed in single precision. Each pattern whose logit comes within some nats of the best so far is marked,
one bit a pattern; of all others only the weight is summed, which costs one matrix product where a sum costs two. The
best is known only at the end, so too many are marked at first: the largest logit of every tile tells which of them to
leave to the others after all, from the lowest on, as long as together they weigh no more than was asked for. This holds
whatever the patterns are and in whatever order they lie; only how many are kept depends on that.

For few states a pass takes as long as it takes to read the patterns. Those in memory are then read in one byte a unit:
with ŷ for y, a logit is off by β|(x − μ)·(y − ŷ)| ≤ β‖x − μ‖‖y − ŷ‖, which joins its round-off.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from dispersed.engines.bitmask import MaskedTiles, chunk_starts, words
from dispersed.engines.online_softmax import BlockScan, EncodedRows, padded_batch, scan_block
from dispersed.engines.placed_patterns import Block, PlacedPatterns
from dispersed.engines.roundoff import log_sum_at_least, logit_error
from dispersed.types import Numbers

FAR = 1e100
"""Where what was left out lies if nothing was."""
LOWEST = -1e30
"""The logit of no pattern at all."""
MAX_ROUNDOFF = 0.6
"""Nats of round-off from which on a sum of weights is not trusted."""
STATES_PER_PASS = 1 << 11
"""States that one pass serves: enough that reading the patterns costs nothing."""
FEW_STATES = 16
"""States up to which a pass takes about as long as it takes to read the patterns."""
LEVELS = 64
"""Depths below the best logit at which patterns can be left out."""
SAMPLE_SIZE = 1024
"""Patterns from which the others are guessed."""
DEPTH = 20
"""Nats below the best at which patterns still count, roughly, whatever is asked for."""
PENDING_TILES = 1 << 18
"""Tiles whose marks are read together."""


class Candidates(NamedTuple):
    """What one state keeps of a screen."""

    indices: np.ndarray
    """Of the patterns kept, (k,)."""
    log_tail_mass: float
    """At least log Σ w_j exp(−‖x − y_j‖²/(2σ²)) over all others."""
    excluded_distance: float
    """At most the distance from x to the nearest of them."""


class LogitSample(eqx.Module):
    """What the first `SAMPLE` patterns say of each state, from which the rest is guessed, (b,)."""

    log_mass: Numbers
    """Log Σ e^ℓ over them."""
    top: Numbers
    """Of their logits the largest,"""
    middle: Numbers
    """the mean"""
    deviation: Numbers
    """and the standard deviation."""
    near: Numbers
    """The fraction of them within `DEPTH` of the largest."""

    def best(self, n: int) -> np.ndarray:
        """The largest logit of n patterns, as if all were normal and like these."""
        guessed = self.middle + self.deviation * -ndtri(1 / max(n, 2))
        return np.nan_to_num(np.fmax(self.top, guessed), nan=LOWEST, neginf=LOWEST)

    def above(self, logit: np.ndarray) -> np.ndarray:
        """What fraction of all patterns has larger logits than that."""
        return ndtr((self.middle - logit) / np.maximum(self.deviation, 1e-30))


def screening_depth(share: float, n: int, off: Any = 0.0) -> Any:
    """Nats below the best from which on patterns are left out, with logits off by `off` at most.

    As long as they are no denser there than √n a nat, all of them weigh less than about `share` of the best; and surely
    they do where round-off is so large that their sum says nothing.
    """
    return -np.log(share) + np.log(n) * np.where(off < MAX_ROUNDOFF, 0.5, 1.0) + 2 * off


def screen(
    placed: PlacedPatterns,
    x: np.ndarray,
    sigma: np.ndarray,
    share: float,
    max_candidates: int,
    guess: LogitSample | None = None,
) -> list[Candidates | None]:
    """What states x (b, d) at noise levels sigma (b,), in double precision, keep; None for more than `limit` patterns.

    What is left out weighs at most `share` of what the leading pattern weighs, or, where round-off or the depth of the
    search does not allow that, what `log_rest` says.
    """
    statistics = placed.statistics
    b, d = x.shape
    n = len(placed.storage)
    guess = sample_logits(placed, x, sigma) if guess is None else guess
    beta = 1 / sigma**2
    moved = x - statistics.centre.astype(float)
    off = logit_error(
        d,
        np.float32,
        beta,
        np.linalg.norm(moved, axis=1),
        statistics.centre_norm,
        statistics.norm,
        statistics.max_log_weight,
    )
    blocks: Iterable[Block] = placed.blocks()
    if b <= FEW_STATES and placed.quantized is not None:
        blurred = off + beta * np.linalg.norm(moved, axis=1) * placed.quantized.error
        # Few more patterns are that much deeper, unless logits differ by little more than that.
        deeper = screening_depth(share, n, blurred) - screening_depth(share, n, off)
        if ((blurred < MAX_ROUNDOFF) | (deeper < guess.deviation / 2)).all():
            blocks, off = placed.quantized.blocks, blurred
    near = np.minimum(screening_depth(share, placed.shape[0], off), 1e30)
    # Should the best be lower than guessed, there are marks all the same.
    floor = np.minimum(guess.best(n), np.maximum(guess.top, LOWEST) + np.log(n) / 4)
    found = _ScreeningState(placed, b, floor.astype(float), near, max_candidates)
    states = padded_batch(moved, np.float32), padded_batch(beta, np.float32), statistics.centre
    depths = padded_batch(near, np.float32)

    def asked() -> Iterator[tuple[Block, np.ndarray]]:
        """Every block with the best that is known when its turn comes: the closer, the fewer marks that do not stay."""
        for block in blocks:
            yield block, padded_batch(found.best, np.float32)

    def ask(item: tuple[Block, np.ndarray]) -> tuple[int, BlockScan]:
        block, floor = item
        return block.start, scan_block(block.rows, *states, floor, depths, False)

    for start, here in placed.each(ask, asked()):
        found.add(start, here)
        if not found.few.any():
            return [None] * b
    return found.kept(x, sigma, share, off, placed.terms(len(states[0])))


class _ScreeningState:
    """What is found while a pass goes on, for b states."""

    def __init__(
        self, placed: PlacedPatterns, b: int, floor: np.ndarray, near: np.ndarray, max_candidates: int
    ) -> None:
        self.placed, self.b, self.near, self.limit = placed, b, near, max_candidates
        self.best = floor.copy()
        """The largest logit, or what it was guessed to be."""
        self.top = np.full(b, LOWEST)
        """The largest logit so far."""
        self.log_tail_mass = np.full(b, -np.inf)
        """Log Σ e^ℓ over all that were not marked."""
        self.nearest = np.full(b, -np.inf)
        """The largest ℓ − log w of those, if not all weigh alike."""
        self.counts = np.zeros(b, np.int64)
        self.words: list[tuple[MaskedTiles, np.ndarray]] = []
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def few(self) -> np.ndarray:
        """Who has not too many marks: even before the best is known there are not many more than stay."""
        return self.counts <= 4 * self.limit

    def add(self, start: int, here: BlockScan) -> None:
        """The patterns of a block."""
        b = self.b
        tops, marks = np.asarray(here.tops), np.asarray(here.marks)
        top = np.asarray(here.others.top, float)[:b]
        with np.errstate(divide="ignore"):
            self.log_tail_mass = np.logaddexp(self.log_tail_mass, top + np.log(np.asarray(here.others.mass, float)[:b]))
        self.top = np.maximum(self.top, tops[:, :b].max(axis=(0, 2)))
        self.best = np.maximum(self.best, self.top)
        if here.nearest is not None:
            self.nearest = np.maximum(self.nearest, np.asarray(here.nearest, float)[:b])
        self._pending.append((chunk_starts(start, marks), marks, tops))
        if len(self._pending) * marks.size > PENDING_TILES:
            self._read()

    def _read(self) -> None:
        """The marks of the last blocks, so many at a time that it does not matter what a call costs."""
        if not self._pending:
            return
        starts, marks, tops = map(np.concatenate, zip(*self._pending, strict=True))
        self._pending.clear()
        new, where = words(marks, self.b, starts)
        self.counts += np.bincount(new.owner, new.counts, self.b).astype(np.int64)
        live = self.few[new.owner]
        self.words.append((new.only(live), tops[where][live].astype(float)))

    def kept(
        self, x: np.ndarray, sigma: np.ndarray, share: float, off: np.ndarray, terms: int
    ) -> list[Candidates | None]:
        """What stays of each state, once all patterns were asked."""
        self._read()
        b, placed = self.b, self.placed
        n = len(placed.storage)
        new, tops = MaskedTiles.joined(part for part, _ in self.words), np.concatenate([top for _, top in self.words])
        owner = new.owner
        rest = log_sum_at_least(self.log_tail_mass, self.top, n, off, terms, np.float32)
        # Tiles by depth: they go from the deepest on, as if all that is marked in a tile were its best.
        below = self.top[owner] - tops
        level = np.minimum(below * (LEVELS / self.near[owner]), LEVELS - 1).astype(np.int64)
        weight = new.counts * np.exp(-below)
        mass = np.bincount(owner * LEVELS + level, weight, b * LEVELS).reshape(b, LEVELS)
        tail = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(over="ignore"):
            # Beside what the best weighs at least.
            allowed = np.exp(rest - self.top + off)[:, None] + tail * np.exp(np.minimum(2 * off, 600))[:, None] <= share
        cut = np.where(allowed.any(axis=1), allowed.argmax(axis=1), LEVELS)
        stays = level < cut[owner]
        whose, which = new.only(stays).patterns()
        counts = np.bincount(whose, minlength=b)
        largest = self.best - self.near + 4 * np.finfo(np.float32).eps * (np.abs(self.best) + self.near)
        np.maximum.at(largest, owner[~stays], tops[~stays])
        with np.errstate(divide="ignore"):
            rest = np.logaddexp(rest, self.top + off + np.log(np.bincount(owner[~stays], weight[~stays], b)))
        rest = np.minimum(rest, np.log(n) + largest + off)
        # Where no more can be left out, a share of a few times what was asked for will do, and no more than that.
        few = self.few & (counts <= self.limit)
        if self.limit < n:
            few &= rest - self.top + off <= np.log(4 * share)
        empty_sums = counts == placed.present
        rest[empty_sums], largest[empty_sums] = -np.inf, -np.inf
        if not placed.uniform:
            # How near a pattern lies depends on its logit without its weight.
            gone, index = new.only(~stays).patterns()
            largest = self.nearest + 4 * np.finfo(np.float32).eps * np.abs(self.nearest)
            np.maximum.at(largest, gone, np.repeat(tops[~stays], new.counts[~stays]) - placed.log_weights(index))
            largest[empty_sums] = -np.inf
        squares = np.sum(x * x, axis=1)
        excluded_distance = distance_from_logit(largest + off, sigma, squares)
        rest -= squares / (2 * sigma**2)
        which = which[np.argsort(whose, kind="stable")]
        ends = np.cumsum(counts)
        found: list[Candidates | None] = [None] * b
        for i in np.flatnonzero(few):
            found[i] = Candidates(which[ends[i] - counts[i] : ends[i]], float(rest[i]), float(excluded_distance[i]))
        return found


def distance_from_logit(largest: Any, sigma: Any, square: Any) -> Any:
    """At most the distance to patterns whose ℓ − log w are at most `largest`.

    ‖x − y‖² = 2σ²(log w − ℓ) + ‖x‖², with ℓ as the logits are computed, without ‖x‖²/(2σ²).
    """
    away = np.minimum(square - 2 * sigma**2 * largest, FAR**2)
    return np.sqrt(np.clip(away - 1e-14 * (np.abs(away) + square), 0, FAR**2))


def sample_logits(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> LogitSample:
    """A guess; no bound rests on it."""
    size = 1 << 2 * -(-(len(x) - 1).bit_length() // 2)  # a power of four: a few more states cost little here
    statistics = placed.statistics
    states = np.zeros((size, x.shape[1]), np.float32), np.ones(size, np.float32)
    states[0][: len(x)], states[1][: len(x)] = x - statistics.centre.astype(float), 1 / sigma**2
    found = _sample(next(iter(placed.blocks())).rows, *states, statistics.centre)
    return jax.tree.map(lambda part: np.asarray(part)[: len(x)], found)


@eqx.filter_jit
def _sample(rows: EncodedRows, x: Any, beta: Any, centre: Any) -> LogitSample:
    _, here = rows.chunk(jnp.asarray(0), min(rows.codes.shape[0], SAMPLE_SIZE), x, beta, centre)
    there = here > -jnp.inf
    return LogitSample(
        jax.nn.logsumexp(here, axis=1),
        here.max(axis=1),
        jnp.mean(here, axis=1, where=there),
        jnp.std(here, axis=1, where=there),
        jnp.sum(here > here.max(axis=1, keepdims=True) - DEPTH, axis=1) / jnp.maximum(there.sum(axis=1), 1),
    )

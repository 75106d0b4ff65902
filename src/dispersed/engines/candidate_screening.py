r"""Candidate screening: one cheap pass finds every pattern that can matter, and bounds all others together.

Logits are computed in single precision. Each pattern whose logit comes within some nats of the best so far is selected,
one bit a pattern; of all others only the weight is summed, which costs one matrix product where a sum costs two. The
best is known only at the end, so too many are selected at first: the largest logit of every tile tells which of them
to exclude after all, from the lowest on, as long as together they weigh no more than was requested. This holds whatever
the patterns are and in whatever order they lie; only the number of candidates depends on that.

For few states a pass takes as long as it takes to read the patterns. Those in memory are then read in one byte a unit:
with ŷ for y, a logit is off by β|(x − c)·(y − ŷ)| ≤ β‖x − c‖‖y − ŷ‖ more, which joins its round-off.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.bitmask import SelectedTiles, chunk_starts, selected_tiles
from dispersed.engines.collectives import all_gather
from dispersed.engines.online_softmax import BlockScan, EncodedRows, batch_size, padded_batch, scan_block
from dispersed.engines.placed_patterns import Block, PlacedPatterns
from dispersed.engines.roundoff import gamma, log_sum_bound, logit_error
from dispersed.machine import jitted_soon
from dispersed.types import Numbers

FAR = 1e76
"""The distance of the nearest excluded pattern if none was excluded."""
SLACK = 4 * float(np.finfo(np.float32).eps)
"""The relative error of a difference of two numbers in single precision, more than twice over."""
LOWEST = -1e30
"""The logit of no pattern at all."""


class Candidates(NamedTuple):
    """The candidates of one state, and bounds on all patterns that were excluded. Lengths are in internal units."""

    indices: np.ndarray
    """The indices of the candidates among this host's patterns, (k,)."""
    log_tail_mass: float
    """An upper bound on log Σ w_j exp(−‖x − y_j‖²/(2σ²)) over all excluded patterns."""
    log_tail_max: float
    """An upper bound on the largest term of that sum, as a logarithm."""
    excluded_distance: float
    """A lower bound on the distance from x to the nearest excluded pattern."""


class States(NamedTuple):
    """States in internal units, and what follows from them for every scan."""

    x: np.ndarray
    """The states (b, d)."""
    sigma: np.ndarray
    """The noise levels (b,)."""
    moved: np.ndarray
    """The states taken from the centre, (b, d)."""
    norm: np.ndarray
    """‖x − c‖, (b,)."""

    @staticmethod
    def of(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> "States":
        """The states x at noise levels sigma, both in internal units."""
        moved = x - placed.statistics.centre
        return States(x, sigma, moved, np.linalg.norm(moved, axis=1))

    def only(self, some: np.ndarray) -> "States":
        """Some of the states, by index or mask."""
        return States(*(part[some] for part in self))

    @property
    def beta(self) -> np.ndarray:
        """1/σ², (b,)."""
        return self.sigma**-2.0

    @property
    def half_square(self) -> np.ndarray:
        """β‖x − c‖²/2, by which −‖x − y‖²/(2σ²) is less than the logit of products, (b,)."""
        return self.beta * self.norm**2 / 2

    def half_square_error(self) -> np.ndarray:
        """The most by which `half_square`, and its difference from a logit, can be off, (b,)."""
        return gamma(self.x.shape[1] + 8, float) * 2 * self.half_square

    def logit_error(self, placed: PlacedPatterns, dtype: Any) -> np.ndarray:
        """The most by which a logit in precision `dtype` can be off, (b,)."""
        known = placed.statistics
        d = self.x.shape[1]
        return logit_error(d, dtype, self.beta, self.norm, known.radius, known.max_log_weight, known.flush)


class LogitSample(eqx.Module):
    """The logits of the first patterns for each state, (b,), from which all are guessed; no bound rests on it."""

    log_sum: Numbers
    """Log Σ e^ℓ over the sample."""
    largest: Numbers
    """The largest logit of the sample."""
    mean: Numbers
    """The mean of its logits."""
    deviation: Numbers
    """The standard deviation of its logits."""
    near: Numbers
    """The fraction of the sample within some nats of the largest."""

    def best(self, n: int) -> np.ndarray:
        """The largest logit of n patterns, as if all logits were normal and like these."""
        from scipy.special import ndtri  # slow to import

        guessed = self.mean + self.deviation * -ndtri(1 / max(n, 2))
        return np.nan_to_num(np.fmax(self.largest, guessed), nan=LOWEST, neginf=LOWEST)

    def above(self, logit: np.ndarray) -> np.ndarray:
        """The fraction of all patterns that have larger logits than that."""
        from scipy.special import ndtr

        return ndtr((self.mean - logit) / np.maximum(self.deviation, 1e-30))

    def only(self, some: np.ndarray) -> "LogitSample":
        """The sample for some of the states."""
        return jax.tree.map(lambda part: part[some], self)


def sample_logits(placed: PlacedPatterns, states: States) -> LogitSample:
    """The logits of the first patterns of this host for each state."""
    b, d = states.x.shape
    size = batch_size(b, 1)  # a few more states cost little here
    x, beta = np.zeros((size, d), np.float32), np.ones(size, np.float32)
    with np.errstate(over="ignore"):
        x[:b], beta[:b] = states.moved, states.beta
    options = placed.options
    rows = next(iter(placed.blocks())).rows
    found = _sample(rows, x, beta, min(rows.codes.shape[0], options.sample_patterns), options.sample_depth)
    return jax.tree.map(lambda part: np.asarray(part)[:b], found)


@jitted_soon()
def _sample(rows: EncodedRows, x: Any, beta: Any, size: int, depth: float) -> LogitSample:
    _, logits = rows.chunk(jnp.asarray(0), size, x, beta)
    there = logits > -jnp.inf
    largest = logits.max(axis=1)
    return LogitSample(
        jax.nn.logsumexp(logits, axis=1),
        largest,
        jnp.mean(logits, axis=1, where=there),
        jnp.std(logits, axis=1, where=there),
        jnp.sum(logits > largest[:, None] - depth, axis=1) / jnp.maximum(there.sum(axis=1), 1),
    )


def allowed_tail(placed: PlacedPatterns, tol: float) -> float:
    """The weight of the excluded patterns, relative to the leading one, that moves the mean by a fraction of `tol`."""
    options = placed.options
    return min(options.tail_fraction * tol / max(placed.statistics.radius, 1e-300), options.most_tail)


def screening_depth(tail: float, n: int, off: Any, trusted: float) -> Any:
    """The nats below the best logit from which on patterns are excluded, with logits off by `off` at most.

    As long as they are no denser there than √n a nat, all of them weigh less than about `tail` of the best; and surely
    they do where round-off is so large that their sum says nothing.
    """
    return -np.log(tail) + np.log(n) * np.where(off < trusted, 0.5, 1.0) + 2 * off


def screen_states(
    placed: PlacedPatterns, states: States, tail: float, guess: Callable[[], LogitSample] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `Candidates` of every state, and which states were screened.

    They are None for a state that was not screened, because the sample tells that it would have too many candidates, or
    that turned out to have more than are cheaper to sum; they are all patterns where these are few. What is excluded
    weighs at most `tail` of what the leading pattern weighs, or, where round-off or the depth of the screen does not
    allow that, as much as `log_tail_mass` says.
    """
    n, options = placed.shape[0], placed.options
    most = options.most_candidates(n)
    b = len(states.x)
    found = np.full(b, None, object)
    if n <= options.by_differences:
        # All of them can be weighed by differences, without any pass.
        index = np.flatnonzero(placed.log_weights(np.arange(len(placed.storage))) > -np.inf)
        found[:] = [Candidates(index, -np.inf, -np.inf, FAR)] * b
        return found, np.zeros(b, bool)
    off = states.logit_error(placed, np.float32)
    tried = all_gather(np.isfinite(off)).all(axis=0)
    if not tried.any():
        return found, tried
    sample = sample_logits(placed, states) if guess is None else guess()
    if n > max(options.sample_patterns, most):
        near = sample.near
        # Whether a pattern stands out that was not seen yet is seen only by trying, which is cheap for few states.
        expected = sample.above(sample.best(n) - screening_depth(tail, n, off, options.trusted_roundoff))
        if b <= options.cheap_states:
            near = np.minimum(near, expected)
        near = np.where(off < options.trusted_roundoff, near, np.maximum(near, expected))
        tried &= all_gather(near < most / n).all(axis=0)
        # One pass over all patterns for a few states costs more than to sum them along with the others.
        tried &= tried.mean() >= 0.5
    likely = np.flatnonzero(tried)
    for start in range(0, len(likely), options.states_per_pass):
        some = likely[start : start + options.states_per_pass]
        for i, one in zip(some, screen(placed, states.only(some), tail, most, sample.only(some)), strict=True):
            found[i] = one
    # What is too much for one host is too much.
    found[all_gather(np.array([one is None for one in found])).any(axis=0)] = None
    return found, tried


def screen(
    placed: PlacedPatterns, states: States, tail: float, most: int, guess: LogitSample | None = None
) -> list[Candidates | None]:
    """The `Candidates` of states, from one pass over this host's patterns; None for more than `most` of them.

    The round-off of logits in single precision must be finite.
    """
    b = len(states.x)
    n, options = len(placed.storage), placed.options
    guess = sample_logits(placed, states) if guess is None else guess
    off = states.logit_error(placed, np.float32)
    blocks: Iterable[Block] = placed.blocks()

    def depth_of(off: np.ndarray) -> np.ndarray:
        return screening_depth(tail, placed.shape[0], off, options.trusted_roundoff)

    if b <= options.few_states and placed.quantized is not None:
        blurred = off + states.beta * states.norm * placed.quantized.error
        # Few more patterns are that much deeper, unless logits differ by little more than that.
        deeper = depth_of(blurred) - depth_of(off)
        if ((blurred < options.trusted_roundoff) | (deeper < guess.deviation / 2)).all():
            blocks, off = placed.quantized.blocks, blurred
    # Half of it for what rounding in single precision may add to what was not selected.
    depth = depth_of(off)
    depth = np.minimum(depth + 2 * SLACK * (np.abs(guess.best(n)) + depth), 1e30)
    # Should the best be lower than guessed, some are selected all the same.
    floor = np.minimum(guess.best(n), np.maximum(guess.largest, LOWEST) + np.log(n) / 4)
    found = _Screening(placed, states, off, depth, floor.astype(float), most)
    x, beta, depths = (padded_batch(part, np.float32, n) for part in (states.moved, states.beta, depth))
    size = placed.chunk(batch_size(b, n))

    def items() -> Iterator[tuple[Block, np.ndarray]]:
        """Every block with the best that is known when its turn comes: the closer, the fewer are selected in vain."""
        for block in blocks:
            yield block, padded_batch(found.best, np.float32, n)

    def evaluate(item: tuple[Block, np.ndarray]) -> tuple[int, BlockScan]:
        block, floor = item
        return block.start, scan_block(block.rows, x, beta, floor, depths, False, size)

    for start, here in placed.map_blocks(evaluate, items()):
        found.add(start, here)
        if not found.few.any():
            return [None] * b
    return found.candidates(tail, placed.terms(len(x)))


class _Screening:
    """What is known of b states while a pass goes on."""

    def __init__(
        self,
        placed: PlacedPatterns,
        states: States,
        off: np.ndarray,
        depth: np.ndarray,
        floor: np.ndarray,
        most: int,
    ) -> None:
        self.placed, self.states, self.off, self.depth, self.most = placed, states, off, depth, most
        b = len(floor)
        self.best = floor.copy()
        """The largest logit, or what it was guessed to be."""
        self.largest = np.full(b, LOWEST)
        """The largest logit so far."""
        self.log_tail = np.full(b, -np.inf)
        """Log Σ e^ℓ over all that were not selected, as computed."""
        self.max_unweighted = np.full(b, -np.inf)
        """The largest ℓ − log w of those, if not all weigh alike."""
        self.counts = np.zeros(b, np.int64)
        self._tiles: list[tuple[SelectedTiles, np.ndarray]] = []
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def few(self) -> np.ndarray:
        """Which states have not too many selected: even before the best is known there are not many more than stay."""
        return self.counts <= 4 * self.most

    def add(self, start: int, here: BlockScan) -> None:
        """Add the patterns of a block."""
        b = len(self.best)
        tile_maxima, bitmask = np.asarray(here.tile_maxima), np.asarray(here.bitmask)
        top = np.asarray(here.others.max_logit, float)[:b]
        with np.errstate(divide="ignore"):
            self.log_tail = np.logaddexp(self.log_tail, top + np.log(np.asarray(here.others.mass, float)[:b]))
        self.largest = np.maximum(self.largest, tile_maxima[:, :b].max(axis=(0, 2)))
        self.best = np.maximum(self.best, self.largest)
        if here.max_unweighted is not None:
            self.max_unweighted = np.maximum(self.max_unweighted, np.asarray(here.max_unweighted, float)[:b])
        self._pending.append((chunk_starts(start, bitmask), bitmask, tile_maxima))
        if len(self._pending) * bitmask.size > self.placed.options.pending_tiles:
            self._read()

    def _read(self) -> None:
        """Read the bitmasks of the last blocks, so many at a time that it does not matter what a call costs."""
        if not self._pending:
            return
        starts, bitmask, tile_maxima = map(np.concatenate, zip(*self._pending, strict=True))
        self._pending.clear()
        new, where = selected_tiles(bitmask, len(self.best), starts)
        self.counts += np.bincount(new.state, new.counts, len(self.best)).astype(np.int64)
        live = self.few[new.state]
        self._tiles.append((new.only(live), tile_maxima[where][live].astype(float)))

    def candidates(self, tail: float, terms: int) -> list[Candidates | None]:
        """What every state ends up with, once all blocks were added."""
        self._read()
        b, placed, off = len(self.best), self.placed, self.off
        n, levels = len(placed.storage), placed.options.depth_levels
        tiles = SelectedTiles.concatenated(part for part, _ in self._tiles)
        maxima = np.concatenate([part for _, part in self._tiles])
        state = tiles.state
        rest = log_sum_bound(self.log_tail, self.largest, n, off, terms, np.float32)
        # Tiles by depth: they are cut from the deepest on, as if all that is selected in a tile were its best.
        below = self.largest[state] - maxima
        level = np.minimum(below * (levels / self.depth[state]), levels - 1).astype(np.int64)
        weight = tiles.counts * np.exp(-below)
        mass = np.bincount(state * levels + level, weight, b * levels).reshape(b, levels)
        deeper = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(over="ignore"):
            # Beside what the best weighs at least.
            excluded = np.exp(rest - self.largest + off)[:, None] + deeper * np.exp(np.minimum(2 * off, 600))[:, None]
        allowed = excluded <= tail
        cut = np.where(allowed.any(axis=1), allowed.argmax(axis=1), levels)
        stays = level < cut[state]
        whose, which = tiles.only(stays).patterns()
        counts = np.bincount(whose, minlength=b)
        # What was not selected fell short of the best, as computed in single precision.
        largest = self.best - self.depth + SLACK * (np.abs(self.best) + self.depth)
        np.maximum.at(largest, state[~stays], maxima[~stays])
        with np.errstate(divide="ignore"):
            rest = np.logaddexp(rest, self.largest + off + np.log(np.bincount(state[~stays], weight[~stays], b)))
        rest = np.minimum(rest, np.log(n) + largest + off)
        # Where no more can be excluded, a few times what was asked for will do, and no more than that.
        few = self.few & (counts <= self.most)
        if self.most < n:
            few &= rest - self.largest + off <= np.log(4 * tail)
        log_max = largest + off
        if not placed.uniform:
            # How near a pattern lies depends on its logit without its weight.
            gone, index = tiles.only(~stays).patterns()
            largest = self.max_unweighted + SLACK * np.abs(self.max_unweighted)
            np.maximum.at(largest, gone, np.repeat(maxima[~stays], tiles.counts[~stays]) - placed.log_weights(index))
        none = counts == placed.present
        rest[none], log_max[none], largest[none] = -np.inf, -np.inf, -np.inf
        return as_candidates(self.states, off, rest, log_max, largest, few, whose, which)


def as_candidates(
    states: States,
    off: np.ndarray,
    log_tail: np.ndarray,
    log_max: np.ndarray,
    max_unweighted: np.ndarray,
    some: np.ndarray,
    whose: np.ndarray,
    which: np.ndarray,
) -> list[Candidates | None]:
    """The `Candidates` of those states that are among `some`, from bounds on logits of products.

    `log_tail` and `log_max` bound the logarithm of the sum and of the largest of the terms of all excluded patterns,
    and `max_unweighted` + `off` their logits without prior weights. The candidates `which` (k,) belong to the states
    `whose` (k,), and are in order for each of them.
    """
    half, error = states.half_square, states.half_square_error()
    distance = distance_from_logit(max_unweighted + off, states)
    tail, most = (
        bound - half + error + gamma(4, float) * np.where(np.isfinite(bound), np.abs(bound), 0)
        for bound in (log_tail, log_max)
    )
    which = which[np.argsort(whose, kind="stable")]
    counts = np.bincount(whose, minlength=len(half))
    ends = np.cumsum(counts)
    found: list[Candidates | None] = [None] * len(half)
    for i in np.flatnonzero(some):
        indices = which[ends[i] - counts[i] : ends[i]]
        found[i] = Candidates(indices, float(tail[i]), float(most[i]), float(distance[i]))
    return found


def distance_from_logit(largest: np.ndarray, states: States) -> np.ndarray:
    """A lower bound on the distance to patterns whose ℓ − log w are at most `largest`, (b,).

    ‖x − y‖² = ‖x − c‖² − 2σ²(ℓ − log w), with ℓ the logit of products.
    """
    square, d = states.norm**2, states.x.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.minimum(square - 2 * states.sigma**2 * largest, FAR**2)
        away = away - gamma(d + 8, float) * 2 * (np.abs(away) + square)
        return np.sqrt(np.clip(np.nan_to_num(away, nan=0.0), 0, FAR**2)) * (1 - 1e-15)

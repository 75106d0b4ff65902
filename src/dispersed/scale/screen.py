r"""One cheap pass that finds every pattern that can matter, and bounds the weight of all others together.

Logits are computed in single precision, and of every tile of `TILE` patterns only the largest is kept: its top. A tile
whose patterns together weigh at most TILE·e^{top + δ}, where δ bounds the round-off, need not be looked into: no
exponential and no second product is spent on it. As many tiles go, of each state, as together weigh no more than a
share of its leading pattern that was asked for. The patterns of the others are weighed one by one, and again only
those stay that matter. This holds whatever the patterns are and in whatever order they lie; only how many are kept
depends on that.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.scale.evidence import TILE, Rows, batch_size, chunk_size
from dispersed.scale.placed import Placed
from dispersed.scale.roundoff import logit_error
from dispersed.types import Array, Numbers

FAR = 1e100
"""Where what was left out lies if nothing was."""
LEVELS = 128
"""Depths below the leading logit, in nats, at which tiles can be left out."""
LOOSE = 4
"""Tiles are weighed as if all their patterns were their best: they get a small part of the share, so that most of
what is left out is left out by its own weight."""
BEST = 8
"""Tiles that are looked into in any case: beside them, what the others can weigh is small."""
SAMPLE = 1024
"""Patterns from which the others are guessed."""
DEPTH = 20
"""Nats below the best at which patterns still count, roughly, whatever the tolerance."""
GATHERED = 1 << 21
"""Numbers of the patterns that are weighed one by one at once."""


class Found(NamedTuple):
    """What one state keeps of a screen."""

    indices: np.ndarray
    """Of the patterns kept, (k,), the likeliest first."""
    log_rest: float
    """At least log Σ w_j exp(−‖x − y_j‖²/(2σ²)) over all others."""
    reach: float
    """At most the distance from x to the nearest of them."""


class _States(NamedTuple):
    """States as the programs take them: in single precision, a power of two of them, so that few programs serve all."""

    x: Any
    beta: Any
    centre: Any


def screen(placed: Placed, x: np.ndarray, sigma: np.ndarray, share: float, limit: int) -> list[Found | None]:
    """What states x (b, d) at noise levels sigma (b,), in double precision, keep; None for more than `limit` patterns.

    What is left out weighs at most `share` of what the leading pattern weighs.
    """
    facts = placed.facts
    n = len(placed.storage)
    beta = 1 / sigma**2
    moved = x - facts.centre.astype(float)
    states = _states(moved, beta, facts.centre)
    tops = _tops(placed, states, len(x))
    slack = logit_error(
        x.shape[1], np.float32, beta, np.linalg.norm(moved, axis=1), facts.centre_norm, facts.norm, facts.widest
    )
    best = tops.max(axis=1) - slack
    # At most this much above a computed logit, relative to a logit that is surely reached.
    above = (slack - best).astype(np.float32)[:, None]
    cut, left = _cuts(tops + above, share / LOOSE)
    in_play = (tops + above > -cut[:, None]) & (cut < LEVELS)[:, None]
    # Beyond that it is cheaper to sum all patterns.
    few = in_play.sum(axis=1) * TILE <= max(4 * limit, len(placed.storage) // 16)
    in_play &= few[:, None]
    out = np.where(in_play, -np.inf, tops).max(axis=1)
    # What all logits of a state leave out.
    squares = np.sum(x * x, axis=1)
    owner, indices, values = _weighed(placed, states, in_play)
    bounds = np.searchsorted(owner, np.arange(len(x) + 1))
    found: list[Found | None] = [None] * len(x)
    for i in np.flatnonzero(few & (cut < LEVELS)):
        here = slice(bounds[i], bounds[i + 1])
        value, index = values[here].astype(float), indices[here]
        deep = value + above[i] < -cut[i]
        with np.errstate(divide="ignore", over="ignore"):
            weight = np.exp(value[deep] + above[i])
            rest = left[i] + weight.sum()
            kept = np.flatnonzero(~deep)
            kept = kept[np.argsort(-value[kept], kind="stable")]
            tail = np.append(np.cumsum(np.exp(value[kept] + above[i])[::-1])[::-1], 0)
            k = max(1, int(np.searchsorted(-tail, -share)))
            # What underflowed was smaller than the smallest number, and all that is gone is at most its largest each.
            log_rest = np.log(rest + tail[k] + n * np.finfo(np.float32).tiny)
        gone = np.concatenate([value[deep], value[kept[k : k + 1]], out[i : i + 1]])
        log_rest = min(log_rest, np.log(n) + gone.max() + above[i, 0]) + best[i] - beta[i] * squares[i] / 2
        if k <= limit:
            reach = reach_of(gone.max() + slack[i], sigma[i], squares[i], facts.lowest)
            found[i] = Found(index[kept[:k]], float(log_rest), float(reach))
    return found


def reach_of(largest: Any, sigma: Any, square: Any, lowest: float) -> Any:
    """At most the distance to patterns whose logits are at most `largest`.

    ‖x − y‖² = 2σ²(log w − ℓ) + ‖x‖², with ℓ as the logits are computed, without ‖x‖²/(2σ²).
    """
    away = np.minimum(2 * sigma**2 * (lowest - largest) + square, FAR**2)
    return np.sqrt(np.clip(away - 1e-14 * (np.abs(away) + square), 0, FAR**2))


def _cuts(heights: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The depth from which on tiles go, in whole nats, and what those weigh that do, (b,) each.

    The best few tiles stay even if they could go.
    """
    b = len(heights)
    level = np.clip(-heights, 0, LEVELS - 1).astype(np.int32)
    cell = level + np.arange(b, dtype=np.int32)[:, None] * LEVELS
    with np.errstate(over="ignore"):
        weight = TILE * np.exp(heights)
    mass = np.bincount(cell.reshape(-1), weight.reshape(-1), b * LEVELS).reshape(b, LEVELS)
    # Single precision sums are off by far less than this.
    tail = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1] * (1 + 1e-5)
    allowed = tail <= share
    tiles = np.cumsum(np.bincount(cell.reshape(-1), minlength=b * LEVELS).reshape(b, LEVELS), axis=1)
    enough = np.minimum(1 + np.argmax(tiles >= min(BEST, heights.shape[1]), axis=1), LEVELS - 1)
    cut = np.where(allowed.any(axis=1), np.maximum(allowed.argmax(axis=1), enough), LEVELS)
    return cut, tail[np.arange(b), np.minimum(cut, LEVELS - 1)]


def likeliest(placed: Placed, x: np.ndarray, sigma: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest patterns of every state, (b, k), but for ties within round-off."""
    moved = x - placed.facts.centre.astype(float)
    states = _states(moved, 1 / sigma**2, placed.facts.centre)
    tops = _tops(placed, states, len(x))
    # The k likeliest patterns lie in at most k tiles, none of whose tops is below the k-th largest.
    tiles = min(k, tops.shape[1])
    in_play = np.zeros(tops.shape, bool)
    np.put_along_axis(in_play, np.argpartition(-tops, tiles - 1, axis=1)[:, :tiles], True, axis=1)
    _, indices, values = _weighed(placed, states, in_play)
    indices, values = indices.reshape(len(x), -1), values.reshape(len(x), -1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(indices, order, 1)


class Sample(eqx.Module):
    """What the first `SAMPLE` patterns say of each state, from which the rest is guessed, (b,)."""

    log_mass: Numbers
    """Log Σ e^ℓ over them."""
    near: Numbers
    """The fraction of them within `DEPTH` of the best."""
    deviation: Numbers
    """The standard deviation of their logits."""


def sample(placed: Placed, x: np.ndarray, sigma: np.ndarray) -> Sample:
    """A guess; no bound rests on it."""
    size = 1 << 2 * -(-(len(x) - 1).bit_length() // 2)  # a power of four: a few more states cost little here
    states = _states(x - placed.facts.centre.astype(float), 1 / sigma**2, placed.facts.centre, size)
    found = _sample(next(iter(placed.blocks())).rows, states)
    return jax.tree.map(lambda part: np.asarray(part)[: len(x)], found)


def _states(moved: np.ndarray, beta: np.ndarray, centre: np.ndarray, size: int | None = None) -> _States:
    b, d = moved.shape
    size = batch_size(b) if size is None else size
    x = np.zeros((size, d), np.float32)
    x[:b] = moved
    precision = np.ones(size, np.float32)
    precision[:b] = beta
    return _States(x, precision, centre)


def _tops(placed: Placed, states: _States, b: int) -> np.ndarray:
    """The largest logit of every tile, (b, tiles)."""
    parts = placed.each(lambda block: _block_tops(block.rows, states))
    return np.concatenate([np.asarray(part)[:b] for part in parts], axis=1)


def _weighed(placed: Placed, states: _States, in_play: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the patterns in all tiles in play: the state, their index and logit, in the order of the states."""
    state, tile = np.nonzero(in_play)
    number, within = np.divmod(tile, placed.height // TILE)
    indices = np.empty((len(state), TILE), np.int64)
    values = np.empty((len(state), TILE), np.float32)
    at_once = max(1, GATHERED // (TILE * placed.shape[1]))
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(number.max(initial=-1) + 2))
    for block in range(len(ends) - 1):
        for start in range(ends[block], ends[block + 1], at_once):
            some = order[start : min(start + at_once, ends[block + 1])]
            part = placed.tiles(block, within[some])
            i = state[some]
            # By NumPy: a gather that a compiler writes takes three times as long.
            height = np.einsum("tkd,tkd->tk", part.y, part.y) / 2 - part.y @ states.centre
            here = np.einsum("tkd,td->tk", part.y, states.x[i]) - height
            values[some] = np.where(part.present, states.beta[i][:, None] * here + part.log_weights, -np.inf)
            indices[some] = part.indices
    return np.repeat(state, TILE), indices.reshape(-1), values.reshape(-1)


@eqx.filter_jit
def _block_tops(rows: Rows, states: _States) -> Array:
    m = rows.codes.shape[0]
    x, beta, centre = states
    size = chunk_size(m, len(x))

    def chunk(start: Array) -> Array:
        _, here = rows.chunk(start, size, x, beta, centre)
        return here.reshape(len(x), size // TILE, TILE).max(axis=-1)

    return jnp.moveaxis(jax.lax.map(chunk, jnp.arange(0, m, size)), 0, 1).reshape(len(x), m // TILE)


@eqx.filter_jit
def _sample(rows: Rows, states: _States) -> Sample:
    _, here = rows.chunk(jnp.asarray(0), min(rows.codes.shape[0], SAMPLE), *states)
    there = here > -jnp.inf
    near = here > here.max(axis=1, keepdims=True) - DEPTH
    return Sample(
        jax.nn.logsumexp(here, axis=1),
        jnp.sum(near, axis=1) / jnp.maximum(there.sum(axis=1), 1),
        jnp.std(here, axis=1, where=there),
    )


__all__ = ["GATHERED", "SAMPLE", "Found", "Sample", "likeliest", "reach_of", "sample", "screen"]

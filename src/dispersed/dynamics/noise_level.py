r"""The noise level of a cue that comes without one, by maximum likelihood.

The likelihood of σ is log p_σ(x), the log density of the cue x = y + σε under the memory and that noise. With
β = 1/σ² and the distance r = ‖x − y‖ to the memories y,

    log p_σ(x) = Q(β) + (d/2) log β + const,    Q(β) = log E_y[e^{−βr²/2}],    Q'(β) = −R²/2,    R² = E[r² | x].

Q is a cumulant generating function, hence convex: between two levels it lies below its chord and above its tangents.
The chord bounds the likelihood at all levels from a few evaluations: the highest of several maxima is found, and levels
that cannot matter are never evaluated. At every maximum σ² = R²/d, and R² increases with σ up to E r² under the
prior: no maximum lies beyond σ = √(E r²/d), where a cue far outside the memory has its only one. Of stored patterns y_j
the distances r_j are computed once, and Q(β) = log Σ_j w_j e^{−βr_j²/2} follows from them at every level.

The interval holds all σ that a likelihood ratio test does not reject, 2(max log p − log p_σ(x)) ≤ χ²₁(.95) (Wilks).
Of a cue of which only the entries K were observed the likelihood is log p_σ(x_K), with |K| in place of d.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.display import one_line
from dispersed.dynamics.cues import cues_and_masks, least_noise
from dispersed.engines.engine import Misfits
from dispersed.memories import AssociativeMemory, Memory
from dispersed.memories.associative_memory import in_precision
from dispersed.memories.memory import gaussian_normaliser
from dispersed.precision import full_precision
from dispersed.tracing import as_array, in_program, reshaped
from dispersed.types import Array, ArrayLike, Bool, Float, Numbers, Scalar, State
from dispersed.validation import InputError

ALLOWED = 3.841458820694124 / 2
"""Half the 95 % quantile of χ² with one degree of freedom: how far below its maximum the likelihood may lie."""
HIDDEN = 0.02
"""By how many nats a maximum between the evaluated levels may be missed."""
FLAT = 1e-3
"""By how many nats the likelihood of an evaluated level may lie below the maximum beside it."""
LEVEL = 0.3
"""The change of the likelihood between two levels, by its slopes and values there, that counts as none."""
BAND = 1.0
"""Nats between chord and tangents from which on the model between two levels is good."""
ROUNDS = 10
"""How often three more levels of every cue are evaluated at most."""
TOLD = 1e-5
"""The least level at which products in double precision provably tell by how much patterns fit a cue, as a rule: in
units of √(d(d + 10)) and of the last level at which there may be a maximum."""
ALONE = 120.0
"""How many nats less than the nearest pattern all others fit where they count neither there nor at lower levels."""
GRID = np.linspace(0, 1, 33)


class NoiseLevel(eqx.Module):
    """The noise level of each cue of a batch (...), estimated by maximum likelihood."""

    __repr__ = one_line

    sigma: Float[Numbers, "..."]
    """The most likely σ; the round-off of the cue where none is likelier than that by 0.02 nats."""
    low: Float[Numbers, "..."]
    """The lower end of the 95 % interval; 0 where the likelihood does not exclude a cue without noise."""
    high: Float[Numbers, "..."]
    """The upper end; infinite where the likelihood excludes no σ however large."""


def estimate_sigma(memory: AssociativeMemory, cue: ArrayLike, known: ArrayLike | None = None) -> NoiseLevel:
    """The noise level σ of cues x = y + σε, by maximum likelihood over log p_σ(x), with its 95 % interval.

    **Arguments**

    - `memory`: any memory with a density.
    - `cue`: states (..., d).
    - `known`: which entries were observed, booleans that broadcast against the cue; the likelihood is then that of
      these entries alone.

    **Returns** a `NoiseLevel` with `sigma`, `low` and `high`, (...).

    **Raises** `InputError` for networks and denoisers, which have no density, for cues of another dimension or of
    which no entry is known, and inside of `jax.jit`: how many levels are evaluated depends on the values.

    >>> import dispersed
    >>> memory = dispersed.PatternMemory([[1.0, 1, 1, 1], [-1, -1, 1, -1]])
    >>> estimate_sigma(memory, [1.2, 0.8, 1.2, 0.8]).sigma.round(3)
    Array(0.2, dtype=float32)
    """
    if not isinstance(memory, AssociativeMemory):
        raise InputError("memory", f"got {type(memory).__name__}", "a memory with a density is accepted")
    if not isinstance(memory, Memory):
        raise InputError("memory", f"a {type(memory).__name__} has no density", "a Memory tells the noise of its cues")
    return noise_level(memory, *cues_and_masks(memory, cue, known))


def noise_level(memory: Memory, x: Float[Array, "... d"], known: Bool[Array, "states d"] | None) -> NoiseLevel:
    """The same of checked cues and their masks, flattened."""
    if in_program(*jax.tree.leaves((memory, x, known))):
        given = "got neither inside of a program"
        raise InputError("alpha, sigma", given, "inside of programs the noise level is given as one of them")
    batch = x.shape[:-1]
    if not math.prod(batch):
        return NoiseLevel(*(jnp.zeros(batch, x.dtype),) * 3)
    cues = reshaped(x, (math.prod(batch), x.shape[-1]))
    if known is not None and not np.asarray(known).any(axis=1).all():
        raise InputError("known", "got a cue of which no entry is known", "noise is told by at least one entry")
    memory = cast(Memory, in_precision(memory._prepared(), x.dtype))
    most = memory._most_states("_log_density") or len(cues)
    parts = [
        _search(memory, cues[i : i + most], None if known is None else known[i : i + most])
        for i in range(0, len(cues), most)
    ]
    found = (np.concatenate(part) for part in zip(*parts, strict=True))
    return NoiseLevel(*(as_array(part.reshape(batch), x.dtype) for part in found))


@full_precision
def _fit(memory: Memory, x: State, known: Bool[Array, " d"] | None, sigma: Scalar) -> Scalar:
    """Q of one cue: log p_σ(x) + d log(σ√2π)."""
    if known is not None:
        observation = Observation(x, known, sigma=sigma).of(memory.dimension)
        return memory._conditioned(observation)[1] + gaussian_normaliser(known.sum(), sigma)
    anchor, excess = memory.anchored(x, sigma)
    residual = (x - anchor) / sigma
    return excess - residual @ residual / 2


@eqx.filter_jit
def _fits(memory: Memory, x: Array, known: Array | None, levels: Float[Array, "k cues"]) -> tuple[Array, Array]:
    """Q and R²/σ² of every cue at k levels, (k, cues) each."""

    def one(x: State, known: Bool[Array, " d"] | None, sigma: Scalar) -> tuple[Scalar, Scalar]:
        value, slope = jax.value_and_grad(lambda level: _fit(memory, x, known, level))(sigma)
        return value, slope * sigma

    of_all = jax.vmap(one, (0, None if known is None else 0, 0))
    return jax.lax.map(lambda level: of_all(x, known, level), levels)


@eqx.filter_jit
def _alone(misfits: Misfits) -> Bool[Array, " cues"]:
    """Whether no pattern but the nearest one counts, at the level that misfits are relative to and below it."""
    others = jnp.arange(misfits.excess.shape[1]) != misfits.nearest[:, None]
    beside = misfits.excess + misfits.log_weights - misfits.log_weights[misfits.nearest][:, None]
    return jnp.max(jnp.where(others, beside, -jnp.inf), axis=1) < -ALONE


@eqx.filter_jit
def _sums(misfits: Misfits, ratio: Float[Array, "k cues"]) -> tuple[Array, Array]:
    """Log Σ_j w_j e^{−ρm_j} and Σ_j p_j m_j of every cue, m_j its misfits beyond the least, ρ the squared ratio of the
    level they are relative to and that of the sum; (k, cues) each.
    """

    def at(ratio: Float[Array, " cues"]) -> tuple[Array, Array]:
        logits = ratio[:, None] * misfits.excess + misfits.log_weights
        top = jnp.max(logits, axis=1)
        weight = jnp.exp(logits - top[:, None])
        total = jnp.sum(weight, axis=1)
        return top + jnp.log(total), -jnp.sum(weight * misfits.excess, axis=1) / total

    return jax.lax.map(at, ratio)


class _Profile(NamedTuple):
    """What was evaluated of each cue, by increasing level; all (cues, m)."""

    s: np.ndarray
    """log σ."""
    q: np.ndarray
    """Q."""
    r: np.ndarray
    """R²/σ² = dQ/ds."""

    def with_levels(self, evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]], s: np.ndarray) -> "_Profile":
        """With further levels s (cues, k) evaluated."""
        parts = [np.concatenate(pair, axis=1) for pair in zip(self, evaluate(s), strict=True)]
        order = np.argsort(parts[0], axis=1, kind="stable")
        return _Profile(*(np.take_along_axis(part, order, axis=1) for part in parts))


class _Cells(NamedTuple):
    """One interval [a, b] between evaluated levels for each cue, or all of them, (cues, …)."""

    a: np.ndarray
    b: np.ndarray
    qa: np.ndarray
    qb: np.ndarray
    ra: np.ndarray
    rb: np.ndarray
    d: np.ndarray

    def beta(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Relative precisions β(s)/β(a), and the fractions of [β(a), β(b)] on either side of it."""
        beta, last = np.exp(-2 * (s - self.a)), -np.expm1(-2 * np.maximum(self.b - self.a, 1e-12))
        before = np.clip(-np.expm1(-2 * (s - self.a)) / last, 0, 1)
        after = np.clip(beta * -np.expm1(-2 * (self.b - s)) / last, 0, 1)
        return beta, before, np.where(self.b - self.a > 1e-6, after, 1 - before)  # levels may be evaluated twice

    def chord(self, s: np.ndarray) -> np.ndarray:
        """The likelihood if Q were its chord: no less than it is."""
        _, before, after = self.beta(s)
        return self.qa * after + self.qb * before - self.d * s

    def highest(self) -> np.ndarray:
        """Where the chord is highest."""
        last = -np.expm1(-2 * np.maximum(self.b - self.a, 1e-12))
        rise = 2 * (self.qb - self.qa) / last
        beta = np.where(rise > self.d, self.d / np.where(rise > self.d, rise, 1), 1)
        return np.clip(self.a - np.log(beta) / 2, self.a, self.b)

    def flat(self) -> np.ndarray:
        """Whether the likelihood is as good as constant at both ends, as for σ far below the details of a density.

        There Q is a logarithm of β, and its chord tells nothing.
        """
        width = self.b - self.a
        steep = np.maximum(np.abs(self.ra - self.d), np.abs(self.rb - self.d)) * width
        return (width > 0.5) & (np.maximum(steep, np.abs(self.qb - self.qa - self.d * width)) <= LEVEL)

    def ceiling(self) -> np.ndarray:
        """What the likelihood does not exceed between the levels.

        Where chord and tangents leave it less than `BAND`, its model is trusted to a fifth of that.
        """
        ends = np.maximum(self.qa - self.d * self.a, self.qb - self.d * self.b)
        at = self.highest()
        chord = self.chord(at)
        _, t, w = self.beta(at)
        narrow = chord - np.maximum(*self.tangents(t, w)) + self.d * at <= BAND
        inner = np.where(narrow, 0.8 * self.model(at) + 0.2 * chord, chord)
        return np.where(self.flat(), ends, np.maximum(ends, inner))

    def tangents(self, t: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What Q is not below, from either end."""
        width, fall = -np.expm1(-2 * np.maximum(self.b - self.a, 1e-12)), np.exp(2 * (self.b - self.a))
        return self.qa + self.ra * width / 2 * t, self.qb - self.rb * width * fall / 2 * w

    def model(self, s: np.ndarray) -> np.ndarray:
        """The likelihood if Q were its cubic interpolation in β, within chord and tangents."""
        _, t, w = self.beta(s)
        width = -np.expm1(-2 * np.maximum(self.b - self.a, 1e-12))
        fall = np.exp(2 * (self.b - self.a))
        ma, mb = self.ra * width / 2, self.rb * width * fall / 2
        cubic = (1 + 2 * t) * w * w * self.qa + (1 + 2 * w) * t * t * self.qb + t * w * w * ma - t * t * w * mb
        between = (
            np.minimum(np.maximum(cubic, np.maximum(*self.tangents(t, w))), self.qa * w + self.qb * t) - self.d * s
        )
        u = (s - self.a) / np.maximum(self.b - self.a, 1e-12)
        straight = (self.qa - self.d * self.a) * (1 - u) + (self.qb - self.d * self.b) * u
        return np.where(self.flat(), straight, between)

    def broad(self) -> "_Cells":
        """With an axis for several levels of each."""
        return _Cells(*(part[..., None] for part in self))


def _search(memory: Memory, x: Float[Array, "cues d"], known: Array | None) -> tuple[np.ndarray, ...]:
    """The most likely σ of every cue and the ends of its interval."""
    count, dtype = len(x), np.dtype(x.dtype)
    units = np.full((count, 1), float(x.shape[1])) if known is None else np.asarray(known).sum(axis=1, keepdims=True)
    units = units.astype(float)
    floor, start, top, limit = _range(memory, x, known, units)

    def fits(levels: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(part, float).T for part in _fits(memory, x, known, as_array(levels.T)))

    least = np.exp(np.maximum(start, top + np.log(TOLD * np.sqrt(units * (units + 10))))[:, 0]).astype(dtype)
    misfits = memory._misfits(x, known, as_array(least))
    # Below the level that misfits are relative to they serve where the nearest pattern alone counts there.
    alone = np.zeros(count, bool) if misfits is None else np.asarray(_alone(misfits))

    def evaluate(s: np.ndarray) -> tuple[np.ndarray, ...]:
        levels = np.exp(s).astype(dtype)
        if misfits is None:
            q, r = fits(levels)
        else:
            ratio = (least[:, None] / levels.astype(float)) ** 2
            log_sum, excess = (np.asarray(part, float).T for part in _sums(misfits, as_array(ratio.T.astype(dtype))))
            off = misfits.least[:, None]
            q, r = log_sum - ratio * off, 2 * ratio * (excess + off)
            doubtful = (levels < least[:, None]) & ~alone[:, None]
            if doubtful.any():
                q, r = (np.where(doubtful, exact, sums) for exact, sums in zip(fits(levels), (q, r), strict=True))
        # What overflows is a cue many orders of magnitude too far away for its level.
        r = np.where(np.isfinite(r), np.maximum(r, 0), 1e30)
        return np.log(levels.astype(float)), np.where(np.isfinite(q), q, -1e30), r

    wide = top + 1.3 * np.sqrt(ALLOWED / units) + ALLOWED / units
    # Where distances are known many levels cost little, but for the first one.
    begin, several = (start, 5) if misfits is None else (np.maximum(start, np.log(least)[:, None]), 17)
    levels = np.concatenate([begin + (top - begin) * np.linspace(0, 1, several), wide], axis=1)
    profile = _Profile(*(np.zeros((count, 0)),) * 3)
    for some in (levels[:, 1::2], levels[:, ::2]) if misfits is None else (start, levels):
        profile = profile.with_levels(evaluate, np.minimum(some, limit))
    for _ in range(ROUNDS):
        found = _ends(profile, units, floor, limit)
        if found.done.all():
            break
        profile = profile.with_levels(evaluate, found.next)
    found = _ends(profile, units, floor, limit)
    low = np.where(found.low <= floor[:, 0] + 1e-6, 0, np.exp(found.low))
    with np.errstate(over="ignore"):
        high = np.where(found.high >= limit[:, 0] - 1e-6, np.inf, np.exp(found.high))
    return np.exp(found.best), low, high


def _range(memory: Memory, x: Array, known: Array | None, units: np.ndarray) -> tuple[np.ndarray, ...]:
    """Logarithms of the least level of each cue, the level to start from, the last at which the likelihood may have a
    maximum, and the last that can be evaluated; (cues, 1) each.
    """
    cues = np.asarray(x, float)
    limits = jnp.finfo(x.dtype)
    try:
        mean, widest = (np.asarray(part, float) for part in memory.prior_start())
        off, spread = cues - mean, widest / 10
    except InputError:  # the memory does not say how far it extends: the levels are extended until the likelihood falls
        off, spread = cues, np.asarray(0.0)
    off = off if known is None else np.where(np.asarray(known), off, 0)
    least, last = 2 * math.sqrt(float(limits.tiny)), math.sqrt(float(limits.max)) / 4
    top = np.sqrt((np.linalg.norm(off, axis=1, keepdims=True) ** 2 + spread**2) / units)
    floor = np.asarray(least_noise(x), float)[:, None]
    # A cue of zeros has no round-off of its own.
    floor = np.where(np.abs(cues).max(axis=1, keepdims=True) > 0, floor, float(limits.eps) * top)
    floor = np.clip(floor, least, last / 64)
    top = np.clip(1.01 * top, 16 * floor, last / 4)
    # From here on even products in double precision tell patterns apart; below it sums are slow, and rarely needed.
    start = np.clip(3e-9 * np.sqrt(units * (units + 10)) * top, floor, top / 4)
    return np.log(floor), np.log(start), np.log(top), np.full_like(top, math.log(last))


class _Found(NamedTuple):
    """Estimates from what was evaluated, (cues,) each."""

    best: np.ndarray
    low: np.ndarray
    high: np.ndarray
    next: np.ndarray
    """The levels to evaluate next, (cues, 3)."""
    done: np.ndarray


def _ends(profile: _Profile, units: np.ndarray, floor: np.ndarray, limit: np.ndarray) -> _Found:
    """The maximum and both ends of the interval, as far as they are known."""
    s, q, r = profile
    d, rows = units[:, 0], np.arange(len(s))
    likelihood = q - units * s
    cells = _Cells(s[:, :-1], s[:, 1:], q[:, :-1], q[:, 1:], r[:, :-1], r[:, 1:], units)
    ceiling = cells.ceiling()

    def cell(index: np.ndarray) -> _Cells:
        return _Cells(*(np.broadcast_to(part, ceiling.shape)[rows, index] for part in cells))

    # The maximum lies to the right of the best level if the likelihood increases there.
    top = likelihood.argmax(axis=1)
    slope = r[rows, top] - d
    twin = likelihood.shape[1] - 1 - likelihood[:, ::-1].argmax(axis=1)
    beside = cell(np.clip(np.where(slope > 0, twin, top - 1), 0, s.shape[1] - 2))
    best, value = _maximum(beside)
    best = np.where((top == 0) & (slope <= 0), s[:, 0], best)
    value = np.maximum(value, likelihood[rows, top])
    near = (
        (slope**2 <= 4e-4 * d) & (value - likelihood[rows, top] <= FLAT)
        | (top == 0) & (slope <= 0)
        | (beside.b - beside.a < 1e-5)
    )
    # Another one may be hidden where the chord is higher.
    candidate = ceiling.argmax(axis=1)
    hidden = ceiling[rows, candidate] > value + HIDDEN
    doubtful = cell(candidate)
    elsewhere = _inside(doubtful, doubtful.highest())
    middle = np.where(near & hidden, (doubtful.a + doubtful.b) / 2, (beside.a + beside.b) / 2)
    following = np.where(near & hidden, elsewhere, _inside(beside, best))
    # Where levels are round-off, so are the differences of likelihoods that residuals of that size make.
    best = np.where(likelihood[:, 0] >= value - HIDDEN, s[:, 0], best)
    threshold = value - ALLOWED

    admitted = ceiling >= threshold[:, None] + HIDDEN
    first, last = admitted.argmax(axis=1), admitted.shape[1] - 1 - admitted[:, ::-1].argmax(axis=1)
    low, next_low, low_done = _end(cell(first), threshold, falling=False)
    high, next_high, high_done = _end(cell(last), threshold, falling=True)
    # Below the first level the likelihood increases with σ, unless its maximum there lies lower still.
    below = (s[:, 0] > floor[:, 0] + 1e-6) & ((r[:, 0] <= d) | (likelihood[:, 0] >= threshold))
    low = np.where((likelihood[:, 0] >= threshold) & (first == 0), s[:, 0], low)
    next_low, low_done = np.where(below, floor[:, 0], next_low), low_done & ~below
    above = (s[:, -1] < limit[:, 0] - 1e-6) & ((r[:, -1] >= d) | (likelihood[:, -1] >= threshold))
    high = np.where((likelihood[:, -1] >= threshold) & (last == s.shape[1] - 2), s[:, -1], high)
    step = np.minimum(2 * (s[:, -1] - s[:, -3]) + 1, 30)
    next_high, high_done = np.where(above, np.minimum(s[:, -1] + step, limit[:, 0]), next_high), high_done & ~above
    # What need not be spent on an end of the interval helps with the maximum: its model alone comes from one side only.
    next_low, next_high = np.where(low_done, middle, next_low), np.where(high_done, elsewhere, next_high)
    levels = np.stack([following, next_low, next_high], axis=1)
    return _Found(best, low, high, levels, near & ~hidden & low_done & high_done)


def _maximum(cell: _Cells) -> tuple[np.ndarray, np.ndarray]:
    """Where the model of each cell is highest, and how high."""
    a, b, rows = cell.a, cell.b, np.arange(len(cell.a))
    for _ in range(3):
        s = a[:, None] + (b - a)[:, None] * GRID
        value = cell.broad().model(s)
        at = value.argmax(axis=1)
        a, b = s[rows, np.maximum(at - 1, 0)], s[rows, np.minimum(at + 1, len(GRID) - 1)]
    return s[rows, at], value[rows, at]


def _end(cell: _Cells, threshold: np.ndarray, falling: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the likelihood passes the threshold in each cell, coming from the outer side, what to evaluate next, and
    whether the first is certain.
    """
    rows = np.arange(len(cell.a))
    ends = [
        (cell.a, cell.qa - cell.d * cell.a, cell.ra - cell.d),
        (cell.b, cell.qb - cell.d * cell.b, cell.rb - cell.d),
    ]
    (outer, outside, slope), (inner, inside, _) = ends[::-1] if falling else ends
    a, b = outer, inner
    for _ in range(3):
        s = a[:, None] + (b - a)[:, None] * GRID
        beyond = cell.broad().model(s) >= threshold[:, None]
        at = np.where(beyond.any(axis=1), np.maximum(beyond.argmax(axis=1), 1), len(GRID) - 1)
        a, b = s[rows, at - 1], s[rows, at]
    crossing = (a + b) / 2
    # An outer end above the threshold, by less than `HIDDEN`: the crossing lies just outside of it.
    just = outside >= threshold
    crossing = np.where(just, outer - (outside - threshold) / np.where(slope == 0, np.inf, slope), crossing)
    crosses = inside >= threshold
    close = np.minimum(np.abs(crossing - outer), np.abs(crossing - inner)) <= 2e-3
    proposal = np.where(crosses, crossing, cell.highest())
    return crossing, _inside(cell, proposal), just | crosses & close


def _inside(cell: _Cells, s: np.ndarray) -> np.ndarray:
    """The levels s, or the middle of the cell where they are its ends."""
    width = cell.b - cell.a
    at_end = np.minimum(s - cell.a, cell.b - s) <= 1e-4 * width
    return np.where(at_end, (cell.a + cell.b) / 2, np.clip(s, cell.a, cell.b))


__all__ = ["NoiseLevel", "estimate_sigma", "noise_level"]

r"""Every pattern summed, nearly all of them in single precision, and still certified to many digits.

In single precision the worst case of a logit's round-off, at d = 64 and low noise, is about 10⁻³: no responsibility
could be trusted to more. But a few patterns carry nearly all the weight, as a rule. Those are weighed apart, in double
precision; what is left is off by a part of its own share only, which is small (`mean_error`).

The patterns that were weighed apart also serve further along a recall: what all others weigh together is known, and so
is how far away they are at least (`dispersed.scale.kept`).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from dispersed.scale.evidence import CHUNK, TILE, Evidence, batch_size, chunk_size, combine, evidence_but_peaks
from dispersed.scale.hosts import everywhere, together
from dispersed.scale.placed import Placed
from dispersed.scale.roundoff import gamma, logit_error, mean_error, relative_errors
from dispersed.scale.screen import GATHERED, SAMPLE, Found, Sample, likeliest, reach_of, sample

NEAR = 7.0
"""Nats by which a pattern may weigh less than all others together and still be weighed apart,"""
RARE = 64
"""unless more than one in so many could be."""
FROZEN = 1.3
"""Deviations of the logits, in units of √(2 log n), from which on a few patterns are likely to carry nearly all,"""
LEFT = 1e-3
"""but for about so much."""


JOINED = 8
"""Roundings that a term sees where two sums are joined, the exponential of a difference of tops included."""


class Sum(NamedTuple):
    """What all patterns together say of each state, in double precision, (b, …)."""

    mean: np.ndarray
    bound: np.ndarray
    log_mass: np.ndarray
    entropy: np.ndarray
    found: np.ndarray
    """What was weighed apart, a `Found` each, with what is known of the others; None where that is not most of it."""


_but_peaks = eqx.filter_jit(evidence_but_peaks)
_combine = jax.jit(combine)


def summed(placed: Placed, x: np.ndarray, sigma: np.ndarray, dtype: type, guess: Sample | None = None) -> Sum:
    """Every pattern summed: the peaks in double precision, the others with logits and products of precision `dtype`."""
    guess = sample(placed, x, sigma) if guess is None else guess
    facts = placed.facts
    b, d = x.shape
    n = len(placed.storage)
    beta = 1 / sigma**2
    moved = x - facts.centre.astype(float)
    # As if all patterns were like the first of them.
    floor = guess.log_mass + np.log(max(n / SAMPLE, 1))
    near = float(np.clip(np.log(n / RARE), 0, NEAR))
    spare = np.zeros(batch_size(b) - b, int)
    states: Any = [np.concatenate([a, a[spare]]).astype(dtype) for a in (moved, beta, floor)]
    arguments: Any = states[0], states[1], facts.centre.astype(dtype), states[2], np.asarray(near, dtype)
    parts: dict[jax.Device, Any] = {}
    peaks: list[tuple[np.ndarray, np.ndarray]] = []
    free = np.full(b, -np.inf)
    with jax.enable_x64(dtype == np.float64):
        rows = (lambda block: block.rows) if dtype == np.float32 else placed.in_double
        for block, (others, marks, near_by) in placed.each(lambda block: (block, _but_peaks(rows(block), *arguments))):
            device = next(iter(others.top.devices()))
            parts[device] = others if device not in parts else _combine(parts[device], others)
            peaks.append(_positions(np.asarray(marks), b, block.start))
            if near_by is not None:
                free = np.maximum(free, np.asarray(near_by, float)[:b])
    owner, index = map(np.concatenate, zip(*peaks, strict=True))
    order = np.argsort(owner, kind="stable")
    owner, index = owner[order], index[order]
    # What decides must be the same on all hosts.
    most = int(everywhere(np.bincount(owner, minlength=b).max()).sum()) + jax.process_count()
    size = chunk_size(placed.height, len(states[0]))
    joins = -(-placed.height // size) + -(-n // placed.height) + jax.process_count()
    terms = int(everywhere(np.array(size + JOINED * joins)).max())
    off, fine = (
        logit_error(d, t, beta, np.linalg.norm(moved, axis=1), facts.centre_norm, facts.norm, facts.widest)
        for t in (dtype, np.float64)
    )
    rest = _nothing(len(states[0]), d)
    logit, apart = _apart(placed, moved, beta, owner, index, len(states[0]))
    with jax.enable_x64(True):
        for one in parts.values():
            rest = _combine(rest, jax.tree.map(lambda a: np.asarray(a, float), one))
    rest = jax.tree.map(np.asarray, rest)
    log_rest = _log_mass(rest, n, off, terms, dtype)
    blur = off + fine + gamma(d + 8, np.float64) * beta * np.sum(x * x, axis=1)
    found = _found(placed, x, sigma, owner, index, logit, floor, near, blur, log_rest + blur, free)
    with jax.enable_x64(True):
        rest, apart = together((rest, apart), lambda one, other: tuple(map(_combine, one, other)))
        top, mass, total, slope = (np.asarray(a)[:b] for a in jax.tree.leaves(_combine(rest, apart)))
    # Where round-off exceeds all differences between patterns nothing may be left; the bound is infinite then.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = top + np.log(mass)
        share = np.exp((rest.top + np.log(rest.mass))[:b] - log_mass)
        mean, entropy = total / mass[:, None], np.log(mass) - slope / mass
    spread = facts.radius + np.linalg.norm(mean - facts.centre, axis=1)
    wrong = mean_error(off, terms, dtype, spread, facts.norm)
    # Weights that may be off by any factor may also have been taken for nothing.
    bound = np.multiply(share, wrong, out=np.full(b, np.inf), where=np.isfinite(wrong))
    bound += mean_error(fine, most, np.float64, spread, facts.norm)
    bound[~np.isfinite(bound)] = np.inf
    found[~(share <= 0.5)] = None
    return Sum(mean, bound, log_mass - beta * np.sum(x * x, axis=1) / 2, entropy, found)


def _log_mass(rest: Evidence, n: int, off: np.ndarray, terms: int, dtype: type) -> np.ndarray:
    """At least log Σ e^ℓ over n patterns at most, from what was computed of them."""
    e, s = relative_errors(off, terms, dtype)
    b = len(off)
    known = (e < 1) & (s < 1)
    # What underflowed was smaller than the smallest number.
    mass = rest.mass[:b] / np.where(known, (1 - e) * (1 - s), 1) + n * np.finfo(dtype).tiny
    return np.where(known, rest.top[:b] + np.log(mass), np.inf)


def _positions(marks: np.ndarray, b: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Which patterns are marked for the first b states, from one bit each, (chunks, states, tiles): whose, which."""
    places = np.flatnonzero(marks.reshape(-1) != 0)  # few
    chunk, state, tile = np.unravel_index(places, marks.shape)
    word, bit = np.nonzero((marks[chunk, state, tile][:, None] >> np.arange(TILE, dtype=np.uint32)) & 1)
    word, bit = word[state[word] < b], bit[state[word] < b]
    return state[word], first + (chunk[word] * marks.shape[2] + tile[word]) * TILE + bit


def _nothing(b: int, d: int) -> Any:
    """As `nothing`, by NumPy: for any number of states without another program."""
    return Evidence(np.full(b, np.finfo(float).min / 4), np.zeros(b), np.zeros((b, d)), np.zeros(b))


def _apart(
    placed: Placed, moved: np.ndarray, beta: np.ndarray, owner: np.ndarray, index: np.ndarray, b: int
) -> tuple[np.ndarray, Any]:
    """Logits of patterns and what they say of the states that own them, b with those that only fill up, in double
    precision; owners ascend.
    """
    d = moved.shape[1]
    centre = placed.facts.centre.astype(float)
    total = _nothing(b, d)
    logits = np.empty(len(owner))
    at_once = max(1, GATHERED // d)
    for start in range(0, len(owner), at_once):
        some = slice(start, start + at_once)
        state, y = owner[some], placed.patterns(index[some]).astype(float)
        height = np.einsum("kd,kd->k", y, y) / 2 - y @ centre
        logit = beta[state] * (np.einsum("kd,kd->k", moved[state], y) - height) + placed.log_weights(index[some])
        mine, first = np.unique(state, return_index=True)
        part = _nothing(b, d)
        part.top[mine] = np.maximum.reduceat(logit, first)
        fall = logit - part.top[state]
        share = np.exp(fall)
        for sums, values in ((part.mass, share), (part.total, share[:, None] * y), (part.slope, share * fall)):
            sums[mine] = np.add.reduceat(values, first)
        with jax.enable_x64(True):
            total = _combine(total, part)
        logits[some] = logit
    return logits, total


def _found(
    placed: Placed,
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
        log_rest = np.logaddexp(others, short + np.log(weight) + off) - half
    log_rest[np.isnan(log_rest)] = np.inf
    if not placed.uniform:
        short = free + off
        np.maximum.at(short, owner[low], logit[low] - placed.log_weights(index[low]) + off[owner[low]])
    reach = reach_of(short, sigma, 2 * sigma**2 * half, 0.0)
    start = np.searchsorted(owner, np.arange(b))
    stop = start + np.bincount(owner[surely], minlength=b)
    found = np.full(b, None, object)
    for i in range(b):
        found[i] = Found(index[start[i] : stop[i]], float(log_rest[i]), float(reach[i]))
    return found


def summed_within(placed: Placed, x: np.ndarray, sigma: np.ndarray, tol: float) -> Sum:
    """Every pattern summed, in single precision where that is likely to meet the tolerance, else in double.

    A random energy model whose energies deviate by more than √(2 log n) is frozen: a few of n patterns carry nearly all
    the weight (Derrida 1981). Where that is not so, single precision serves only if it does for every pattern.
    """
    facts = placed.facts
    moved = np.linalg.norm(x - facts.centre.astype(float), axis=1)
    off = logit_error(x.shape[1], np.float32, sigma**-2.0, moved, facts.centre_norm, facts.norm, facts.widest)
    # The mean lies within the radius of the centre.
    wrong = mean_error(off, CHUNK, np.float32, 2 * facts.radius, facts.norm)
    likely = wrong <= tol
    guess = sample(placed, x, sigma)
    frozen = guess.deviation > FROZEN * np.sqrt(2 * np.log(placed.shape[0]))
    likely |= everywhere(frozen).any(axis=0) & (LEFT * wrong <= tol)
    bound, log_mass, entropy = (np.full(len(x), np.inf) for _ in range(3))
    result = Sum(np.zeros_like(x), bound, log_mass, entropy, np.full(len(x), None, object))
    for dtype, some in ((np.float32, likely), (np.float64, np.ones(len(x), bool))):
        some = some & ~(result.bound <= tol)
        if some.any():
            part = summed(placed, x[some], sigma[some], dtype, jax.tree.map(lambda a, here=some: a[here], guess))
            for whole, new in zip(result, part, strict=True):
                whole[some] = new
    return result


def leaders(placed: Placed, x: np.ndarray, sigma: np.ndarray, total: Sum, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k likeliest patterns of every state and their responsibilities, (b, k) each; −1 for those not told apart."""
    index = np.full((len(x), k), -1)
    flat = np.array([kept is None for kept in total.found])
    if flat.any():
        likely = likeliest(placed, x[flat], sigma[flat], k)
        index[flat, : likely.shape[1]] = likely
    for i in np.flatnonzero(~flat):
        some = total.found[i].indices[:k]
        index[i, : len(some)] = some
    y = placed.patterns(np.maximum(index, 0)).astype(float)
    exact = placed.log_weights(np.maximum(index, 0)) - np.sum((x[:, None] - y) ** 2, axis=2) / (2 * sigma[:, None] ** 2)
    exact = np.where(index >= 0, exact, -np.inf)
    index, exact = (np.concatenate(list(everywhere(part)), axis=1) for part in (index + placed.first, exact))
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    index, exact = np.take_along_axis(index, order, 1), np.take_along_axis(exact, order, 1)
    with np.errstate(invalid="ignore"):
        return np.where(exact > -np.inf, index, -1), np.exp(exact - total.log_mass[:, None])


__all__ = ["Sum", "leaders", "summed", "summed_within"]

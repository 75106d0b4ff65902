r"""Sums over every pattern by differences, in double precision on the host: slow, and right where products fail.

Expanded products lose what squares exceed differences by. Here every logit is taken relative to a leading pattern l,

    ℓ_j − ℓ_l = (2(y_j − l)·(x − l) − ‖y_j − l‖²)/(2σ²) + log w_j − log w_l,

which is exact for duplicates and harmed neither by states far away nor by sets far from the origin. The first pattern
is the first l; the likeliest pattern relative to it is the next one, until the likeliest pattern is l itself.
"""

import functools
from collections.abc import Iterator, Sized
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from dispersed.engines.collectives import all_gather
from dispersed.engines.options import ScanOptions
from dispersed.engines.roundoff import gamma, merged_terms

ROUNDS = 4
"""The most leading patterns that are tried: the second is the likeliest already, up to the round-off of one logit."""


@runtime_checkable
class HostPatterns(Protocol):
    """Patterns that NumPy reads slice after slice, those of this host; as `PlacedPatterns`, which says what is what."""

    @property
    def storage(self) -> Sized: ...

    @property
    def options(self) -> ScanOptions: ...

    @property
    def uniform(self) -> bool: ...

    @property
    def first(self) -> int: ...

    @property
    def total(self) -> int: ...

    def log_weights(self, indices: np.ndarray) -> np.ndarray: ...

    def internal_patterns(self, indices: np.ndarray) -> np.ndarray: ...

    def slices(self, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]: ...


class Differences(NamedTuple):
    """The sums over all patterns for each state, (b, …), in internal units."""

    mean: np.ndarray
    """D_σ(x), (b, d)."""
    bound: np.ndarray
    """An upper bound on ‖mean − D_σ(x)‖, (b,)."""
    log_mass: np.ndarray
    """Log Σ w_j exp(−‖x − y_j‖²/(2σ²)), (b,)."""
    entropy: np.ndarray
    """−Σ p log p, (b,)."""
    indices: np.ndarray
    """The likeliest patterns among those of all hosts, the first one first, (b, k); −1 beyond the patterns that have
    any weight.
    """
    responsibilities: np.ndarray
    """Their responsibilities, (b, k)."""


class _Sums(NamedTuple):
    """Sums of one state over some patterns, relative to the likeliest of them, with ℓ as above."""

    top: float
    """The largest ℓ."""
    mass: float
    """Σ e^{ℓ − top}."""
    step: np.ndarray
    """Σ e^{ℓ − top} (y − l), (d,)."""
    far: float
    """Σ e^{ℓ − top} ‖y − l‖."""
    logits: float
    """Σ e^{ℓ − top} (ℓ − top)."""
    wrong: float
    """What Σ e^{ℓ − top} can be off by."""
    wrong_far: float
    """The same with every term times ‖y − l‖."""

    def merged(self, other: "_Sums") -> "_Sums":
        """The sums over both sets."""
        top = max(self.top, other.top)
        parts = []
        for one in (self, other):
            fall = one.top - top
            scale = np.exp(fall)
            mass = one.mass * scale
            parts.append(
                (
                    mass,
                    one.step * scale,
                    one.far * scale,
                    one.logits * scale + mass * fall,
                    *(v * scale for v in (one.wrong, one.wrong_far)),
                )
            )
        return _Sums(top, *(a + b for a, b in zip(*parts, strict=True)))


def sum_by_differences(placed: HostPatterns, x: np.ndarray, sigma: np.ndarray, k: int) -> Differences:
    """The sums over every pattern for states x (b, d) at noise levels sigma (b,), and the k likeliest patterns."""
    b, d = x.shape
    k = max(k, 1)
    lead, log_lead = _first(placed, b)
    result = Differences(
        np.zeros((b, d)), np.full(b, np.inf), np.zeros(b), np.zeros(b), np.full((b, k), -1), np.zeros((b, k))
    )
    left = np.arange(b)
    for _ in range(ROUNDS):
        sums, logits, index = _round(placed, x[left], sigma[left], lead[left], log_lead[left], k)
        for i, one in zip(left, sums, strict=True):
            _finish(placed, result, i, x[i], sigma[i], lead[i], log_lead[i], one)
        result.indices[left] = np.where(logits > -np.inf, index, -1)
        with np.errstate(over="ignore"):
            tops, masses = np.array([one.top for one in sums]), np.array([one.mass for one in sums])
            result.responsibilities[left] = np.exp(logits - tops[:, None]) / masses[:, None]
        moved = logits[:, 0] > 0
        left = left[moved]
        if not left.size:
            break
        lead[left], log_lead[left] = _patterns(placed, result.indices[left, 0])
    return result


def _first(placed: HostPatterns, b: int) -> tuple[np.ndarray, np.ndarray]:
    """For b states the first pattern that has any weight."""
    n = len(placed.storage)
    there = np.flatnonzero(placed.log_weights(np.arange(n)) > -np.inf) if not placed.uniform else np.arange(1)
    mine = placed.first + int(there[0]) if len(there) else placed.total
    return _patterns(placed, np.full(b, int(all_gather(np.asarray(mine)).min())))


def _patterns(placed: HostPatterns, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patterns of all hosts by index (b,), in double precision, and their log weights."""
    here = index - placed.first
    mine = (here >= 0) & (here < len(placed.storage))
    here = np.where(mine, here, 0)
    y = np.where(mine[:, None], placed.internal_patterns(here).astype(float), 0)
    log_w = np.where(mine, placed.log_weights(here), 0)
    return all_gather(y).sum(axis=0), all_gather(log_w).sum(axis=0)


def _round(
    placed: HostPatterns, x: np.ndarray, sigma: np.ndarray, lead: np.ndarray, log_lead: np.ndarray, k: int
) -> tuple[list[_Sums], np.ndarray, np.ndarray]:
    """The sums over all patterns for every state, relative to its leading pattern, and the k largest logits (b, k) with
    the indices of their patterns.
    """
    b, d = x.shape
    sums = [_Sums(-1e300, 0.0, np.zeros(d), 0.0, 0.0, 0.0, 0.0)] * b
    best, index = np.full((b, k), -np.inf), np.full((b, k), -1)
    size = max(1, placed.options.difference_units // d)
    for start, y, log_w in placed.slices(size):
        some = np.flatnonzero(log_w > -np.inf)
        if not some.size:
            continue
        y, log_w = y[some], log_w[some]
        for i in range(b):
            step = y - lead[i]
            squares = np.einsum("kd,kd->k", step, step)
            gap = (2 * step @ (x[i] - lead[i]) - squares) / sigma[i] / sigma[i] / 2 + log_w - log_lead[i]
            sums[i] = sums[i].merged(_sums(x[i], sigma[i], lead[i], log_lead[i], step, squares, gap, log_w))
            first = np.argsort(-gap, kind="stable")[:k] if k > 1 else [int(np.argmax(gap))]
            logits = np.concatenate([best[i], gap[first]])
            order = np.argsort(-logits, kind="stable")[:k]
            index[i] = np.concatenate([index[i], placed.first + start + some[first]])[order]
            best[i] = logits[order]
    every = all_gather(tuple(np.array(part) for part in zip(*sums, strict=True)))
    hosts = range(len(every[0]))
    merged = [
        functools.reduce(_Sums.merged, (_Sums(*(part[host, i] for part in every)) for host in hosts)) for i in range(b)
    ]
    best, index = (np.concatenate(list(all_gather(part)), axis=1) for part in (best, index))
    order = np.argsort(-best, axis=1, kind="stable")[:, :k]
    return merged, np.take_along_axis(best, order, 1), np.take_along_axis(index, order, 1)


def _sums(
    x: np.ndarray,
    sigma: float,
    lead: np.ndarray,
    log_lead: float,
    step: np.ndarray,
    squares: np.ndarray,
    gap: np.ndarray,
    log_w: np.ndarray,
) -> _Sums:
    far, d = np.sqrt(squares), len(x)
    away = np.linalg.norm(x - lead)
    top = gap.max()
    error = gamma(d + 8, float) * ((2 * far * away + squares) / sigma / sigma / 2 + np.abs(log_w) + abs(log_lead))
    error += gamma(40, float) + gamma(4, float) * np.abs(gap)
    weight = np.exp(gap - top)
    with np.errstate(over="ignore"):
        wrong = np.exp(gap - top + error) * -np.expm1(-2 * error)
        wrong_far = wrong @ far
    return _Sums(
        top,
        weight.sum(),
        weight @ step,
        weight @ far,
        weight @ (gap - top),
        wrong.sum(),
        wrong_far,
    )


def _finish(
    placed: HostPatterns,
    result: Differences,
    i: Any,
    x: np.ndarray,
    sigma: float,
    lead: np.ndarray,
    log_lead: float,
    sums: _Sums,
) -> None:
    """Write what the sums of state i say into the result."""
    step = sums.step / sums.mass
    length = np.linalg.norm(step)
    certain = sums.mass - sums.wrong
    result.mean[i] = lead + step
    result.log_mass[i] = np.log(sums.mass) + sums.top + log_lead - np.sum(((x - lead) / sigma) ** 2) / 2
    result.entropy[i] = max(np.log(sums.mass) - sums.logits / sums.mass, 0.0)
    if not (certain > 0 and np.isfinite(sums.wrong_far)):
        return
    rounding = (sums.wrong_far + sums.wrong * length) / certain
    units = placed.options.difference_units
    # Every host may have a slice that is not full.
    slices = placed.total // max(1, units // len(x)) + 1 + jax.process_count()
    terms = merged_terms(min(placed.total, units), slices)
    summing = 2 * gamma(terms + 8, float) * (sums.far / sums.mass + length)
    shift = gamma(8, float) * (np.linalg.norm(lead) + np.linalg.norm(result.mean[i]))
    result.bound[i] = rounding + summing + shift

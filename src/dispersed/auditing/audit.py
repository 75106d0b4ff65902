r"""`audit`: what a generative model has copied from its training patterns, judged by its samples.

A sample x has a nearest training pattern, at distance d₁, and a second one at d₂. A ratio d₁/d₂ that is far below 1
looks like a copy (Yoon et al. 2023 and Gu et al. 2023 take a third), but samples of a model that generalises have small
ratios too where data lie on a curve, and small distances where data are dense. How small is told by held-out data.
Patterns that nearly duplicate the nearest one do not count as second.

**Sources**: Yoon, Choi, Kwon & Ryu (2023), Diffusion probabilistic models generalize when they fail to memorize; Gu,
Du, Pang, Li, Lin & Wang (2023), On memorization in diffusion models; Pham, Raya, Negri, Zaki, Ambrogioni & Krotov
(2025), arXiv 2505.21777, for memorised, spurious and generalised samples.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from dispersed.auditing.conformal import Rate, false_alarm_count, p_values, rate
from dispersed.auditing.distinct_neighbours import THIRD, Neighbours, baseline, neighbours, without_self
from dispersed.auditing.neighbours import Points, points
from dispersed.auditing.network import NetworkAudit, audit_network
from dispersed.memories import Denoiser
from dispersed.types import Array, ArrayLike, Float, Key
from dispersed.validation import InputError, check_finite, plain_array, probability

COMPARED = 500
"""Samples, and as many held-out states, that are compared with each other."""
LEAKED = 1e-3
"""A held-out state within this part of the distance of near-duplicates is a training pattern."""
BATCH = 1024
"""States that a feature map gets at once."""

Features = Callable[[np.ndarray], Any]


class Copy(NamedTuple):
    """A sample that was copied from a training pattern."""

    sample: int
    pattern: int
    distance: float


class Audit(eqx.Module):
    """What has been copied."""

    copied: float
    """The fraction of samples that are copies, without the false alarms that are to be expected."""
    low: float
    high: float
    """The ends of its 95 % interval. Copies that cannot be told from new samples are not in it."""
    copies: tuple[Copy, ...]
    """The samples that were called copies, most certain first."""
    p: Float[np.ndarray, " n"] | None
    """The p-value of each sample against the held-out states; None without these."""
    by_distance: Float[np.ndarray, " n"] | None
    """The p-value by the distance alone."""
    by_ratio: Float[np.ndarray, " n"] | None
    """The p-value by the ratio alone."""
    samples: Neighbours
    """The neighbours of each sample."""
    held_out: Neighbours | None
    """The neighbours of each held-out state among the training patterns."""
    train: Neighbours
    """The neighbours of some training patterns among the others."""
    false_alarms: float
    """The rate of false alarms that was allowed."""
    duplicate_distance: float
    """Training patterns within this distance are near-duplicates, and count as one."""
    duplicates: float
    """The fraction of training patterns that have a near-duplicate."""
    leaked: int | None
    """The number of held-out states that all but equal a training pattern, which hide copies."""
    memorised: float
    """The fraction of samples called copies."""
    spurious: float
    """The fraction of samples that are no copies and that other samples repeat."""
    dimension: float
    """The intrinsic dimension of the training patterns, by the distances to their neighbours; NaN where undefined."""
    network: NetworkAudit | None
    """What the network itself says, if it was given."""

    @property
    def generalised(self) -> float:
        """The fraction of samples that are neither copied nor repeated."""
        return 1 - self.memorised - self.spurious

    @property
    def copied_patterns(self) -> list[tuple[int, int]]:
        """Which patterns were copied, and how often, the most frequent first."""
        return sorted(Counter(copy.pattern for copy in self.copies).items(), key=lambda pair: (-pair[1], pair[0]))

    @property
    def verdict(self) -> str:
        """What was found, in one sentence."""
        interval = f"[{self.low:.2%}, {self.high:.2%}]"
        n = len(self.samples.distance)
        if self.p is None:
            return (
                f"{len(self.copies)} of {n} samples have d1/d2 below 1/3, {self.copied:.2%} {interval}. Nothing is "
                "held out, so this has no guarantee: a model that generalises may score as much."
            )
        found = f"{len(self.copies)} of {n} samples are called copies at a false-alarm rate of {self.false_alarms:g}"
        corrected = f"without the false alarms {self.copied:.2%} {interval}"
        sure = "Some samples are copies." if self.low > 0 else "That is no more than a model that generalises may have."
        if self.held_out is not None and (self.leaked or 0) > self.false_alarms * len(self.held_out.distance):
            sure += f" {self.leaked} of the held-out states all but equal a training pattern, and hide copies."
        return f"{found}, {corrected}. {sure}"

    def rows(self) -> list[dict[str, int | float | bool | None]]:
        """One row a sample: its nearest pattern, both distances and their ratio, its p-values, whether it is a copy."""
        called = {copy.sample for copy in self.copies}
        near, ratio = self.samples, self.samples.ratio
        return [
            {
                "sample": i,
                "pattern": int(near.pattern[i]),
                "distance": float(near.distance[i]),
                "second": float(near.second[i]) if np.isfinite(near.second[i]) else None,
                "ratio": float(ratio[i]),
                "p": _at(self.p, i),
                "p_by_distance": _at(self.by_distance, i),
                "p_by_ratio": _at(self.by_ratio, i),
                "copied": i in called,
            }
            for i in range(len(near.distance))
        ]

    def baselines(self) -> list[dict[str, str | int | float]]:
        """How far samples, held-out states and training patterns are from the nearest (other) training pattern."""
        kinds = {"samples": self.samples, "held-out": self.held_out, "train": self.train}
        rows: list[dict[str, str | int | float]] = []
        for name, near in kinds.items():
            if near is not None and np.isfinite(near.distance).all():  # a single pattern has no other
                row: dict[str, str | int | float] = {"states": name, "number": len(near.distance)}
                for what, values in (("distance", near.distance), ("ratio", near.ratio)):
                    for level in (0.01, 0.05, 0.5):
                        row[f"{what}_{100 * level:g}%"] = float(np.quantile(values, level))
                rows.append(row)
        return rows

    def __repr__(self) -> str:
        return f"Audit({self.verdict})"


def audit(
    train: ArrayLike | Any,
    samples: ArrayLike,
    held_out: ArrayLike | None = None,
    *,
    false_alarms: float = 0.01,
    features: Features | None = None,
    model: Denoiser | None = None,
    key: Key[Array, ""] | None = None,
) -> Audit:
    """Find the samples of a generative model that are copies of its training patterns.

    **Arguments**

    - `train`: the patterns (n, d) that the model was trained on: an array, the path of a file, a `Storage` or a
      `PatternStore`. A million are searched exactly, in bounded memory.
    - `samples`: what the model generated, (k, d).
    - `held_out`: states (m, d) of the same source that the model has not seen. Without them a sample is called a
      copy if d₁/d₂ < 1/3, which guarantees nothing.
    - `false_alarms`: the probability with which a sample of a model that generalises may be called a copy; at
      least 1/(m + 1).
    - `features`: a function of states (b, d) that gives (b, f) numbers, among which distances are taken, such as a map
      that does not change when an image is shifted. It gets NumPy arrays of at most 1,024 states.
    - `model`: the denoiser that generated the samples, whose gap, basins and local dimension are then measured; needs
      a `key` of JAX, and patterns in memory.

    **Raises** `InputError` for states of another dimension, no or NaN entries, and a rate of false alarms that so few
    held-out states cannot show.

    >>> import numpy as np, dispersed
    >>> y = np.random.default_rng(0).standard_normal((1300, 5))
    >>> found = dispersed.audit(y[:600], np.concatenate([y[:3] + 0.001, y[900:1300]]), y[600:900])
    >>> sorted(copy.pattern for copy in found.copies[:3])
    [0, 1, 2]
    """
    false_alarms = probability("false_alarms", false_alarms)
    stored, states = points(train, "train"), points(samples, "samples")
    fresh = None if held_out is None else points(held_out, "held_out")
    _same_units(stored, samples=states, held_out=fresh)
    if fresh is not None and false_alarms * (fresh.shape[0] + 1) < 1 - 1e-9:
        m = fresh.shape[0]
        accepted = f"at least {1 / (m + 1):.3g} is accepted: a smaller rate needs more of them"
        raise InputError("false_alarms", f"got {false_alarms:g} with {m} held-out states", accepted)
    if model is not None and not isinstance(model, Denoiser):
        raise InputError("model", f"got {type(model).__name__}", "a memory such as a LearnedMemory is accepted")
    network = None if model is None else audit_network(model, stored, fresh, key)
    if features is not None:
        if not callable(features):
            raise InputError("features", f"got {type(features).__name__}", "a function of states (b, d) is accepted")
        stored, states = _mapped(stored, features, "train"), _mapped(states, features, "samples")
        fresh = None if fresh is None else _mapped(fresh, features, "held_out")
        _same_units(stored, samples=states, held_out=fresh)

    rng = np.random.default_rng(0)
    radius, train_near, dimension = baseline(stored, rng)
    near = neighbours(stored, states, radius)
    fresh_near = None if fresh is None else neighbours(stored, fresh, radius)
    found = _by_ratio(near) if fresh_near is None else _against(fresh_near, near, false_alarms)
    memorised = float(found.called.mean())
    repeated = _repeated(states, fresh, radius, false_alarms, found.called, rng)
    return Audit(
        copied=found.rate.copied,
        low=found.rate.low,
        high=found.rate.high,
        copies=_copies(near, found),
        p=found.p,
        by_distance=found.by_distance,
        by_ratio=found.by_ratio,
        samples=near,
        held_out=fresh_near,
        train=train_near,
        false_alarms=false_alarms,
        duplicate_distance=radius,
        duplicates=float((train_near.distance <= radius).mean()) if stored.shape[0] > 1 else 0.0,
        leaked=None if fresh_near is None else int((fresh_near.distance <= LEAKED * radius).sum()),
        memorised=memorised,
        spurious=(1 - memorised) * repeated,
        dimension=dimension,
        network=network,
    )


class _Called(NamedTuple):
    """Which samples are called copies, and how sure that is."""

    called: np.ndarray
    rate: Rate
    p: np.ndarray | None = None
    by_distance: np.ndarray | None = None
    by_ratio: np.ndarray | None = None


def _by_ratio(near: Neighbours) -> _Called:
    """The samples whose ratio is below a third."""
    called = near.ratio < THIRD
    return _Called(called, rate(int(called.sum()), len(called), 0, 0))


def _against(fresh: Neighbours, near: Neighbours, false_alarms: float) -> _Called:
    """The samples that are nearer to the training patterns than held-out states are, by distance or by ratio."""
    null, own = [fresh.distance, fresh.ratio], [near.distance, near.ratio]
    p = p_values(null, own)
    by_distance, by_ratio = (p_values([one], [other]) for one, other in zip(null, own, strict=True))
    called = p <= false_alarms + 1e-12
    alarms = false_alarm_count(null, false_alarms)
    found = rate(int(called.sum()), len(called), alarms, len(fresh.distance))
    return _Called(called, found, p, by_distance, by_ratio)


def _copies(near: Neighbours, found: _Called) -> tuple[Copy, ...]:
    """The samples that were called copies, most certain first."""
    which = np.flatnonzero(found.called)
    p = np.zeros(len(which)) if found.p is None else found.p[which]
    order = which[np.lexsort((near.distance[which], near.ratio[which], p))]
    return tuple(Copy(int(i), int(near.pattern[i]), float(near.distance[i])) for i in order)


def _repeated(
    states: Points, fresh: Points | None, radius: float, alarms: float, called: np.ndarray, rng: np.random.Generator
) -> float:
    """The fraction of the samples that are no copies that are nearer to another one than held-out states are."""
    size = min(states.shape[0], COMPARED, *(() if fresh is None else (fresh.shape[0],)))
    if size < 2 or called.all():
        return 0.0
    limit = radius
    if fresh is not None:
        limit = float(np.quantile(_between(fresh, size, rng)[1], alarms, method="lower"))
    chosen, distance = _between(states, size, rng)
    new = ~called[chosen]
    return float((distance[new] < limit).mean()) if new.any() else 0.0


def _between(states: Points, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Some of the states, and the distance of each from the nearest other one of these."""
    chosen = np.sort(rng.choice(states.shape[0], size, replace=False))
    x = states.rows(chosen)
    _, distance = without_self(*Points(x, "states").nearest(x, 2), np.arange(size))
    return chosen, distance[:, 0]


def _mapped(states: Points, features: Features, argument: str) -> Points:
    """The features of all states."""
    parts = []
    for _, rows in states.blocks():
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            found = plain_array("features", features(batch))
            if found.ndim != 2 or len(found) != len(batch):
                accepted = f"a function that gives ({len(batch)}, f) numbers is accepted"
                raise InputError("features", f"gave shape {found.shape} for {batch.shape}", accepted)
            check_finite("features", found)
            parts.append(found)
    return Points(np.concatenate(parts), argument)


def _same_units(stored: Points, **others: Points | None) -> None:
    d = stored.shape[1]
    for name, states in others.items():
        if states is not None and states.shape[1] != d:
            raise InputError(name, f"got shape {states.shape}", f"the training patterns have {d} units")


def _at(values: np.ndarray | None, i: int) -> float | None:
    return None if values is None else float(values[i])


__all__ = ["Audit", "Copy", "Features", "audit"]

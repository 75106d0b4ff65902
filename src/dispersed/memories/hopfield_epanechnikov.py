r"""The Epanechnikov, or log-sum-ReLU, network: patterns that act within a radius, and the memories that emerge of them.

With the radius r = √(2/β) the energy

    E(x) = −β⁻¹ log S(x),    S(x) = Σ_j ReLU(1 − ‖x − y_j‖²/r²),

depends on the active patterns A(x) = {j : ‖x − y_j‖ < r} alone. For a constant set S is a parabola with its summit at
the centroid of A, and every ReLU lies above its own parabola; so x ← centroid of A(x) never lowers S, and it is the
gradient step x − η∇E with η = S/|A|. A maximum of S lies on no sphere ‖x − y_j‖ = r, across which the slope of S grows
towards y_j. Hence the minima of E are the centroids of those sets A of patterns that are what lies within r of their
own centroid, with no pattern at the distance r of it.

**Source**: Hoover et al. (2025), Dense associative memory with Epanechnikov energy.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import place, value
from dispersed.engines.dense_logits import weighed_by_differences
from dispersed.memories.network import Network
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import ArrayLike, Bool, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, at_least, one_number, pattern_array, positive

ROUND_OFF = 1e-12
"""Squared distances within this fraction of r² are r²: centroids are computed in double precision."""
BUDGET = 1 << 24
"""The most numbers of differences between states and patterns at once."""
FEW = 3
"""Up to so many units the minima are found by dividing space."""
TRIED = 6
"""Up to so many undecided patterns all subsets of them are tried."""


class Minima(NamedTuple):
    """The minima of an energy: where they lie, which patterns each is made of, and which of them were stored."""

    x: Float[np.ndarray, "minima d"]
    """The minima, in double precision."""
    members: Bool[np.ndarray, "minima n"]
    """The patterns that lie in the ball around each of them, whose centroid it is."""
    stored: Bool[np.ndarray, " minima"]
    """Whether a minimum is a stored pattern; the others are emergent."""


class EpanechnikovHopfield(Network):
    r"""The log-sum-ReLU energy E(x) = −β⁻¹ log Σ_j ReLU(1 − β‖x − y_j‖²/2) and its descent to centroids,

        x ← centroid of the patterns with ‖x − y_j‖ < √(2/β),

    which never raises E and ends after finitely many updates. With ρ the least distance between two patterns and
    β = 2/(ρ − Δ)², one update recalls a pattern exactly from every state within Δ of it. States that have no pattern
    within √(2/β) have an infinite energy, given as the largest finite number, and stay where they are; recall calls
    that a saddle.

    **Arguments**: `patterns`, (n, d), finite; `beta` > 0, one number.

    **Raises** `InputError` for an empty set, a wrong shape, non-finite entries, or another `beta`.

    **Source**: Hoover et al. (2025), Dense associative memory with Epanechnikov energy.

    >>> import dispersed
    >>> network = dispersed.EpanechnikovHopfield([[0.0], [1.0], [2.0]], beta=2 / 0.7**2)
    >>> network.minima().x.ravel()
    array([0. , 0.5, 1. , 1.5, 2. ])
    """

    patterns: Patterns
    beta: Float[jax.Array, ""]

    def __init__(self, patterns: ArrayLike, beta: ArrayLike) -> None:
        self.patterns = pattern_array(patterns)
        self.beta = one_number("beta", positive("beta", beta)).astype(self.patterns.dtype)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        return f"EpanechnikovHopfield({n} patterns of {d} units, beta={value(self.beta)}, {place(self.patterns)})"

    @property
    def dimension(self) -> int:
        return self.patterns.shape[1]

    @property
    def _without_origin(self) -> bool:
        return True

    def _most_states(self, hook: Any) -> int:
        return max(1, BUDGET // self.patterns.size)

    def _kernels(self, x: State) -> Float[jax.Array, " n"]:
        """ReLU(1 − ‖x − y_j‖²/r²)."""
        return jnp.maximum(1 - self._squares(x), 0)

    def _squares(self, x: State) -> Float[jax.Array, " n"]:
        """‖x − y_j‖²/r²."""
        # Differences: products would take the digits that decide who is within r. In units of r nothing overflows.
        limit = (float(np.finfo(x.dtype).max) / x.size) ** 0.5 / 4
        scaled = jnp.clip((x - self.patterns) * jnp.sqrt(self.beta / 2), -limit, limit)
        return jnp.sum(scaled**2, axis=1)

    def _energy(self, x: State) -> Scalar:
        """−β⁻¹ log S(x)."""
        total = jnp.sum(self._kernels(x))
        some = total > 0
        largest = jnp.finfo(x.dtype).max
        energy = jnp.clip(-jnp.log(jnp.where(some, total, 1)) / self.beta, -largest, largest)
        return jnp.where(some, energy, largest)

    def _length(self, x: State) -> Scalar:
        return jnp.sqrt(2 / self.beta)

    @full_precision
    def _update(self, x: State) -> State:
        """The centroid of the active patterns, or x without any."""
        active = (self._kernels(x) > 0).astype(x.dtype)
        count = jnp.sum(active)
        step = self.patterns - self.patterns[jnp.argmax(active)]
        centroid = self.patterns[jnp.argmax(active)] + active @ step / jnp.maximum(count, 1)
        return jnp.where(count > 0, centroid, x)

    def _pushed(self, v: State, x: State) -> State:
        # The active set is constant almost everywhere. Where it is empty no state attracts, nor does one with a pattern
        # at the distance r, which a small step towards that pattern adds to the set.
        squares = self._squares(x)
        edge = jnp.abs(squares - 1) <= 4 * jnp.finfo(x.dtype).eps
        return jnp.where(jnp.any(squares < 1) & ~jnp.any(edge), 0, 2) * v

    def responsibilities(self, x: ArrayLike) -> Float[jax.Array, "... n"]:
        """Each pattern's part of S(x), (..., n): they sum to one, or are 0 where no pattern is within reach."""
        return self._mapped("_responsibilities", x)

    def _responsibilities(self, x: State) -> Float[jax.Array, " n"]:
        kernels = self._kernels(x)
        total = jnp.sum(kernels)
        return kernels / jnp.where(total > 0, total, 1)

    def _nearest(self, x: State) -> tuple[Int[jax.Array, ""], Float[jax.Array, ""]]:
        """Index of the closest pattern, the first of several, and its part of S(x)."""
        # By differences between patterns: squares of a state far away say nothing of them.
        none, sigma = jnp.zeros((len(self.patterns),), x.dtype), jax.lax.rsqrt(self.beta)
        index = jnp.argmax(weighed_by_differences(self.patterns, none, x[None], sigma[None], norms=True).logits[0])
        return index, self._responsibilities(x)[index]

    def minima(self, limit: int = 1 << 20) -> Minima:
        """All minima of the energy, ordered by their coordinates; computed in double precision.

        There may be exponentially many: patterns in many dimensions whose distances are alike and about r√2 have one
        for nearly every subset. Up to 3 units, space is divided until every part of it has a minimum or none; above,
        pattern after pattern is decided to belong to a minimum or not. Nothing is dropped that could become one.

        **Raises** `InputError` when more than `limit` minima or undecided parts would have to be held at once, and for
        patterns whose values are not known.
        """
        limit = at_least("limit", limit, 1)
        if not is_known(self.patterns, self.beta):
            raise InputError("patterns", "got patterns that are being traced", "known values are accepted")
        y = np.asarray(self.patterns, np.float64)
        first = y[0]
        # Relative to the first pattern, lest an offset take the digits of differences.
        y, inverse, counts = np.unique(y - y[0], axis=0, return_inverse=True, return_counts=True)
        search = sets_by_boxes if self.dimension <= FEW else sets_by_patterns
        sets = search(y, counts.astype(float), 2 / float(self.beta), limit)
        x = (sets * counts) @ y / (sets @ counts)[:, None]
        order = np.lexsort(x.T[::-1])
        x, sets = x[order], sets[order]
        # A centroid may be a stored pattern of its own set, as in the middle of a grid.
        off = np.array([np.abs(y[row] - centre).max(axis=1).min() for row, centre in zip(sets, x, strict=True)])
        return Minima(x + first, sets[:, inverse.ravel()], off <= 1e-12 * np.sqrt(2 / float(self.beta)))


def sets_by_patterns(
    y: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"], square: float, limit: int
) -> Bool[np.ndarray, "sets n"]:
    """All sets of patterns that are exactly what lies within r of their own centroid, r² = `square`.

    `weights` say how often each pattern, of which no two are equal, was stored.

    Sets are searched by their first pattern, among those within 2r of it, breadth first: a partial set has patterns
    that are in it, I, patterns that are not, X, and undecided ones, U. With b the centroid of I and V its mean squared
    distance from b, the centroid c of any completion satisfies ‖c − b‖² < r² − V =: t². What is dropped:

    - V ≥ r²; or ‖x − b‖ + t < r for some x in X, which then lies within r of c;
    - Σ_I (D_ix − r²) + Σ_U (D_ux − r²)₊ < |I|V for some x in X, since ‖c − x‖² ≥ r² is Σ_A (D_ix − r²) ≥ |A|V_A;
    - Σ_I (D_ip − D_iq) + Σ_U min(D_up − D_uq, 0) ≥ 0 for some p in I and q in X: c is not closer to p than to q.

    D are squared distances. All are necessary conditions, so that no set is lost.
    """
    distances = _squared_distances(y)
    # Along the longest axis the first pattern of a set is at one end of it.
    order = np.argsort(
        (y - y.mean(axis=0)) @ np.linalg.svd(y - y.mean(axis=0), full_matrices=False)[2][0], kind="stable"
    )
    rank = np.argsort(order)
    found = []
    for first in order:
        # What is 2r and farther from the first pattern is never within r of a centroid that is within r of it.
        near = np.flatnonzero(distances[first] < 4 * square)
        later = near[rank[near] > rank[first]]
        later = later[np.argsort(distances[first, later], kind="stable")]
        local = np.concatenate([[first], later, near[rank[near] < rank[first]]])
        sets = _sets_with_the_first(distances[np.ix_(local, local)], weights[local], len(later), square, limit)
        whole = np.zeros((len(sets), len(y)), bool)
        whole[:, local] = sets
        found.append(whole)
        if sum(map(len, found)) > limit:
            raise _too_many(limit)
    return np.concatenate(found)


def _sets_with_the_first(
    distances: Float[np.ndarray, "m m"], weights: Float[np.ndarray, " m"], later: int, square: float, limit: int
) -> Bool[np.ndarray, "sets m"]:
    """Self-consistent sets that contain pattern 0, some of the `later` ones after it, and none of those after them."""
    m = len(distances)
    sets = np.zeros((1, m), bool)
    sets[0, 0] = True
    excess = weights[:, None] * np.maximum(distances - square, 0)
    for decided in range(1, later + 2):
        out = np.zeros(m, bool)
        out[1:decided] = out[later + 1 :] = True
        undecided = np.arange(decided, later + 1)
        # min(D_up − D_uq, 0), summed over undecided patterns
        closer = np.zeros((m, m))
        for u in undecided:
            closer += weights[u] * np.minimum(distances[u][:, None] - distances[u], 0)
        rest = excess[undecided].sum(axis=0)
        parts = np.array_split(sets, -(-len(sets) // 4096))
        if not len(undecided):
            return np.concatenate([part[_consistent(part, distances, weights, square)] for part in parts])
        sets = np.concatenate([_possible(part, out, distances, weights, rest, closer, square) for part in parts])
        if not len(sets):
            return sets
        if 2 * len(sets) > limit:
            raise _too_many(limit)
        included = sets.copy()
        included[:, decided] = True
        sets = np.concatenate([sets, included])
    return sets


def _possible(
    sets: Bool[np.ndarray, "k m"],
    out: Bool[np.ndarray, " m"],
    distances: Float[np.ndarray, "m m"],
    weights: Float[np.ndarray, " m"],
    rest: Float[np.ndarray, " m"],
    closer: Float[np.ndarray, "m m"],
    square: float,
) -> Bool[np.ndarray, "possible m"]:
    """The partial sets that may still become self-consistent."""
    sums, count, spread = _about_centroids(sets, distances, weights)
    off = sums / count - spread
    excluded = out & ~sets
    within = np.sqrt(np.maximum(off, 0)) + np.sqrt(np.maximum(square - spread, 0)) < np.sqrt(square) * (1 - 1e-12)
    bad = (spread >= square)[:, 0] | np.any(excluded & within, axis=1)
    lacking = sums - count * square + rest < count * spread - 1e-12 * count * square
    bad |= np.any(excluded & lacking, axis=1)
    sets, sums, excluded = sets[~bad], sums[~bad], excluded[~bad]
    fine = np.ones(len(sets), bool)
    for p in range(len(out)):
        far = (sums[:, p, None] - sums + closer[p] >= 1e-12 * square) & excluded
        fine &= ~(sets[:, p] & np.any(far, axis=1))
    return sets[fine]


def _about_centroids(
    sets: Bool[np.ndarray, "k n"], distances: Float[np.ndarray, "n n"], weights: Float[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of squared distances to the patterns of each set, (k, n); their number and mean squared distance, (k, 1)."""
    sums, count = (sets * weights) @ distances, (sets @ weights)[:, None]
    return sums, count, np.sum(sets * weights * sums, axis=1, keepdims=True) / (2 * count**2)


def _consistent(
    sets: Bool[np.ndarray, "k n"], distances: Float[np.ndarray, "n n"], weights: Float[np.ndarray, " n"], square: float
) -> Bool[np.ndarray, " k"]:
    """Whether sets are what lies within r of their centroid, and none lies at r."""
    sums, count, spread = _about_centroids(sets, distances, weights)
    off = sums / count - spread
    return np.all(np.where(sets, off < square * (1 - ROUND_OFF), off > square * (1 + ROUND_OFF)), axis=1)


def sets_by_boxes(
    y: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"], square: float, limit: int
) -> Bool[np.ndarray, "sets n"]:
    """The same, by dividing the box that holds all patterns.

    A pattern is within r of all of a box, of none of it, or undecided; where few are undecided, all sets are tried.
    Where Σ (y − c) over the active patterns, undecided ones counted as far as they help, cannot be zero in some unit
    for any c in the box, no centroid lies in it.
    """
    radius, d = np.sqrt(square), y.shape[1]
    distances = _squared_distances(y)
    middles = (y.min(axis=0) + y.max(axis=0))[None] / 2
    halves = np.ptp(y, axis=0)[None] / 2 + 1e-9 * radius
    tried: set[bytes] = set()
    found: dict[bytes, np.ndarray] = {}
    while len(middles):
        if len(middles) > limit or len(found) > limit:
            raise _too_many(limit)
        parts = -(-len(middles) * y.size // BUDGET)
        examined = [
            _examined(*boxes, y, weights, radius)
            for boxes in zip(np.array_split(middles, parts), np.array_split(halves, parts), strict=True)
        ]
        inside, undecided, possible = (np.concatenate([part[k] for part in examined]) for k in range(3))
        few = undecided.sum(axis=1) <= TRIED
        for row in np.flatnonzero(possible & few):
            key = inside[row].tobytes() + undecided[row].tobytes()
            if key not in tried:
                tried.add(key)
                sets = _subsets(inside[row], np.flatnonzero(undecided[row]))
                found |= {one.tobytes(): one for one in sets[_consistent(sets, distances, weights, square)]}
        middles, halves = middles[possible & ~few], halves[possible & ~few]
        # The longest side of every box is halved.
        step = np.eye(d)[halves.argmax(axis=1)] * halves / 2
        middles, halves = np.concatenate([middles - step, middles + step]), np.tile(halves - step, (2, 1))
    return np.array(list(found.values()))


def _subsets(inside: Bool[np.ndarray, " n"], undecided: Int[np.ndarray, " k"]) -> Bool[np.ndarray, "sets n"]:
    """The patterns `inside` with every choice of the undecided ones, but for the empty set."""
    sets = np.repeat(inside[None], 1 << len(undecided), axis=0)
    sets[:, undecided] = (np.arange(len(sets))[:, None] >> np.arange(len(undecided))) & 1 == 1
    return sets[sets.any(axis=1)]


def _examined(
    middles: Float[np.ndarray, "k d"],
    halves: Float[np.ndarray, "k d"],
    y: Float[np.ndarray, "n d"],
    weights: Float[np.ndarray, " n"],
    radius: float,
) -> tuple[Bool[np.ndarray, "k n"], Bool[np.ndarray, "k n"], Bool[np.ndarray, " k"]]:
    """Which patterns are within r of all of each box, which of some of it, and whether a centroid may lie in it."""
    away = np.abs(y - middles[:, None])
    farthest = np.sqrt(np.sum((away + halves[:, None]) ** 2, axis=2))
    closest = np.sqrt(np.sum(np.maximum(away - halves[:, None], 0) ** 2, axis=2))
    inside = farthest < radius * (1 - 1e-12)
    undecided = ~inside & (closest < radius * (1 + 1e-12))
    low, high = (weights[:, None] * (y - (middles + sign * halves)[:, None]) for sign in (1, -1))
    slack = 1e-12 * radius * weights.sum()
    least = np.sum(np.where(inside[..., None], low, np.where(undecided[..., None], np.minimum(low, 0), 0)), axis=1)
    most = np.sum(np.where(inside[..., None], high, np.where(undecided[..., None], np.maximum(high, 0), 0)), axis=1)
    possible = np.all((least <= slack) & (most >= -slack), axis=1) & (inside | undecided).any(axis=1)
    return inside, undecided, possible


def _squared_distances(y: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    return np.stack([np.sum((y - row) ** 2, axis=1) for row in y])


def _too_many(limit: int) -> InputError:
    return InputError("limit", f"got {limit}", "patterns and beta have more sets to be searched; a larger limit")


__all__ = ["EpanechnikovHopfield", "Minima", "sets_by_boxes", "sets_by_patterns"]

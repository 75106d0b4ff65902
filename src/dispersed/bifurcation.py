r"""Attractors of denoising at every noise level, and the levels at which they split.

An attractor of x ← D_σ(x) is a minimum of the energy E_σ, since D_σ(x) = x − ∇E_σ(x). As σ falls one attractor, near
the mean of all, splits into several: a bifurcation, at which an eigenvalue of ∇²E_σ = I − ∂D_σ/∂x passes 0. Iterating
D_σ is slow there. So each component of the step along an eigenvector of ∇²E_σ is divided by the eigenvalue's absolute
value where that is below 1: at a minimum this is Newton's method, and across a saddle it leads away from it.

A network has a temperature of its own, over which its attractors split, and its update need not be the slope of an
energy. The update is repeated, and Newton's method for its fixed points goes on from there: what it finds is an
attractor if the spectral radius of the update's Jacobian is at most 1.

**Sources**: Raya & Ambrogioni (2023), Spontaneous symmetry breaking in generative diffusion models; Dauphin et al.
(2014), Identifying and attacking the saddle point problem, for steps by absolute eigenvalues.
"""

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components

from dispersed.memories import Memory, Network, PatternMemory, Smoothed
from dispersed.memories.associative_memory import in_precision, over_states
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Bool, Float, Scalar, State
from dispersed.validation import InputError, double_array, state_array

LEVELS = 48
"""Noise levels that are examined at once."""
STEPS = 16
UPDATES = 48
"""The most updates of a network before Newton's method."""
SQUARINGS = 14
"""The spectral radius of a Jacobian J is that of J^16384, of which the norm says it to a few parts in ten thousand."""
REFINEMENTS = 2
"""How often the interval in which a split lies is divided into smaller ones."""
MOST_STARTS = 1024
"""Up to so many patterns are starting points themselves."""
BUDGET = 1 << 22
"""The most entries of Hessians at once."""
LEAST_CURVATURE = 3e-4
MARGIN = 1e-3
"""A network's slope of 1 + `MARGIN` and more is called unstable."""
FAR = 30
"""States farther from the origin, in lengths of the energy, are in double precision: round-off moves splits there."""
RESOLUTION = 2e-3
"""Changes within this fraction of σ are one split: so near to it a minimum cannot be told from a saddle."""


class Split(NamedTuple):
    """As σ falls below `sigma`, the number of attractors changes from `before` to `after`."""

    sigma: float
    before: int
    after: int


class Bifurcations(NamedTuple):
    """The attractors of D_σ at each of some noise levels, and the splits between them."""

    sigma: Float[np.ndarray, " levels"]
    """The noise levels, falling."""
    attractors: list[Float[np.ndarray, "attractors d"]]
    """The attractors at each level."""
    splits: list[Split]
    """The levels at which their number changes, falling."""

    def __repr__(self) -> str:
        told = ", ".join(f"{before} → {after} at σ = {sigma:.3g}" for sigma, before, after in self.splits)
        high, low = self.sigma[0], self.sigma[-1]
        return f"Bifurcations(σ from {high:.3g} to {low:.3g}, attractors: {told or len(self.attractors[0])})"


def bifurcations(
    memory: Memory | Callable[[float], Network], sigmas: ArrayLike | None = None, starts: ArrayLike | None = None
) -> Bifurcations:
    r"""The attractors of x ← D_σ(x) over noise levels, and the σ at which they split.

    **Arguments**

    - `memory`: of isolated attractors, such as patterns, smoothed patterns and mixtures of Gaussians, of up to some
      hundred units; a Hessian (d, d) is diagonalised in each step. States along a segment or a circle would be counted
      one by one. Or a function of σ that makes a network, one of the same arrays whatever σ is: then attractors are
      those of its update.
    - `sigmas`: noise levels, two or more; by default 48 from twice the spread of the starts to an eighth of the least
      distance between two of them. Splits within 0.2 % of each other count as one.
    - `starts`: states (n, d) from which attractors are searched at every level; by default the patterns of a
      `PatternMemory` of up to 1,024. An attractor to which none of them leads is not found.

    **Raises** `InputError` for starts that are missing, equal or of another dimension, and for levels that are no
    positive numbers.

    Two patterns at distance 2a split at σ = a, by D_σ(x) = a tanh(ax/σ²) along their line:

    >>> import dispersed
    >>> memory = dispersed.PatternMemory([[-1.0, 0.0], [1.0, 0.0]])
    >>> found = dispersed.bifurcations(memory)
    >>> [(round(sigma, 2), before, after) for sigma, before, after in found.splits]
    [(1.0, 1, 2)]

    and so do those of a modern Hopfield network, of β = 1/σ²:

    >>> hopfield = lambda sigma: dispersed.ModernHopfield(memory.patterns, beta=1 / sigma**2)
    >>> dispersed.bifurcations(hopfield, starts=memory.patterns)
    Bifurcations(σ from 2 to 0.25, attractors: 1 → 2 at σ = 1)
    """
    if not isinstance(memory, Memory) and (isinstance(memory, Network) or not callable(memory)):
        accepted = "memories with an energy at every σ, and functions of σ that make a network, are accepted"
        raise InputError("memory", f"got a {type(memory).__name__}", accepted)
    x = _starts(memory, starts)
    middle = x.mean(axis=0)
    spread = float(np.sqrt(((x - middle) ** 2).sum(axis=1).mean()))
    if spread == 0:
        raise InputError("starts", "got equal states", "at least two different states are accepted")
    levels = _default_levels(x, spread) if sigmas is None else double_array("sigmas", sigmas)
    if levels.ndim != 1 or len(levels) < 2 or not (np.isfinite(levels) & (levels > 0)).all():
        raise InputError("sigmas", f"got shape {levels.shape}", "two or more positive numbers are accepted")
    levels = np.sort(levels)[::-1]
    # From the mean too: above the first split it is next to the only attractor.
    x = np.concatenate([x, middle[None]])
    if isinstance(memory, Memory):
        return located(lambda sigma: attractors_at(memory, x, sigma, spread), levels)
    return located(lambda sigma: attractors_of([_made(memory, float(level)) for level in sigma], x, spread), levels)


def located(find: Callable[[np.ndarray], list[np.ndarray]], sigma: np.ndarray) -> Bifurcations:
    """The attractors at falling levels, by `find`, and their splits in smaller and smaller intervals.

    `find` is called with as many levels each time as there are in `sigma`, so that one program serves.
    """
    states = find(sigma)
    changes = list(_changes([float(level) for level in sigma], [len(found) for found in states]))
    for _ in range(REFINEMENTS):
        changes = _refined(find, changes, len(sigma))
    splits: list[Split] = []
    for high, low, before, after in changes:
        level = float(np.sqrt(high * low))
        if splits and level > (1 - RESOLUTION) * splits[-1].sigma:
            level, before = splits.pop()[:2]
        if before != after:
            splits.append(Split(level, before, after))
    return Bifurcations(sigma, states, splits)


def attractors_at(
    memory: Memory, starts: np.ndarray, sigma: np.ndarray, scale: float, same: float | None = None
) -> list[np.ndarray]:
    """The attractors at each level to which some start leads; ends within `same`, `scale`/100, of each other are one.

    `scale` is the length over which the energy extends, such as the spread of the starts.
    """
    if isinstance(memory, Smoothed):  # its minima are those of what it smooths, and there they are better conditioned
        sigma, memory = np.hypot(sigma, np.asarray(memory.bandwidth)), memory.memory
    dtype = _precision(memory, starts, scale)
    with jax.enable_x64(dtype == np.float64):
        x, levels, length = (jnp.asarray(part, dtype) for part in (starts, sigma, scale))
        ends, at_rest = map(np.asarray, _settled(in_precision(memory, dtype), x, levels, length))
    return [*distinct(ends, at_rest, scale / 100 if same is None else same)]


def attractors_of(
    networks: Sequence[Network], starts: np.ndarray, scale: float, same: float | None = None
) -> list[np.ndarray]:
    """The same of each of some networks, which differ in the values of their arrays alone."""
    for network in networks:
        state_array("starts", starts, network.dimension)
    one, *others = networks
    if not any(map(eqx.is_array, jax.tree.leaves(one))) or not all(_differ_in_values(one, other) for other in others):
        given = "got networks that differ in more than the values of their arrays"
        accepted = "what depends on sigma is accepted as an array, as by jax.tree_util.Partial(function, array)"
        raise InputError("memory", given, f"{accepted} of one function")
    dtype = _precision(one, starts, scale)
    with jax.enable_x64(dtype == np.float64):
        wide = [in_precision(network, dtype) for network in networks]
        stacked = jax.tree.map(lambda *leaf: jnp.stack(leaf) if eqx.is_array(leaf[0]) else leaf[0], *wide)
        found = _settled_networks(stacked, jnp.asarray(starts, dtype), jnp.asarray(scale, dtype))
        ends, at_rest = map(np.asarray, found)
    return [*distinct(ends, at_rest, scale / 100 if same is None else same)]


def _precision(memory: Memory | Network, starts: np.ndarray, scale: float) -> np.dtype:
    """That of the memory, or double where single precision has too few digits of a state this far from the origin."""
    far = np.abs(starts).max() > FAR * scale
    return np.dtype(np.float64) if far else np.dtype(jnp.promote_types(memory._dtype, jnp.float32))


def _differ_in_values(one: Network, other: Network) -> bool:
    """Whether two networks have arrays of the same shapes, and all else in common."""
    same: Any = jax.tree.structure(one)
    return same == jax.tree.structure(other) and all(map(_alike, jax.tree.leaves(one), jax.tree.leaves(other)))


def _alike(one: Any, other: Any) -> bool:
    """Whether two leaves are arrays of one shape, or equal, as functions of one code are with equal values in them."""
    if eqx.is_array(one) and eqx.is_array(other):
        return bool(one.shape == other.shape)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType) and one.__code__ is other.__code__:
        cells = zip(one.__closure__ or (), other.__closure__ or (), strict=True)
        return all(bool(eqx.tree_equal(a.cell_contents, b.cell_contents)) for a, b in cells)
    return bool(eqx.tree_equal(one, other))


def distinct(
    ends: np.ndarray, at_rest: np.ndarray, same: float, linked: np.ndarray | None = None, along: float = 0.0
) -> Iterator[np.ndarray]:
    """The different ones among the ends (levels, starts, d) at each level.

    Ends within `same` of each other are one, and those of `linked` starts within `along`.
    """
    last = ends[0, :1]
    for at, good in zip(ends, at_rest, strict=True):
        distance = np.linalg.norm(at[good][:, None] - at[good][None], axis=-1)
        near = distance < same
        if linked is not None:
            near |= linked[good][:, good] & (distance < along)
        count, label = connected_components(near, directed=False)
        if count:
            last = np.array([at[good][label == group].mean(axis=0) for group in range(count)])
        # At the very split no start is at rest yet: the attractors are then those just above it.
        yield last


def _made(make: Callable[[float], Any], sigma: float) -> Network:
    network = make(sigma)
    if not isinstance(network, Network):
        raise InputError("memory", f"got a function that makes a {type(network).__name__}", "networks are accepted")
    return network


def _starts(memory: Memory | Callable[[float], Network], starts: ArrayLike | None) -> np.ndarray:
    if starts is not None:
        d = memory.dimension if isinstance(memory, Memory) else None
        states = double_array("starts", starts) if d is None else np.asarray(state_array("starts", starts, d), float)
        if states.ndim != 2 or not states.size:
            raise InputError("starts", f"got shape {states.shape}", f"shape (n, {d or 'd'}) is accepted")
        return states
    inner = memory.memory if isinstance(memory, Smoothed) else memory
    if not isinstance(inner, PatternMemory) or len(inner.log_weights) > MOST_STARTS:
        accepted = f"states to start from are needed, except for up to {MOST_STARTS:,} patterns"
        raise InputError("starts", "got none", accepted)
    return np.asarray(inner.patterns, float)


def _default_levels(x: np.ndarray, spread: float) -> np.ndarray:
    square = ((x[:, None] - x[None]) ** 2).sum(axis=-1) if x.shape[1] < 8 else _squared_distances(x)
    floor = 1e-12 * spread**2
    nearest = float(np.sqrt(square[square > floor].min()))
    return np.geomspace(2 * spread, nearest / 8, LEVELS)


def _squared_distances(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    square = (x**2).sum(axis=1)
    return square[:, None] + square[None] - 2 * x @ x.T


def _changes(sigma: list[float], counts: list[int]) -> Iterator[tuple[float, float, int, int]]:
    """The intervals of σ over which the number of attractors changes, and from what to what."""
    steps = zip(sigma[:-1], sigma[1:], counts[:-1], counts[1:], strict=True)
    return (step for step in steps if step[2] != step[3])


def _refined(
    find: Callable[[np.ndarray], list[np.ndarray]], changes: list[tuple[float, float, int, int]], count: int
) -> list[tuple[float, float, int, int]]:
    """The same changes in smaller intervals; one interval may turn out to hold several."""
    if not changes or len(changes) > count:
        return changes
    inside = count // len(changes)
    between = [np.geomspace(high, low, inside + 2)[1:-1] for high, low, *_ in changes]
    wanted = np.concatenate(between)
    counts = iter([len(found) for found in find(np.resize(wanted, count))][: len(wanted)])
    finer: list[tuple[float, float, int, int]] = []
    for (high, low, before, after), levels in zip(changes, between, strict=True):
        edges = [high, *map(float, levels), low]
        finer += _changes(edges, [before, *(next(counts) for _ in levels), after])
    return finer


@jax.jit
def _settled(
    memory: Memory, starts: Float[Array, "n d"], sigma: Float[Array, " levels"], scale: Scalar
) -> tuple[Float[Array, "levels n d"], Bool[Array, "levels n"]]:
    """Where each start ends at each level, and whether it is at rest there, at a minimum."""

    def step(x: State, level: Scalar) -> tuple[State, Scalar]:
        move, least = _by_curvature(memory._hessian(x, level), memory._denoise(x, level) - x)
        length = jnp.linalg.norm(move)
        return move * jnp.minimum(1, scale / 4 / jnp.where(length > 0, length, 1)), least

    def settle(start: State, level: Scalar) -> tuple[State, Bool[Array, ""]]:
        x, _ = jax.lax.scan(lambda x, _: (x + step(x, level)[0], None), start, None, length=STEPS)
        move, least = step(x, level)
        still = jnp.linalg.norm(move) < scale / 200
        return x, still & (least > -1e-3 * jnp.minimum(1, 2 * level / scale))

    n, d = starts.shape
    of_level = jax.vmap(settle, (0, None))
    return over_states(lambda level: of_level(starts, level), max(1, BUDGET // (n * d**2)), sigma)


@eqx.filter_jit
def _settled_networks(
    networks: Network, starts: Float[Array, "n d"], scale: Scalar
) -> tuple[Float[Array, "levels n d"], Bool[Array, "levels n"]]:
    """The same of networks stacked along the first axis of their arrays."""

    def newton(network: Network, x: State) -> tuple[State, Float[Array, "d d"]]:
        jacobian = jax.vmap(lambda v: network._pushed(v, x))(jnp.eye(x.size, dtype=x.dtype)).T
        step = network._update(x) - x
        move = jnp.linalg.solve(jnp.eye(x.size, dtype=x.dtype) - jacobian, step)
        return jnp.where(jnp.all(jnp.isfinite(move)), move, step), jacobian

    def settle(network: Network, start: State) -> tuple[State, Bool[Array, ""]]:
        def unfinished(carry: tuple[State, Scalar, Scalar]) -> Bool[Array, ""]:
            return (carry[1] > 1e-6 * scale) & (carry[2] < UPDATES)

        def update(carry: tuple[State, Scalar, Scalar]) -> tuple[State, Scalar, Scalar]:
            new = network._update(carry[0])
            return new, jnp.linalg.norm(new - carry[0]), carry[2] + 1

        def advance(x: State, _: None) -> tuple[State, None]:
            move = newton(network, x)[0]
            length = jnp.linalg.norm(move)
            return x + move * jnp.minimum(1, scale / 4 / jnp.where(length > 0, length, 1)), None

        x, *_ = jax.lax.while_loop(unfinished, update, (start, jnp.full((), jnp.inf, start.dtype), jnp.zeros(())))
        x, _ = jax.lax.scan(advance, x, None, length=STEPS)
        move, jacobian = newton(network, x)
        return x, (jnp.linalg.norm(move) < scale / 200) & (_spectral_radius(jacobian) < 1 + MARGIN)

    of_network = eqx.filter_vmap(settle, in_axes=(None, 0))
    return eqx.filter_vmap(of_network, in_axes=(eqx.if_array(0), None))(networks, starts)


def _spectral_radius(matrix: Float[Array, "d d"]) -> Scalar:
    """The largest modulus of the eigenvalues, from the norm of a high power."""

    @full_precision
    def square(_: object, carry: tuple[Float[Array, "d d"], Scalar]) -> tuple[Float[Array, "d d"], Scalar]:
        power, log_size = carry
        size = jnp.linalg.norm(power)
        scaled = power / jnp.where(size > 0, size, 1)
        return scaled @ scaled, 2 * (log_size + jnp.log(size))

    power, log_size = jax.lax.fori_loop(0, SQUARINGS, square, (matrix, jnp.zeros((), matrix.dtype)))
    return jnp.exp((log_size + jnp.log(jnp.linalg.norm(power))) / 2**SQUARINGS)


@full_precision
def _by_curvature(hessian: Float[Array, "d d"], slope: State) -> tuple[State, Scalar]:
    """The slope with its component along each eigenvector divided by |eigenvalue|, and the least eigenvalue."""
    d = len(slope)
    hessian = (hessian + hessian.T) / 2
    if d != 2:
        values, vectors = jnp.linalg.eigh(hessian)
        return vectors @ ((slope @ vectors) / jnp.clip(jnp.abs(values), LEAST_CURVATURE, 1)), values[0]
    # Any function of a symmetric 2 × 2 matrix is linear in it, which is much faster than its eigenvectors.
    mean = jnp.trace(hessian) / 2
    rest = hessian - mean * jnp.eye(2)
    half = jnp.hypot(rest[0, 0], rest[0, 1])
    high, low = (1 / jnp.clip(jnp.abs(value), LEAST_CURVATURE, 1) for value in (mean + half, mean - half))
    move = (high + low) / 2 * slope + (high - low) / jnp.where(half > 0, 2 * half, 1) * (rest @ slope)
    return move, mean - half


__all__ = ["Bifurcations", "Split", "bifurcations"]

"""Flat memories: segments, boxes and affine subspaces, bounded or not (Eq. 23)."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.memories.conditioned_shapes import ConditionedFlat, ConditionedShape
from dispersed.memories.extended import Extended, spread_of_uniform
from dispersed.memories.interval import interval, product
from dispersed.precision import full_precision
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, check_finite, host_array, in_widest, orthonormal_rows, real_array, vector


class Segment(Extended):
    """All states between two: y = start + u (end − start)/L, u uniform on [0, L] (Eq. 23).

    **Arguments**: `start`, `end`: states (d,), finite. Equal ends make a point memory.

    **Raises** `InputError` for ends of different lengths or with NaN or inf.
    """

    log_concave = True
    start: State
    direction: State
    length: Scalar

    def __init__(self, start: ArrayLike, end: ArrayLike) -> None:
        begin = vector("start", start)
        self.start, finish = in_widest(begin, vector("end", end, begin.shape[0]))
        self.direction, self.length = _direction(self.start, finish)

    def __repr__(self) -> str:
        return f"Segment({self.dimension} units, {place(self.start)})"

    @property
    def dimension(self) -> int:
        return self.start.shape[-1]

    @property
    def volume(self) -> Scalar:
        """The length L."""
        return self.length

    @full_precision
    def _interval(self, x: State, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        u = self.direction @ (x - self.start)
        return interval(u, jnp.zeros_like(self.length), self.length, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        nearest, excess, _ = self._interval(x, sigma)
        return self.start + nearest * self.direction, excess

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x): the mean of a Gaussian truncated to the segment."""
        return self.start + self._interval(x, sigma)[2] * self.direction

    def _sample(self, key: Key[Array, ""]) -> State:
        return self.start + jax.random.uniform(key, (), self.start.dtype) * self.length * self.direction

    @full_precision
    def _project(self, x: State) -> State:
        """The nearest point of the segment."""
        u = jnp.clip(self.direction @ (x - self.start), 0, self.length)
        return self.start + u * self.direction

    @one_program
    def _unobserved(self) -> ConditionedFlat:
        none, length = jnp.zeros_like(self.length)[None], self.length[None]
        return ConditionedFlat.of(self, self.start, self.direction[None], none, length, limited=True)

    def _conditioned(self, observation: Observation) -> tuple[ConditionedShape, Scalar]:
        """The segment after a measurement: a truncated Gaussian on it."""
        return self._unobserved()._conditioned(observation)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        return self._unobserved()._posterior_draw(key, x, sigma)

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The midpoint, at ten times the root-mean-square distance from it."""
        return self.start + self.length / 2 * self.direction, 10 * self.length / math.sqrt(12)


class Box(Extended):
    """All states between `low` and `high`, unit by unit: a product of intervals (Eq. 23).

    **Arguments**: `low`, `high`: (d,), with low ≤ high. Equal limits fix a unit; infinite ones leave it free,
    with a density of one per unit of length, which is improper: the weight of such a memory in a mixture then
    depends on the units of x.

    **Raises** `InputError` for limits in the wrong order, NaN, or a unit fixed at infinity.
    """

    log_concave = True
    low: State
    high: State

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        self.low, self.high = limits(low, high, None)

    def __repr__(self) -> str:
        return f"Box({self.dimension} units, {place(self.low)})"

    @property
    def dimension(self) -> int:
        return self.low.shape[-1]

    @property
    def volume(self) -> Scalar | float:
        """The product of the sides that are not zero; infinite if one is unbounded."""
        return side_product(self.low, self.high)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        nearest, excess, _ = product(x, self.low, self.high, sigma)
        return nearest, excess

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x): unit by unit the mean of a truncated Gaussian."""
        return product(x, self.low, self.high, sigma)[2]

    @property
    def _proper(self) -> bool:
        return _bounded(self.low, self.high)

    def _sample(self, key: Key[Array, ""]) -> State:
        return _uniform(key, self.low, self.high)

    def _project(self, x: State) -> State:
        """The nearest point of the box."""
        return jnp.clip(x, self.low, self.high)

    def _unobserved(self) -> ConditionedFlat:
        zero = jnp.zeros_like(self.low)
        return ConditionedFlat.of(self, zero, None, self.low, self.high, limited=True)

    def _conditioned(self, observation: Observation) -> tuple[ConditionedShape, Scalar]:
        """The box after a measurement: truncated Gaussians unit by unit.

        Raises `InputError` for an operator whose columns are not orthogonal: a Gaussian over a box that is tilted
        against it has no closed form.
        """
        return self._unobserved()._conditioned(observation)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        return self._unobserved()._posterior_draw(key, x, sigma)

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The centre, at ten times the root-mean-square distance from it; unbounded units do not count."""
        mean, variance = spread_of_uniform(self.low, self.high)
        return mean, 10 * jnp.sqrt(variance.sum())


class Subspace(Extended):
    """An affine subspace, or a box in it: y = origin + Σ_k u_k v_k with low_k ≤ u_k ≤ high_k (Eq. 23).

    **Arguments**

    - `origin`: (d,).
    - `directions`: (k, d), linearly independent, k ≤ d; made orthonormal here one after the other, so that
      orthonormal ones stay as given. Coordinates u are lengths along the v_k.
    - `low`, `high`: limits of the coordinates, numbers or (k,). Without limits the density is one per unit of
      volume, which is improper: see `Box`.

    **Raises** `InputError` for dependent directions and unusable limits.
    """

    log_concave = True
    origin: State
    directions: Float[Array, "k d"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    limited: bool = eqx.field(static=True)

    def __init__(
        self, origin: ArrayLike, directions: ArrayLike, low: ArrayLike = -np.inf, high: ArrayLike = np.inf
    ) -> None:
        given: list[Any] = [vector("origin", origin), real_array("directions", directions)]
        given += [host_array(name, limit) for name, limit in (("low", low), ("high", high)) if np.ndim(limit)]
        self.origin, rows, *_ = in_widest(*given)
        self.directions = orthonormal_rows("directions", rows, self.origin.shape[0])
        low, high = limits(low, high, self.directions.shape[0])
        self.low, self.high = low.astype(self.origin.dtype), high.astype(self.origin.dtype)
        self.limited = not is_known(low, high) or bool(np.isfinite(np.stack([low, high])).any())

    def __repr__(self) -> str:
        return f"Subspace({self.directions.shape[0]} directions in {self.dimension} units, {place(self.origin)})"

    @property
    def dimension(self) -> int:
        return self.origin.shape[-1]

    @property
    def volume(self) -> Scalar | float:
        """The product of the sides that are not zero; infinite if one is unbounded."""
        return side_product(self.low, self.high)

    @full_precision
    def _product(self, x: State, sigma: Scalar) -> tuple[Array, Scalar, Array]:
        return product(self.directions @ (x - self.origin), self.low, self.high, sigma)

    @full_precision
    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        nearest, excess, _ = self._product(x, sigma)
        return self.origin + nearest @ self.directions, excess

    @full_precision
    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x): the orthogonal projection, with truncated-Gaussian means for its coordinates."""
        return self.origin + self._product(x, sigma)[2] @ self.directions

    @property
    def _proper(self) -> bool:
        return _bounded(self.low, self.high)

    @full_precision
    def _sample(self, key: Key[Array, ""]) -> State:
        return self.origin + _uniform(key, self.low, self.high) @ self.directions

    @full_precision
    def _project(self, x: State) -> State:
        """The nearest point of the subspace within its limits."""
        u = jnp.clip(self.directions @ (x - self.origin), self.low, self.high)
        return self.origin + u @ self.directions

    def _unobserved(self) -> ConditionedFlat:
        return ConditionedFlat.of(self, self.origin, self.directions, self.low, self.high, self.limited)

    def _conditioned(self, observation: Observation) -> tuple[ConditionedShape, Scalar]:
        """The subspace after a measurement: a Gaussian on it.

        Raises `InputError` for limits in two directions or more whose images are not orthogonal: what was measured
        ties their coordinates to each other, and a Gaussian over a box that is tilted against it has no closed form.
        """
        return self._unobserved()._conditioned(observation)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        return self._unobserved()._posterior_draw(key, x, sigma)

    @one_program
    @full_precision
    def prior_start(self) -> tuple[State, Scalar]:
        """The centre, at ten times the root-mean-square distance from it; unbounded directions do not count."""
        mean, variance = spread_of_uniform(self.low, self.high)
        return self.origin + mean @ self.directions, 10 * jnp.sqrt(variance.sum())


@one_program
def _direction(start: State, end: State) -> tuple[State, Scalar]:
    """The direction from one state to another, and their distance."""
    step = end - start
    largest = jnp.abs(step).max()
    scaled = step / jnp.where(largest > 0, largest, 1)
    norm = jnp.linalg.norm(scaled)
    return scaled / jnp.where(largest > 0, norm, 1), largest * norm


def limits(low: ArrayLike, high: ArrayLike, k: int | None) -> tuple[Array, Array]:
    """Limits (k,) of k coordinates, infinite ones included; k is that of `low` if None."""
    bounds: list[Any] = [host_array("low", low), host_array("high", high)]
    shapes = f"got shapes {bounds[0].shape} and {bounds[1].shape}"
    if k is None:
        k = bounds[0].shape[0] if bounds[0].ndim == 1 else 0
        if k == 0 or bounds[1].shape != (k,):
            raise InputError("low, high", shapes, "two states (d,) are accepted")
    numpy: Any = np if is_known(*bounds) else jnp
    try:
        lower, upper = (numpy.broadcast_to(numpy.asarray(bound), (k,)) for bound in bounds)
    except ValueError:
        raise InputError("low, high", shapes, f"a number or one per direction, ({k},), is accepted") from None
    if is_known(*bounds):
        if not (lower <= upper).all():
            at = int(np.argmax(~(lower <= upper)))
            given = f"got {lower[at]:g} and {upper[at]:g} at entry {at}"
            raise InputError("low, high", given, "low ≤ high is accepted")
        check_finite("low, high", np.where(lower == upper, lower, 0))
    return as_array(lower), as_array(upper)


def _bounded(low: Array, high: Array) -> bool:
    return not is_known(low, high) or bool(np.isfinite(np.asarray(low)).all() and np.isfinite(np.asarray(high)).all())


def _uniform(key: Key[Array, ""], low: Array, high: Array) -> Array:
    return low + jax.random.uniform(key, low.shape, low.dtype) * (high - low)


def side_product(low: Array, high: Array) -> Scalar | float:
    """The product of the sides that are not zero; a float, in double precision, where they are known."""
    if not is_known(low, high):
        sides = jnp.where(low == high, 0, high - low)
        return jnp.prod(jnp.where(sides > 0, sides, 1))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        sides = np.asarray(high, float) - np.asarray(low, float)
        return float(np.prod(sides[sides > 0]))

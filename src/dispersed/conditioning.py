r"""Conditioning: what a memory is once a linear measurement of its state was made.

A measurement of a state y with independent Gaussian noise is

    v = A y + τε,    ε ~ N(0, I),

of which a mask of observed entries is one: A picks them. For a memory φ, Bayes' rule gives a memory again,

    φ(y | v) = φ(y) N(v; A y, τ²I)/p(v),    p(v) = ∫ φ(y) N(v; A y, τ²I) dy,

with the evidence p(v). It is exact for patterns, whose weights change; for Gaussians and cores; for shapes, where the
measurement is diagonal in their coordinates; and for mixtures and smoothed memories of these. To make a memory of
another kind one that can be conditioned, write its hook `_conditioned`.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.precision import full_precision
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, ArrayLike, Bool, Float, Scalar, State
from dispersed.validation import InputError, check_finite, check_map, host_array, mask_array, noise_levels, real_array

CONDITIONED = "patterns, Gaussians, shapes, cores, their mixtures and smoothed ones can be conditioned"
"""The memories that can be."""


class Observation(eqx.Module):
    """One linear measurement v = A y + τε of a state y of a memory with d units.

    **Arguments**

    - `value`: v, (m,); with a mask, or without mask and operator, (d,).
    - `mask`: which entries of y were observed, booleans (d,) or one for all; the others of `value` are not used and may
      be NaN. Without mask and operator all entries were.
    - `operator`: A, a matrix (m, d), or a linear function of one state (d,) that returns (m,).
    - `sigma`: the noise τ > 0 of the measurement, one number, or one for each entry of `value`.

    `jax.vmap` conditions on a batch of observations.

    **Raises** `InputError` for a mask and an operator at once, values or levels of another shape, NaN or inf in what
    was observed, and σ ≤ 0.
    """

    value: Float[Array, " m"]
    mask: Bool[Array, " m"] | None
    operator: Float[Array, "m d"] | Callable[..., Any] | None
    sigma: Float[Array, "*m"]

    def __init__(
        self,
        value: ArrayLike,
        mask: ArrayLike | None = None,
        operator: ArrayLike | Callable[..., Any] | None = None,
        *,
        sigma: ArrayLike,
    ) -> None:
        if mask is not None and operator is not None:
            given = "got both"
            raise InputError("mask, operator", given, "at most one of them is accepted: a mask is an operator")
        array = host_array("value", value)
        if array.ndim != 1 or not array.size:
            accepted = "one observation (m,) is accepted; jax.vmap takes several"
            raise InputError("value", f"got shape {array.shape}", accepted)
        observed = None if mask is None else mask_array(mask, array.shape, "mask")
        if observed is not None:
            numpy: Any = np if is_known(array, observed) else jnp
            array = numpy.where(numpy.asarray(observed), numpy.asarray(array), 0)
        check_finite("value", array)
        self.value, self.mask = as_array(array), observed
        self.operator = operator if operator is None or callable(operator) else _matrix(operator, array.size)
        self.sigma = _levels(sigma, observed, self.value)

    @full_precision
    def images(self, y: Float[Array, "*n d"]) -> Float[Array, "*n m"]:
        """A y of states: with a mask y itself, whose other entries do not count."""
        return y if self.matrix is None else y @ self.matrix.T

    def residual(self, y: State) -> Float[Array, " m"]:
        """(v − A y)/τ of one state, 0 for entries that were not observed."""
        off = (self.value - self.images(y)) / self.sigma
        return off if self.mask is None else jnp.where(self.mask, off, 0)

    def whitened(self, directions: Float[Array, "k d"]) -> Float[Array, "m k"]:
        """A v_k/τ of directions v_k."""
        images = self.images(directions).T / jnp.broadcast_to(self.sigma, self.value.shape)[:, None]
        return images if self.mask is None else jnp.where(self.mask[:, None], images, 0)

    @property
    def matrix(self) -> Float[Array, "m d"] | None:
        """A, where it is no mask."""
        assert self.operator is None or not callable(self.operator)
        return self.operator

    @property
    def sharpness(self) -> Float[Array, " m"]:
        """1/τ of every entry, 0 where nothing was observed."""
        sharpness = jnp.broadcast_to(1 / self.sigma, self.value.shape)
        return sharpness if self.mask is None else jnp.where(self.mask, sharpness, 0)

    @property
    def precision(self) -> Float[Array, " m"]:
        """1/τ² of every entry, 0 where nothing was observed."""
        return self.sharpness**2

    @property
    @one_program
    def normaliser(self) -> Scalar:
        """Σ log(τ√2π) over what was observed: minus the log density of the noise at its centre."""
        terms = jnp.broadcast_to(jnp.log(self.sigma) + math.log(2 * math.pi) / 2, self.value.shape)
        return jnp.sum(terms if self.mask is None else jnp.where(self.mask, terms, 0))

    def at(self, sigma: Scalar) -> "Observation":
        """The same value, measured with another noise."""
        return eqx.tree_at(lambda observation: observation.sigma, self, sigma)

    def of(self, d: int) -> "Observation":
        """The same measurement of a memory with d units, with a matrix or a mask.

        Raises `InputError` where it does not fit.
        """
        m = self.value.shape[0]
        if self.operator is None:
            if m != d:
                accepted = f"the memory has {d} units: ({d},) is accepted without an operator"
                raise InputError("value", f"got {m} entries", accepted)
            mask = jnp.ones(m, bool) if self.mask is None else self.mask
            return eqx.tree_at(lambda o: o.mask, self, mask, is_leaf=lambda leaf: leaf is None)
        matrix = _of_function(self.operator, m, d, self.value.dtype) if callable(self.operator) else self.operator
        if matrix.shape != (m, d):
            given = f"got shape {matrix.shape}"
            raise InputError("operator", given, f"the memory has {d} units: ({m}, {d}) is accepted")
        return eqx.tree_at(lambda o: o.operator, self, matrix)


def condition(memory: Any, observation: Observation) -> Any:
    """The memory after a measurement: the exact posterior φ(y | v) ∝ φ(y) N(v; A y, τ²I), a memory like any other.

    Observed entries are evidence and no more: of a pattern that was drawn they are those of the pattern.
    `recall(..., known=mask)` puts the observed values in their place.

    **Arguments**

    - `memory`: patterns of any engine, Gaussians, shapes, cores, their mixtures and smoothed ones, and what was
      conditioned before. A network can be given a mask alone: its observed units are clamped.
    - `observation`: an `Observation`.

    **Returns** a memory whose `log_evidence` is log p(v), in nats, the evidence of earlier observations included. Where
    it consists of patterns, their indices are those of `memory`. Outside of programs patterns that are `Scanned()`
    are weighed by one scan in double precision, and recalled and drawn from with a certificate as before.

    **Raises** `InputError` for an observation of another dimension, and for memories without a closed form: a box with
    an operator whose columns are not orthogonal, a `Subspace` with limits in several directions, a sum of cores, a
    trained network.

    >>> import jax.numpy as jnp
    >>> import dispersed
    >>> memory = dispersed.PatternMemory([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1]])
    >>> seen = dispersed.condition(memory, dispersed.Observation([2.1], operator=[[1, 1, 0]], sigma=1.0))
    >>> print(*(f"{weight:.3f}" for weight in seen.weights))
    0.819 0.091 0.091
    """
    if not isinstance(observation, Observation):
        raise InputError("observation", f"got {type(observation).__name__}", "an Observation is accepted")
    entry = getattr(memory, "_after", None)
    if entry is None:
        raise InputError("memory", f"got {type(memory).__name__}", "a dispersed memory or network is accepted")
    return entry(observation.of(memory.dimension))


def joined(one: Observation, other: Observation) -> tuple[Observation, Scalar]:
    """Two measurements of one state as one, and a constant: −½‖(v − A y)/τ‖² of both is that of the one plus this."""
    if one.matrix is None and other.matrix is None:
        a, b = one.precision, other.precision
        total = jnp.where(a + b > 0, a + b, 1)
        value = jnp.where(a > 0, one.value * (a / total), 0) + jnp.where(b > 0, other.value * (b / total), 0)
        both = Observation(value, a + b > 0, sigma=1 / jnp.sqrt(total))
        return both, -jnp.sum(jnp.where((a > 0) & (b > 0), a * (b / total) * (one.value - other.value) ** 2, 0)) / 2
    d = next(part.matrix.shape[1] for part in (one, other) if part.matrix is not None)
    rows = jnp.concatenate([part.whitened(jnp.eye(d, dtype=part.value.dtype)) for part in (one, other)])
    values = jnp.concatenate([part.residual(jnp.zeros(d, part.value.dtype)) for part in (one, other)])
    return Observation(values, operator=rows, sigma=1.0), jnp.zeros((), values.dtype)


def _matrix(operator: Any, m: int) -> Float[Array, "m d"]:
    matrix = real_array("operator", operator)
    if matrix.ndim != 2 or matrix.shape[0] != m:
        given = f"got shape {matrix.shape} for a value of {m} entries"
        raise InputError("operator", given, f"a matrix ({m}, d) or a linear function is accepted")
    check_finite("operator", matrix)
    return matrix


def _levels(sigma: Any, mask: Any, value: Array) -> Float[Array, "*m"]:
    levels = host_array("sigma", sigma)
    if levels.shape not in ((), value.shape):
        accepted = f"one number, or one for each entry of the value, {value.shape}, is accepted"
        raise InputError("sigma", f"got shape {levels.shape}", accepted)
    if levels.shape and mask is not None:
        numpy: Any = np if is_known(levels, mask) else jnp
        sigma = numpy.where(numpy.asarray(mask), numpy.asarray(levels), 1)
    return as_array(noise_levels(sigma, value.shape, value.dtype), value.dtype)


@full_precision
def _of_function(function: Callable[..., Any], m: int, d: int, dtype: Any) -> Float[Array, "m d"]:
    """The matrix of a linear function: its values at the unit vectors."""
    about, accepted = f"a value of {m} entries", "a linear function of the state is accepted"
    check_map("operator", function, d, m, dtype, about, accepted)
    matrix = jax.vmap(function)(jnp.eye(d, dtype=dtype)).T
    check_finite("operator", matrix)
    if is_known(matrix):
        probe = jnp.cos(jnp.arange(d, dtype=dtype))  # a state without symmetry
        off = np.abs(np.asarray(function(probe) - matrix @ probe)).max()
        if not off <= 1e-3 * np.abs(np.asarray(matrix)).sum(axis=1).max(initial=0):
            given, accepted = "got a function that is not linear", "A y is accepted; constants go to the value"
            raise InputError("operator", given, accepted)
    return matrix


__all__ = ["CONDITIONED", "Observation", "condition", "joined"]

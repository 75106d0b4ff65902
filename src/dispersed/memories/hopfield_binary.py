r"""What networks of ±1 units have in common (Eq. 1–4): fields whose signs are certain, at the price of products.

A unit takes the sign of its local field. Fields are sums over all patterns that may cancel, exactly so where units have
no preference; so a sign is taken from products only where these exceed their round-off, and otherwise from a wider
precision, or, last, from terms that are combined before they are summed.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from dispersed.memories.network import Network
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State

BUDGET = 1 << 20
"""The most entries of a temporary array beside the patterns and the overlaps."""
LARGEST = {np.dtype(np.float32): 2.0**24, np.dtype(np.float64): 2.0**53}
"""Up to which sums of whole numbers have no round-off."""


def sign(field: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """±1 after the sign of the field; a unit without field keeps the sign it has (+1 if it has none)."""
    return jnp.where(field > 0, 1.0, jnp.where(field < 0, -1.0, jnp.where(x < 0, -1.0, 1.0))).astype(x.dtype)


class BinaryNetwork(Network):
    """±1 units driven by the sign of a local field that depends on the overlaps a = Yx alone.

    Cues may be real-valued (a noisy cue, or zeros for missing units); after one update states are ±1. Updates have no
    derivative: they are constant almost everywhere.
    """

    patterns: Patterns

    @property
    def dimension(self) -> int:
        return self.patterns.shape[-1]

    @abc.abstractmethod
    def _signs(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """−1, 0 or 1 of the field of every unit in a batch of states."""

    @abc.abstractmethod
    def _signs_of_any(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """The same without a choice by the values of the states, for many memories at once."""

    @abc.abstractmethod
    def _unit_signs(
        self, overlaps: Float[Array, "b n"], stored: Float[Array, "b n"], x: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        """The same for one unit of each state, from double-precision overlaps and the unit's stored values."""

    @abc.abstractmethod
    def _weights(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        """Each pattern's part of minus the energy up to one factor; none is negative."""

    @full_precision
    def _overlaps(self, x: State) -> Float[Array, " n"]:
        """x·y_j of one state; states whose overlaps would overflow count as merely very far in that direction."""
        farthest = float(np.finfo(x.dtype).max) / (4 * x.size)
        return self.patterns @ jnp.clip(x, -farthest, farthest)

    def _update(self, x: State) -> State:
        """All units at once: x_i ← sign(field_i(x)) (Eq. 1). May end in a 2-cycle."""
        return sign(batched(lambda network, x: network._signs(x), self, x, several=_signs_of_any), x)

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        # Signs are constant almost everywhere.
        return jnp.zeros((), x.dtype)

    def sweep(self, x: State, order: Int[Array, " d"]) -> State:
        """One unit after another in the given order; each update of a ±1 state lowers the energy."""
        return batched(_sweeps, self, x, order)

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """Each pattern's fraction of the energy of a state, (..., n), summing to one."""
        return self._mapped("_responsibilities", x)

    def _responsibilities(self, x: State) -> Float[Array, " n"]:
        """Each pattern's fraction of the energy of one state, (n,)."""
        return self._fractions(self._overlaps(x))

    def _fractions(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        weights = self._weights(overlaps)
        total = weights.sum()
        return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 1 / weights.size)

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern with the largest fraction of the energy, and that fraction.

        Of several, as a pattern and its negative are where F is even, the first with the largest overlap.
        """
        overlaps = self._overlaps(x)
        fractions = self._fractions(overlaps)
        # Computed twice, a fraction may be rounded twice.
        alike = fractions >= fractions.max() * (1 - 4 * jnp.finfo(fractions.dtype).eps)
        index = jnp.argmax(jnp.where(alike, overlaps, -jnp.inf))
        return index, fractions[index]


def double(array: Array) -> Array:
    """The array in double precision; to be called where that is enabled."""
    return jax.lax.convert_element_type(array, jnp.float64)


@full_precision
def double_product(a: Float[Array, "b k"], y: Float[Array, "k m"]) -> Float[Array, "b m"]:
    """A y in double precision, of which few columns of y are in double precision at a time."""
    k, m = y.shape
    # Else XLA converts all of y before it decides whether any is needed in double precision.
    y = jax.lax.optimization_barrier(y)
    width = max(1, min(m, BUDGET // k))
    if width == m:
        return a @ double(y)

    @full_precision
    def columns(step: Int[Array, ""], found: Float[Array, "b m"]) -> Float[Array, "b m"]:
        # The last columns overlap those before, and are written twice.
        start = jnp.minimum(step * width, m - width)
        part = a @ double(jax.lax.dynamic_slice_in_dim(y, start, width, 1))
        return jax.lax.dynamic_update_slice_in_dim(found, part, start, 1)

    zero = jnp.zeros((a.shape[0], m), jnp.float64)
    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(-(-m // width)), columns, zero)


def in_blocks(function: Callable[..., Array], states: int, entries: int, *arrays: Array) -> Array:
    """The results of a function of a batch of arrays, block after block, if each state takes `entries` of memory."""
    size = max(1, min(states, BUDGET // entries))
    if size == states:
        return function(*arrays)
    count = -(-states // size)
    rows = np.minimum(np.arange(count * size), states - 1).reshape(count, size)
    found = jax.lax.map(lambda rows: function(*(array[rows] for array in arrays)), jnp.asarray(rows, jnp.int32))
    return found.reshape(count * size, *found.shape[2:])[:states]


def batched(
    function: Callable[..., Array], network: Network, *arrays: Array, several: Callable[..., Array] | None = None
) -> Array:
    """A function of a network and a batch, for one state that `jax.vmap` may map: the batch shares its products.

    `several` is the same for many networks at once, if it is another function.
    """
    leaves, rest = eqx.partition(network, eqx.is_array)

    @custom_vmap
    def of_batch(leaves: Any, *arrays: Array) -> Array:
        return function(eqx.combine(leaves, rest), *arrays)

    @of_batch.def_vmap
    def _(size: int, batched: list[Any], leaves: Any, *arrays: Array) -> tuple[Array, bool]:
        of_network, of_arrays = batched[0], batched[1:]
        if any(jax.tree.leaves(of_network)):
            axes = (
                jax.tree.map(lambda part: 0 if part else None, of_network),
                *(0 if part else None for part in of_arrays),
            )
            of_any = function if several is None else several
            return jax.vmap(lambda leaves, *arrays: of_any(eqx.combine(leaves, rest), *arrays), axes)(
                leaves, *arrays
            ), True
        arrays = tuple(
            array if part else jnp.broadcast_to(array, (size, *array.shape))
            for array, part in zip(arrays, of_arrays, strict=True)
        )
        found = of_batch(leaves, *(array.reshape(-1, array.shape[-1]) for array in arrays))
        return found.reshape(size, -1, found.shape[-1]), True

    constant = jax.lax.stop_gradient((leaves, arrays))
    return of_batch(constant[0], *(array[None] for array in constant[1]))[0]


def _signs_of_any(network: BinaryNetwork, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    return network._signs_of_any(x)


def _sweeps(network: BinaryNetwork, x: Float[Array, "b d"], order: Int[Array, "b d"]) -> Float[Array, "b d"]:
    """A sweep of every state, each in its own order."""
    y = network.patterns
    dtype = x.dtype

    def sweep(x: Float[Array, "b d"], order: Int[Array, "b d"]) -> Float[Array, "b d"]:
        each = jnp.arange(x.shape[0])

        def visit(step: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
            x, overlaps = carry
            i = order[:, step]
            with jax.enable_x64(True):
                stored, old = double(y[:, i].T), x[each, i]
                signs = network._unit_signs(overlaps, stored, double(old))
                new = sign(signs, old)
                return x.at[each, i].set(new), overlaps + stored * double(new - old)[:, None]

        with jax.enable_x64(True):
            overlaps = double_product(double(x), y.T)
        return jax.lax.fori_loop(0, x.shape[1], visit, (x, overlaps))[0]

    return in_blocks(sweep, x.shape[0], y.shape[0], x, order).astype(dtype)

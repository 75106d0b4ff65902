"""The one contract of whatever can be recalled: public methods of batches around private hooks of one state."""

import abc
import functools
import math
from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from dispersed.conditioning import CONDITIONED, Observation
from dispersed.derived import Deriving
from dispersed.display import one_line
from dispersed.tracing import is_known
from dispersed.types import Array
from dispersed.validation import InputError, noise_levels, state_array

Hook = str | Callable[..., Any]
"""The name of a method of one state, or a function of a memory and one state."""


class AssociativeMemory(Deriving):
    """Whatever states can be recalled from: a memory at every noise level, or a network with a temperature of its own.

    A public method is written once, on a base class: it checks its arguments, broadcasts noise levels against the batch
    axes, and maps a hook over all states in one compiled program. Hooks are private methods of the same name with an
    underscore, of one state `(d,)` and one level; classes write or override hooks only.
    """

    __repr__ = one_line

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """The number of units d."""

    def _mapped(self, hook: Hook, x: Any, *sigma: Any, **settings: Hashable) -> Any:
        """The results of a hook for states `(..., d)`, each with its own noise level if that is an array.

        `settings` are passed on; each choice of them is a program of its own.
        """
        states = state_array("x", x, self.dimension)
        dtype = self._dtype
        if states.dtype != dtype:
            dtype = jnp.promote_types(states.dtype, dtype)
            states = states.astype(dtype)
        levels = tuple(noise_levels(level, states.shape[:-1], dtype) for level in sigma)
        return self._evaluated(hook, states, levels, tuple(settings.items()))

    def _evaluated(
        self, hook: Hook, x: Any, levels: tuple[Any, ...], settings: tuple[tuple[str, Hashable], ...]
    ) -> Any:
        """What `_mapped` returns, from checked arguments of one precision."""
        memory = self._prepared()
        if memory._is_arrays:
            return _run(hook, settings, *memory._flat, x, levels)
        return _run_filtered(hook, settings, memory, x, levels)

    def _prepared(self) -> Any:
        """The same memory with whatever its hooks would otherwise compute anew in every program."""
        return self

    def _most_states(self, hook: Hook) -> int | None:
        """The number of states for which a hook may be evaluated at once, if what it needs for each is large."""
        return None

    def _conditioned(self, observation: Observation) -> tuple[Any, Any]:
        """The memory after a measurement, and its log evidence log p(v); None for what has no density."""
        raise InputError("observation", f"got one of a {type(self).__name__}", CONDITIONED)

    def _after(self, observation: Observation) -> Any:
        """What `condition` returns, from a checked observation."""
        memory, _ = self._conditioned(observation)
        return memory

    @property
    def _is_arrays(self) -> bool:
        """Whether all leaves of the memory are arrays."""
        return self._once("is_arrays", lambda: all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(self)))

    @property
    def _flat(self) -> tuple[PyTreeDef, list[Any]]:
        """The structure of the memory and its leaves, which JAX would take apart anew at every call."""
        return self._once("flat", lambda: jax.tree.flatten(self)[::-1])

    @property
    def _size(self) -> float:
        """The number of entries of all arrays of the memory if their values are known; infinity of anything else."""
        return self._once("size", lambda: _size(jax.tree.leaves(self)))

    @property
    def _dtype(self) -> Any:
        """The widest floating-point precision among the arrays of the memory, at least single."""
        return self._once("dtype", lambda: _widest(jax.tree.leaves(self)))

    def _in_precision(self, dtype: Any) -> "AssociativeMemory":
        """The same memory with its floating-point arrays in precision `dtype`: cue and memory meet in the wider one."""
        return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, self)


def _size(leaves: list[Any]) -> float:
    known = all(isinstance(leaf, jax.Array) and is_known(leaf) for leaf in leaves)
    return float(sum(leaf.size for leaf in leaves)) if known else math.inf


def _widest(leaves: list[Any]) -> Any:
    floating = [leaf for leaf in leaves if eqx.is_inexact_array(leaf)]
    # A single number, such as a bandwidth, takes the precision of the arrays that it meets.
    kinds = {leaf.dtype for leaf in [leaf for leaf in floating if leaf.ndim] or floating}
    return functools.reduce(jnp.promote_types, kinds, jnp.dtype(jnp.float32))


def over_states(function: Callable[..., Any], most: int | None, *arrays: Any) -> Any:
    """`function` of every state of a batch, of at most `most` at once, so that memory stays bounded."""
    count = jax.tree.leaves(arrays)[0].shape[0]
    if most is None or count <= most:
        return jax.vmap(function)(*arrays)
    return jax.lax.map(lambda state: function(*state), arrays, batch_size=most)


def without_derivatives(tree: Any) -> Any:
    """The same tree, through which no derivative passes."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def of_states(hook: Callable[..., Any], memory: AssociativeMemory, x: Any, *sigma: Any) -> Any:
    """The results of a function of a memory, one state and its noise level, for states `(..., d)`."""
    return memory._mapped(hook, x, *sigma)


def in_precision(memory: Any, dtype: Any) -> Any:
    """A memory in precision `dtype`, itself if it is so already."""
    # The widest array alone does not say so: parts of a memory may be narrower than others.
    same = all(leaf.dtype == dtype for leaf in jax.tree.leaves(memory) if eqx.is_inexact_array(leaf))
    return memory if same else memory._in_precision(dtype)


def _map(
    hook: Hook,
    settings: tuple[tuple[str, Hashable], ...],
    memory: AssociativeMemory,
    x: Array,
    levels: tuple[Array, ...],
) -> Any:
    batch = np.broadcast_shapes(x.shape[:-1], *(np.shape(level) for level in levels))
    memory = in_precision(memory, x.dtype)
    x = jnp.broadcast_to(x, (*batch, x.shape[-1]))
    of_one = getattr(memory, hook) if isinstance(hook, str) else functools.partial(hook, memory)
    function: Callable[..., Any] = functools.partial(of_one, **dict(settings))
    states = (x, *(jnp.broadcast_to(level, batch) for level in levels))
    if not batch:
        return function(*states)
    if 0 in batch:  # no states have no results, whatever a hook does with a batch
        one = jax.eval_shape(function, *(jax.ShapeDtypeStruct(part.shape[len(batch) :], part.dtype) for part in states))
        return jax.tree.map(lambda part: jnp.zeros((*batch, *part.shape), part.dtype), one)
    flat = [part.reshape(-1, *part.shape[len(batch) :]) for part in states]
    found = over_states(function, memory._most_states(hook), *flat)
    return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), found)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(
    hook: Hook,
    settings: tuple[tuple[str, Hashable], ...],
    structure: PyTreeDef,
    leaves: list[Array],
    x: Array,
    levels: tuple[Array, ...],
) -> Any:
    return _map(hook, settings, jax.tree.unflatten(structure, leaves), x, levels)


_run_filtered = eqx.filter_jit(_map)
"""For memories with leaves that are no arrays, such as the activation functions of a network."""

__all__ = ["AssociativeMemory", "in_precision", "of_states", "over_states", "without_derivatives"]

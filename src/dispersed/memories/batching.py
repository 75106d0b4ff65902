"""Algorithms are written for one state; this makes them serve any batch of states."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.validation import InputError, positive, state_array


def per_state(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of one state `x: (d,)` serve states `(..., d)`.

    If the method also takes a noise level, that becomes a number or an array that broadcasts against the
    batch axes `...`: every state of a batch may have its own. Results keep the batch axes in front. The
    method is compiled once per shape.

    Raises `InputError` for states of another dimension and for σ ≤ 0.
    """

    @eqx.filter_jit
    def batched(self: Any, x: jax.Array, levels: tuple[jax.Array, ...]) -> Any:
        batch = jnp.broadcast_shapes(x.shape[:-1], *(level.shape for level in levels))
        x = jnp.broadcast_to(x, (*batch, x.shape[-1]))
        levels = tuple(jnp.broadcast_to(level, batch) for level in levels)
        function = functools.partial(method, self)
        for _ in batch:
            function = jax.vmap(function)
        return function(x, *levels)

    signature = inspect.signature(method)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]

    @functools.wraps(method)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        self, x, *sigma = signature.bind(*arguments, **named).args
        x = state_array("x", x, self.dimension)
        levels = tuple(positive("sigma", level).astype(x.dtype) for level in sigma)
        for level in levels:
            try:
                jnp.broadcast_shapes(x.shape[:-1], level.shape)
            except ValueError:
                raise InputError(
                    "sigma",
                    f"got shape {level.shape}",
                    f"one noise level, or one that broadcasts against the batch {x.shape[:-1]}, is accepted",
                ) from None
        return batched(self, x, levels)

    # The annotations of `method` describe one state; a run-time checker must not apply them to batches.
    del wrapper.__wrapped__
    wrapper.__annotations__ = {}
    wrapper.__signature__ = inspect.Signature(bare)  # type: ignore[attr-defined]
    return wrapper

"""What is known while programs are being traced, and arrays that are made without tracing one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state
from jax.sharding import Sharding
from jaxtyping import Array

_OUTSIDE = get_opaque_trace_state()


def is_known(*values: Any) -> bool:
    """Whether the values can be looked at, i.e. none of them is being traced."""
    # `any` takes three times as long, and every call of a memory asks.
    for value in values:  # noqa: SIM110
        if isinstance(value, jax.core.Tracer):
            return False
    return True


def is_tracing() -> bool:
    """Whether some program is being traced, whatever values are known."""
    return bool(get_opaque_trace_state() != _OUTSIDE)


def in_program(*values: Any) -> bool:
    """Whether what is done with these values is part of a program that is being traced, constants of it included."""
    return is_tracing() or not is_known(*values)


def as_array(value: Any, dtype: Any = None) -> Array:
    """`value` as an array of JAX of that precision, a copy.

    Unlike `jnp.asarray`, it compiles no program for every new shape of an array of NumPy.
    """
    if not isinstance(value, np.ndarray) or is_tracing():
        return jnp.asarray(value, dtype)
    with np.errstate(over="ignore"):  # what is beyond a precision is infinite in it
        return jax.device_put(np.array(value, dtype))  # a copy, since JAX may go on using what it is given


def reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    """`array` in another shape; where its values are on the host, no program is compiled for it."""
    if isinstance(array, np.ndarray) or not on_host(array) or jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return array.reshape(shape)
    return as_array(np.asarray(array).reshape(shape))


def on_host(array: Array) -> bool:
    """Whether the values of an array can be looked at without waiting for an accelerator or for another host."""
    return is_known(array) and _is_on_host(array.sharding)


@functools.lru_cache(maxsize=256)
def _is_on_host(sharding: Sharding) -> bool:
    devices: set[Any] = sharding.device_set
    return sharding.is_fully_addressable and all(device.platform == "cpu" for device in devices)

"""Bad input gets one clear line: which argument, what was given, what is accepted.

Values are looked at only where they are known: inside `jax.jit`, `jax.vmap` or `jax.grad` an array has
a shape but no values yet, so there only shapes are checked. Arrays known from outside have both, even there;
NumPy looks at them, since JAX would trace the look.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dispersed.types import ArrayLike


class InputError(ValueError):
    """An argument that cannot be used; the message names it, what was given and what is accepted."""

    def __init__(self, argument: str, given: str, accepted: str) -> None:
        super().__init__(f"{argument}: {given}; {accepted}")
        self._parts = (argument, given, accepted)

    def __reduce__(self) -> tuple:
        """Errors come back from other processes."""
        return InputError, self._parts


def is_known(*values: Any) -> bool:
    """Whether the values can be looked at, i.e. none of them is being traced."""
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def real_array(argument: str, value: ArrayLike) -> Float[Array, "..."]:
    """`value` as a floating-point array of JAX's default or its own precision."""
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise InputError(argument, f"rows of different lengths ({error})", "give a rectangular array") from None
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or jnp.iscomplexobj(array):
        raise InputError(argument, f"got dtype {array.dtype}", "real numbers are accepted")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return jnp.asarray(array, dtype=float)
    return jnp.asarray(array)


def check_finite(argument: str, array: Array | np.ndarray) -> None:
    if not is_known(array):
        return
    finite = np.isfinite(np.asarray(array))
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        count = int((~finite).sum())
        where = f"; the first is entry {first}" if first else ""
        raise InputError(argument, f"got {count} NaN or infinite entries", f"only finite numbers are accepted{where}")


def pattern_array(patterns: ArrayLike) -> Float[Array, "n d"]:
    """Stored patterns: a finite, non-empty `(n, d)` array whose squared norms do not overflow."""
    array = real_array("patterns", patterns)
    if array.ndim != 2 or 0 in array.shape:
        accepted = "at least one pattern of at least one unit, shape (n, d), is accepted"
        if array.ndim > 2 and 0 not in array.shape:
            accepted += f": flatten with patterns.reshape({array.shape[0]}, -1)"
        elif array.ndim == 1 and array.size:
            accepted += ": give one pattern as [pattern]"
        raise InputError("patterns", f"got shape {array.shape}", accepted)
    check_finite("patterns", array)
    largest = math.sqrt(float(jnp.finfo(array.dtype).max) / array.shape[1]) / 4
    if is_known(array) and np.abs(np.asarray(array)).max() > largest:
        raise InputError(
            "patterns",
            f"got entries up to {np.abs(np.asarray(array)).max():.3g}",
            f"squared norms must not overflow {array.dtype}: entries up to {largest:.3g} are accepted",
        )
    return array


def check_binary(argument: str, array: Array) -> None:
    if is_known(array) and not (np.abs(np.asarray(array)) == 1).all():
        odd = np.unique(np.asarray(array)[np.abs(np.asarray(array)) != 1])[:3]
        shown = ", ".join(f"{value:g}" for value in odd)
        raise InputError(argument, f"got entries such as {shown}", "a binary network accepts only -1 and +1")


def weight_array(weights: ArrayLike, n: int, each: str = "pattern") -> Float[Array, " n"]:
    """Prior weights: `n` finite non-negative numbers, not all zero, one for `each`."""
    array = real_array("weights", weights)
    if array.shape != (n,):
        raise InputError("weights", f"got shape {array.shape}", f"one weight per {each}, shape ({n},)")
    check_finite("weights", array)
    if is_known(array) and (np.asarray(array) < 0).any():
        raise InputError("weights", f"got {float(np.min(np.asarray(array))):g}", "weights must not be negative")
    if is_known(array) and not (np.asarray(array) > 0).any():
        raise InputError("weights", "got only zeros", "at least one weight must be positive")
    return array


def log_weight_array(log_weights: ArrayLike, n: int) -> Float[Array, " n"]:
    """Logarithms of prior weights: below +∞, not all −∞."""
    array = real_array("log_weights", log_weights)
    if array.shape != (n,):
        raise InputError("log_weights", f"got shape {array.shape}", f"one per pattern, shape ({n},)")
    if is_known(array) and not np.isfinite(np.max(np.asarray(array))):
        largest = f"got {np.max(np.asarray(array))} as the largest"
        raise InputError("log_weights", largest, "numbers below inf, not all -inf, are accepted")
    return array


def vector(argument: str, value: ArrayLike, d: int | None = None) -> Float[Array, " d"]:
    """One finite state (d,), of `d` units if that is given."""
    array = real_array(argument, value)
    if array.ndim != 1 or array.size == 0 or d not in (None, array.shape[0]):
        raise InputError(argument, f"got shape {array.shape}", f"one state, shape ({d or 'd'},), is accepted")
    check_finite(argument, array)
    return array


def orthonormal_rows(argument: str, value: ArrayLike, d: int) -> Float[Array, "k d"]:
    """Linearly independent directions (k, d), made orthonormal one after the other."""
    array = real_array(argument, value)
    if array.ndim != 2 or array.shape[1] != d or not 1 <= array.shape[0] <= d:
        raise InputError(
            argument, f"got shape {array.shape}", f"1 to {d} directions of {d} units, (k, {d}), are accepted"
        )
    check_finite(argument, array)
    lengths = jnp.linalg.norm(array, axis=1, keepdims=True)
    q, r = jnp.linalg.qr((array / jnp.where(lengths > 0, lengths, 1)).T)
    heights = jnp.diagonal(r)
    least = 10 * d * float(jnp.finfo(array.dtype).eps)
    if is_known(array) and bool((jnp.abs(heights) <= least).any()):
        at = int(jnp.argmax(jnp.abs(heights) <= least))
        raise InputError(argument, f"direction {at} depends on those before it", "independent ones are accepted")
    return (q * jnp.sign(heights)).T


def state_array(argument: str, x: ArrayLike, d: int) -> Float[Array, "..."]:
    """States `(..., d)` of a memory with `d` units."""
    array = real_array(argument, x)
    if array.ndim == 0 or array.shape[-1] != d:
        accepted = f"the memory has {d} units: shape (..., {d}) is accepted"
        if array.ndim > 1 and math.prod(array.shape[-2:]) == d:
            accepted += f"; flatten images with {argument}.reshape(*{argument}.shape[:-2], {d})"
        raise InputError(argument, f"got shape {array.shape}", accepted)
    return array


def positive(argument: str, value: ArrayLike) -> Float[Array, "..."]:
    """A positive finite number, or an array of them."""
    array = real_array(argument, value)
    check_finite(argument, array)
    if is_known(array) and array.size and not (np.asarray(array) > 0).all():
        raise InputError(argument, f"got {float(np.min(np.asarray(array))):g}", "numbers above 0 are accepted")
    return array


def signal_level(alpha: ArrayLike) -> Float[Array, "..."]:
    """A signal level α in (0, 1], or an array of them."""
    array = real_array("alpha", alpha)
    check_finite("alpha", array)
    if is_known(array) and array.size and not ((np.asarray(array) > 0) & (np.asarray(array) <= 1)).all():
        outside = np.asarray(array).ravel()
        shown = outside[(outside <= 0) | (outside > 1)][0]
        accepted = "signal levels in (0, 1] are accepted; a noise standard deviation is given as sigma"
        raise InputError("alpha", f"got {float(shown):g}", accepted)
    return array


def random_key(key: Any) -> None:
    """Refuse what is no key of JAX; seeds, above all, which are no keys."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        seed = key if isinstance(key, int) else 0
        raise InputError("key", f"got {key!r}", f"a key is accepted, such as jax.random.key({seed})")


def positive_number(argument: str, value: float) -> float:
    """One positive finite number, known when the program is compiled."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise InputError(argument, f"got {value!r}", "finite numbers above 0 are accepted")
    return float(value)


def at_least(argument: str, value: int, least: int) -> int:
    """A whole number not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(argument, f"got {value!r}", f"whole numbers from {least} are accepted")
    return value

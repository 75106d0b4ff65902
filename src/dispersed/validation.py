"""Bad input gets one clear line: which argument, what was given, what is accepted.

Values are looked at only where they are known: inside `jax.jit`, `jax.vmap` or `jax.grad` an array has
a shape but no values yet, so there only shapes are checked. Arrays known from outside have both, even there;
NumPy looks at them, since JAX would trace the look.
"""

import functools
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dispersed.tracing import as_array, is_known, on_host
from dispersed.types import ArrayLike

MOST = 2**31 - 1
"""The largest whole number that counts something: steps, samples, units."""
SIGNAL_LEVELS = "signal levels in (0, 1] are accepted; a noise standard deviation is given as sigma"
"""What is said of others."""
SINGLE = np.dtype(np.float32)
LONGEST = 600
"""Characters of each part of an error's message."""


class InputError(ValueError):
    """An argument that cannot be used; the message names it, what was given and what is accepted.

    It is one line of bounded length, whatever was given: characters that end lines or steer a terminal are escaped,
    and of long parts the middle is left out.
    """

    def __init__(self, argument: str, given: str, accepted: str) -> None:
        super().__init__(f"{_bounded(argument)}: {_bounded(given)}; {_bounded(accepted)}")
        self._parts = (argument, given, accepted)

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back from other processes."""
        return InputError, self._parts


def _bounded(text: str) -> str:
    if not text.isprintable():
        text = " ".join(text.split())
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: 2 * LONGEST])
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 3 :]}"


def host_array(argument: str, value: Any) -> np.ndarray | Array:
    """`value` as an array of real floating-point numbers, where it is: of NumPy, or of JAX if it is one already.

    Whole numbers and booleans become JAX's default precision, half precision becomes single, extended precision and
    foreign byte orders become double; PyTorch tensors and pandas frames are read as arrays. Raises `InputError` for
    what is not numbers, masked entries, and finite numbers that overflow the precision that JAX computes in.
    """
    if isinstance(value, jax.Array):
        array: Any = value
    else:
        array = plain_array(argument, value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or array.dtype.kind in "mc":
        raise InputError(argument, f"got dtype {array.dtype}", "real numbers are accepted")
    default = jnp.result_type(float)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(default)
    if isinstance(array, jax.Array):
        return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array
    wanted = np.promote_types(np.float32, array.dtype) if array.dtype.kind == "f" else np.dtype(np.float32)
    wanted = np.dtype(default) if wanted.itemsize > default.itemsize else wanted
    if array.dtype == wanted and array.dtype.isnative:
        return array
    with np.errstate(over="ignore"):
        narrowed = array.astype(wanted)
    if np.isinf(narrowed).any() and np.isfinite(array[np.isinf(narrowed)]).any():
        largest = np.abs(array[np.isfinite(array)]).max()
        accepted = f"magnitudes up to {np.finfo(wanted).max:.3g} are accepted in {wanted.name}"
        raise InputError(argument, f"got entries up to {largest:.3g}", accepted)
    return narrowed


def plain_array(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of NumPy, of whatever it holds; rows of different lengths and masked entries are refused."""
    masked = _masked_entries(value)
    if masked:
        accepted = "arrays without a mask are accepted; masked cues are given with known="
        raise InputError(argument, f"got an array with {masked} masked entries", accepted)
    try:
        if hasattr(value, "detach"):  # a PyTorch tensor, which may be on another device, need gradients or be bfloat16
            value = value.detach().cpu()
            value = value.float() if "bfloat16" in str(value.dtype) else value
        array = np.asarray(value)
        if array.dtype == object and array.size and all(isinstance(entry, numbers.Real) for entry in array.flat):
            array = array.astype(float)  # as pandas gives columns that may have missing entries
    except ValueError as error:  # ragged nested lists
        raise InputError(argument, f"rows of different lengths ({error})", "give a rectangular array") from None
    except Exception as error:  # whatever the conversion of another library raises
        raise InputError(argument, f"got {type(value).__name__} ({error})", "an array of real numbers") from None
    if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16 and the like
        return array.astype(np.float32)
    return array


def _masked_entries(value: Any) -> int:
    """How many entries of an array, or of the arrays in nested lists, are masked."""
    if isinstance(value, np.ma.MaskedArray):
        return int(np.ma.count_masked(value))
    if isinstance(value, list | tuple):
        return sum(_masked_entries(part) for part in value if isinstance(part, np.ma.MaskedArray | list | tuple))
    return 0


def number_array(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of real numbers of any type, of NumPy."""
    array = plain_array(argument, value)
    if array.dtype.kind not in "biuf":
        raise InputError(argument, f"got dtype {array.dtype}", "real numbers are accepted")
    return array


def double_array(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of real numbers in double precision, of NumPy, whatever JAX computes in."""
    return number_array(argument, value).astype(float)


def double_number(argument: str, value: Any) -> float:
    """One finite real number in double precision, also of arrays that hold one."""
    array = double_array(argument, value)
    check_finite(argument, array)
    if array.ndim:
        raise InputError(argument, f"got shape {array.shape}", "one number is accepted")
    return float(array)


def real_array(argument: str, value: Any) -> Float[Array, "..."]:
    """`value` as a floating-point array of JAX, in its own precision or a wider one; see `host_array`."""
    return as_array(host_array(argument, value))


def returned(argument: str, value: Any, shape: tuple[int, ...]) -> Array:
    """What a function that was given as `argument` returned: floating-point numbers of that shape, or `InputError`."""
    dtype = getattr(value, "dtype", None)
    if np.shape(value) != shape or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        found = type(value).__name__ if dtype is None else f"{dtype} of shape {value.shape}"
        raise InputError(argument, f"returned {found}", f"floating-point numbers of shape {shape} are accepted")
    return value


def check_finite(argument: str, array: Array | np.ndarray) -> None:
    """Raise `InputError` for NaN and infinite entries, if the values are known."""
    if not is_known(array):
        return
    values = np.asarray(array)
    if _has_finite_norm(values):
        return
    finite = np.isfinite(values)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        count = int((~finite).sum())
        where = f"; the first is entry {first}" if first else ""
        raise InputError(argument, f"got {count} NaN or infinite entries", f"only finite numbers are accepted{where}")


def _has_finite_norm(values: np.ndarray) -> bool:
    """Whether the sum of all squares is finite, so that all entries are: a fraction of the time of a test of each."""
    if values.dtype.kind != "f" or not values.flags.forc:
        return False
    flat = values.ravel("K")
    return math.isfinite(np.vdot(flat, flat))  # which does not warn of overflow, as `dot` does


def pattern_array(patterns: ArrayLike) -> Float[Array, "n d"]:
    """Stored patterns: a finite, non-empty `(n, d)` array whose squared norms do not overflow.

    Raises `InputError` for others, and for patterns so close together that the squares of their distances underflow.
    """
    array = real_array("patterns", patterns)
    if array.ndim != 2 or 0 in array.shape:
        accepted = "at least one pattern of at least one unit, shape (n, d), is accepted"
        if array.ndim > 2 and 0 not in array.shape:
            accepted += f": flatten with patterns.reshape({array.shape[0]}, -1)"
        elif array.ndim == 1 and array.size:
            accepted += ": give one pattern as [pattern]"
        raise InputError("patterns", f"got shape {array.shape}", accepted)
    check_finite("patterns", array)
    if is_known(array):
        limits, most = jnp.finfo(array.dtype), float(np.abs(np.asarray(array)).max())
        largest, least = math.sqrt(float(limits.max) / array.shape[1]) / 4, 1e4 * math.sqrt(float(limits.tiny))
        if most > largest:
            accepted = f"squared norms must not overflow {array.dtype}: entries up to {largest:.3g} are accepted"
            raise InputError("patterns", f"got entries up to {most:.3g}", accepted)
        # Those of larger entries differ by more, if they do.
        if most < least / float(limits.eps) and 0 < (apart := float(np.ptp(np.asarray(array), axis=0).max())) < least:
            accepted = f"squares must not underflow {array.dtype}: differences from {least:.3g} on are accepted"
            raise InputError("patterns", f"got entries that differ by {apart:.3g} at most", accepted)
    return array


def check_binary(argument: str, array: Array) -> None:
    if is_known(array) and not (np.abs(np.asarray(array)) == 1).all():
        odd = np.unique(np.asarray(array)[np.abs(np.asarray(array)) != 1])[:3]
        shown = ", ".join(f"{value:g}" for value in odd)
        raise InputError(argument, f"got entries such as {shown}", "a binary network accepts only -1 and +1")


def log_prior(weights: Any, log_weights: Any, n: int, each: str = "pattern") -> np.ndarray | Float[Array, " n"] | None:
    """Logarithms of prior weights (n,), normalised to Σ w = 1 in double precision; None for a uniform prior.

    The prior is given as `weights`, finite and not negative, or as `log_weights`, below +∞; only their ratios matter,
    so they may lie anywhere in the range of double precision. Raises `InputError` for both, another shape, or no
    positive weight.
    """
    if weights is not None and log_weights is not None:
        raise InputError("weights, log_weights", "got both", "give the prior as at most one of them")
    if weights is None and log_weights is None:
        return None
    argument, value = ("weights", weights) if log_weights is None else ("log_weights", log_weights)
    known = is_known(value)
    array: Any = plain_array(argument, value) if known else value
    # In double precision whatever JAX computes in: ratios of weights may be beyond the range of single precision.
    array = array.astype(float) if known and array.dtype.kind in "biuf" else host_array(argument, array)
    if array.shape != (n,):
        raise InputError(argument, f"got shape {array.shape}", f"one weight per {each}, shape ({n},), is accepted")
    if known:
        _check_prior(argument, array)
    numpy: Any = np if known else jnp
    with np.errstate(divide="ignore", over="ignore"):
        logs = numpy.log(array) if argument == "weights" else array
        logs = logs - logs.max()
    return logs - numpy.log(numpy.exp(logs).sum())


def _check_prior(argument: str, array: np.ndarray) -> None:
    if argument == "weights":
        check_finite(argument, array)
        if (array < 0).any():
            raise InputError(argument, f"got {float(array.min()):g}", "weights must not be negative")
        if not (array > 0).any():
            raise InputError(argument, "got only zeros", "at least one weight must be positive")
    elif not np.isfinite(array.max()):
        raise InputError(argument, f"got {array.max()} as the largest", "numbers below inf, not all -inf, are accepted")


def vector(argument: str, value: ArrayLike, d: int | None = None) -> Float[Array, " d"]:
    """One finite state (d,), of `d` units if that is given."""
    array = real_array(argument, value)
    if array.ndim != 1 or array.size == 0 or d not in (None, array.shape[0]):
        raise InputError(argument, f"got shape {array.shape}", f"one state, shape ({d or 'd'},), is accepted")
    check_finite(argument, array)
    return array


def in_widest(*arrays: Array | np.ndarray) -> tuple[Any, ...]:
    """Arrays in the precision of the widest of them."""
    dtype = functools.reduce(jnp.promote_types, [array.dtype for array in arrays])
    return tuple(array if array.dtype == dtype else array.astype(dtype) for array in arrays)


def first_line(error: Exception) -> str:
    """What an exception of other code says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def check_map(argument: str, function: Any, d: int, m: int, dtype: Any, about: str, accepted: str) -> None:
    """Raise `InputError` unless `function` maps one state (d,) to (m,): as many numbers as there are `about` it."""
    try:
        shape = getattr(jax.eval_shape(function, jax.ShapeDtypeStruct((d,), dtype)), "shape", None)
    except Exception as error:  # whatever the user's function raises
        given = f"cannot be evaluated at a state of {d} units ({first_line(error)})"
        raise InputError(argument, given, accepted) from None
    if shape != (m,):
        raise InputError(argument, f"maps {d} units to {shape} for {about}", f"a function to ({m},) is accepted")


def orthonormal_rows(argument: str, value: ArrayLike, d: int) -> Float[Array, "k d"]:
    """Linearly independent directions (k, d), made orthonormal one after the other."""
    array = real_array(argument, value)
    if array.ndim != 2 or array.shape[1] != d or not 1 <= array.shape[0] <= d:
        raise InputError(
            argument, f"got shape {array.shape}", f"1 to {d} directions of {d} units, (k, {d}), are accepted"
        )
    check_finite(argument, array)
    rows, lengths = _gram_schmidt(array)
    least = 10 * d * float(jnp.finfo(array.dtype).eps)
    if is_known(lengths) and (np.asarray(lengths) <= least).any():
        at = int(np.argmax(np.asarray(lengths) <= least))
        raise InputError(argument, f"direction {at} depends on those before it", "independent ones are accepted")
    return rows


@jax.jit
def _gram_schmidt(rows: Float[Array, "k d"]) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    """Directions made orthonormal one after the other, and the length of what each adds to those before it."""
    lengths = jnp.linalg.norm(rows, axis=1, keepdims=True)
    q, r = jnp.linalg.qr((rows / jnp.where(lengths > 0, lengths, 1)).T)
    diagonal = jnp.diagonal(r)
    return (q * jnp.sign(diagonal)).T, jnp.abs(diagonal)


def state_array(argument: str, x: Any, d: int) -> np.ndarray | Array:
    """Finite states `(..., d)` of a memory with `d` units, where they are: of NumPy or of JAX."""
    array = x if isinstance(x, jax.Array) and x.dtype == SINGLE else host_array(argument, x)
    if array.ndim == 0 or array.shape[-1] != d:
        accepted = f"the memory has {d} units: shape (..., {d}) is accepted"
        if array.ndim > 1 and math.prod(array.shape[-2:]) == d:
            accepted += f"; flatten images with {argument}.reshape(*{argument}.shape[:-2], {d})"
        raise InputError(argument, f"got shape {array.shape}", accepted)
    if not isinstance(array, jax.Array) or on_host(array):
        check_finite(argument, array)
    return array


def noise_levels(sigma: Any, batch: tuple[int, ...], dtype: np.dtype) -> np.generic | np.ndarray | Array:
    """Noise levels σ of precision `dtype` that broadcast against the batch axes, and whose squares are normal numbers.

    Raises `InputError` for σ ≤ 0, NaN, infinity, shapes that do not broadcast, and levels beyond √tiny…√max of the
    precision, at which 1/σ² is no number.
    """
    low, high = level_range(dtype)
    if type(sigma) is float and low <= sigma <= high:  # what is written most often is checked at once
        return dtype.type(sigma)
    array = host_array("sigma", sigma)
    if is_known(array):
        values = np.asarray(array)
        check_finite("sigma", values)
        if values.size and not (values > 0).all():
            raise _not_positive("sigma", sigma, values.dtype)
        if values.size and not (low <= values.min() and values.max() <= high):
            odd = values.min() if values.min() < low else values.max()
            accepted = f"levels from {low:.2g} to {high:.2g} are accepted in {dtype.name}"
            raise InputError("sigma", f"got {float(odd):.3g}", accepted)
    if array.shape:
        broadcast("sigma", array.shape, batch)
    return array.astype(dtype)


@functools.cache
def level_range(dtype: np.dtype) -> tuple[float, float]:
    """The least and the largest noise level whose squares, and their inverses, are normal numbers."""
    limits = jnp.finfo(dtype)
    return float(np.sqrt(2 * float(limits.tiny))), float(np.sqrt(float(limits.max) / 2))


def broadcast(argument: str, shape: tuple[int, ...], batch: tuple[int, ...], grow: bool = True) -> tuple[int, ...]:
    """The shape of `batch` and one level per state together, or `InputError`; without `grow` it must be `batch`."""
    try:
        together = np.broadcast_shapes(batch, shape)
    except ValueError:
        together = None
    if together is None or not (grow or together == batch):
        accepted = f"one number, or one that broadcasts against the batch {batch}, is accepted"
        raise InputError(argument, f"got shape {shape}", accepted)
    return together


def mask_array(
    known: Any, shape: tuple[int, ...], argument: str = "known", means: str = "was observed"
) -> Bool[Array, "..."]:
    """A mask of entries, broadcast to `shape`; booleans are accepted, and nothing else. `means` says what True is."""
    mask = known if isinstance(known, jax.Array) else plain_array(argument, known)
    if mask.dtype != bool:
        raise InputError(argument, f"got dtype {mask.dtype}", f"booleans are accepted, True where an entry {means}")
    try:
        broad = np.broadcast_to(mask, shape) if isinstance(mask, np.ndarray) else jnp.broadcast_to(mask, shape)
    except ValueError:
        accepted = f"a mask that broadcasts against {shape} is accepted"
        raise InputError(argument, f"got shape {mask.shape}", accepted) from None
    return as_array(broad)


def positive(argument: str, value: ArrayLike) -> Float[Array, "..."]:
    """A positive finite number, or an array of them."""
    array = real_array(argument, value)
    check_finite(argument, array)
    if is_known(array) and array.size and not (np.asarray(array) > 0).all():
        raise _not_positive(argument, value, array.dtype)
    return array


def _not_positive(argument: str, value: Any, dtype: Any, accepted: str = "numbers above 0 are accepted") -> InputError:
    """What is said of numbers that are not above 0 in the precision `dtype`, by the least that was given."""
    least = double_array(argument, value).min()
    if least > 0:
        accepted = f"numbers from {jnp.finfo(dtype).tiny:.2g} in {jnp.dtype(dtype).name} are accepted"
    return InputError(argument, f"got {least:g}", accepted)


def signal_level(alpha: ArrayLike) -> Float[Array, "..."]:
    """A signal level α in (0, 1], or an array of them."""
    array = real_array("alpha", alpha)
    check_finite("alpha", array)
    if is_known(array) and array.size and (np.asarray(array) <= 0).any():
        raise _not_positive("alpha", alpha, array.dtype, SIGNAL_LEVELS)
    if is_known(array) and array.size and (np.asarray(array) > 1).any():
        raise InputError("alpha", f"got {float(np.asarray(array).max()):g}", SIGNAL_LEVELS)
    return array


def random_key(key: Any) -> None:
    """Refuse what is no key of JAX; seeds, above all, which are no keys."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        seed = key if isinstance(key, int) else 0
        raise InputError("key", f"got {key!r}", f"a key is accepted, such as jax.random.key({seed})")
    if key.shape:
        raise InputError("key", f"got keys of shape {key.shape}", "one key is accepted; jax.vmap takes several")


def _finite(value: numbers.Real) -> bool:
    """Whether a number is one of double precision; a comparison would narrow the limit to the precision of NumPy."""
    try:
        return math.isfinite(value)
    except OverflowError:  # of whole numbers
        return False


def positive_number(argument: str, value: float) -> float:
    """One positive finite number, known when the program is compiled."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not (value > 0 and _finite(value)):
        raise InputError(argument, f"got {value!r}", "finite numbers above 0 are accepted")
    return float(value)


def non_negative_number(argument: str, value: float) -> float:
    """One finite number from 0, known when the program is compiled."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not (value >= 0 and _finite(value)):
        raise InputError(argument, f"got {value!r}", "finite numbers from 0 are accepted")
    return float(value)


def probability(argument: str, value: float) -> float:
    """One number in (0, 1), known when the program is compiled."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise InputError(argument, f"got {value!r}", "numbers between 0 and 1 are accepted")
    return float(value)


def one_number(argument: str, array: Array) -> Float[Array, ""]:
    """The same array, which must be one number."""
    if array.ndim:
        raise InputError(argument, f"got shape {array.shape}", "one number is accepted")
    return array


def whole_number(argument: str, value: int, least: int, most: int) -> int:
    """A whole number from `least` to `most`, of Python or NumPy."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or not least <= value <= most:
        raise InputError(argument, f"got {value!r}", f"whole numbers from {least} to {most} are accepted")
    return int(value)


def random_seed(value: int) -> int:
    """A seed that JAX tells from all others: of larger ones it takes only the last 32 bits."""
    return whole_number("seed", value, 0, 2**32 - 1)


def at_least(argument: str, value: int, least: int) -> int:
    """A whole number not below `least`, of Python or NumPy, and not above what counts anything in a program."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(argument, f"got {value!r}", f"whole numbers from {least} are accepted")
    if value > MOST:
        raise InputError(argument, f"got {value!r}", f"whole numbers from {least} to {MOST} are accepted")
    return int(value)

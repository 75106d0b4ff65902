"""How the numbers of a pattern are written down: full, half, one byte each, or one bit each.

An encoding turns patterns (n, d) into codes (n, width), with one scale a pattern where it has one, and back. Encoding
rounds; decoding is exact: it gives the stored values themselves, the same bits under NumPy, inside `jax.jit` and fused
into whatever follows. Those values are the patterns of the memory; how far they are from the numbers that were given
is known (`Int8`: half a scale; `Float16`: 2⁻¹¹ of the number, or 2⁻²⁵).
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from dispersed.validation import InputError, check_finite, number_array

Codes = np.ndarray
"""Encoded patterns, (n, width)."""

Scale = np.ndarray | None
"""One float32 a pattern, (n,), or None where the encoding has none."""


class Encoding(eqx.Module):
    """A way to write patterns down. Instances hold nothing, so one can pass through `jax.jit`."""

    name: eqx.AbstractClassVar[str]
    dtype: eqx.AbstractClassVar[np.dtype]
    """Of the codes."""
    scaled: ClassVar[bool] = False
    """Whether every pattern has a scale."""

    def width(self, d: int) -> int:
        """Columns of the codes of patterns of `d` units."""
        return d

    def row_bytes(self, d: int) -> int:
        """Bytes a pattern of `d` units takes, its scale included."""
        return self.width(d) * self.dtype.itemsize + 4 * self.scaled

    @abc.abstractmethod
    def encode(self, patterns: Any) -> tuple[Codes, Scale]:
        """Codes and scale of patterns (n, d), by NumPy. Not a copy where the numbers are already what is stored.

        Raises `InputError` for NaN and infinite entries and for numbers that the encoding cannot hold.
        """

    @abc.abstractmethod
    def decode(self, codes: Any, scale: Any, d: int) -> Any:
        """The stored patterns (n, d), float32, of NumPy or JAX as the codes are."""


class Float32(Encoding):
    """Four bytes a unit: the numbers as JAX computes with them."""

    name: ClassVar[str] = "float32"
    dtype: ClassVar[np.dtype] = np.dtype("<f4")

    def encode(self, patterns: Any) -> tuple[Codes, Scale]:
        return _cast(patterns, self.dtype), None

    def decode(self, codes: Any, scale: Any, d: int) -> Any:
        return codes


class Float16(Encoding):
    """Two bytes a unit: 11 significant bits, magnitudes up to 65,504."""

    name: ClassVar[str] = "float16"
    dtype: ClassVar[np.dtype] = np.dtype("<f2")

    def encode(self, patterns: Any) -> tuple[Codes, Scale]:
        return _cast(patterns, self.dtype), None

    def decode(self, codes: Any, scale: Any, d: int) -> Any:
        return codes.astype(np.float32)


class Int8(Encoding):
    """One byte a unit: y ≈ scale · code with code in −127…127, rounded to nearest, |y − scale · code| ≤ scale/2.

    The scale of a pattern is max|y|/127 rounded up to 16 significant bits. Code times scale then fits the 24 bits of
    float32, so the product is exact and no compiler that fuses it into a sum can change it.
    """

    name: ClassVar[str] = "int8"
    dtype: ClassVar[np.dtype] = np.dtype("i1")
    scaled: ClassVar[bool] = True

    def encode(self, patterns: Any) -> tuple[Codes, Scale]:
        patterns = _cast(patterns, np.dtype("<f4"))
        largest = np.maximum(patterns.max(axis=1), -patterns.min(axis=1))
        mantissa, exponent = np.frexp(largest.astype(np.float64) / 127)
        scale = np.ldexp(np.ceil(mantissa * 2**16), exponent - 16)
        # Numbers below the smallest normal one become zero on most machines: no product may be among them.
        scale = np.maximum(scale, 2.0**-126)
        if (127 * scale > np.finfo(np.float32).max).any():
            limit = "magnitudes up to 3.4e+38 are accepted"
            raise InputError("patterns", f"got entries up to {largest.max():.7g} for int8", limit)
        scale = scale.astype(np.float32)
        codes = np.empty(patterns.shape, np.int8)
        for start in range(0, len(codes), 1024):  # a piece that fits the cache takes a fifth of the time
            rows = slice(start, start + 1024)
            codes[rows] = np.rint(patterns[rows] / scale[rows, None].astype(np.float64))
        return codes, scale

    def decode(self, codes: Any, scale: Any, d: int) -> Any:
        return codes.astype(np.float32) * scale[:, None]


class Bits(Encoding):
    """One bit a unit, for patterns of ±1: unit i is bit i mod 8 of byte i // 8, set for +1; unused bits are 0."""

    name: ClassVar[str] = "bits"
    dtype: ClassVar[np.dtype] = np.dtype("u1")

    def width(self, d: int) -> int:
        return -(-d // 8)

    def encode(self, patterns: Any) -> tuple[Codes, Scale]:
        patterns = _table(patterns)
        if not (np.abs(patterns) == 1).all():
            shown = ", ".join(f"{value:g}" for value in np.unique(patterns[np.abs(patterns) != 1])[:3])
            raise InputError("patterns", f"got entries such as {shown}", "one bit a unit holds only -1 and +1")
        return np.packbits(patterns > 0, axis=1, bitorder="little"), None

    def decode(self, codes: Any, scale: Any, d: int) -> Any:
        bits = (codes[:, :, None] >> np.arange(8, dtype=np.uint8)) & np.uint8(1)
        units = bits.reshape(codes.shape[0], 8 * codes.shape[1])[:, :d].astype(np.int8)
        return (units * np.int8(2) - np.int8(1)).astype(np.float32)  # in bytes: half the time of the same in float32


ENCODINGS: dict[str, Encoding] = {encoding.name: encoding for encoding in (Float32(), Float16(), Int8(), Bits())}


def encoding_named(name: str) -> Encoding:
    """The encoding called `name`."""
    if name not in ENCODINGS:
        raise InputError("encoding", f"got {name!r}", f"{', '.join(ENCODINGS)} are accepted")
    return ENCODINGS[name]


def _table(patterns: Any) -> np.ndarray:
    array = number_array("patterns", patterns)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError("patterns", f"got shape {array.shape}", "patterns of at least one unit, shape (n, d)")
    return array


def _cast(patterns: Any, dtype: np.dtype) -> np.ndarray:
    """Patterns in C order and of this floating-point type, all finite."""
    array = _table(patterns)
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(cast).all():
        check_finite("patterns", array)
        limit = f"magnitudes up to {np.finfo(dtype).max:.6g} are accepted"
        raise InputError("patterns", f"got entries up to {np.abs(array).max():.3g} for {dtype.name}", limit)
    return cast

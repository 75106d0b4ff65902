"""States in a file of the user: their shape, the names of their files, and a function that reads some of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dispersed.validation import InputError

LOADED = 1 << 30
"""Bytes of numbers that are loaded at once. Files of more are read piece by piece, or refused if they cannot be."""

Scale = tuple[float | int, float | int] | Literal["none"] | None
"""What becomes −1 and +1; "none" leaves numbers as they are; None does, too, but for images, which it scales."""

Background = Literal["white", "black"]
"""What lies behind transparent parts of images."""


@dataclass
class Source:
    """States (n, d) in a file or folder: n patterns or cues of d units."""

    path: Path
    shape: tuple[int, int]
    kind: str
    """What the numbers are in the file, such as "float32" or "8-bit grey levels"."""
    pieces: Callable[[int, int], np.ndarray]
    """The states from `start` to `stop` − 1, in any real type and byte order, (stop − start, d)."""
    each: tuple[int, ...] = ()
    """The shape of one state in the file, such as (28, 28)."""
    names: Sequence[str] | None = None
    """The file, and page, of each state, for images."""
    notes: list[str] = field(default_factory=list)
    """What else has been done on the way, such as "under the column names of line 1"."""
    scale: Scale = None
    low: float = math.inf
    high: float = -math.inf
    unknown: int = 0
    """The range of the numbers read so far, and how many were NaN."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """The states from `start` to `stop` − 1, (stop − start, d), of a type that NumPy computes in."""
        array = native(self.pieces(start, stop))
        if isinstance(self.scale, tuple):
            array = scaled(array, *self.scale)
        if array.size:
            nan = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
            self.unknown += nan
            if nan < array.size:
                self.low, self.high = (
                    min(self.low, float(np.nanmin(array))),
                    max(self.high, float(np.nanmax(array))),
                )
        return array

    def all(self, argument: str = "patterns") -> np.ndarray:
        """All states, (n, d), if they are at most `LOADED` bytes."""
        first = native(self.pieces(0, 1)) if self.shape[0] else np.zeros((0, 0))
        if isinstance(self.scale, tuple):
            first = scaled(first, *self.scale)
        nbytes = self.shape[0] * self.shape[1] * first.dtype.itemsize
        if nbytes > LOADED:
            raise too_large(self.path, argument, nbytes)
        return self.read(0, self.shape[0])

    def about(self) -> str:
        """One line: how many states of which shape, what the numbers are, the range of those read, and how scaled."""
        n, d = self.shape
        shape = "" if len(self.each) < 2 else f" ({' × '.join(map(str, self.each))})"
        parts = [f"{n} × {d}{shape}", self.kind]
        if isinstance(self.scale, tuple):
            parts.append(f"{self.scale[0]:g} and {self.scale[1]:g} made −1 and 1")
        parts += self.notes
        if self.low <= self.high:
            parts.append(f"from {self.low:.6g} to {self.high:.6g}")
        if self.unknown:
            parts.append(f"{self.unknown} NaN")
        return f"{str(self.path)!r}: {', '.join(parts)}"


def native(array: np.ndarray) -> np.ndarray:
    """The same numbers in the byte order of the machine, extended precision as double."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def scaled(array: np.ndarray, low: float | int, high: float | int) -> np.ndarray:
    """Numbers of which `low` becomes −1 and `high` +1: float64 stays that, small whole numbers become float32."""
    small = array.dtype.itemsize <= 2 or array.dtype == np.float32
    floats: Any = array.astype(np.float32 if small else np.float64)
    # In place, for images may be large; numbers of Python leave the precision as it is.
    floats -= float(low)
    floats /= float(high - low) / 2
    floats -= 1.0
    return floats


def check_scale(scale: Scale) -> Scale:
    """The same scale, whose two numbers must differ and be neither tiny nor huge."""
    if isinstance(scale, tuple):
        low, high = scale
        # In single precision too, differences and quotients are numbers.
        if not (max(abs(low), abs(high)) < 1e30 and abs(high - low) > 1e-30):
            accepted = "two numbers below 1e30 that differ by more than 1e-30 are accepted"
            raise InputError("scale", f"got {low:g}:{high:g}", accepted)
    return scale


def too_large(path: Path, argument: str, nbytes: int) -> InputError:
    """What is said of numbers of `nbytes` bytes that would have to be loaded at once."""
    given = f"{str(path)!r} holds {nbytes} bytes of numbers"
    accepted = f"up to {LOADED} are loaded at once; larger sets are read from .npy files, float32 in C order"
    return InputError(argument, given, accepted)

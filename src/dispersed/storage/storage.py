"""Where stored patterns live: an axis of its own below every memory of patterns, invisible to the dynamics."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dispersed.storage.encoding import Codes, Encoding, Float32, Scale
from dispersed.validation import InputError, at_least

Part = tuple[Codes, Scale]
"""A contiguous piece of encoded patterns: codes (k, width), and scales (k,) or None."""

RESIDENT = 1 << 28
"""Bytes that `blocks` and `rows` make resident of a larger file before they are given back."""

FAULT = 1 << 16
"""Bytes that Linux maps around one that is read."""

SCATTERED = 4096
"""Rows that are read together; RESIDENT / FAULT."""


class Storage(abc.ABC):
    """Encoded patterns in order, in one or more contiguous parts, in memory or mapped from a disk.

    What is read from it are views of where the patterns lie; only `rows` decodes.
    """

    encoding: Encoding
    shape: tuple[int, int]
    """Number of patterns and units, (n, d)."""
    where: str
    """For people: in memory, or which file."""
    _read: int = 0
    """Bytes read since the last release."""

    @abc.abstractmethod
    def parts(self) -> Sequence[Part]:
        """All patterns in order, in contiguous pieces: arrays or memory maps, never copies."""

    @abc.abstractmethod
    def release(self) -> None:
        """Give back the memory that holds what was read from a disk; what lies in memory alone stays."""

    @property
    def nbytes(self) -> int:
        """Bytes of all codes and scales."""
        return self.shape[0] * self.encoding.row_bytes(self.shape[1])

    def blocks(self, size: int) -> Iterator[tuple[int, Codes, Scale]]:
        """(index of the first row, codes, scale) of at most `size` rows at a time, views that never cross a part."""
        size = at_least("size", size, 1)
        row_bytes = self.encoding.row_bytes(self.shape[1])
        first = 0
        for codes, scale in self.parts():
            for start in range(0, len(codes), size):
                rows = slice(start, min(start + size, len(codes)))
                self._about_to_read((rows.stop - start) * row_bytes)
                yield first + start, codes[rows], None if scale is None else scale[rows]
            first += len(codes)

    def rows(self, indices: Any) -> np.ndarray:
        """Decoded patterns (k, d), float32, in the order of `indices`, which may repeat; read in the order they lie in.

        Raises `InputError` for indices outside 0…n − 1.
        """
        n, d = self.shape
        wanted, place = np.unique(index_array(indices, n), return_inverse=True)
        decoded = np.empty((len(wanted), d), np.float32)
        first = 0
        for codes, scale in self.parts():
            low, high = np.searchsorted(wanted, [first, first + len(codes)])
            for start in range(low, high, SCATTERED):
                stop = min(start + SCATTERED, high)
                here = wanted[start:stop] - first
                span = int(here[-1] - here[0] + 1) * self.encoding.row_bytes(d)
                self._about_to_read(min(span, len(here) * FAULT))
                decoded[start:stop] = self.encoding.decode(*_taken(codes, scale, here), d)
            first += len(codes)
        return decoded[place]

    def _about_to_read(self, nbytes: int) -> None:
        if self.nbytes <= RESIDENT:
            return
        if self._read + nbytes > RESIDENT:
            self.release()
            self._read = 0
        self._read += nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        n, d = self.shape
        return f"{type(self).__name__}({n} x {d}, {self.encoding.name}, {self.nbytes} bytes, {self.where})"


def _taken(codes: Codes, scale: Scale, rows: np.ndarray) -> Part:
    # A third of the time of indexing.
    return codes.take(rows, axis=0), None if scale is None else scale.take(rows)


def index_array(indices: Any, n: int) -> np.ndarray:
    """Indices (k,) of some of `n` patterns, or `InputError`."""
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        given = f"got shape {array.shape} of {array.dtype}"
        raise InputError("indices", given, "whole numbers of shape (k,) are accepted")
    if array.size and (array.min() < 0 or array.max() >= n):
        outside = f"got {array.min()} to {array.max()} for {n} patterns"
        raise InputError("indices", outside, f"0 to {n - 1} are accepted" if n else "there are none yet")
    return array.astype(np.int64)


class InMemory(Storage):
    """Patterns in an array.

    `patterns` (n, d) are encoded; float32 ones in C order are kept as they are, without a copy. `InMemory.of_codes`
    takes what is encoded already.
    """

    where = "in memory"

    def __init__(self, patterns: Any, encoding: Encoding = Float32()) -> None:
        codes, scale = encoding.encode(patterns)
        self._keep(codes, scale, encoding, np.shape(patterns)[1])

    @classmethod
    def of_codes(cls, codes: Codes, scale: Scale, encoding: Encoding, d: int) -> "InMemory":
        """Patterns of `d` units from their codes (n, width) and scales (n,) or None, without a copy."""
        expected = (encoding.dtype, (len(codes), encoding.width(d)), encoding.scaled)
        if (codes.dtype, codes.shape, scale is not None) != expected:
            given = f"got codes {codes.shape} of {codes.dtype}, {'no' if scale is None else 'a'} scale"
            raise InputError("codes", given, f"{encoding.name} of {d} units has {expected[1]} of {expected[0]}")
        if scale is not None and (scale.dtype, scale.shape) != (np.dtype(np.float32), (len(codes),)):
            raise InputError("scale", f"got {scale.shape} of {scale.dtype}", f"({len(codes)},) of float32 is accepted")
        storage = cls.__new__(cls)
        storage._keep(codes, scale, encoding, d)
        return storage

    def _keep(self, codes: Codes, scale: Scale, encoding: Encoding, d: int) -> None:
        self.encoding, self.shape = encoding, (len(codes), d)
        self._codes, self._scale = codes, scale

    def parts(self) -> Sequence[Part]:
        return [(self._codes, self._scale)]

    def rows(self, indices: Any) -> np.ndarray:
        n, d = self.shape
        return self.encoding.decode(*_taken(self._codes, self._scale, index_array(indices, n)), d)

    def release(self) -> None:
        return

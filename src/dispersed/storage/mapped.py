"""Patterns that stay on the disk and are read through the memory map of their file."""

import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dispersed.storage.encoding import Encoding
from dispersed.storage.storage import Part, Storage
from dispersed.validation import InputError


def map_array(path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int) -> tuple[np.ndarray, mmap.mmap]:
    """The array that starts `offset` bytes into a file, read-only and without reading it, and its memory map."""
    with path.open("rb") as file:
        return map_opened(file.fileno(), path, dtype, shape, offset)


def map_opened(
    handle: int, path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int
) -> tuple[np.ndarray, mmap.mmap]:
    """The same of the open file `handle`, which is called `path`."""
    count = math.prod(shape)
    end = offset + count * dtype.itemsize
    if os.fstat(handle).st_size < end:
        raise truncated(repr(str(path)), end)
    mapped = mmap.mmap(handle, end, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype, count, offset).reshape(shape), mapped


def truncated(what: str, needed: int) -> InputError:
    """The error of a file that has become too short for what is read from it."""
    return InputError("patterns", f"{what} is truncated", f"{needed} bytes of it are needed")


class Mapped(Storage):
    """Patterns in one memory-mapped array of a file, with their scales in another where the encoding has them.

    The kernel counts every page that was read as resident until it needs the memory. So that a pass over more patterns
    than the memory holds stays small, `blocks` and `rows` give the pages of larger files back whenever 256 MiB of them
    may be resident; they remain in the cache of the system, and views of them stay valid. Who reads `parts` directly
    calls `release`.

    Raises `InputError` if a file has become shorter when it is read. A process that truncates it in the midst of a read
    ends the reading one by a signal (SIGBUS), which nothing in it can turn into an error.
    """

    def __init__(
        self,
        codes: tuple[np.ndarray, mmap.mmap],
        scale: tuple[np.ndarray, mmap.mmap] | None,
        encoding: Encoding,
        d: int,
        where: str,
    ) -> None:
        self.encoding, self.shape, self.where = encoding, (len(codes[0]), d), where
        self._part: Part = (codes[0], None if scale is None else scale[0])
        self._maps = [codes[1]] + ([] if scale is None else [scale[1]])

    def parts(self) -> Sequence[Part]:
        self._check_sizes()
        return [self._part]

    def _about_to_read(self, nbytes: int) -> None:
        self._check_sizes()
        super()._about_to_read(nbytes)

    def _check_sizes(self) -> None:
        """Refuse to read a file that another process has truncated, which the kernel would answer by a signal."""
        for mapped in self._maps:
            if mapped.size() < len(mapped):
                raise truncated(self.where, len(mapped))

    def release(self) -> None:
        for mapped in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):  # where it is missing, the system decides alone
                mapped.madvise(mmap.MADV_DONTNEED)

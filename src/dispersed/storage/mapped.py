"""Patterns that stay on the disk and are read through the memory map of their file."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dispersed.storage.encoding import Encoding
from dispersed.storage.storage import Part, Storage


def map_array(path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int) -> tuple[np.ndarray, mmap.mmap]:
    """The array that starts `offset` bytes into a file, read-only and without reading it, and its memory map."""
    with path.open("rb") as file:
        count = int(np.prod(shape))
        mapped = mmap.mmap(file.fileno(), offset + count * dtype.itemsize, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype, count, offset).reshape(shape), mapped


class Mapped(Storage):
    """Patterns in one memory-mapped array of a file, with their scales in another where the encoding has them.

    The kernel counts every page that was read as resident until it needs the memory. So that a pass over more patterns
    than the memory holds stays small, `blocks` and `rows` give the pages of larger files back whenever 256 MiB of them
    may be resident; they remain in the cache of the system, and views of them stay valid. Who reads `parts` directly
    calls `release`.
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
        return [self._part]

    def release(self) -> None:
        for mapped in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):  # where it is missing, the system decides alone
                mapped.madvise(mmap.MADV_DONTNEED)

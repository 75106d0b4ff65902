"""An array on the disk that grows: a .npy file whose data are only ever appended to.

How many of its rows count is said elsewhere, by the journal of the store. What lies behind them is the trace of an
append that was cut short, and the next one overwrites it. The number of rows in the file's own header is written last,
so that `numpy.load` reads the file too; nothing here relies on it.
"""

import mmap
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dispersed.storage.mapped import map_array
from dispersed.storage.npy import npy_header

CHUNK = 1 << 24
"""Bytes read at once while checking."""


@dataclass(frozen=True)
class GrowingArray:
    """The .npy file `path` of rows of `dtype`, each `width` numbers, or one where `width` is None."""

    path: Path
    dtype: np.dtype
    width: int | None = None

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * (self.width or 1)

    def shape(self, rows: int) -> tuple[int, ...]:
        return (rows,) if self.width is None else (rows, self.width)

    def header(self, rows: int) -> bytes:
        return npy_header(self.dtype, self.shape(rows))

    def end(self, rows: int) -> int:
        """Where in the file its first `rows` rows end."""
        return len(self.header(0)) + rows * self.row_bytes

    def write(self, start: int, data: np.ndarray) -> int:
        """Put `data` behind the first `start` rows and return its checksum (CRC-32)."""
        content = np.ascontiguousarray(data, self.dtype).data.cast("B") if data.size else memoryview(b"")
        with self.path.open("r+b" if start or self.path.exists() else "w+b") as file:
            if start == 0:
                file.write(self.header(0))
            file.truncate(self.end(start))
            file.seek(self.end(start))
            file.write(content)
        return zlib.crc32(content)

    def flush(self) -> None:
        """Wait until what was written is on the disk itself."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def cut(self, rows: int) -> None:
        """Drop what lies behind the first `rows` rows."""
        if self.path.exists():
            os.truncate(self.path, self.end(rows))

    def tell(self, rows: int) -> None:
        """Write the number of rows into the header, for other readers."""
        with self.path.open("r+b") as file:
            file.write(self.header(rows))

    def holds(self, rows: int) -> bool:
        """Whether the file is long enough for `rows` rows."""
        return self.path.exists() and self.path.stat().st_size >= self.end(rows)

    def mapped(self, rows: int) -> tuple[np.ndarray, mmap.mmap]:
        """The first `rows` rows, memory-mapped."""
        return map_array(self.path, self.dtype, self.shape(rows), self.end(0))

    def checksum(self, start: int, stop: int) -> int:
        """The CRC-32 of rows `start` to `stop`, read from the file a chunk at a time."""
        checksum, left = 0, (stop - start) * self.row_bytes
        with self.path.open("rb") as file:
            file.seek(self.end(start))
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
        return checksum

    def told(self) -> int | None:
        """The number of rows by the header, None if it is damaged."""
        with self.path.open("rb") as file:
            header = file.read(self.end(0))
        rows = re.search(rb"\((\d{1,18}),", header)
        return int(rows[1]) if rows and header == self.header(int(rows[1])) else None

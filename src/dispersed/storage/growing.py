"""An array on the disk that grows: a .npy file whose data are only ever appended to.

How many of its rows count is said elsewhere, by the journal of the store. What lies behind them is the trace of an
append that was cut short, and the next one overwrites it. The number of rows in the file's own header is written last:
`numpy.load` reads the file by it, and a journal that has lost lines is recognised by it.
"""

import functools
import io
import mmap
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dispersed.storage.folder import open_inside
from dispersed.storage.mapped import map_opened, truncated
from dispersed.storage.npy import npy_header

CHUNK = 1 << 24
"""Bytes read at once while checking."""


@dataclass(frozen=True)
class GrowingArray:
    """The .npy file `name` of the folder `root`: rows of `dtype`, each `width` numbers, or one where that is None."""

    root: Path
    name: str
    dtype: np.dtype
    width: int | None = None

    @property
    def path(self) -> Path:
        return self.root / self.name

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * (self.width or 1)

    def shape(self, rows: int) -> tuple[int, ...]:
        return (rows,) if self.width is None else (rows, self.width)

    def header(self, rows: int) -> bytes:
        return npy_header(self.dtype, self.shape(rows))

    def end(self, rows: int) -> int:
        """Where in the file its first `rows` rows end."""
        return self._start + rows * self.row_bytes

    @functools.cached_property
    def _start(self) -> int:
        return len(self.header(0))

    def write(self, start: int, data: np.ndarray) -> int:
        """Put `data` behind the first `start` rows, which must be there, and return its checksum (CRC-32)."""
        content = np.ascontiguousarray(data, self.dtype).data.cast("B") if data.size else memoryview(b"")
        with self._opened(os.O_RDWR | os.O_CREAT) as file:
            if start and os.fstat(file.fileno()).st_size < self.end(start):
                raise truncated(repr(str(self.path)), self.end(start))
            if start == 0:
                write_at(file.fileno(), self.header(0), 0)
            os.ftruncate(file.fileno(), self.end(start))
            write_at(file.fileno(), content, self.end(start))
        return zlib.crc32(content)

    def flush(self) -> None:
        """Wait until what was written is on the disk itself."""
        with self._opened() as file:
            os.fsync(file.fileno())

    def cut(self, rows: int) -> None:
        """Drop what lies behind the first `rows` rows."""
        with self._opened(os.O_RDWR) as file:
            if os.fstat(file.fileno()).st_size > self.end(rows):
                os.ftruncate(file.fileno(), self.end(rows))

    def tell(self, rows: int) -> None:
        """Write the number of rows into the header, for other readers."""
        with self._opened(os.O_RDWR) as file:
            write_at(file.fileno(), self.header(rows), 0)

    def holds(self, rows: int) -> bool:
        """Whether the file is there, and long enough for `rows` rows."""
        try:
            with self._opened() as file:
                return os.fstat(file.fileno()).st_size >= self.end(rows)
        except OSError:
            return False

    def mapped(self, rows: int) -> tuple[np.ndarray, mmap.mmap]:
        """The first `rows` rows, memory-mapped."""
        with self._opened() as file:
            return map_opened(file.fileno(), self.path, self.dtype, self.shape(rows), self.end(0))

    def checksum(self, start: int, stop: int) -> int:
        """The CRC-32 of rows `start` to `stop`, read from the file a chunk at a time."""
        checksum, left = 0, (stop - start) * self.row_bytes
        with self._opened() as file:
            file.seek(self.end(start))
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
        return checksum

    def told(self) -> int | None:
        """The number of rows by the header, None if it is damaged."""
        try:
            with self._opened() as file:
                header = file.read(self.end(0))
        except OSError:
            return None
        rows = re.search(rb"\((\d{1,18}),", header)
        return int(rows[1]) if rows and header == self.header(int(rows[1])) else None

    def _opened(self, flags: int = os.O_RDONLY) -> io.FileIO:
        return io.FileIO(open_inside(self.root, self.name, flags), "r+" if flags & os.O_RDWR else "r")


def write_at(handle: int, content: bytes | memoryview, place: int) -> None:
    """Write all of `content` from byte `place` of an open file on, or raise `OSError`."""
    left = memoryview(content)
    while left:
        written = os.pwrite(handle, left, place)
        left, place = left[written:], place + written

"""Cells of an experiment kept on disk as they are finished, so that a killed run resumes where it was."""

import json
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dispersed.validation import InputError

Settings = Mapping[str, Any]
Values = dict[str, list]
"""Lists of numbers by name; what JSON keeps exactly."""


class CellFile:
    """An append-only file of JSON lines, each one cell: its settings, its values and their checksum.

    A cell is found again only under exactly the settings it was computed with, so runs with different settings
    may share a file. A line that a kill cut short, or that was damaged, fails its checksum and is passed over;
    that cell is computed again.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._cells: dict[str, Values] = {}
        self.damaged = 0
        """Lines that were passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        except OSError as error:
            raise InputError(
                "cells", f"{str(path)!r} cannot be read ({error.strerror})", "a file is accepted"
            ) from None
        # After a cut line the next cell must start on a line of its own.
        self._cut = bool(lines) and lines[-1] != b""
        for line in filter(None, lines):
            cell = _parse(line)
            if cell is None:
                self.damaged += 1
            else:
                self._cells[cell[0]] = cell[1]

    def __repr__(self) -> str:
        return f"CellFile({str(self.path)!r}, {len(self)} cells)"

    def __len__(self) -> int:
        return len(self._cells)

    def get(self, settings: Settings, compute: Callable[[], Values]) -> Values:
        """The values of the cell with these settings, computed and kept first if they are not there yet."""
        key = _canonical(settings)
        if key not in self._cells:
            values = compute()
            body = _canonical({"settings": dict(settings), "values": values})
            line = f'{{"crc32": {zlib.crc32(body.encode())}, "cell": {body}}}\n'
            with self._lock, self.path.open("ab") as file:
                file.write(b"\n" * self._cut + line.encode())
                file.flush()
                os.fsync(file.fileno())
                self._cut = False
                self._cells[key] = values
        return self._cells[key]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _parse(line: bytes) -> tuple[str, Values] | None:
    """Settings and values of one line, None if it is damaged."""
    try:
        record = json.loads(line)
        cell = record["cell"]
        intact = zlib.crc32(_canonical(cell).encode()) == record["crc32"]
        return (_canonical(cell["settings"]), cell["values"]) if intact else None
    except (ValueError, KeyError, TypeError):
        return None

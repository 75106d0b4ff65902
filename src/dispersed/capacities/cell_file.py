"""Cells of an experiment stored on disk as they are finished, so that a killed run resumes where it was."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dispersed.atomic import flush_folder, open_regular, read_regular
from dispersed.storage.journal import Record, journal_line, parse_journal
from dispersed.validation import InputError

Settings = Mapping[str, Any]
Values = dict[str, list[Any]]
"""Lists of numbers by name; what JSON keeps exactly."""


APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


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
            content = read_regular(self.path) if os.path.lexists(self.path) else b""
        except OSError as error:
            raise InputError(
                "cells", f"{str(path)!r} cannot be read ({error.strerror})", "a file is accepted"
            ) from None
        # After a cut line the next cell must start on a line of its own.
        self._cut = not content.endswith(b"\n") and bool(content)
        records, end = parse_journal(content)
        self.damaged += end < len(content)
        for record in records:
            if record is None or not _is_cell(record):
                self.damaged += 1
            else:
                self._cells[_canonical(record["settings"])] = record["values"]

    def __repr__(self) -> str:
        return f"CellFile({str(self.path)!r}, {len(self)} cells)"

    def __len__(self) -> int:
        return len(self._cells)

    def get(self, settings: Settings, compute: Callable[[], Values]) -> Values:
        """The values of the cell with these settings, computed and written first if they are not there yet."""
        key = _canonical(settings)
        if key not in self._cells:
            values = compute()
            line = journal_line({"settings": dict(settings), "values": values})
            try:
                with self._lock, os.fdopen(open_regular(self.path, APPEND), "ab", buffering=0) as file:
                    new = file.tell() == 0
                    file.write(b"\n" * self._cut + line)
                    os.fsync(file.fileno())
                    self._cut = False
                    self._cells[key] = values
                if new:
                    flush_folder(self.path.parent)
            except OSError as error:
                given = f"{str(self.path)!r} cannot be written ({error.strerror})"
                raise InputError("cells", given, "a disk with room is needed") from None
        return self._cells[key]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _is_cell(record: Record) -> bool:
    """Whether a record has settings and lists of numbers, as those written here do."""
    if record.keys() != {"settings", "values"} or not isinstance(record["settings"], dict):
        return False
    values = record["values"]
    return isinstance(values, dict) and all(
        isinstance(row, list) and all(type(number) in (int, float) for number in row) for row in values.values()
    )

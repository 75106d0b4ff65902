"""The batches of a store: what the records of its journal say, and whether that can be."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dispersed.storage.columns import KINDS, TEXTS, Kinds, is_utf8
from dispersed.storage.journal import Record


@dataclass(frozen=True)
class Origin:
    """Which part of which file a batch was read from: its patterns from `start` on, of `patterns` that it holds."""

    name: str
    patterns: int
    start: int
    sha256: str
    """Of all its patterns, as the store encodes them."""
    labels: str
    """SHA-256 of all columns that came with them, empty without columns."""


@dataclass(frozen=True)
class Batch:
    """Patterns `start` to `stop` − 1 of a store, added in one call."""

    start: int
    stop: int
    columns: Kinds
    arrays: dict[str, list[int]]
    """By file: first row, last row + 1 and the CRC-32 of their bytes."""
    origin: Origin | None = None
    """Where the patterns came from, if that was said."""


FIELDS = {field.name for field in fields(Batch)}


def row_count(batches: Sequence[Batch]) -> int:
    """The number of patterns."""
    return batches[-1].stop if batches else 0


def columns_of(batches: Sequence[Batch]) -> Kinds:
    """The columns and their kinds; the first batch decides them."""
    return batches[-1].columns if batches else {}


def rows_of_files(batches: Sequence[Batch]) -> dict[str, int]:
    """The rows of each file."""
    return {file: stop for file, (_, stop, _) in batches[-1].arrays.items()} if batches else {}


def recorded_batch(record: Record, before: Batch | None, files: Callable[[Kinds], Iterable[str]]) -> Batch | None:
    """The batch of a record, None if there can be none such behind the batch `before` in a store.

    `files` names the files of a store with some columns.
    """
    if record.keys() != FIELDS:
        return None
    start, stop, columns, arrays, origin = record.values()
    if not (_whole(start, stop) and isinstance(arrays, dict) and _origin(origin, start, stop)):
        return None
    if before is None:
        if not _kinds_of_columns(columns):
            return None
        before = Batch(0, 0, columns, {file: [0, 0, 0] for file in files(columns)})
    if columns != before.columns or arrays.keys() != before.arrays.keys() or not before.stop <= start < stop:
        return None
    for file, rows in arrays.items():
        if not isinstance(rows, list) or [*map(type, rows)] != [int, int, int]:
            return None
        (first, last, checksum), held = rows, before.arrays[file][1]
        follows = first == held if start == before.stop else first >= held
        fits = first <= last if file.endswith(TEXTS) else (first, last) == (start, stop)
        if not (follows and fits and 0 <= checksum < 2**32):
            return None
    return Batch(start, stop, columns, arrays, None if origin is None else Origin(**origin))


def _whole(*values: Any) -> bool:
    return {*map(type, values)} == {int}


def _kinds_of_columns(columns: Any) -> bool:
    """Whether this maps names of columns to their kinds."""
    if not isinstance(columns, dict) or "" in columns:
        return False
    return all(is_utf8(name) and isinstance(kind, str) and kind in KINDS for name, kind in columns.items())


def _origin(origin: Any, start: int, stop: int) -> bool:
    """Whether this is the origin of patterns `start` to `stop` − 1, or None."""
    if origin is None:
        return True
    if not isinstance(origin, dict) or origin.keys() != {field.name for field in fields(Origin)}:
        return False
    name, patterns, first, *hashes = origin.values()
    texts = all(isinstance(text, str) for text in (name, *hashes))
    return texts and _whole(patterns, first) and first >= 0 and first + stop - start <= patterns

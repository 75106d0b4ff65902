"""Columns of labels from .csv, .tsv, .jsonl and .npy files, read a batch at a time."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.reading.paths import regular_file
from dispersed.reading.source import native
from dispersed.reading.text import Cells, is_number, text_lines
from dispersed.storage.columns import Kinds
from dispersed.storage.npy import read_npy_header
from dispersed.validation import InputError

ACCEPTED = "a .csv file with a line of column names, a .jsonl file of objects, or a .npy file of one label a pattern"
WHOLE, LEADING_ZERO = re.compile(r"[+-]?(0|[1-9]\d{0,18})", re.ASCII), re.compile(r"[+-]?0\d+", re.ASCII)
LINES = "a .npy file, one column of a .csv or .jsonl file, or a text file of one label a line is accepted"
INT64 = np.iinfo(np.int64)
WIDE = "whole numbers beyond 2^53"
"""The kind of cells that are exact as int64, and not among floating-point numbers."""
LARGE = "whole numbers beyond 64 bits"
MOST_DIGITS = 400
"""Digits of a number that are compared; one of more is a text."""
LABELS = 1 << 16
"""Labels of a .npy file that are read at once."""
Row = dict[str, Any]


def read_labels(path: Path, patterns: int) -> list[Any]:
    """One label for each of so many patterns, in their order, from .npy, from one column of .csv, .tsv or .jsonl, or
    from any other text of one a line.

    The first line of a .csv or .tsv file is one of column names if there is a line more than patterns.

    Raises `InputError`, naming the file, for another number of labels, several columns and empty lines.
    """
    if path.suffix.lower() in (".npy", ".jsonl"):
        table = Table(path)
        columns = list(next(table.batches([table.rows])).values())
    else:
        rows = _lines(path)
        named = path.suffix.lower() in (".csv", ".tsv") and len(rows) == patterns + 1
        columns = [list(column) for column in zip(*rows[named:], strict=False)]
    if len(columns) != 1:
        raise InputError("labels", f"{str(path)!r} has {len(columns)} columns", "one column of labels is accepted")
    if len(columns[0]) != patterns:
        accepted = f"one label for each of the {patterns} patterns is accepted"
        raise InputError("labels", f"{str(path)!r} has {len(columns[0])} labels", accepted)
    return columns[0]


def _lines(path: Path) -> list[list[str]]:
    """The cells of each line of a .csv or .tsv file; each line of another text."""
    try:
        regular_file(path, "labels", LINES)
        lines = "".join(text_lines(path, "labels", LINES)).rstrip().splitlines()
    except OSError as error:
        raise InputError("labels", f"{str(path)!r} cannot be read ({error.strerror})", LINES) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise InputError("labels", f"{str(path)!r}, line {number}: no label", LINES)
    if path.suffix.lower() in (".csv", ".tsv"):
        return list(Cells(path, "labels", LINES))
    return [[line.strip()] for line in lines]


class Table:
    """The columns of a file, which is read twice: once to learn what each column holds, then batch by batch.

    In .csv files a column is of whole numbers, of numbers (empty cells become NaN) or else of texts. Numbers that
    would be changed are texts: those with leading zeros, whole ones beyond 64 bits, whole ones beyond 2⁵³ in a column
    of numbers, and those with more digits than double precision holds. In .jsonl files entries keep their kind; null
    or a missing key becomes NaN among numbers and an empty text among texts; numbers that would be changed are
    refused. A .npy file of shape (n,) is one column called "label".

    Raises `InputError`, naming the file and the line, for what is none of these.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        self._text = suffix in (".csv", ".tsv")
        readers = {".csv": self._csv, ".tsv": self._csv, ".jsonl": self._jsonl, ".npy": self._npy}
        if suffix not in readers:
            raise self._unusable("has an unknown suffix")
        self._rows = readers[suffix]
        self.rows = 0
        """How many there are."""
        seen: defaultdict[str, set[str]] = defaultdict(set)
        present: Counter[str] = Counter()
        try:
            regular_file(self.path, "labels", ACCEPTED)
            for row in self._rows():
                self.rows += 1
                present.update(row.keys())
                for name, value in row.items():
                    seen[name].add(self._kind(name, value))
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from None
        if not seen:
            raise self._unusable("holds no rows")
        missing = {name for name in seen if present[name] < self.rows}
        self.kinds: Kinds = {
            name: self._settled(name, kinds | ({"null"} if name in missing else set())) for name, kinds in seen.items()
        }

    def batches(self, sizes: Iterable[int]) -> Iterator[dict[str, list[Any]]]:
        """The columns of the next so many rows, for each of `sizes`."""
        rows = self._rows()
        for size in sizes:
            taken = list(islice(rows, size))
            yield {name: [_converted(row.get(name), kind) for row in taken] for name, kind in self.kinds.items()}

    def _csv(self) -> Iterator[Row]:
        names: list[str] | None = None
        lines = Cells(self.path, "labels", ACCEPTED)
        for cells in lines:
            if names is None:
                names = cells
                if len(set(names)) < len(names) or "" in names:
                    raise self._unusable("names its columns twice or not at all")
                continue
            if len(cells) != len(names):
                raise self._unusable(f"has {len(cells)} cells for {len(names)} columns in line {lines.line}")
            yield dict(zip(names, cells, strict=True))

    def _jsonl(self) -> Iterator[Row]:
        for number, line in zip(count(1), text_lines(self.path, "labels", ACCEPTED), strict=False):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except _TwiceError:
                raise self._unusable(f"has a key twice in line {number}") from None
            except (ValueError, RecursionError):
                raise self._unusable(f"has no JSON in line {number}") from None
            if not isinstance(row, dict):
                raise self._unusable(f"has no object in line {number}")
            yield row

    def _npy(self) -> Iterator[Row]:
        dtype, shape, _, start = read_npy_header(self.path, "labels")
        if len(shape) != 1 or dtype.kind not in "biufU" or dtype.itemsize == 0:
            raise self._unusable(f"holds shape {shape} of {dtype}")
        if self.path.stat().st_size < start + shape[0] * dtype.itemsize:
            raise self._unusable("is truncated")
        with self.path.open("rb") as file:
            file.seek(start)
            for first in range(0, shape[0], LABELS):
                content = file.read(min(LABELS, shape[0] - first) * dtype.itemsize)
                labels = np.frombuffer(content, dtype)
                narrow = native(labels)
                if dtype.kind == "f" and not np.array_equal(narrow, labels, equal_nan=True):
                    raise self._unusable(f"holds {dtype} with more digits than double precision")
                yield from ({"label": label} for label in narrow.tolist())

    def _kind(self, name: str, value: Any) -> str:
        if self._text:
            return _kind_of_text(value)
        if type(value) is int:
            return _kind_of_whole(value)
        if type(value) is float and math.isinf(value) and self.path.suffix.lower() == ".jsonl":
            return LARGE
        kind = {bool: "bool", float: "float64", str: "str", type(None): "null"}.get(type(value))
        if kind is None:
            raise self._unusable(f"holds {type(value).__name__} in the column {name!r}")
        return kind

    def _settled(self, name: str, kinds: set[str]) -> str:
        if kinds == {"bool"}:
            return "bool"
        if kinds <= {"int64", WIDE}:
            return "int64"
        if kinds <= {"int64", "float64", "null"} and kinds != {"null"}:
            return "float64"
        if kinds <= {"str", "null"} or self._text:
            return "str"
        if LARGE in kinds:
            raise self._unusable(f"holds {LARGE} in the column {name!r}, which texts would keep")
        raise self._unusable(f"mixes {', '.join(sorted(kinds))} in the column {name!r}")

    def _unusable(self, given: str) -> InputError:
        return InputError("labels", f"{str(self.path)!r} {given}", ACCEPTED)


class _TwiceError(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> Row:
    if len(dict(pairs)) < len(pairs):
        raise _TwiceError
    return dict(pairs)


def _kind_of_text(text: str) -> str:
    plain = text.strip()
    if not plain:
        return "null"
    if WHOLE.fullmatch(plain):
        return _kind_of_whole(int(plain))
    if not is_number(plain) or LEADING_ZERO.fullmatch(plain) or not _is_exact(plain):
        return "str"
    return "float64"


def _kind_of_whole(value: int) -> str:
    if not INT64.min <= value <= INT64.max:
        return LARGE
    return "int64" if abs(value) <= 2**53 else WIDE


def _is_exact(text: str) -> bool:
    """Whether the double nearest to a number prints it again at as many digits."""
    value = float(text)
    digits = re.sub("[^0-9]", "", re.split("[eE]", text)[0]).lstrip("0")
    if not digits:  # zero, NaN and infinity
        return True
    if math.isinf(value) or value == 0 or len(digits) > MOST_DIGITS:
        return False
    # At 15 digits every double does, unless it is among the smallest.
    if len(digits) <= 15 and abs(value) > 1e-290:
        return True
    return Decimal(f"{value:.{len(digits) - 1}e}") == Decimal(text)


def _converted(value: Any, kind: str) -> Any:
    if kind == "float64":
        return math.nan if value is None or (isinstance(value, str) and not value.strip()) else float(value)
    if kind == "int64":
        return int(value)
    return "" if value is None else value

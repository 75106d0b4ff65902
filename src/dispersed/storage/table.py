"""Columns of metadata from .csv, .jsonl and .npy files, read a batch at a time."""

import csv
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.storage.columns import Kinds
from dispersed.validation import InputError

ACCEPTED = "a .csv file with a line of column names, a .jsonl file of objects, or a .npy file of one label a pattern"
WHOLE, LEADING_ZERO = re.compile(r"[+-]?(0|[1-9]\d{0,17})"), re.compile(r"[+-]?0\d+")
Row = dict[str, Any]


class Table:
    """The columns of a file, which is read twice: once to learn what each column holds, then batch by batch.

    In .csv files a column is of whole numbers, of numbers (empty cells become NaN) or else of texts; numbers with
    leading zeros are texts. In .jsonl files entries keep their kind; null or a missing key becomes NaN among numbers
    and an empty text among texts. A .npy file of shape (n,) is one column called "label".

    Raises `InputError`, naming the file and the row, for what is none of these.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        readers = {".csv": self._csv, ".jsonl": self._jsonl, ".npy": self._npy}
        if self.path.suffix not in readers:
            raise self._unusable("has an unknown suffix")
        self._rows = readers[self.path.suffix]
        self.rows = 0
        """How many there are."""
        seen: defaultdict[str, set[str]] = defaultdict(set)
        present: Counter[str] = Counter()
        try:
            for row in self._rows():
                self.rows += 1
                present.update(row.keys())
                for name, value in row.items():
                    seen[name].add(self._kind(name, value))
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise self._unusable("is not text") from None
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
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            names = next(lines, [])
            if len(set(names)) < len(names) or "" in names:
                raise self._unusable("names its columns twice or not at all")
            for number, cells in enumerate(filter(None, lines), start=1):
                if len(cells) != len(names):
                    raise self._unusable(f"has {len(cells)} cells for {len(names)} columns in row {number}")
                yield dict(zip(names, cells, strict=True))

    def _jsonl(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8") as file:
            for number, line in enumerate(filter(str.strip, file), start=1):
                try:
                    row = json.loads(line)
                except ValueError:
                    raise self._unusable(f"has no JSON in row {number}") from None
                if not isinstance(row, dict):
                    raise self._unusable(f"has no object in row {number}")
                yield row

    def _npy(self) -> Iterator[Row]:
        try:
            labels = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise self._unusable(f"is not an array of labels ({error})") from None
        if labels.ndim != 1 or labels.dtype.kind not in "biufU":
            raise self._unusable(f"holds shape {labels.shape} of {labels.dtype}")
        for start in range(0, len(labels), 1 << 16):
            yield from ({"label": label} for label in labels[start : start + (1 << 16)].tolist())

    def _kind(self, name: str, value: Any) -> str:
        if self.path.suffix == ".csv":
            return _kind_of_text(value)
        kind = {bool: "bool", int: "int64", float: "float64", str: "str", type(None): "null"}.get(type(value))
        if kind is None:
            raise self._unusable(f"holds {type(value).__name__} in the column {name!r}")
        return kind

    def _settled(self, name: str, kinds: set[str]) -> str:
        if kinds == {"bool"} or kinds == {"int64"}:
            return kinds.pop()
        if kinds <= {"int64", "float64", "null"} and kinds != {"null"}:
            return "float64"
        if kinds <= {"str", "null"} or self.path.suffix == ".csv":
            return "str"
        raise self._unusable(f"mixes {', '.join(sorted(kinds))} in the column {name!r}")

    def _unusable(self, given: str) -> InputError:
        return InputError("labels", f"{str(self.path)!r} {given}", ACCEPTED)


def _kind_of_text(text: str) -> str:
    if not text:
        return "null"
    if WHOLE.fullmatch(text):
        return "int64"
    try:
        float(text)
    except ValueError:
        return "str"
    return "str" if LEADING_ZERO.fullmatch(text) or "_" in text else "float64"


def _converted(value: Any, kind: str) -> Any:
    if kind == "float64":
        return math.nan if value in (None, "") else float(value)
    if kind == "int64":
        return int(value)
    return "" if value is None else value

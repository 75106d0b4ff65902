"""Text files of separated cells: encodings, separators, and tables of numbers."""

import csv
import itertools
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from dispersed.reading.source import LOADED
from dispersed.validation import InputError

ACCEPTED = "lines of numbers separated by commas, semicolons or tabs are accepted, under one of column names or none"
LONGEST = 1 << 25
"""Characters of a line that are read."""
LIKE_NUMBER = re.compile(r"\s*[-+.]?[0-9]")
SAMPLE = 10
"""Lines from which the separator is told."""
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}
"""The encodings that files name at their beginning; without one they are UTF-8."""


def text_lines(path: Path, argument: str, accepted: str = ACCEPTED) -> Iterator[str]:
    """The lines of a text file with their ends, decoded by its byte-order mark, none longer than `LONGEST`.

    Raises `InputError` for what is not text, and for longer lines.
    """
    with path.open("rb") as file:
        start = file.read(4)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    try:
        with path.open(encoding=encoding, newline="") as text:
            for number in itertools.count(1):
                line = text.readline(LONGEST + 1)
                if len(line) > LONGEST:
                    given = f"{str(path)!r} has more than {LONGEST} characters in line {number}"
                    raise InputError(argument, given, accepted)
                if not line:
                    return
                yield line
    except UnicodeError as error:
        given = f"{str(path)!r} is not text in {encoding.removesuffix('-sig').upper()} ({error})"
        raise InputError(argument, given, accepted) from None


class Cells:
    """The lines of a text file as lists of cells; `line` is the number of the one read last.

    The separator is a comma, a semicolon or a tab: the one that gives the first lines the same number of cells, more
    than one. Cells may be quoted; empty lines are passed over.
    """

    def __init__(self, path: Path, argument: str, accepted: str = ACCEPTED) -> None:
        self.path, self.argument, self.accepted = path, argument, accepted
        lines = text_lines(path, argument, accepted)
        first = list(itertools.islice(lines, SAMPLE))
        self.separator = self._separator([line for line in first if line.strip()])
        self._rows = csv.reader(itertools.chain(first, lines), delimiter=self.separator, strict=True)

    @property
    def line(self) -> int:
        return self._rows.line_num

    def __iter__(self) -> Iterator[list[str]]:
        while True:
            try:
                cells = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                self.refuse(f"({error})")
            if cells:
                yield cells

    def refuse(self, given: str, column: int | None = None, accepted: str | None = None) -> NoReturn:
        """Raise `InputError` for the line read last, and a column counted from 1."""
        where = f"line {max(self.line, 1)}" + ("" if column is None else f", column {column}")
        raise InputError(self.argument, f"{str(self.path)!r}, {where}: {given}", accepted or self.accepted)

    def _separator(self, lines: list[str]) -> str:
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        split = {separator: _split(lines, separator) for separator in "\t;,"}
        even = [s for s, rows in split.items() if rows and len(rows[0]) > 1 and len({*map(len, rows)}) == 1]
        if len(even) > 1:  # decimal commas, or names with commas in them
            even = [s for s in even if all(map(is_number, split[s][-1]))] or even
        if len(even) > 1:
            given = f"{str(self.path)!r} may be separated by {' or '.join(map(repr, even))}"
            raise InputError(self.argument, given, self.accepted)
        if even:
            return even[0]
        return next((s for s in split if any(s in line for line in lines[:1])), ",")


def _split(lines: Iterable[str], separator: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error:
        return []


def is_number(cell: str) -> bool:
    """Whether a cell is a number as every program writes it; Python's own 1_000 is none."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def read_numbers(path: Path, argument: str, header: bool | None = None) -> tuple[np.ndarray, list[str]]:
    """The numbers (n, d) of a text file, in double precision, and what was passed over.

    A first line without any number is one of column names. `header` decides otherwise: True if the first line is one
    of names whatever it looks like, False if it is numbers.

    Raises `InputError`, naming line and column, for a cell that is not a number, lines of different lengths, and a
    first line 0, 1, 2, …, as pandas writes for names, unless `header` decides.
    """
    cells, numbers, notes = Cells(path, argument), array("d"), []
    width, first = 0, True
    for row in cells:
        if first:
            first = False
            if _is_header(cells, row, header):
                width = len(row)
                notes.append(f"under the column names of line {cells.line}")
                continue
        if width and len(row) != width:
            cells.refuse(f"{len(row)} cells where lines before have {width}")
        width = len(row)
        try:
            numbers.extend(map(float, row))
            plain = "".join(row)
            ordinary = plain.isascii() and "_" not in plain
        except ValueError:
            ordinary = False
        if not ordinary:
            _refuse_cell(cells, row)
        if len(numbers) * 8 > LOADED:
            given = f"{str(path)!r} holds more than {LOADED // 8} numbers"
            raise InputError(argument, given, "so many are read from .npy files, saved by numpy.save")
    if not numbers:
        raise InputError(argument, f"{str(path)!r} holds no numbers", ACCEPTED)
    return np.frombuffer(numbers).reshape(-1, width), notes


def _is_header(cells: Cells, row: list[str], header: bool | None) -> bool:
    """Whether the first line is one of column names."""
    numbers = [is_number(cell) for cell in row]
    if header is None:
        if len(row) > 2 and row == [str(k) for k in range(len(row))]:
            accepted = "--header says that these are column names, --no-header that they are numbers"
            cells.refuse(f"{', '.join(row[:3])}, … may be column names or numbers", accepted=accepted)
        if any(numbers) and not all(numbers):
            _refuse_cell(cells, row)
        header = not any(numbers)
        doubtful = next((k for k, cell in enumerate(row) if LIKE_NUMBER.match(cell)), None)
        if header and doubtful is not None:
            _refuse_spaces(cells, row)
            accepted = "--header says that these are column names; numbers are separated by commas, semicolons or tabs"
            cells.refuse(f"{_shown(row[doubtful])} may be a name or a misspelt number", doubtful + 1, accepted)
    if header and len(row) > 1 and not all(cell.strip() for cell in row):
        column = [bool(cell.strip()) for cell in row].index(False) + 1
        cells.refuse("a column without a name, such as an index", column, "write the file without its index")
    return header


def _refuse_cell(cells: Cells, row: list[str]) -> NoReturn:
    column = next(k for k, cell in enumerate(row) if not is_number(cell))
    cell = row[column].strip()
    if not cell:
        cells.refuse("no number", column + 1, "nan stands for an unknown one")
    _refuse_spaces(cells, row)
    if "," in cell and is_number(cell.replace(",", ".")):
        cells.refuse(f"{cell!r} is not a number", column + 1, "decimal points are accepted, not commas")
    cells.refuse(f"{_shown(cell)} is not a number", column + 1)


def _refuse_spaces(cells: Cells, row: list[str]) -> None:
    """Refuse a line of several numbers that only spaces separate, as `numpy.savetxt` writes them by default."""
    if len(row) == 1 and len(row[0].split()) > 1 and all(map(is_number, row[0].split())):
        accepted = "commas, semicolons or tabs are accepted, such as by numpy.savetxt(…, delimiter=',')"
        cells.refuse("numbers separated by spaces", accepted=accepted)


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")

"""What is known about each pattern: columns of whole numbers, numbers, truth values and texts, one entry a pattern.

Numbers and truth values are one growing array. Texts are two: their UTF-8 bytes one after the other, and where each
one ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from dispersed.validation import InputError, plain_array

Kinds = dict[str, str]
"""The kind of each column: bool, int64, float64 or str."""

DTYPES = {"bool": np.dtype("?"), "int64": np.dtype("<i8"), "float64": np.dtype("<f8")}
TEXT, ENDS = np.dtype("u1"), np.dtype("<i8")
KINDS, TEXTS = {*DTYPES, "str"}, ".utf8.npy"
"""All kinds, and how the names of files of the bytes of texts end."""


def column_files(name: str, kind: str) -> dict[str, np.dtype]:
    """The files of a column, relative to the store, and the type of the numbers in each."""
    stem = f"columns/{quote(name, safe=' ').replace('.', '%2E')}"
    if kind == "str":
        return {stem + TEXTS: TEXT, f"{stem}.ends.npy": ENDS}
    return {f"{stem}.npy": DTYPES[kind]}


def column_values(name: str, values: Any, n: int) -> tuple[str, np.ndarray | list[str]]:
    """The kind of a column and its `n` values, checked."""
    argument = f"metadata[{name!r}]"
    if not isinstance(name, str) or not name or not is_utf8(name):
        raise InputError("metadata", f"got a column named {name!r}", "texts are accepted as names")
    array = plain_array(argument, values)
    if array.shape != (n,):
        raise InputError(argument, f"got shape {array.shape}", f"one value a pattern, shape ({n},)")
    kind = {"b": "bool", "i": "int64", "u": "int64", "f": "float64", "U": "str", "T": "str"}.get(array.dtype.kind)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array):
        kind = "str"
    given = values if isinstance(values, list | tuple) else None
    if kind == "str" and given is not None and not all(isinstance(value, str) for value in given):
        kind = None  # NumPy would write the others as text
    if kind != "bool" and given is not None and any(isinstance(value, bool | np.bool_) for value in given):
        kind = None  # and truth values as numbers
    if kind == "float64" and given and all(isinstance(value, int | np.integer) for value in given):
        kind = None  # and whole numbers beyond 64 bits as rounded ones
    accepted = "texts, truth values, numbers and whole numbers of 64 bits are accepted, of one kind in a column"
    if kind is None or (array.dtype.kind == "u" and n and array.max() > np.iinfo(np.int64).max):
        raise InputError(argument, f"got values of {array.dtype}", accepted)
    if kind == "str":
        # A NumPy array of texts drops the NULs at their ends, so they are taken from what was given.
        return kind, [str(value) for value in values]
    numbers = array.astype(DTYPES[kind])
    if kind == "float64":
        _check_exact(argument, array if given is None else given, numbers)
    return kind, numbers


def _check_exact(argument: str, given: Any, numbers: np.ndarray) -> None:
    """Refuse numbers that double precision would round: whole ones beyond 2⁵³, and those of extended precision."""
    if isinstance(given, list | tuple):
        whole = ((k, value) for k, value in enumerate(given) if isinstance(value, int | np.integer))
        changed = next((k for k, value in whole if int(value) != int(numbers[k])), None)
    else:
        same = _same_whole(given, numbers) if given.dtype.kind in "iu" else (given == numbers) | np.isnan(numbers)
        changed = None if same.all() else int(np.argmin(same))
    if changed is not None:
        accepted = "numbers that double precision holds are accepted among numbers; texts keep all digits"
        raise InputError(argument, f"{given[changed]!r} would be rounded", accepted)


def _same_whole(given: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    inside = np.abs(numbers) < 2.0**63
    return inside & (np.where(inside, numbers, 0).astype(np.int64) == given)


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8, as the names of files are."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def column_data(name: str, kind: str, values: Any, held: Mapping[str, int]) -> dict[str, np.ndarray]:
    """What is to be appended to each file of a column; `held` says how much each holds already."""
    files = list(column_files(name, kind))
    if kind != "str":
        if kind == "float64" and values.dtype.kind in "iu":  # whole numbers that join a column of numbers
            _check_exact(f"metadata[{name!r}]", values, values.astype(DTYPES[kind]))
        return {files[0]: values}
    texts = [value.encode("utf-8", "surrogatepass") for value in values]
    ends = held.get(files[0], 0) + np.cumsum([len(text) for text in texts], dtype=ENDS)
    return {files[0]: np.frombuffer(b"".join(texts), TEXT), files[1]: ends}


def read_column(maps: Sequence[np.ndarray], kind: str, indices: np.ndarray) -> list[Any]:
    """The values at `indices` of a column whose files are `maps`, as Python's own numbers and texts."""
    if kind != "str":
        return maps[0][indices].tolist()
    text, ends = maps
    starts = np.where(indices > 0, ends[np.maximum(indices - 1, 0)], 0)
    pieces = zip(starts.tolist(), ends[indices].tolist(), strict=True)
    return [text[start:end].tobytes().decode("utf-8", "surrogatepass") for start, end in pieces]

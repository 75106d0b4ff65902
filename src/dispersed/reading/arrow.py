"""Tables of numbers in .parquet and .arrow files, read by pyarrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.reading.source import LOADED, Source, too_large
from dispersed.validation import InputError

ARROW = (".parquet", ".arrow", ".feather")
ACCEPTED = "Parquet and Arrow tables of numbers, a column a unit or one column of lists of one length, are accepted"
BATCH = 1 << 16
"""Rows that are decoded at once."""


def open_arrow(path: Path, argument: str) -> Source:
    """The rows of a Parquet or Arrow (IPC, Feather 2) file as states, loaded; nulls become NaN.

    Raises `InputError`, naming the column, for one that is not of numbers, and if pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        accepted = "pip install 'dispersed[arrow]', or save the table as .npy or .csv"
        raise InputError(argument, f"{str(path)!r} needs pyarrow, which is not installed", accepted) from None
    try:
        parts, nbytes = [], 0
        for batch in _batches(path):
            part = np.concatenate([_numbers(path, argument, *column) for column in _columns(batch)], axis=1)
            nbytes += part.nbytes
            if nbytes > LOADED:
                raise too_large(path, argument, nbytes)
            parts.append(part)
        widths = {part.shape[1] for part in parts}
        if not parts or 0 in widths or not sum(map(len, parts)):
            raise InputError(argument, f"{str(path)!r} holds no numbers", ACCEPTED)
        if len(widths) > 1:
            raise InputError(argument, f"{str(path)!r} has lists of several lengths", ACCEPTED)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises errors of many kinds
        raise InputError(argument, f"{str(path)!r} cannot be read ({error})", ACCEPTED) from None
    array = np.concatenate(parts)
    return Source(path, array.shape, array.dtype.name, lambda start, stop: array[start:stop])


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    with path.open("rb") as file:
        if path.suffix.lower() == ".parquet":
            parquet = pyarrow.parquet.ParquetFile(file)
            unpacked = sum(
                parquet.metadata.row_group(k).total_byte_size for k in range(parquet.metadata.num_row_groups)
            )
            if unpacked > LOADED:
                raise ValueError(f"{unpacked} bytes uncompressed, of which {LOADED} are accepted")
            yield from parquet.iter_batches(BATCH, use_threads=False)
            return
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            table = pyarrow.ipc.open_file(file)
            yield from (table.get_batch(k) for k in range(table.num_record_batches))
        else:
            yield from pyarrow.ipc.open_stream(file)


def _columns(batch: Any) -> Iterator[tuple[str, Any]]:
    yield from zip(batch.schema.names, batch.columns, strict=True)


def _numbers(path: Path, argument: str, name: str, column: Any) -> np.ndarray:
    """One column as numbers (rows, width)."""
    import pyarrow.types as types

    def unusable(what: str) -> InputError:
        return InputError(argument, f"{str(path)!r}, column {name!r}: {what}", ACCEPTED)

    if name.startswith("__index_level_"):
        raise unusable("the index of a pandas frame, which index=False leaves out")
    rows = len(column)
    if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        if column.null_count:
            raise unusable("lists that are null")
        lengths = set(column.value_lengths().to_pylist()) if rows else {0}
        if len(lengths) > 1:
            raise unusable("lists of several lengths")
        width, column = lengths.pop(), column.flatten()
    else:
        width = 1
    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        raise unusable(f"{kind} is not numbers")
    small = types.is_float32(kind) or types.is_float16(kind) or getattr(kind, "bit_width", 64) <= 16
    if types.is_decimal(kind):
        column = column.cast("float64")
    elif types.is_boolean(kind):
        column = column.cast("uint8")
    values = column.to_numpy(zero_copy_only=False)
    return values.astype(np.float32 if small else np.float64).reshape(rows, width)

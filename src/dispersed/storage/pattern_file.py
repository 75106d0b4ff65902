"""Patterns in one file: opened without loading it, written without holding more than a batch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.atomic import write_atomically
from dispersed.storage.encoding import Encoding, Float16, Float32
from dispersed.storage.mapped import Mapped, map_array
from dispersed.storage.npy import npy_header, read_npy_header
from dispersed.storage.safetensors import open_safetensors, write_safetensors
from dispersed.storage.storage import Storage
from dispersed.validation import InputError, plain_array

ACCEPTED = ".npy (float32, float16) and .safetensors files are accepted"
BATCH = 1 << 16
"""Rows of an array that are written at once."""


def open_patterns(path: str | Path) -> Storage:
    """Patterns (n, d) of a .npy or .safetensors file, memory-mapped: nothing is read before it is used.

    .npy files hold float32 or float16; .safetensors files any encoding (`dispersed.storage.safetensors`). Values are
    not looked at: NaN and infinite entries are found by who reads them.

    Raises `InputError`, naming the file, for whatever is missing, truncated, or of another type, shape or order.
    """
    path = Path(path)
    openers = {".npy": _open_npy, ".safetensors": open_safetensors}
    if path.suffix.lower() not in openers:
        accepted = f"{ACCEPTED}; dispersed.reading.read_states reads other files"
        raise InputError("patterns", f"{str(path)!r} has an unknown suffix", accepted)
    try:
        return openers[path.suffix.lower()](path)
    except OSError as error:
        raise InputError("patterns", f"{str(path)!r} cannot be read ({error.strerror})", ACCEPTED) from None


def save_patterns(path: str | Path, patterns: Any, encoding: Encoding = Float32()) -> Path:
    """Write patterns to a .npy file (float32, float16) or a .safetensors file (any encoding).

    `patterns` is an array (n, d), which may be memory-mapped, or an iterable of batches (k, d), of which one is held at
    a time. The file is complete or absent: a process killed while writing leaves what was there before.

    Raises `InputError` for entries that the encoding cannot hold, and if the file cannot be written.
    """
    path = Path(path)
    writers = {".npy": _write_npy, ".safetensors": write_safetensors}
    if path.suffix not in writers:
        raise InputError("path", f"{str(path)!r} has an unknown suffix", ".npy and .safetensors are accepted")
    if path.suffix == ".npy" and encoding.name not in ("float32", "float16"):
        given = f"{str(path)!r} for {encoding.name}"
        raise InputError("path", given, ".npy holds float32 and float16; .safetensors holds every encoding")
    batches = _of_one_width(_batches(patterns))
    try:
        return write_atomically(path, lambda file: writers[path.suffix](file, batches, encoding))
    except OSError as error:
        raise InputError("path", f"{str(path)!r} cannot be written ({error.strerror})", "a place with room") from None


def _open_npy(path: Path) -> Mapped:
    dtype, shape, fortran, offset = read_npy_header(path)
    encoding = {np.dtype("<f4"): Float32(), np.dtype("<f2"): Float16()}.get(dtype)
    if encoding is None:
        accepted = "float32 and float16 are accepted; save_patterns converts"
        raise InputError("patterns", f"{str(path)!r} holds {dtype}", accepted)
    if len(shape) != 2 or 0 in shape:
        accepted = "at least one pattern of at least one unit, shape (n, d)"
        raise InputError("patterns", f"{str(path)!r} holds shape {shape}", accepted)
    if fortran and 1 not in shape:
        accepted = "C order is accepted: save numpy.ascontiguousarray of it"
        raise InputError("patterns", f"{str(path)!r} is in Fortran order", accepted)
    size, needed = path.stat().st_size, offset + shape[0] * shape[1] * dtype.itemsize
    if size < needed:
        raise InputError("patterns", f"{str(path)!r} is truncated: {size} bytes", f"shape {shape} takes {needed}")
    return Mapped(map_array(path, dtype, shape, offset), None, encoding, shape[1], f"mapped from {str(path)!r}")


def _write_npy(path: Path, batches: Iterable[np.ndarray], encoding: Encoding) -> None:
    with path.open("wb") as file:
        file.write(npy_header(encoding.dtype, (0, 1)))
        n, d = 0, 0
        for batch in batches:
            codes, _ = encoding.encode(batch)
            n, d = n + len(codes), codes.shape[1]
            file.write(codes.data)
        file.seek(0)
        file.write(npy_header(encoding.dtype, (n, d)))


def _batches(patterns: Any) -> Iterator[np.ndarray]:
    if hasattr(patterns, "shape") or isinstance(patterns, list | tuple):
        array = patterns if isinstance(patterns, np.ndarray) else plain_array("patterns", patterns)
        if array.ndim != 2:
            raise InputError("patterns", f"got shape {array.shape}", "shape (n, d) is accepted")
        for start in range(0, len(array), BATCH):
            yield array[start : start + BATCH]
    else:
        yield from (plain_array("patterns", batch) for batch in patterns)


def _of_one_width(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The batches, refused if there is none or if they differ in their number of units."""
    d = None
    for batch in batches:
        d = batch.shape[-1] if d is None and batch.ndim else d
        if batch.ndim != 2 or batch.shape[1] != d:
            raise InputError("patterns", f"got a batch of shape {batch.shape}", f"shape (k, {d or 'd'}) is accepted")
        yield batch
    if d is None:
        raise InputError("patterns", "got no batches", "at least one pattern is accepted")

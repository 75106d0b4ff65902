"""Arrays of numbers in .npy, .npz and .safetensors files."""

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.reading.source import LOADED, Source, too_large
from dispersed.storage.npy import NpyHeader, parse_npy_header, read_npy_header
from dispersed.storage.pattern_file import open_patterns
from dispersed.storage.safetensors import patterns_name, read_safetensors_header
from dispersed.storage.storage import Storage
from dispersed.validation import InputError

MEMBERS = 100
"""The most arrays of a .npz file that are named in its error."""
TYPES = {"BOOL": "?", "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
TYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}
"""The types of NumPy in which tensors of a .safetensors file are read."""


def open_npy(path: Path, argument: str) -> Source:
    """The array of a .npy file, read piece by piece; one in Fortran order is loaded."""
    header = read_npy_header(path, argument)
    n, d = _checked_shape(header, argument, f"{str(path)!r}")
    size, needed = path.stat().st_size, header.start + n * d * header.dtype.itemsize
    if size < needed:
        given = f"{str(path)!r} is truncated: {size} bytes"
        raise InputError(argument, given, f"shape {header.shape} of {header.dtype} takes {needed}")
    if header.fortran and len(header.shape) > 1:
        if n * d * header.dtype.itemsize > LOADED:
            raise too_large(path, argument, n * d * header.dtype.itemsize)
        with path.open("rb") as file:
            file.seek(header.start)
            columns = _in_order(np.fromfile(file, header.dtype, n * d), header).reshape(n, d)
        return _source(path, header, (n, d), lambda start, stop: columns[start:stop])
    return _source(path, header, (n, d), _pieces(path, header.dtype, d, header.start, argument))


def open_npz(path: Path, argument: str) -> Source:
    """The one array of a .npz file, loaded; no more than its header promises is decompressed."""
    accepted = "a .npz file of exactly one array, saved by numpy.savez, is accepted"
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            opened.seek(0)
            if opened.read(4) != b"PK\x03\x04":  # zipfile would look for an archive further down
                raise ValueError("not a zip archive")
            members = archive.namelist()
            if len(members) != 1:
                shown = ", ".join(name.removesuffix(".npy") for name in members[:MEMBERS])
                given = f"{str(path)!r} holds {len(members)} arrays ({shown})"
                raise InputError(argument, given, accepted)
            with archive.open(members[0]) as member:
                header = parse_npy_header(member, argument, f"{members[0]!r} in {str(path)!r}")
                n, d = _checked_shape(header, argument, f"{str(path)!r}")
                nbytes = n * d * header.dtype.itemsize
                if nbytes > LOADED:
                    raise too_large(path, argument, nbytes)
                content = _exactly(member, nbytes)
                if member.read(1):  # to the end, where the checksum is compared
                    raise ValueError("more data than its header says")
    except InputError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(argument, f"{str(path)!r} is damaged ({error})", accepted) from None
    except Exception as error:  # a damaged archive raises errors of many kinds
        reason = str(error) or type(error).__name__
        raise InputError(argument, f"{str(path)!r} is damaged ({reason})", accepted) from None
    array = _in_order(np.frombuffer(content, header.dtype), header).reshape(n, d)
    return _source(path, header, (n, d), lambda start, stop: array[start:stop])


def open_tensors(path: Path, argument: str) -> Source:
    """The patterns of a .safetensors file, decoded piece by piece: encoded ones, or a tensor of any real type."""
    tensors, metadata = read_safetensors_header(path, argument)
    name = patterns_name(path, tensors, argument)
    tensor = tensors[name]
    if "encoding" in metadata or "scale" in tensors:
        try:
            storage = open_patterns(path)
        except InputError as error:
            raise InputError(argument, *error._parts[1:]) from None
        return of_storage(path, storage)
    if tensor.kind not in TYPES:
        given = f"{str(path)!r} holds {name!r} of type {tensor.kind}"
        raise InputError(argument, given, f"{', '.join(TYPES)} are accepted")
    header = NpyHeader(np.dtype(TYPES[tensor.kind]), tensor.shape, False, tensor.start)
    n, d = _checked_shape(header, argument, f"{str(path)!r}")
    pieces = _pieces(path, header.dtype, d, header.start, argument)
    if tensor.kind != "BF16":
        return _source(path, header, (n, d), pieces)

    def widened(start: int, stop: int) -> np.ndarray:
        return (pieces(start, stop).astype(np.uint32) << 16).view(np.float32)

    return Source(path, (n, d), "bfloat16", widened, tensor.shape[1:])


def of_storage(path: Path, storage: Storage) -> Source:
    """Encoded patterns, decoded piece by piece."""

    def pieces(start: int, stop: int) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # damaged scales, found as infinite entries
            rows = storage.rows(np.arange(start, stop))
        storage.release()
        return rows

    return Source(path, storage.shape, storage.encoding.name, pieces)


def _source(path: Path, header: NpyHeader, shape: tuple[int, int], pieces: Callable[[int, int], np.ndarray]) -> Source:
    each = header.shape[1:] if len(header.shape) > 1 else ()
    return Source(path, shape, header.dtype.name, pieces, each)


def _checked_shape(header: NpyHeader, argument: str, name: str) -> tuple[int, int]:
    """The number of states and of their units; an array of one axis is one state."""
    if header.dtype.kind not in "biuf":
        accepted = "whole numbers, floating-point numbers and truth values are accepted"
        raise InputError(argument, f"{name} holds {header.dtype}, not real numbers", accepted)
    shape = header.shape if len(header.shape) > 1 else (1, *header.shape)
    if not header.shape or 0 in shape:
        given = f"{name} holds no states (shape {header.shape})"
        raise InputError(argument, given, "at least one state of at least one unit, shape (n, d), is accepted")
    return shape[0], math.prod(shape[1:])


def _in_order(numbers: np.ndarray, header: NpyHeader) -> np.ndarray:
    return numbers.reshape(header.shape, order="F" if header.fortran else "C")


def _pieces(path: Path, dtype: np.dtype, d: int, start: int, argument: str) -> Callable[[int, int], np.ndarray]:
    """A function that reads rows of d numbers from byte `start` on; never mapped, they do not count as resident."""

    def read(first: int, stop: int) -> np.ndarray:
        with path.open("rb") as file:
            file.seek(start + first * d * dtype.itemsize)
            array = np.fromfile(file, dtype, (stop - first) * d)
        if len(array) < (stop - first) * d:
            raise InputError(argument, f"{str(path)!r} was truncated while it was read", "a whole file is needed")
        return array.reshape(stop - first, d)

    return read


def _exactly(file: Any, nbytes: int) -> bytearray:
    content = bytearray()
    while len(content) < nbytes:
        chunk = file.read(min(1 << 22, nbytes - len(content)))
        if not chunk:
            raise ValueError(f"{len(content)} bytes of data, not {nbytes}")
        content += chunk
    return content

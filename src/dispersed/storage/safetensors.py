"""Patterns in the safetensors format: eight bytes of length, a JSON header, then the tensors.

The format is small enough to be read here without its library, which would copy what it loads: a tensor "patterns" of
codes, a tensor "scale" where the encoding has one, and in the metadata the name of the encoding and d, the number of
units. Files of one F32 or F16 tensor of shape (n, d), whatever it is called, are patterns too.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dispersed.storage.encoding import ENCODINGS, Encoding
from dispersed.storage.mapped import Mapped, map_array
from dispersed.validation import InputError

DTYPES: dict[str, np.dtype] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
START = 512
"""Bytes before the data of files written here: a multiple of 64, so that rows lie as JAX wants them."""


def open_safetensors(path: Path) -> Mapped:
    """Patterns of a .safetensors file, memory-mapped."""
    start, header = _read_header(path)
    metadata = header.pop("__metadata__", {})
    name = "patterns" if "patterns" in header or len(header) != 1 else next(iter(header))
    if name not in header:
        raise _unusable(path, f"holds the tensors {', '.join(header) or 'none'}", 'one called "patterns" is needed')
    codes = _tensor(path, start, header, name)
    scale = _tensor(path, start, header, "scale") if "scale" in header else None
    dtype, shape, _ = codes
    by_type = {np.dtype("<f4"): "float32", np.dtype("<f2"): "float16", np.dtype("i1"): "int8"}
    named = metadata.get("encoding") or by_type.get(dtype) or "bits"
    if named not in ENCODINGS:
        raise _unusable(path, f"is encoded as {named!r}", f"{', '.join(ENCODINGS)} are accepted")
    encoding = ENCODINGS[named]
    try:
        d = int(metadata["d"] if encoding.name == "bits" else shape[1])
    except (KeyError, ValueError, IndexError):
        given = f"holds {name} of shape {shape} and no number of units"
        raise _unusable(path, given, 'shape (n, width), and for bits "d" in the metadata') from None
    if len(shape) != 2 or 0 in shape or d < 1 or shape[1] != encoding.width(d) or dtype != encoding.dtype:
        given = f"holds {name} of shape {shape} and type {dtype} for {encoding.name} of {d} units"
        raise _unusable(path, given, f"at least one row of {encoding.width(d)} {encoding.dtype}")
    if encoding.scaled != (scale is not None) or (scale and scale[:2] != (np.dtype("<f4"), shape[:1])):
        given = "holds no scale" if scale is None else f"holds a scale of shape {scale[1]} and type {scale[0]}"
        wanted = f"{encoding.name} has " + (f"one F32 scale a pattern, ({shape[0]},)" if encoding.scaled else "none")
        raise _unusable(path, given, wanted)
    mapped_scale = None if scale is None else map_array(path, *scale)
    return Mapped(map_array(path, *codes), mapped_scale, encoding, d, f"mapped from {str(path)!r}")


def write_safetensors(path: Path, batches: Iterable[np.ndarray], encoding: Encoding) -> None:
    """Write batches of patterns one after the other; no more than one is held at a time."""
    with path.open("wb") as file, tempfile.TemporaryFile(dir=path.parent) as scales:
        file.write(b" " * START)
        n, d = 0, 0
        for batch in batches:
            codes, scale = encoding.encode(batch)
            n, d = n + len(codes), batch.shape[1]
            file.write(codes.data)
            if scale is not None:
                scales.write(scale.data)
        codes_end = file.tell() - START
        if encoding.scaled:
            scales.seek(0)
            shutil.copyfileobj(scales, file)
        file.seek(0)
        _write_header(file, encoding, n, d, codes_end)


def _write_header(file: BinaryIO, encoding: Encoding, n: int, d: int, codes_end: int) -> None:
    header: dict[str, Any] = {"__metadata__": {"encoding": encoding.name, "d": str(d)}}
    shape = [n, encoding.width(d)]
    header["patterns"] = {"dtype": NAMES[encoding.dtype], "shape": shape, "data_offsets": [0, codes_end]}
    if encoding.scaled:
        header["scale"] = {"dtype": "F32", "shape": [n], "data_offsets": [codes_end, codes_end + 4 * n]}
    text = json.dumps(header).encode().ljust(START - 8)
    file.write((START - 8).to_bytes(8, "little") + text)


def _read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data start, and the header."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > size - 8:
            raise _unusable(path, f"is truncated or damaged ({size} bytes, a header of {length})", "a whole file")
        try:
            header = json.loads(file.read(length))
            if not isinstance(header, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise _unusable(path, f"has a damaged header ({error})", "a .safetensors file is accepted") from None
    return 8 + length, header


def _tensor(path: Path, start: int, header: dict[str, Any], name: str) -> tuple[np.dtype, tuple[int, ...], int]:
    """(type, shape, where it starts) of a tensor that lies wholly in the file."""
    try:
        kind, shape = header[name]["dtype"], tuple(int(k) for k in header[name]["shape"])
        low, high = (int(offset) for offset in header[name]["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _unusable(path, f"describes {name} wrongly in its header", "a .safetensors file is accepted") from None
    if kind not in DTYPES:
        raise _unusable(
            path, f"holds {name} of type {kind}", f"{', '.join(DTYPES)} are accepted ({', '.join(ENCODINGS)})"
        )
    expected = int(np.prod(shape, dtype=object)) * DTYPES[kind].itemsize
    if low < 0 or min(shape, default=0) < 0 or high - low != expected:
        given = f"gives {name} of shape {shape} the bytes {low} to {high}"
        raise _unusable(path, given, f"{expected} bytes are needed")
    if start + high > path.stat().st_size:
        given = f"is truncated: {path.stat().st_size} bytes"
        raise _unusable(path, given, f"{name} ends at byte {start + high}")
    return DTYPES[kind], shape, start + low


def _unusable(path: Path, given: str, accepted: str) -> InputError:
    return InputError("patterns", f"{str(path)!r} {given}", accepted)

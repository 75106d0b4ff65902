"""Patterns in the safetensors format: eight bytes of length, a JSON header, then the tensors.

The format is small enough to be read here without its library, which would copy what it loads: a tensor "patterns" of
codes, a tensor "scale" where the encoding has one, and in the metadata the name of the encoding and d, the number of
units. Files of one F32 or F16 tensor of shape (n, d), whatever it is called, are patterns too.
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Bytes of a number of each type that a .safetensors file may hold."""
LONGEST = 1 << 20
"""Bytes of a header that are read."""
START = 512
"""Bytes before the data of files written here: a multiple of 64, so that rows lie as JAX wants them."""


class TensorPlace(NamedTuple):
    """One tensor of a file: the name of its type, its shape, and the byte of the file at which it starts."""

    kind: str
    shape: tuple[int, ...]
    start: int


def open_safetensors(path: Path) -> Mapped:
    """Patterns of a .safetensors file, memory-mapped."""
    tensors, metadata = read_safetensors_header(path)
    name = patterns_name(path, tensors)
    codes = _mappable(path, name, tensors[name])
    scale = _mappable(path, "scale", tensors["scale"]) if "scale" in tensors else None
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


def patterns_name(path: Path, tensors: Mapping[str, TensorPlace], argument: str = "patterns") -> str:
    """The name of the tensor that holds the patterns: "patterns", or that of the only one."""
    name = "patterns" if "patterns" in tensors or len(tensors) != 1 else next(iter(tensors))
    if name not in tensors:
        shown = ", ".join(tensors) or "none"
        raise _unusable(path, f"holds the tensors {shown}", 'one tensor, or one called "patterns", is needed', argument)
    return name


def _mappable(path: Path, name: str, tensor: TensorPlace) -> tuple[np.dtype, tuple[int, ...], int]:
    """(type, shape, where it starts) of a tensor of a type that encodings have."""
    if tensor.kind not in DTYPES:
        accepted = f"{', '.join(DTYPES)} are accepted ({', '.join(ENCODINGS)})"
        raise _unusable(path, f"holds {name} of type {tensor.kind}", accepted)
    return DTYPES[tensor.kind], tensor.shape, tensor.start


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


def read_safetensors_header(path: Path, argument: str = "patterns") -> tuple[dict[str, TensorPlace], dict[str, str]]:
    """The tensors of a .safetensors file by name, and its metadata.

    The header is read as strictly as the format is written down: names are unique, shapes and offsets whole numbers,
    and the tensors cover the data one after the other, without holes and to the last byte.

    Raises `InputError` for anything else.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > size - 8:
            given = f"is truncated or damaged ({size} bytes, a header of {length})"
            raise _unusable(path, given, "a whole file", argument)
        if length > LONGEST:
            raise _unusable(path, f"has a header of {length} bytes", f"up to {LONGEST} are accepted", argument)
        text = file.read(length)
    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not begin with {")
        header = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        given = f"has a damaged header ({error})"
        raise _unusable(path, given, "a .safetensors file is accepted", argument) from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _unusable(path, "has metadata other than texts by name", "a .safetensors file is accepted", argument)
    found, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
        low, high = _offsets(entry)
        if low < 0:
            raise _unusable(path, f"describes {name!r} wrongly", "a .safetensors file is accepted", argument)
        kind, shape = entry["dtype"], tuple(entry["shape"])
        if kind not in ITEM_BYTES:
            accepted = f"{', '.join(ITEM_BYTES)} are accepted"
            raise _unusable(path, f"holds {name!r} of type {kind!r}", accepted, argument)
        expected = math.prod(shape) * ITEM_BYTES[kind]
        if low != end or high - low != expected:
            given = f"gives {name!r} of shape {shape} the bytes {low} to {high}"
            raise _unusable(path, given, f"{end} to {end + expected} are needed", argument)
        found[name], end = TensorPlace(kind, shape, 8 + length + low), high
    if 8 + length + end != size:
        what = "is truncated:" if 8 + length + end > size else "goes on behind its tensors:"
        raise _unusable(path, f"{what} {size} bytes", f"the last tensor ends at byte {8 + length + end}", argument)
    return found, metadata


def _offsets(entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, (−1, −1) if it is not described as the format has it."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return -1, -1
    offsets = entry["data_offsets"]
    if not (isinstance(entry["dtype"], str) and _whole(entry["shape"]) and _whole(offsets) and len(offsets) == 2):
        return -1, -1
    return offsets[0], offsets[1]


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _unusable(path: Path, given: str, accepted: str, argument: str = "patterns") -> InputError:
    return InputError(argument, f"{str(path)!r} {given}", accepted)

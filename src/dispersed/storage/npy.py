"""The header of a .npy file, which NumPy pads so that the array can grow without moving its data."""

import io
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dispersed.validation import InputError, first_line

LONGEST = 10_000
"""Bytes of a header that are read, as many as NumPy reads."""


class NpyHeader(NamedTuple):
    """What the header of a .npy file says: type, shape, whether in Fortran order, and where the data start."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The bytes before the data: 128 for every type and number of rows used here, so that data start aligned."""
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def read_npy_header(path: Path, argument: str = "patterns") -> NpyHeader:
    """The header of the .npy file `path`.

    Raises `InputError` if it is none.
    """
    with path.open("rb") as file:
        return parse_npy_header(file, argument, f"{str(path)!r}")


def parse_npy_header(file: IO[bytes] | io.BufferedIOBase, argument: str, name: str) -> NpyHeader:
    """The header at the start of `file`, of which no more than `LONGEST` bytes are read.

    Raises `InputError` if it is none: for other versions of the format, and for shapes that are not whole numbers
    from 0 up, which NumPy lets pass.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        size = file.read(2 if version == (1, 0) else 4)
        length = int.from_bytes(size, "little")
        if length > LONGEST:
            raise ValueError(f"a header of {length} bytes")
        # Version 3.0 differs from 2.0 only in the names of fields, which are refused here.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files written by Python 2
            shape, fortran, dtype = read(io.BytesIO(size + file.read(length)))
        if not all(type(k) is int and k >= 0 for k in shape):
            raise ValueError(f"shape {shape}")
    except Exception as error:  # a damaged header raises errors of many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        accepted = "a file saved by numpy.save is accepted"
        raise InputError(argument, f"{name} is not a .npy file ({first_line(error)})", accepted) from None
    return NpyHeader(dtype, shape, fortran, file.tell())

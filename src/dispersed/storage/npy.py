"""The header of a .npy file, which NumPy pads so that the array can grow without moving its data."""

import io
from pathlib import Path

import numpy as np

from dispersed.validation import InputError


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The bytes before the data: 128 for every type and number of rows used here, so that data start aligned."""
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def read_npy_header(path: Path) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """(type, shape, whether in Fortran order, where the data start) of the .npy file `path`.

    Raises `InputError` if it is none.
    """
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        except Exception as error:  # a damaged header raises errors of many kinds
            reason = str(error).splitlines()[0]
            raise InputError(
                "patterns", f"{str(path)!r} is not a .npy file ({reason})", "a file saved by numpy.save is accepted"
            ) from None
        return dtype, shape, fortran, file.tell()

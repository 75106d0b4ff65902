"""Patterns to be added to a store, from files of every kind, a batch at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dispersed.files import read_states
from dispersed.storage.npy import read_npy_header
from dispersed.storage.pattern_file import open_patterns
from dispersed.validation import InputError


def open_source(path: Path, argument: str = "patterns") -> tuple[tuple[int, int], Callable[[int, int], np.ndarray]]:
    """The shape (n, d) of the patterns in a file, and a function that reads those from `start` to `stop` − 1.

    .npy and .safetensors files are read piece by piece, and never mapped, so that they do not count as resident; what
    `read_states` reads else is loaded at once. Errors name `argument`.
    """
    if path.suffix == ".safetensors":
        try:
            storage = open_patterns(path)
        except InputError as error:
            raise InputError(argument, *error._parts[1:]) from None

        def decoded(start: int, stop: int) -> np.ndarray:
            rows = storage.rows(np.arange(start, stop))
            storage.release()
            return rows

        return storage.shape, decoded
    if path.suffix == ".npy" and path.is_file():
        try:
            dtype, shape, fortran, offset = read_npy_header(path)
        except InputError:
            dtype, shape, fortran, offset = np.dtype(object), (), True, 0
        n, d = shape[0] if shape else 0, int(np.prod(shape[1:]))
        whole = path.stat().st_size >= offset + n * d * dtype.itemsize
        if whole and len(shape) > 1 and n * d and not fortran and dtype.kind in "biuf":

            def read(start: int, stop: int) -> np.ndarray:
                with path.open("rb") as file:
                    file.seek(offset + start * d * dtype.itemsize)
                    return np.fromfile(file, dtype, (stop - start) * d).reshape(stop - start, d)

            return (n, d), read
    states = read_states(path, argument)
    return (states.shape[0], states.shape[1]), lambda start, stop: states[start:stop]

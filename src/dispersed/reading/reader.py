"""The one door for files of patterns and cues."""

from pathlib import Path

import numpy as np

from dispersed.reading.arrays import of_storage, open_npy, open_npz, open_tensors
from dispersed.reading.arrow import ARROW, open_arrow
from dispersed.reading.paths import ACCEPTED, IMAGES, regular_file
from dispersed.reading.source import Background, Scale, Source, check_scale
from dispersed.reading.text import read_numbers
from dispersed.validation import InputError

SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".safetensors", *ARROW, *IMAGES)


def open_source(
    path: str | Path,
    argument: str = "patterns",
    *,
    header: bool | None = None,
    scale: Scale = None,
    pages: bool = False,
    background: Background = "white",
) -> Source:
    """The states in a file or folder: `shape` (n, d), `read(start, stop)`, `names`, and `about()` in one line.

    Read are .npy files (piece by piece), .npz files of one array, .csv and .tsv files, .safetensors, Parquet and Arrow
    files, images, folders of images, and stores. A single state becomes one row, and states of several axes are
    flattened. Suffixes may be in upper case.

    `header` says whether the first line of a text file has column names (`read_numbers`), `scale` which numbers become
    −1 and +1, `pages` that every page of an image is a state, and `background` what lies behind transparent parts of
    images (`open_images`). What could be meant in two ways is refused, and the error names the option that decides.

    Raises `InputError`, naming `argument` and the file, for anything missing, unreadable, damaged or not of numbers.
    """
    path, scale = Path(path), check_scale(scale)
    try:
        if regular_file(path, argument, folder=True):
            if (path / "store.json").exists():
                source = _of_store(path, argument)
            else:
                return _images(path, argument, scale, pages, background)
        else:
            suffix = path.suffix.lower()
            if suffix in IMAGES:
                return _images(path, argument, scale, pages, background)
            if suffix not in SUFFIXES:
                raise InputError(argument, f"{str(path)!r} has an unknown suffix", ACCEPTED)
            if suffix in (".csv", ".tsv"):
                numbers, notes = read_numbers(path, argument, header)
                source = Source(path, numbers.shape, "numbers of text", lambda start, stop: numbers[start:stop])
                source.notes += notes
            elif suffix in ARROW:
                source = open_arrow(path, argument)
            else:
                source = {".npy": open_npy, ".npz": open_npz, ".safetensors": open_tensors}[suffix](path, argument)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise InputError(argument, f"{str(path)!r} cannot be read ({reason})", ACCEPTED) from None
    source.scale = scale
    return source


def read_states(path: str | Path, argument: str = "patterns", **options: object) -> np.ndarray:
    """All states (n, d) of a file or folder, as `open_source` reads them with the same options."""
    return open_source(path, argument, **options).all(argument)  # type: ignore[arg-type]


def _images(path: Path, argument: str, scale: Scale, pages: bool, background: Background) -> Source:
    from dispersed.reading.images import open_images  # imports Pillow, which other files do not need

    return open_images(path, argument, scale, pages, background)


def _of_store(path: Path, argument: str) -> Source:
    from dispersed.storage.store import PatternStore

    try:
        store = PatternStore.open(path)
    except InputError as error:
        raise InputError(argument, *error._parts[1:]) from None
    if not len(store):
        raise InputError(argument, f"the store {str(path)!r} is empty", "dispersed store add fills it")
    return of_storage(path, store.storage)

"""Reading the user's own patterns and cues: .npy, .npz, .csv, or a folder of images."""

from pathlib import Path

import numpy as np

from dispersed.validation import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
ACCEPTED = "a .npy, .npz or .csv file of numbers, or a folder of images of one size, is accepted"


def read_states(path: str | Path, argument: str) -> np.ndarray:
    """States (n, d) from a file or folder; a single state becomes one row, arrays of images are flattened.

    Images are read as grey values in [−1, 1]. `.npz` files must hold exactly one array. `.csv` files may
    have one line of column names.

    Raises `InputError` naming `argument` for anything missing, unreadable, non-numeric or ragged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(argument, f"{str(path)!r} does not exist", ACCEPTED)
    try:
        if path.is_dir():
            states = _read_images(path, argument)
        elif path.suffix in (".npy", ".npz"):
            states = _read_numpy(path, argument)
        elif path.suffix == ".csv":
            states = _read_csv(path, argument)
        else:
            raise InputError(argument, f"{str(path)!r} has an unknown suffix", ACCEPTED)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(argument, f"{str(path)!r} cannot be read ({reason})", ACCEPTED) from None
    if not (np.issubdtype(states.dtype, np.number) or states.dtype == bool) or np.iscomplexobj(states):
        raise InputError(argument, f"{str(path)!r} holds {states.dtype}, not real numbers", ACCEPTED)
    if states.size == 0 or states.ndim == 0:
        raise InputError(argument, f"{str(path)!r} holds no states (shape {states.shape})", ACCEPTED)
    return np.atleast_2d(states).reshape(states.shape[0] if states.ndim > 1 else 1, -1)


def _read_numpy(path: Path, argument: str) -> np.ndarray:
    try:
        with path.open("rb") as file:  # np.load leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = list(loaded)
            if len(names) != 1:
                held = f"{str(path)!r} holds {len(names)} arrays ({', '.join(names)})"
                raise InputError(argument, held, "a .npz file must hold exactly one")
            return loaded[names[0]]
    except InputError:
        raise
    except ValueError as error:
        raise InputError(argument, f"{str(path)!r} is not a numeric array ({error})", ACCEPTED) from None
    except Exception as error:  # a damaged zip archive raises errors of many kinds
        raise InputError(argument, f"{str(path)!r} is damaged ({error})", ACCEPTED) from None


def _read_csv(path: Path, argument: str) -> np.ndarray:
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError(argument, f"{str(path)!r} is not text", ACCEPTED) from None
    if lines and not _is_numeric(lines[0]):
        lines = lines[1:]
    if not lines:
        raise InputError(argument, f"{str(path)!r} holds no numbers", ACCEPTED)
    for number, line in enumerate(lines, start=1):
        if not _is_numeric(line):
            raise InputError(argument, f"{str(path)!r} has a non-number in data row {number}", ACCEPTED)
    rows = [[float(cell) for cell in line.split(",")] for line in lines]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        found = ", ".join(map(str, sorted(widths)))
        raise InputError(argument, f"{str(path)!r} has rows of {found} columns", ACCEPTED)
    return np.array(rows)


def _is_numeric(line: str) -> bool:
    try:
        [float(cell) for cell in line.split(",")]
    except ValueError:
        return False
    return True


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, in the order in which they are read."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)


def _read_images(folder: Path, argument: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    paths = image_files(folder)
    if not paths:
        raise InputError(argument, f"the folder {str(folder)!r} holds no images", ACCEPTED)
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L"), dtype=np.float32) / 127.5 - 1)
        except (UnidentifiedImageError, OSError):
            raise InputError(argument, f"{str(path)!r} is not a readable image", ACCEPTED) from None
        if images[-1].shape != images[0].shape:
            sizes = f"{images[0].shape[::-1]} and {images[-1].shape[::-1]}"
            raise InputError(argument, f"the images in {str(folder)!r} differ in size: {sizes}", ACCEPTED)
    return np.stack(images)

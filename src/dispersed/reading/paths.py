"""Which files are opened at all."""

import os
import stat
from pathlib import Path

from dispersed.validation import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm")
"""The suffixes of image files."""
ACCEPTED = (
    ".npy, .npz, .csv, .tsv, .safetensors, .parquet and .arrow files, images, folders of images and stores are accepted"
)


def regular_file(path: Path, argument: str, accepted: str = ACCEPTED, folder: bool = False) -> bool:
    """Whether `path` is a folder, if that is accepted; a file otherwise.

    Raises `InputError` for what is missing or cannot be reached, and for pipes and devices, which may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(argument, f"{str(path)!r} does not exist", accepted) from None
    except (OSError, ValueError) as error:  # names too long, loops of links, NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(argument, f"{str(path)!r} cannot be read ({reason})", accepted) from None
    if stat.S_ISDIR(mode) and folder:
        return True
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise InputError(argument, f"{str(path)!r} is {what}, not a file", accepted)
    return False


def shown_name(path: Path) -> str:
    """The name of a file or folder as text that any encoding of Unicode can write."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

"""The files of a folder, opened so that neither a link nor anything that is no file leads out of it."""

import os
from pathlib import Path

from dispersed.atomic import open_regular


def open_inside(root: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """The handle of the regular file `name` of the folder `root`; `/` separates folders in it.

    `root` itself may be a symbolic link, nothing below it. Raises `OSError`, which has the whole path.
    """
    *folders, last = name.split("/")
    try:
        if os.open not in os.supports_dir_fd:  # Windows
            return open_regular(root / name, flags)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = inner
            return open_regular(last, flags, handle)
        finally:
            os.close(handle)
    except OSError as error:
        parts = [root.joinpath(*folders[:depth]) for depth in range(1, len(folders) + 1)] + [root / name]
        link = next((part for part in parts if part.is_symlink()), None)
        why = error.strerror if link is None else "a symbolic link"
        raise OSError(error.errno, why, str(link or root / name)) from None

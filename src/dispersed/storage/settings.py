"""What a store holds, as its file of settings says: patterns of so many units, in one encoding."""

import io
import os
from pathlib import Path

from dispersed.storage.encoding import ENCODINGS, Encoding
from dispersed.storage.folder import open_inside
from dispersed.storage.journal import journal_line, parse_line
from dispersed.validation import InputError

SETTINGS, FORMAT = "store.json", "dispersed pattern store"
VERSION = 1
"""Of the format; a higher one is refused."""
LARGEST = 2**31 - 1
"""Units of a pattern, at most."""


def settings_line(dimension: int, encoding: Encoding) -> bytes:
    """The content of that file."""
    return journal_line({"format": FORMAT, "version": VERSION, "dimension": dimension, "encoding": encoding.name})


def read_settings(path: Path) -> tuple[int, Encoding]:
    """Dimension and encoding, from the file that says what the store holds."""
    file = path / SETTINGS
    if not os.path.lexists(file):
        accepted = "a folder made by dispersed store create; dispersed.reading.read_states reads folders of images"
        raise InputError("store", f"{str(path)!r} holds no store", accepted)
    with io.FileIO(open_inside(path, SETTINGS)) as opened:
        settings = parse_line(opened.read(1 << 16))
    if settings is None or settings.get("format") != FORMAT or len(settings) != 4:
        raise InputError("store", f"{str(file)!r} is damaged", "the settings of a store are needed")
    version, dimension, name = (settings.get(key) for key in ("version", "dimension", "encoding"))
    if type(version) is not int or version != VERSION:
        given = f"{str(file)!r} says format {version!r:.40}"
        raise InputError("store", given, f"this version of dispersed reads format {VERSION}; a newer one may be needed")
    if type(dimension) is int and 1 <= dimension <= LARGEST and isinstance(name, str) and name in ENCODINGS:
        return dimension, ENCODINGS[name]
    given = f"{str(file)!r} says {dimension!r:.40} units, encoding {name!r:.40}"
    raise InputError("store", given, f"units from 1 to {LARGEST}, and {', '.join(ENCODINGS)}, are accepted")

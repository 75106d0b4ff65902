"""Images as states: grey levels from −1, black, to +1, white."""

import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dispersed.reading.paths import IMAGES, regular_file, shown_name
from dispersed.reading.source import Background, Scale, Source, scaled
from dispersed.validation import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""By Pillow's names. A file of one of these is read whatever its suffix; for others Pillow may start programs."""
PIXELS = 1 << 25
"""The most pixels of one image."""
ACCEPTED = "PNG, JPEG, TIFF, PGM, GIF, BMP and WebP images are accepted"
Page = tuple[Path, int]
"""An image file and one of its pages, from 0."""


def open_images(
    path: Path, argument: str, scale: Scale = None, pages: bool = False, background: Background = "white"
) -> Source:
    """The images of a file or folder, in natural order ("2.png" before "10.png"), as a `Source`.

    Colours become their luma (ITU-R 601), transparent parts are composed on the `background`, and images are turned as
    their EXIF orientation says. Levels of 1, 8 and 16 bits are scaled so that black is −1 and white is +1. Which levels
    of 32-bit and floating-point images are black and white cannot be told from them: `scale` has to say it. Hidden
    files of a folder are passed over.

    Raises `InputError`, naming the file, for what is no image, images of several sizes, of more than `PIXELS` pixels,
    and of several pages unless `pages` is set; each page is a state then.
    """
    files, notes = _files(path, argument) if path.is_dir() else ([path], [])
    counts = [_page_count(file, argument, pages) for file in files]
    where = [(file, page) for file, count in zip(files, counts, strict=True) for page in range(count)]
    names = [
        shown_name(file) + (f" page {page + 1}" if count > 1 else "")
        for file, count in zip(files, counts, strict=True)
        for page in range(count)
    ]
    reader = _Reader(argument, scale, background, notes)
    size = next(reader.read(where[:1])).shape
    width = math.prod(size)

    def pieces(start: int, stop: int) -> np.ndarray:
        states = np.empty((stop - start, width), np.float32)
        for k, image in enumerate(reader.read(where[start:stop])):
            if image.shape != size:
                shown = " and ".join(f"{width} × {height}" for height, width in (size, image.shape))
                given = f"{str(where[start + k][0])!r} differs in size from others: {shown}"
                raise InputError(argument, given, "images of one size are accepted")
            states[k] = image.reshape(-1)
        return states

    return Source(path, (len(where), width), reader.kind, pieces, size, names, notes)


def _files(folder: Path, argument: str) -> tuple[list[Path], list[str]]:
    """The images of a folder in natural order, and what is said of the other files."""
    there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = sorted((path for path in there if path.suffix.lower() in IMAGES), key=_natural)
    if not found:
        inside = sorted({path.suffix.lower() for path in there if path.is_file()})
        folders = sorted(path.name for path in there if path.is_dir())
        held = f"files of {', '.join(map(repr, inside[:5]))}" if inside else f"the folders {', '.join(folders[:5])}"
        given = f"the folder {str(folder)!r} holds no images" + (f", but {held}" if there else "")
        raise InputError(argument, given, "one file, a folder of images or a store is accepted")
    others = [path for path in there if path not in set(found)]
    shown = f"{shown_name(others[0])!r} passed over" if len(others) == 1 else f"{len(others)} other files passed over"
    return found, [shown] if others else []


def _natural(path: Path) -> tuple[list[Any], str]:
    """A key by which "2.png" comes before "10.png"."""
    parts = re.split("([0-9]+)", path.name.casefold())
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], path.name


def _page_count(file: Path, argument: str, pages: bool) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_image(file, argument) as image, _quiet():
                # The further pictures of a .jpg are previews and the like of the first.
                count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        except InputError:
            raise
        except Exception as error:  # a damaged image raises errors of many kinds
            raise _damaged(file, argument, error) from None
    if count > 1 and not pages:
        given = f"{str(file)!r} holds {count} pages"
        raise InputError(argument, given, "one image a file is accepted; --pages reads every page as a state")
    return count


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what libtiff writes to standard error, past Python, about damaged images."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def open_image(file: Path, argument: str) -> Iterator[Image.Image]:
    """An image whose size is known and accepted, and of which nothing else has been decoded yet."""
    regular_file(file, argument)
    # Given a path, Pillow maps uncompressed TIFF files into memory and then misreads those that are to be turned.
    with file.open("rb") as opened:
        try:
            with _quiet():
                image = Image.open(opened, formats=FORMATS)
        except Image.DecompressionBombError:
            raise _too_many_pixels(file, argument, "") from None
        if image.width * image.height > PIXELS:
            raise _too_many_pixels(file, argument, f" ({image.width} × {image.height})")
        with image:
            yield image


class _Reader:
    """Reads pages as grey levels (height, width), scaled, and notes what it has done to them."""

    def __init__(self, argument: str, scale: Scale, background: Background, notes: list[str]) -> None:
        self.argument, self.scale, self.background, self.notes = argument, scale, background, notes
        self.kind = ""

    def read(self, pages: Sequence[Page]) -> Iterator[np.ndarray]:
        for file, group in groupby(pages, key=lambda page: page[0]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is odd and harmless
                try:
                    with open_image(file, self.argument) as image:
                        for _, page in group:
                            if page:
                                image.seek(page)
                            yield self._levels(file, image)
                except InputError:
                    raise
                except Exception as error:  # a damaged image raises errors of many kinds
                    raise _damaged(file, self.argument, error) from None

    def _levels(self, file: Path, image: Image.Image) -> np.ndarray:
        with _quiet():
            image.load()
        if image.width * image.height > PIXELS:  # a frame may be larger than the first one
            raise _too_many_pixels(file, self.argument, f" ({image.width} × {image.height})")
        limits: tuple[int, int] | None = (0, 255)
        kind = "8-bit grey levels"
        sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
        if image.mode in ("I", "F") or sixteen:
            limits, kind = ((0, 65535), "16-bit grey levels") if sixteen else (None, "32-bit levels")
            if "transparency" in image.info:
                given = f"{str(file)!r} has 16-bit levels and a transparent one"
                raise InputError(self.argument, given, "images of 16 bits without transparency are accepted")
            levels = np.asarray(ImageOps.exif_transpose(image))
        else:
            levels = np.asarray(ImageOps.exif_transpose(self._opaque(image)).convert("L"))
        return self._scaled(file, levels, limits, kind)

    def _opaque(self, image: Image.Image) -> Image.Image:
        """The image, its transparent parts composed on the background."""
        if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
            return image
        exif = image.getexif()
        image = image.convert("RGBA")
        alpha = image.getchannel("A").getextrema()
        if alpha != (255, 255):
            ground = Image.new("RGBA", image.size, self.background)
            ground.alpha_composite(image)
            image = ground
            note = f"transparent parts on {self.background}"
            self.notes += [] if note in self.notes else [note]
        image.info["exif"] = exif.tobytes()
        return image.convert("RGB")

    def _scaled(self, file: Path, levels: np.ndarray, limits: tuple[int, int] | None, kind: str) -> np.ndarray:
        if self.scale == "none":
            self.kind = kind
            return levels.astype(np.float32)
        chosen = self.scale if self.scale is not None else limits
        if chosen is None:
            given = f"{str(file)!r} has {levels.dtype} levels from {levels.min():.6g} to {levels.max():.6g}"
            accepted = "--scale 0:1 says which become −1 and 1, --scale none leaves them"
            raise InputError(self.argument, given, accepted)
        self.kind = f"{kind}, {chosen[0]:g} and {chosen[1]:g} made −1 and 1"
        return scaled(levels, *chosen).astype(np.float32, copy=False)


def _damaged(file: Path, argument: str, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or ("" if isinstance(error, UnidentifiedImageError) else str(error))
    return InputError(argument, f"{str(file)!r} is not a readable image" + (f" ({reason})" if reason else ""), ACCEPTED)


def _too_many_pixels(file: Path, argument: str, size: str) -> InputError:
    return InputError(argument, f"{str(file)!r} has too many pixels{size}", f"images of up to {PIXELS} are accepted")

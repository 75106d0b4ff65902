"""Results on disk: complete or absent, never half-written."""

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dispersed.atomic import write_atomically
from dispersed.validation import InputError

Row = dict[str, Any]


def output_folder(out: str | Path) -> Path:
    """The folder `out`, made if need be and known to be writable before any work is done."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError("out", f"got {str(out)!r} ({error.strerror})", "a folder that can be written") from None
    return folder


def write_rows(folder: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """Rows as `name`.json, a list of objects, and as `name`.csv."""

    def as_json(path: Path) -> None:
        path.write_text(json.dumps(list(rows), indent=1, allow_nan=False) + "\n")

    def as_csv(path: Path) -> None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    return [
        write_atomically(folder / f"{name}.json", as_json),
        write_atomically(folder / f"{name}.csv", as_csv),
    ]


def write_figure(folder: Path, name: str, figure: Figure) -> Path:
    """A figure as `name`.png."""
    return write_atomically(folder / f"{name}.png", lambda path: figure.savefig(path, dpi=160))


__all__ = ["Row", "output_folder", "write_atomically", "write_figure", "write_rows"]

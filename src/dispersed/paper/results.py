"""Results on disk: complete or absent, never half-written."""

import csv
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispersed.atomic import write_atomically
from dispersed.validation import InputError

Row = dict[str, Any]
"""One line of a table. A table is a list of them, which `pandas.DataFrame` takes as it is."""


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


def columns(rows: Sequence[Row]) -> list[str]:
    """Every column that any row has, in order of appearance."""
    return list(dict.fromkeys(column for row in rows for column in row))


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as comma-separated values under a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_json(path: Path, value: Any) -> Path:
    """A value as JSON; NaN and infinity are refused, for JSON has none."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return write_text(path, text)


def write_text(path: Path, text: str) -> Path:
    """A text file in UTF-8."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_rows(folder: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """Rows as `name`.json, a list of objects, and as `name`.csv."""
    return [write_json(folder / f"{name}.json", list(rows)), write_text(folder / f"{name}.csv", as_csv(rows))]


def write_figure(folder: Path, name: str, axes: Any) -> Path:
    """The figure that holds `axes` as `name`.png; it is closed."""
    import matplotlib.pyplot as plt

    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes are in no figure")
    path = write_atomically(folder / f"{name}.png", lambda path: figure.savefig(path, dpi=160, bbox_inches="tight"))
    plt.close(figure)
    return path

"""The page of an audit: one HTML file that needs no network."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dispersed
from dispersed.atomic import write_atomically
from dispersed.auditing.audit import Audit, Copy
from dispersed.extras import optional_packages

SHOWN = 60
"""Copies, and copied patterns, that the page shows."""

BASELINES = (
    "Quantiles of the distance to the nearest other training pattern (the closest record), and of its ratio to the "
    "second one. Samples of a model that generalises are as far away as held-out states."
)
NETWORK = (
    "Distances per unit between the network and the exact denoiser of the training patterns (gap) and from the states "
    "behind the noise (error), the fraction of noisy training patterns led back to themselves (basin), and the number "
    "of open directions. A network that has memorised has the exact denoiser's numbers, and a larger error on held-out "
    "states."
)
REGIMES = (
    "Of the exact denoiser of the training patterns. Where certainty (the weight of the likeliest pattern) and covered "
    "(the fraction of noisy held-out states in the shell of a noisy pattern) are both large, a network can memorise."
)


def write_page(
    path: Path,
    audit: Audit,
    command: str,
    states: tuple[np.ndarray, np.ndarray],
    regimes: Sequence[Mapping[str, Any]] = (),
    shape: tuple[int, ...] = (),
) -> Path:
    """Write an audit as HTML.

    `states` are the copied samples and the training patterns beside them, in the order of `audit.copies`, at least the
    first `SHOWN`; they become pictures where their `shape` is one of grey images, or where it is not known and their
    size is a square. `regimes` are the rows of `Regimes`.

    Raises `MissingExtraError` where Jinja is not installed, or Pillow for pictures.
    """
    with optional_packages():
        from jinja2 import Environment, PackageLoader, StrictUndefined

    shown = audit.copies[:SHOWN]
    size = _picture_size(shape, states[0].shape[1]) if shown else None
    environment = Environment(
        loader=PackageLoader("dispersed.auditing", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = audit.rows()
    columns = {"sample": "sample", "pattern": "pattern", "distance": "distance d₁", "ratio": "ratio d₁/d₂"}
    columns |= {} if audit.p is None else {"p": "p"}
    copy_rows = [[_cell(rows[copy.sample][name]) for name in columns] for copy in shown]
    tables = [_table("Distance to the closest record", BASELINES, audit.baselines())]
    if audit.network is not None:
        tables.append(_table("The network beside the exact denoiser", NETWORK, audit.network.rows()))
    if regimes:
        wanted = ("sigma", "certainty", "covered", "effective_patterns", "local_dimension")
        rows = [{name: row[name] for name in wanted if row.get(name) is not None} for row in regimes]
        tables.append(_table("Where memorisation is possible", REGIMES, rows))
    text = environment.get_template("page.html").render(
        title=f"Audit of {len(audit.samples.distance)} samples",
        verdict=audit.verdict,
        found=bool(audit.copies) and (audit.p is None or audit.low > 0),
        notes=notes(audit),
        pictures=size is not None,
        copies=shown if size is None else _pictures(shown, *states, size),
        copy_columns=list(columns.values()),
        copy_rows=copy_rows,
        shown=len(shown),
        total=len(audit.copies),
        copied_patterns=audit.copied_patterns[:SHOWN],
        tables=tables,
        command=command,
        version=dispersed.__version__,
    )
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def notes(audit: Audit) -> list[str]:
    """What else was found, in sentences."""
    said = [
        f"Of the samples {audit.memorised:.2%} are called copies (memorised), {audit.spurious:.2%} are no copies but "
        f"repeat each other (spurious), and {audit.generalised:.2%} are neither (generalised)."
    ]
    if audit.duplicates:
        said.append(
            f"{audit.duplicates:.2%} of the training patterns have another one within {audit.duplicate_distance:.4g}; "
            "such near-duplicates count as one."
        )
    if audit.leaked:
        said.append(
            f"{audit.leaked} held-out states all but equal a training pattern. They hide copies: take them out of "
            "the held-out states."
        )
    if audit.dimension == audit.dimension:
        said.append(f"The intrinsic dimension of the training patterns is about {audit.dimension:.3g}.")
    return said


def as_json(audit: Audit) -> dict[str, Any]:
    """Everything that an audit found, of numbers, texts, lists and dictionaries."""
    names = ("copied", "low", "high", "false_alarms", "memorised", "spurious", "generalised")
    more = ("duplicate_distance", "duplicates", "leaked", "dimension")
    return {
        "verdict": audit.verdict,
        **{name: _finite(getattr(audit, name)) for name in (*names, *more)},
        "copies": [copy._asdict() for copy in audit.copies],
        "copied_patterns": [{"pattern": pattern, "copies": times} for pattern, times in audit.copied_patterns],
        "baselines": [{name: _finite(value) for name, value in row.items()} for row in audit.baselines()],
        "network": None if audit.network is None else audit.network.rows(),
        "samples": audit.rows(),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(title: str, about: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [["–" if row.get(name) is None else _cell(row[name]) for name in names] for row in rows]
    return {"title": title, "about": about, "columns": [name.replace("_", " ") for name in names], "lines": lines}


def _picture_size(shape: tuple[int, ...], units: int) -> tuple[int, int] | None:
    """Height and width of the states as grey images; None if they are none."""
    if len(shape) > 1:
        sides = [side for side in shape if side > 1]  # the channel of grey images may have an axis
        return (sides[0], sides[1]) if len(sides) == 2 else None
    side = math.isqrt(units)
    return (side, side) if side > 1 and side * side == units else None


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pictures(
    copies: Sequence[Copy], samples: np.ndarray, patterns: np.ndarray, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Grey images, black and white at the lowest and highest level of the training patterns shown."""
    low, high = float(patterns.min()), float(patterns.max())
    return [
        {
            "sample": copy.sample,
            "pattern": copy.pattern,
            "distance": f"{copy.distance:.4g}",
            "picture": _png(sample, low, high, size),
            "beside": _png(pattern, low, high, size),
        }
        for copy, sample, pattern in zip(copies, samples, patterns, strict=False)
    ]


def _png(state: np.ndarray, low: float, high: float, size: tuple[int, int]) -> str:
    with optional_packages():
        from PIL import Image

    grey = np.clip((state - low) / (high - low if high > low else 1), 0, 1)
    file = io.BytesIO()
    Image.fromarray((255 * grey).astype(np.uint8).reshape(size)).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

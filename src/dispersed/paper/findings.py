"""What an experiment found, and what of it a run writes into the folder of results.

NAME.json and .csv hold the rows, NAME.png the picture, NAME.md the claims and the rows, and NAME.about.json the claims
with their verdicts and where all of it comes from: command, settings, seed, wall time, versions, machine. That file is
written last and removed first, so where it stands, all of it is there and belongs together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dispersed.paper.claim import Verdict
from dispersed.paper.experiment import Findings
from dispersed.paper.provenance import code, machine, versions
from dispersed.paper.results import Row, columns, write_figure, write_json, write_rows, write_text
from dispersed.validation import InputError


@dataclass(frozen=True)
class About:
    """Where the results of one name come from."""

    name: str
    title: str
    verdicts: list[Verdict]
    """Which claims the rows support, in sentences."""
    command: str
    """The line that makes the same results again."""
    settings: dict[str, Any]
    seconds: float
    finished: str
    note: str
    tables: list[str]
    code: str
    versions: dict[str, str]
    machine: dict[str, str]


def about_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.about.json"


def write(
    folder: Path,
    name: str,
    title: str,
    findings: Findings,
    command: str,
    settings: Mapping[str, Any],
    seconds: float,
) -> About:
    """Judge the claims of `findings`, and write everything."""
    about_path(folder, name).unlink(missing_ok=True)
    write_rows(folder, name, findings.rows)
    for table, rows in findings.tables.items():
        write_rows(folder, table, rows)
    write_figure(folder, name, np.ravel(findings.axes)[0])
    tables = {name: findings.rows, **findings.tables}
    verdicts = [claim.judge(tables) for claim in findings.claims]
    paragraphs = [
        f"# {title}",
        *(verdict.marked for verdict in verdicts),
        f"Made by `{command}`.",
        _markdown(findings.rows),
    ]
    write_text(folder / f"{name}.md", "\n\n".join(paragraphs) + "\n")
    about = About(
        name=name,
        title=title,
        verdicts=verdicts,
        command=command,
        settings=dict(settings),
        seconds=round(seconds, 1),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        note=findings.note,
        tables=list(findings.tables),
        code=code(),
        versions=versions(),
        machine=machine(),
    )
    write_json(about_path(folder, name), asdict(about))
    return about


def read_about(folder: Path, name: str) -> About | None:
    """Where the results of this name come from; None if there are none, or not all of them."""
    path = about_path(folder, name)
    if not path.exists():
        return None
    about = _read_json(path)
    try:
        found = About(**about | {"verdicts": [Verdict(**verdict) for verdict in about["verdicts"]]})
    except (KeyError, TypeError):
        return None  # written by another version
    files = [f"{name}.png", f"{name}.json", *(f"{table}.json" for table in found.tables)]
    return found if all((folder / file).exists() for file in files) else None


def read_rows(folder: Path, name: str) -> list[Row]:
    """The rows that `write_rows` wrote."""
    path = folder / f"{name}.json"
    rows = _read_json(path)
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise damaged(path)
    return rows


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise damaged(path) from None


def damaged(path: Path) -> InputError:
    """What to raise where a file of results cannot be what a run wrote."""
    return InputError("out", f"{str(path)!r} is damaged", "remove it, and reproduce it again")


def cell(value: Any) -> str:
    """A number to the digits a reader wants, a missing one as nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"
    return str(value)


def _markdown(rows: Sequence[Row]) -> str:
    names = columns(rows)
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in names) + " |" for row in rows]
    return "\n".join(lines)

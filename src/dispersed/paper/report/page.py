"""The report: one HTML page of everything in a folder of results, beside the paper; it needs no network."""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

import dispersed
from dispersed.paper.catalogue import EXPERIMENTS, IN_PAPER
from dispersed.paper.claim import Verdict
from dispersed.paper.experiment import Experiment
from dispersed.paper.findings import About, cell, damaged, read_about, read_rows
from dispersed.paper.results import Row, as_csv, columns, write_text
from dispersed.validation import InputError

SHOWN = 60
"""Rows of a table that the page shows; all of them are in the file it offers."""


@dataclass(frozen=True)
class Picture:
    """A picture inside the page."""

    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Rows:
    """A table inside the page, and the file it offers."""

    name: str
    columns: list[str]
    lines: list[list[str]]
    total: int
    source: str


@dataclass(frozen=True)
class Section:
    """What the page says of one experiment; `about` is None if it has not been run."""

    name: str
    experiment: Experiment | None
    about: About | None = None
    picture: Picture | None = None
    tables: Sequence[Rows] = ()

    @property
    def heading(self) -> str:
        return self.about.title if self.about else EXPERIMENTS[self.name].title.split(", {")[0]

    @property
    def verdicts(self) -> list[Verdict]:
        """What was found, without what is listed as differing from the paper."""
        return [verdict for verdict in self.about.verdicts if not verdict.departure] if self.about else []

    @property
    def departures(self) -> list[str]:
        """What differs from the paper, in sentences."""
        return [verdict.sentence for verdict in self.about.verdicts if verdict.departure] if self.about else []


def write_page(folder: Path) -> Path:
    """Write `folder`/report.html from what is in the folder.

    Raises `InputError` if that is nothing, or damaged.
    """
    sections = {name: _section(folder, name) for name in EXPERIMENTS}
    others = sorted(path.name.removesuffix(".about.json") for path in folder.glob("*.about.json"))
    extra = [_section(folder, name) for name in others if name not in EXPERIMENTS]
    made = [section for section in [*sections.values(), *extra] if section.about]
    if not made:
        made_by = "one that `dispersed reproduce` has written into is accepted"
        raise InputError("out", f"got {str(folder)!r}, which holds no results", made_by)
    environment = Environment(
        loader=PackageLoader("dispersed.paper.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = _duration
    slips, count = _slips()
    text = environment.get_template("page.html").render(
        version=dispersed.__version__,
        today=datetime.now(UTC).strftime("%d %B %Y"),
        in_paper=[sections[name] for name in IN_PAPER],
        further=[section for name, section in sections.items() if name not in IN_PAPER],
        extra=extra,
        made=made,
        total=len(EXPERIMENTS),
        seconds=sum(section.about.seconds for section in made if section.about),
        table1=_table1(folder) if "table1" in [section.name for section in made] else None,
        machines=_machines([section.about for section in made if section.about]),
        slips=slips,
        slip_count=count,
    )
    return write_text(folder / "report.html", text)


def _section(folder: Path, name: str) -> Section:
    about, experiment = read_about(folder, name), EXPERIMENTS.get(name)
    if about is None:
        return Section(name, experiment)
    tables = {table: read_rows(folder, table) for table in (name, *about.tables)}
    return Section(
        name,
        experiment,
        about,
        _picture(folder / f"{name}.png"),
        [_rows(table, rows) for table, rows in tables.items()],
    )


def _rows(name: str, rows: Sequence[Row]) -> Rows:
    names = columns(rows)
    lines = [[cell(row.get(column)) for column in names] for row in rows[:SHOWN]]
    return Rows(name, names, lines, len(rows), _data("text/csv;charset=utf-8", as_csv(rows).encode()))


def _picture(path: Path) -> Picture:
    image = path.read_bytes()
    # A PNG says its size at a fixed place; the page shows 100 of the 160 pixels of an inch.
    width, height = struct.unpack(">II", image[16:24])
    return Picture(_data("image/png", image), round(width / 1.6), round(height / 1.6))


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _table1(folder: Path) -> dict[str, Any]:
    """Table 1 in the paper's layout, ours beside the published values; and the methods that it does not have."""
    from dispersed.paper.table1.measure import METHODS, agrees

    rows = read_rows(folder, "table1")
    if not all({"task", "n_patterns", "method", "correlation", "published"} <= row.keys() for row in rows):
        raise damaged(folder / "table1.json")
    published = list(dict.fromkeys(row["method"] for row in rows if row["published"] is not None))
    by = {(row["task"], row["n_patterns"], row["method"]): row for row in rows}
    lines = list(dict.fromkeys((row["task"], row["n_patterns"]) for row in rows))
    beside = [
        {
            **row,
            "agrees": agrees(row) if row["published"] is not None else None,
            "apart": row["correlation"] - row["published"] if row["published"] is not None else None,
        }
        for row in by.values()
    ]
    cells = {(row["task"], row["n_patterns"], row["method"]): row for row in beside}
    compared = [row["agrees"] for row in beside if row["published"] is not None]
    return {
        "published": published,
        "further": [method for method in METHODS if method not in published],
        "labels": METHODS,
        "lines": lines,
        "cells": cells,
        "agreed": sum(compared),
        "compared": len(compared),
    }


def _machines(abouts: Sequence[About]) -> list[tuple[list[str], dict[str, str], dict[str, str]]]:
    """Which results were made by which versions on which machine."""
    groups: list[tuple[list[str], dict[str, str], dict[str, str]]] = []
    for about in abouts:
        for names, versions, machine in groups:
            if (versions, machine) == (about.versions, about.machine):
                names.append(about.name)
                break
        else:
            groups.append(([about.name], about.versions, about.machine))
    return groups


def _slips() -> tuple[Markup, int]:
    """The list of slips as HTML under headings of the third level, and how many there are."""
    text = resources.files("dispersed.paper.report").joinpath("slips.md").read_text(encoding="utf-8")
    body = text.split("\n", 1)[1].replace("\n## ", "\n### ")
    page = MarkdownIt("commonmark").render(body)
    return Markup(re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", page)), body.count("\n### ")


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

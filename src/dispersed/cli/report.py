"""What every reproduction leaves behind: rows, a picture, sentences, and the same on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dispersed.experiments.results import Row, write_atomically, write_figure, write_rows


def report(
    folder: Path, name: str, title: str, rows: Sequence[Row], figure: Figure, sentences: Sequence[str], command: str
) -> None:
    """Write `name`.json, .csv, .png and .md, print the table and the sentences, and say where they are.

    `command` is the line that makes the same results again.
    """
    write_rows(folder, name, rows)
    write_figure(folder, name, figure)
    text = "\n\n".join([f"# {title}", *sentences, f"Made by `{command}`.", _markdown(rows)])
    write_atomically(folder / f"{name}.md", lambda path: path.write_text(text + "\n"))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 120))
    console.print(_table(title, rows))
    for sentence in sentences:
        console.print(sentence, markup=False)
    console.print(f"Written: {folder / name}.json, .csv, .md, .png\n", markup=False, soft_wrap=True)


def cell(value: Any) -> str:
    """A number to the digits a reader wants, a missing one as nothing."""
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    columns = _columns(rows)
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    return table


def _markdown(rows: Sequence[Row]) -> str:
    columns = _columns(rows)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)

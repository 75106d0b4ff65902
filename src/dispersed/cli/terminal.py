"""Results on the terminal."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dispersed.paper.findings import cell
from dispersed.paper.results import Row, columns


def show(title: str, rows: Sequence[Row], sentences: Sequence[str]) -> None:
    """The table, and what it says."""
    console = _console()
    console.print(_table(title, rows))
    for sentence in sentences:
        console.print(plain(sentence), markup=False)


def say(text: str) -> None:
    """One line, not broken however long it is."""
    _console().print(plain(text), markup=False, soft_wrap=True)


def command_line() -> str:
    """The line that makes the same results again, quoted as a shell takes it."""
    return shlex.join(["dispersed", *sys.argv[1:]])


def plain(text: str) -> str:
    """The same text without what steers a terminal, which names of files may hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, 120))


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    names = columns(rows)
    for name in names:
        numeric = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(plain(cell(row.get(name)))) for name in names))
    return table

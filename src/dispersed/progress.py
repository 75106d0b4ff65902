"""Progress bars on standard error for people; nothing where no one is watching."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def bar(*further: str) -> Progress:
    """A progress bar with further columns, shown only on a terminal and removed when it is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns, *map(TextColumn, further), console=console, transient=True, disable=not console.is_terminal
    )


def track(items: Sequence[T] | Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` under a progress bar."""
    with bar() as progress:
        yield from progress.track(items, total=total, description=description)

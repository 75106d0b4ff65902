"""Progress bars on standard error for people; nothing where no one is watching."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class NoBar:
    """What takes the calls of a progress bar and shows nothing."""

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def add_task(self, description: str, **fields: object) -> int:
        return 0

    def update(self, task: int, **fields: object) -> None:
        pass

    def track(self, items: Iterable[T], **settings: object) -> Iterable[T]:
        return items


def bar(*further: str) -> Any:
    """A `rich` progress bar with further columns, shown only on a terminal and removed when it is done.

    Where `rich` is not installed there is none.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        return NoBar()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns, *map(TextColumn, further), console=console, transient=True, disable=not console.is_terminal
    )


def track(items: Sequence[T] | Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` under a progress bar."""
    with bar() as progress:
        yield from progress.track(items, total=total, description=description)

"""What an experiment is: what it is about, what the paper says of it, how it is run in full and in quick mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dispersed.paper.claim import Claim
    from dispersed.paper.results import Row


@dataclass(frozen=True)
class Findings:
    """What one experiment found."""

    rows: Sequence[Row]
    axes: Any
    """The matplotlib `Axes`, or array of them, of its picture."""
    claims: Sequence[Claim]
    """What is claimed of the rows, and judged by them."""
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Further tables by the name of their file."""
    note: str = ""
    """What a reader of the wall time must know."""


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str
    """Of the command and of the files."""
    place: str
    """The table, figure, section and equations of the paper that it is about."""
    title: str
    """`{…}` is filled in from the settings."""
    about: str
    """What the command does, in one line."""
    paper: str
    """What the paper shows or claims."""
    picture: str
    """What is to be seen in the picture, for who cannot see it."""
    find: Callable[..., Findings]
    """From the folder of results, the seed and the settings to what was found."""
    full: Mapping[str, Any] = field(default_factory=dict)
    """Settings in full."""
    quick: Mapping[str, Any] | None = None
    """Settings in quick mode; None if it is quick in full."""

    def settings(self, quick: bool) -> dict[str, Any]:
        return dict(self.full if self.quick is None or not quick else self.quick)

    def command(self, seed: int, quick: bool, changed: Mapping[str, Any]) -> str:
        """The line that runs it with these settings `changed`."""
        flags = " --quick" * (quick and self.quick is not None)
        for name, value in changed.items():
            flags += f" --{name} {','.join(map(str, value)) if isinstance(value, list) else value}"
        return f"dispersed reproduce {self.name}{flags} --seed {seed}"

"""Claims: statements about the rows of an experiment, each with the condition under which the rows support it."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from dispersed.paper.results import Row

Tables = Mapping[str, Sequence[Row]]
"""The tables of an experiment by name."""
Decision = tuple[bool, dict[str, Any]]
"""Whether a claim holds, and the evidence by name: what it was decided by, and the numbers of its sentence."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, which a sentence shows as `value [low, high]`."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Row, value: str, ends: str = "ci") -> Interval:
        """The column `value` of a row, with its interval in the columns `ends`_low and `ends`_high."""
        return cls(row[value], row[f"{ends}_low"], row[f"{ends}_high"])

    @classmethod
    def fraction(cls, value: float, trials: int) -> Interval:
        """A fraction of independent trials, with Wilson's interval."""
        ends = stats.binomtest(round(value * trials), trials).proportion_ci(method="wilson")
        return cls(value, float(ends.low), float(ends.high))

    def __contains__(self, number: int | float) -> bool:
        return self.low <= number <= self.high

    def __gt__(self, other: Interval) -> bool:
        """Whether all of this interval lies above all of the other."""
        return self.low > other.high

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals have a number in common."""
        return not (self > other or other > self)

    def __format__(self, spec: str) -> str:
        value, low, high = (format(number, spec) for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True)
class Claim:
    """A statement about the rows of an experiment, and the condition under which they support it."""

    name: str
    """It is stable, and the claim's alone within its experiment."""
    decide: Callable[[Tables], Decision]
    """Whether the tables support it, and the numbers of its sentence; intervals decide where there are intervals."""
    text: str
    """The sentence: `[a|b]` is a where the claim holds and b where it does not; `{fields}` are of the evidence, of
    which lists and mappings are formatted item by item."""
    published: bool = False
    """Whether the paper says so: where it does not hold, the report lists it as a departure from the paper."""

    def judge(self, tables: Tables) -> Verdict:
        """Whether the tables support the claim, in a sentence with their numbers."""
        holds, evidence = self.decide(tables)
        template = re.sub(r"\[([^|\]]*)\|([^\]]*)\]", r"\1" if holds else r"\2", self.text)
        return Verdict(self.name, holds, _Sentence().vformat(template, (), evidence), self.published and not holds)


def claim(text: str, published: bool = False) -> Callable[[Callable[[Tables], Decision]], Claim]:
    """Make the decorated function decide the claim of its name."""
    return lambda decide: Claim(decide.__name__, decide, text, published)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    name: str
    holds: bool
    sentence: str
    departure: bool
    """Whether the paper says what does not hold."""

    @property
    def marked(self) -> str:
        """The sentence after a mark that says whether the claim holds."""
        return f"{'✓' if self.holds else '✗'} {self.sentence}"


class _Sentence(string.Formatter):
    """Fields whose format applies to every item of a list, and to every value of a mapping, after its name."""

    def format_field(self, value: Any, spec: str) -> str:
        if isinstance(value, Mapping):
            return "; ".join(f"{name}: {self.format_field(item, spec)}" for name, item in value.items())
        if isinstance(value, list | tuple):
            return ", ".join(self.format_field(item, spec) for item in value)
        return format(value, spec) if isinstance(value, str) else format(value, spec).replace("-", "−")


def select(rows: Sequence[Row], **values: Any) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(name in row and row[name] == value for name, value in values.items())]


def only(rows: Sequence[Row], **values: Any) -> Row:
    """The one row that has these values."""
    (row,) = select(rows, **values)
    return row

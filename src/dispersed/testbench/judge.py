"""One sampler on many problems."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from dispersed.testbench.check import LEVEL, Check, check
from dispersed.testbench.page import page
from dispersed.testbench.problem import Problem, Sampler, key_and_seed
from dispersed.testbench.standard import standard_problems
from dispersed.validation import InputError


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What `judge` found: `str(verdict)` is one sentence a problem, `verdict.page()` a page of HTML."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(one.passed for one in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the problems on which the sampler failed."""
        return tuple(one.problem.name for one in self.checks if not one.passed)

    def __str__(self) -> str:
        count = len(self.checks)
        head = f"passed on all {count} problems" if self.passed else f"FAILED on {len(self.failed)} of {count} problems"
        return "\n".join([head, *map(str, self.checks)])

    def page(self) -> str:
        """A page of HTML with a row for each problem."""
        return page(self.checks)

    def _repr_html_(self) -> str:
        return self.page()


def judge(
    sampler: Sampler, problems: Sequence[Problem] | None = None, samples: int = 4000, *, key: Any = None
) -> Verdict:
    """Check a sampler on every problem, by default `standard_problems()`.

    **Arguments** as for `check`, and `problems`: those of `standard_problems()` without a cue, for a deterministic
    sampler. The level 10⁻³ is that of all checks together.
    """
    if problems is not None and not isinstance(problems, Sequence):
        raise InputError("problems", f"got {type(problems).__name__}", "a list of problems is accepted")
    problems = standard_problems() if problems is None else list(problems)
    if not problems:
        raise InputError("problems", "got none", "at least one Problem is accepted")
    key, seed = key_and_seed(key)
    keys = [jax.random.fold_in(key, i) if seed is None else seed + i for i in range(len(problems))]
    level = LEVEL / len(problems)
    return Verdict(
        tuple(check(sampler, one, samples, key=k, level=level) for one, k in zip(problems, keys, strict=True))
    )


__all__ = ["Verdict", "judge"]

"""A pytest fixture that fails with the verdict of the test bench.

Import it in a `conftest.py`: `from dispersed.testbench.fixture import assert_samples_exactly`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dispersed.testbench.judge import judge
from dispersed.testbench.problem import Problem, Sampler


@pytest.fixture
def assert_samples_exactly() -> Callable[..., None]:
    """A function of the arguments of `judge` that fails with the verdict where the sampler fails."""

    def assert_exact(
        sampler: Sampler, problems: Sequence[Problem] | None = None, samples: int = 4000, *, key: Any = None
    ) -> None:
        verdict = judge(sampler, problems, samples, key=key)
        if not verdict.passed:
            pytest.fail(str(verdict), pytrace=False)

    return assert_exact


__all__ = ["assert_samples_exactly"]

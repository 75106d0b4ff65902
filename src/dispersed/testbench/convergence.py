"""How fast the bias of a sampler falls with its number of steps."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dispersed.testbench.check import check
from dispersed.testbench.problem import Problem, Sampler
from dispersed.validation import InputError, at_least


@dataclasses.dataclass(frozen=True)
class Convergence:
    """The bias of a sampler at several numbers of steps."""

    steps: tuple[int, ...]
    bias: np.ndarray
    """The total variation beyond the sampling floor, √(distance² − floor²), at each number of steps."""
    noise: float
    """The bias that cannot be told from none: the sampling floor."""
    order: float
    """The exponent of bias ∝ steps^−order, by least squares; NaN where fewer than two biases stand out."""
    error: float
    """Its standard error."""

    def __str__(self) -> str:
        biases = ", ".join(f"{b:.3g} at {n}" for n, b in zip(self.steps, self.bias, strict=True))
        if math.isnan(self.order):
            return f"convergence: no order, fewer than two biases stand out of {self.noise:.2g} (steps: {biases})."
        return f"convergence: weak order {self.order:.2f} ± {self.error:.2f} (bias {biases} steps)."


def convergence(
    make: Callable[[int], Sampler],
    problem: Problem,
    steps: Sequence[int] = (4, 8, 16, 32),
    samples: int = 50_000,
    *,
    key: Any = None,
) -> Convergence:
    """The weak order of a sampler: how its bias on one problem falls with the number of steps.

    A sampler that is right in the limit has a bias that falls; one with a fault has a bias that stays, and an order
    near zero.

    **Arguments**

    - `make`: `make(steps)` returns the sampler.
    - `problem`: one with few patterns, whose frequencies are known well.
    - `samples`, `key`: as for `check`.
    """
    if not isinstance(steps, Sequence) or len(set(steps)) < 2:
        raise InputError("steps", f"got {steps!r}", "at least two numbers of steps are accepted")
    counts = tuple(at_least("steps", count, 1) for count in steps)
    found = [check(make(count), problem, samples, key=key) for count in counts]
    floor = found[0].floor
    bias = np.array([math.sqrt(max(one.total_variation**2 - floor**2, 0.0)) for one in found])
    clear = bias > 3 * floor
    order, error = math.nan, math.nan
    if clear.sum() >= 2:
        x, y = np.log(np.array(counts)[clear]), np.log(bias[clear])
        weight = (bias[clear] / floor) ** 2
        centred = x - np.average(x, weights=weight)
        scatter = float((weight * centred**2).sum())
        order, error = -float((weight * centred * y).sum()) / scatter, 1 / math.sqrt(scatter)
    return Convergence(counts, bias, floor, order, error)


__all__ = ["Convergence", "convergence"]

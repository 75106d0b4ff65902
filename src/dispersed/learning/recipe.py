"""How to train: everything that decides the course of a training besides its data and its key."""

from collections.abc import Callable

import equinox as eqx
import optax

from dispersed.display import one_line
from dispersed.learning.levels import Levels, LogUniform, unit_noise
from dispersed.types import Array, Float
from dispersed.validation import InputError, at_least

ADAM = optax.adam(1e-3)
"""The paper's optimiser. One object, so that two trainings share one compiled program."""


class Recipe(eqx.Module):
    """How to train a score network.

    **Arguments**

    - `steps`: updates of the weights.
    - `draws`: noisy cues of each pattern in every step.
    - `batch`: patterns in every step, in a new order in every epoch; None for all of them, with their weights.
    - `levels`: the distribution of their noise levels; `LogUniform()` by default.
    - `weighting`: λ(σ) of the loss; `unit_noise` by default.
    - `optimiser`: any optax optimiser, with its schedule; Adam at 1e-3, the paper's, by default.
    - `average`: decay of an exponential moving average of the weights, which is then what training returns;
      None for the last weights.
    """

    __repr__ = one_line

    steps: int
    draws: int
    levels: Levels
    weighting: Callable[[Float[Array, "..."]], Float[Array, "..."]]
    optimiser: optax.GradientTransformation
    average: float | None
    batch: int | None

    def __init__(
        self,
        steps: int = 2000,
        draws: int = 16,
        levels: Levels | None = None,
        weighting: Callable[[Float[Array, "..."]], Float[Array, "..."]] = unit_noise,
        optimiser: optax.GradientTransformation = ADAM,
        average: float | None = None,
        batch: int | None = None,
    ) -> None:
        self.steps = at_least("steps", steps, 1)
        self.draws = at_least("draws", draws, 1)
        self.levels = LogUniform() if levels is None else levels
        if not isinstance(self.levels, Levels):
            raise InputError("levels", f"got {levels!r}", "a distribution such as LogUniform(0.02, 2) is accepted")
        self.weighting = weighting
        self.optimiser = optimiser
        if average is not None and not 0 < average < 1:
            raise InputError("average", f"got {average!r}", "a decay in (0, 1), or None, is accepted")
        self.average = average
        self.batch = None if batch is None else at_least("batch", batch, 1)

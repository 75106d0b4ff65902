"""Solvers: recall in steps through falling noise levels, and the one driver that takes them.

A solver says where its levels are (a grid) and how to step from one to the next. What all have in common is here, once:
the loop, the final denoising step, trajectories, the number of evaluations, and how the recall ended. Steps are
recomputed when a recall is differentiated in reverse mode, so that it needs the memory of one step beside the states
passed through.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.dynamics.result import Outcome
from dispersed.dynamics.stability import ending_at
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class Solver(Dynamics):
    """A recall in steps through falling noise levels. To add one, write `step`.

    **Arguments**

    - `steps`: the number of noise levels, from the cue's to `sigma_min`; after the last follows the step to σ = 0.
    - `sigma_min`: the last noise level, well below the distance between memories. Of a cue with less than twice that
      noise it is half the noise of the cue. None: that at t/`steps`, of a cue at time t.
    - `grid`: where the levels are: `log_sigma`, `karras`, `uniform_time` or any function like them.

    The step to σ = 0 is the posterior mean D_σ(z) (Tweedie's formula), or, of a `random` solver, a draw from the
    posterior behind z.
    """

    steps: int
    sigma_min: float | None
    grid: Grid
    scarcest: ClassVar[int] = 2
    """The least number of levels."""

    def __init__(self, steps: int = 20, sigma_min: float | None = 0.05, grid: Grid = log_sigma) -> None:
        self.steps = at_least("steps", steps, self.scarcest)
        self.sigma_min = None if sigma_min is None else positive_number("sigma_min", sigma_min)
        if not callable(grid):
            raise InputError("grid", f"got {grid!r}", "a function such as dispersed.dynamics.karras is accepted")
        self.grid = grid

    def within(self, process: Process) -> "Solver":
        """The solver itself, or one that knows the process in whose time it steps."""
        return self

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> Any:
        """What the solver carries from step to step, before the first: arrays, in any structure. Nothing by default."""
        return None

    @abc.abstractmethod
    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
    ) -> tuple[State, Any]:
        """The state at noise level `following` from the state z at `sigma`, and what is carried on.

        `memory.denoise(z, sigma)` evaluates the memory; `key` is of this step alone.
        """

    def cost(self, begun: int, each: int, intervals: int) -> Any:
        """The number of evaluations of so many steps; −1 where that is unknown.

        By default what `init` and `step` were seen to call for.
        """
        return begun + each * intervals

    def succeeded(self, carry: Any) -> Bool[Array, ""]:
        """Whether all steps were taken as they should be, which a solver that can fail says otherwise."""
        return jnp.array(True)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        solver = self.within(process)
        sigmas = self.levels(process, sigma)
        watched: Any = _Counted(memory)
        carry = solver.init(watched, process, z, sigma, jax.random.fold_in(key, self.steps + 1))
        begun = watched.evaluations

        def advance(carry: tuple[State, Any], now: Any) -> tuple[tuple[State, Any], State | None]:
            watched.evaluations = 0
            i, level, following = now
            z, carry = carry
            new = solver.step(watched, z, level, following, carry, jax.random.fold_in(key, i))
            return new, (z if trajectory else None)

        grid = (jnp.arange(self.steps - 1), sigmas[:-1], sigmas[1:])
        (end, carry), states = jax.lax.scan(jax.checkpoint(advance, prevent_cse=False), (z, carry), grid)
        if states is not None:
            states = jnp.concatenate([states, end[None]])
        outcome = self.finish(memory, z, end, sigmas, key, self.succeeded(carry), states)
        cost = self.cost(begun, watched.evaluations, self.steps - 1)
        return eqx.tree_at(lambda found: found.evaluations, outcome, whole(cost + 2 if cost >= 0 else -1))

    def finish(
        self,
        memory: Denoiser,
        cue: State,
        z: State,
        sigmas: Float[Array, " steps"],
        key: Key[Array, ""],
        succeeded: Bool[Array, ""],
        states: Float[Array, "steps d"] | None,
    ) -> Outcome:
        """The outcome of a recall that reached z at the last of its levels: the step to σ = 0 and how it ended.

        `states` are those at all levels, if a trajectory is kept.
        """
        last, key = sigmas[-1], jax.random.fold_in(key, self.steps)
        if self.random:
            x, index = memory._posterior_draw(key, z, last)
            standing = memory._standing(x, last, cue, sigmas[0], index)
        else:
            x, standing = memory._last_step(z, last, cue, sigmas[0])
        path = () if states is None else (jnp.concatenate([states, x[None]]), jnp.append(sigmas, 0))
        # The flow's slope has no limit at σ = 0, but the exponential step to 0 has: D_σ(z), the last of every recall.
        result = ending_at(memory, x, last, standing, last / 10, succeeded)
        return Outcome.at(x, last, standing, result, whole(self.steps), whole(2), *path)

    def levels(self, process: Process, sigma: Scalar) -> Float[Array, " steps"]:
        """The noise levels of a cue at `sigma`."""
        if self.sigma_min is None:
            last = process.sigma(process.time(sigma) / self.steps)
        else:
            last = jnp.minimum(self.sigma_min, sigma / 2)
        return self.grid(sigma, last, self.steps, process)


def whole(number: Any) -> Any:
    """A whole number as an array."""
    return jnp.asarray(number, dtype=int)


class _Counted:
    """A memory that counts how often a solver evaluates it, while the solver's program is being traced."""

    def __init__(self, memory: Denoiser) -> None:
        self.memory, self.evaluations = memory, 0

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # To a solver it is the memory.
        return type(self.memory)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.memory, name)
        if name in EVALUATIONS:
            self.evaluations += 1
        return found


EVALUATIONS = {
    name + suffix
    for suffix in ("denoise", "score", "log_density", "energy", "jacobian", "nearest", "mean_and_nearest", "posterior")
    for name in ("", "_")
}
"""The methods that evaluate a memory at one state."""

__all__ = ["Solver", "whole"]

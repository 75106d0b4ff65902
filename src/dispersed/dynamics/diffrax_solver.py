"""Any diffrax solver as a solver of recall: the probability flow and the reverse SDE in the process's own time."""

import abc
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp

from dispersed.dynamics.grids import Grid
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError


class Carry(eqx.Module):
    """What a diffrax solver carries from step to step."""

    key: Key[Array, ""]
    """The key of the Brownian path, where there is one."""
    count: Scalar
    """The number of steps taken."""
    state: Any
    """The state of the diffrax solver."""
    successful: Bool[Array, ""]
    """Whether all steps so far were taken."""


class Interval(eqx.Module):
    """One step in time t, from `start` at `count` to `end` at `count` + 1."""

    start: Scalar
    end: Scalar
    count: Scalar

    def time(self, count: Any) -> Float[Array, "..."]:
        """The time at a count of steps in between."""
        return self.start + (count - self.count) * (self.end - self.start)


class DiffraxSolver(Solver):
    """Steps of a diffrax solver in the time t of the process, in whose coordinates the state is x = s(t) z."""

    solver: dfx.AbstractSolver[Any]
    process: Process | None
    """The process in whose time it steps; `recall` sets it."""

    def __init__(self, solver: dfx.AbstractSolver[Any] | None, steps: int, sigma_min: float | None, grid: Grid) -> None:
        super().__init__(steps, sigma_min, grid)
        if not isinstance(solver, dfx.AbstractSolver | None):
            raise InputError("solver", f"got {solver!r}", "a diffrax solver such as diffrax.Heun() is accepted")
        self.solver = dfx.Euler() if solver is None else solver
        self.process = None

    @abc.abstractmethod
    def terms(self, memory: Denoiser, carry: Carry, x: State) -> dfx.AbstractTerm[Any, Any]:
        """The terms that diffrax solves, in the variable of `ends`; their arguments are an `Interval`."""

    @abc.abstractmethod
    def ends(self, interval: Interval) -> tuple[Scalar, Scalar]:
        """The variable of the terms at both ends of an interval, rising."""

    def within(self, process: Process) -> "DiffraxSolver":
        return eqx.tree_at(lambda solver: solver.process, self, process, is_leaf=lambda part: part is None)

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> Carry:
        t, following = (process.time(level) for level in self.levels(memory, process, sigma)[:2])
        carry = Carry(key, jnp.zeros((), z.dtype), None, jnp.array(True))
        x, interval = process.scale(t) * z, Interval(t, following, carry.count)
        state = differentiable(self.solver).init(self.terms(memory, carry, x), *self.ends(interval), x, interval)
        return eqx.tree_at(lambda carry: carry.state, carry, state, is_leaf=lambda part: part is None)

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Carry, key: Key[Array, ""]
    ) -> tuple[State, Carry]:
        process, count = self.process, carry.count
        assert process is not None
        interval = Interval(process.time(sigma), process.time(following), count)
        x = process.scale(interval.start) * z
        x, _, _, state, result = differentiable(self.solver).step(
            self.terms(memory, carry, x),
            *self.ends(interval),
            x,
            interval,
            carry.state,
            made_jump=jnp.array(False),
        )
        successful = carry.successful & (result == dfx.RESULTS.successful)
        return x / process.scale(interval.end), Carry(carry.key, count + 1, state, successful)

    @property
    def stops_early(self) -> bool:
        # Others evaluate the memory in loops of their own, whose values are not seen outside.
        return isinstance(self.solver, dfx.Euler)

    def cost(self, begun: int, each: Any, intervals: Any) -> Any:
        return explicit_evaluations(self.solver, intervals)

    def succeeded(self, carry: Carry) -> Bool[Array, ""]:
        return carry.successful


def explicit_evaluations(solver: dfx.AbstractSolver[Any], steps: Any) -> Any:
    """The number of evaluations in so many steps of an explicit solver; −1 for others, which do not tell."""
    if isinstance(solver, dfx.Euler):
        return steps
    tableau = getattr(solver, "tableau", None)
    if isinstance(tableau, dfx.ButcherTableau) and isinstance(solver, dfx.AbstractERK):
        reused = int(tableau.fsal)
        return steps * (tableau.num_stages - reused) + reused
    return -1 + 0 * steps


def differentiable(solver: dfx.AbstractSolver[Any]) -> dfx.AbstractSolver[Any]:
    """The same solver with loops over its stages that derivatives of both modes pass through."""
    if not hasattr(solver, "scan_kind"):
        return solver
    return eqx.tree_at(lambda solver: solver.scan_kind, solver, "bounded", is_leaf=lambda part: part is None)

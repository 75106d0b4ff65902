"""A solver that tells a callback of every step, for progress bars and records."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from dispersed.dynamics.result import Recall
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError

Callback = Callable[[int, np.ndarray, np.ndarray], Any]
"""`callback(step, sigma, z)`: the number of the step, from 0 on, and the noise levels (states,) and states (states, d)
from which it starts, in the coordinates in which memories are evaluated. What it returns is not used."""

_RAISED: dict[Callback, BaseException] = {}
"""What callbacks raised, until their recalls have ended."""


class Reporting(Solver):
    """Another solver that calls `callback` before each of its steps, once for all states that are recalled together.

    The states are the same as without; all steps are taken, also where one pattern has all probability before the last.
    What the callback raises ends the recall; outside of programs it comes back as it was raised.
    """

    solver: Solver
    callback: Callback

    def __init__(self, solver: Any, callback: Callback) -> None:
        if not isinstance(solver, Solver) or not solver.has_grid:
            given = f"got one for {solver!r}"
            raise InputError("callback", given, "solvers whose steps are those of a grid are accepted")
        if not callable(callback):
            given = f"got {type(callback).__name__}"
            raise InputError("callback", given, "a function of a step, its levels and its states is accepted")
        super().__init__(solver.steps, solver.sigma_min, solver.grid)
        self.solver, self.callback = solver, callback

    def run_all(self, *arguments: Any) -> Recall:
        # Of a recall inside of a program of the user, where the exception is JAX's, one may be left.
        _RAISED.pop(self.callback, None)
        try:
            # Programs run while the host goes on; what a callback raises is known at their end.
            return jax.block_until_ready(super().run_all(*arguments))
        except jax.errors.JaxRuntimeError:
            raised = _RAISED.pop(self.callback, None)
            if raised is None:
                raise
        # JAX keeps the text of an exception alone.
        raise raised

    @property
    def random(self) -> bool:  # type: ignore[override]
        return self.solver.random

    @property
    def stops_early(self) -> bool:
        return False

    def within(self, process: Process) -> "Reporting":
        return eqx.tree_at(lambda reporting: reporting.solver, self, self.solver.within(process))

    def levels(self, memory: Denoiser, process: Process, sigma: Scalar) -> Float[Array, " steps"]:
        return self.solver.levels(memory, process, sigma)

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> Any:
        return 0, self.solver.init(memory, process, z, sigma, key)

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
    ) -> tuple[State, Any]:
        count, inner = carry
        z, inner = self.solver.step(memory, _reported(self.callback, count, sigma, z), sigma, following, inner, key)
        return z, (count + 1, inner)

    def cost(self, begun: int, each: Any, intervals: Any) -> Any:
        return self.solver.cost(begun, each, intervals)

    def succeeded(self, carry: Any) -> Bool[Array, ""]:
        return self.solver.succeeded(carry[1])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _reported(callback: Callback, count: Any, sigma: Scalar, z: State) -> State:
    """The state z, once the callback has been told of it."""

    def tell(count: Any, sigma: Any, z: Any) -> np.ndarray:
        states = np.asarray(z)
        try:
            callback(int(np.max(count)), np.asarray(sigma).reshape(-1), states.reshape(-1, states.shape[-1]))
        except BaseException as error:
            _RAISED[callback] = error
            raise
        return states

    # Called for its effect, but by way of its value, so that the step waits for it.
    return jax.pure_callback(tell, jax.ShapeDtypeStruct(z.shape, z.dtype), count, sigma, z, vmap_method="broadcast_all")


@_reported.defjvp
def _(callback: Callback, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[State, State]:
    return _reported(callback, *primals), tangents[-1]


__all__ = ["Callback", "Reporting"]

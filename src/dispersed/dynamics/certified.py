"""The probability flow over any number of patterns with a certificate, as a dynamics of recall."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.multistep_flow import MultistepFlow
from dispersed.dynamics.result import ENDINGS, Certificate, Outcome, Recall
from dispersed.dynamics.stability import MARGIN, largest_slopes
from dispersed.engines import ScannedPatterns
from dispersed.engines.certified_flow import FlowResult, FlowSolver
from dispersed.memories import AssociativeMemory, Denoiser, PatternMemory
from dispersed.processes import Process
from dispersed.tracing import as_array, in_program
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class CertifiedFlow(Dynamics):
    """The probability flow of patterns that are `Scanned()`, with a certificate.

    **Arguments**

    - `steps`, `sigma_min`: as of `MultistepFlow`, whose method and levels these are.
    - `tol`: what ‖D − D_σ(z)‖ may be, in the units of the patterns, for every denoiser D on the way; by default that of
      the engine of the memory.

    The result has a `certificate`. A recall that is `certified` ended early: the exact flow from the state reached,
    over all patterns and without any discretisation, provably ends at the recalled pattern. Cues stop one by one.

    Inside `jax.jit` and `jax.vmap`, and with `trajectory` or `known`, it is `MultistepFlow`, without a certificate.
    """

    steps: int
    sigma_min: float | None
    tol: float | None
    serves: ClassVar[tuple[type, ...]] = (PatternMemory,)

    def __init__(self, steps: int = 16, sigma_min: float | None = None, tol: float | None = None) -> None:
        self.steps = at_least("steps", steps, 2)
        self.sigma_min = None if sigma_min is None else positive_number("sigma_min", sigma_min)
        self.tol = None if tol is None else positive_number("tol", tol)

    def check(self, memory: AssociativeMemory) -> None:
        super().check(memory)
        assert isinstance(memory, PatternMemory)
        if not isinstance(memory.held, ScannedPatterns):
            given = f"CertifiedFlow cannot recall patterns that are {memory.engine}"
            raise InputError("dynamics", given, "PatternMemory(patterns, engine=Scanned()) is accepted")

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        # Inside a program `sigma_min` is one of its arguments.
        plain: Any = MultistepFlow(self.steps)
        plain = eqx.tree_at(lambda flow: flow.sigma_min, plain, self.sigma_min, is_leaf=lambda part: part is None)
        return plain.run(memory, process, z, sigma, key, trajectory)

    def run_all(
        self,
        memory: PatternMemory,
        process: Process,
        cues: Float[Array, "states d"],
        levels: Float[Array, " states"],
        masks: Bool[Array, "states d"] | None,
        keys: Key[Array, " states"] | None,
        trajectory: bool,
    ) -> Recall:
        if trajectory or masks is not None or in_program(cues, levels):
            return super().run_all(memory, process, cues, levels, masks, keys, trajectory)
        scale = np.asarray(_scale(process, levels), float)
        z = np.asarray(cues, float) / scale[:, None]
        assert isinstance(memory.held, ScannedPatterns)
        solver = FlowSolver(memory.held.placed, self.steps, self.sigma_min, self.tol or memory.held.tol)
        found = solver.solve(z, np.asarray(levels, float))
        dtype = cues.dtype
        fixed = np.where(_attracts(solver, found), _CONVERGED, _SADDLE)
        result = np.where(found.certified, _CERTIFIED, np.where(found.converged, fixed, _EXHAUSTED))
        return Recall(
            as_array(found.x, dtype),
            as_array(found.pattern, int),
            as_array(found.probability, dtype),
            as_array(found.responsibility, dtype),
            eqx.tree_at(lambda item: item._value, ENDINGS.converged, as_array(result, jnp.int32)),
            as_array(found.steps, int),
            as_array(found.evaluations, int),
            None,
            None,
            Certificate(
                as_array(found.bound, dtype),
                as_array(found.certified),
                as_array(found.screens, int),
                as_array(found.sums, int),
            ),
        )


@one_program
def _scale(process: Process, levels: Float[Array, " states"]) -> Float[Array, " states"]:
    return process.scale_at(levels)


def _attracts(solver: FlowSolver, found: FlowResult) -> Bool[np.ndarray, " states"]:
    """Whether the fixed points among the last states are attractors, by the largest slope of D there."""
    attracts = np.ones(len(found.x), bool)
    # The variance is at most (1 − p) times the square of the largest distance.
    with np.errstate(over="ignore"):
        bound = (1 - found.responsibility) * (2 * solver.placed.radius / found.sigma) ** 2
    open_ones = np.flatnonzero(found.converged & ~found.certified & (bound > 1))
    if open_ones.size:
        push = solver.pushing(found.x[open_ones], found.sigma[open_ones])
        attracts[open_ones] = largest_slopes(push, found.x[open_ones].shape) <= 1 + MARGIN
    return attracts


_CONVERGED, _CERTIFIED, _SADDLE, _EXHAUSTED = (
    int(item._value) for item in (ENDINGS.converged, ENDINGS.certified, ENDINGS.saddle, ENDINGS.exhausted)
)

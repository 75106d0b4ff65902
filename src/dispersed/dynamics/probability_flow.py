"""The probability-flow ODE in the process's own time (Eq. 27), by any diffrax solver."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp

from dispersed.dynamics.diffrax_solver import Carry, DiffraxSolver, Interval, explicit_evaluations
from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.dynamics.result import Outcome
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Key, Scalar, State
from dispersed.validation import InputError, positive_number


class ProbabilityFlow(DiffraxSolver):
    """The probability-flow ODE (Eq. 27) in the process's time t, by any diffrax solver.

        dx/dt = (ṡ/s) x + (σ̇/σ) (x − s D_σ(x/s))

    **Arguments**

    - `solver`: any diffrax ODE solver, Euler's method by default; explicit ones report their evaluations, others −1.
    - `steps`, `sigma_min`, `grid`: as of every `Solver`.
    - `tol`: adapt the step to this tolerance instead, relative to the state and the noise of the cue (not for Euler).

    The paper's grid, even in t down to 0, is `ProbabilityFlow(sigma_min=0.0, grid=uniform_time)`; from wide noise that
    of `VE()` is coarse.

    With `tol` derivatives are in reverse mode only, by diffrax's recursive checkpoints.
    """

    tol: float | None

    def __init__(
        self,
        solver: dfx.AbstractSolver[Any] | None = None,
        steps: int = 300,
        tol: float | None = None,
        sigma_min: float | None = None,
        grid: Grid = log_sigma,
    ) -> None:
        super().__init__(solver, steps, sigma_min, grid)
        if tol is not None and not isinstance(self.solver, dfx.AbstractAdaptiveSolver):
            raise InputError("tol", f"{type(self.solver).__name__} has no error estimate", "try diffrax.Tsit5()")
        self.tol = None if tol is None else positive_number("tol", tol)

    @property
    def has_grid(self) -> bool:
        return self.tol is None

    def terms(self, memory: Denoiser, carry: Carry, x: State) -> dfx.AbstractTerm[Any, Any]:
        process = self.process
        assert process is not None

        def slope(minus_t: Any, x: State, interval: Interval) -> State:
            t = jnp.asarray(-minus_t)
            d = memory._denoise(x / process.scale(t), process.sigma(t))
            return -process.velocity(x, t, d)

        return dfx.ODETerm(slope)

    def ends(self, interval: Interval) -> tuple[Scalar, Scalar]:
        # Solvers that reuse their last slope need one variable for all steps.
        return -interval.start, -interval.end

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        if self.tol is None:
            return super().run(memory, process, z, sigma, key, trajectory)
        sigmas = self.levels(memory, process, sigma)
        times = process.time(sigmas)
        whole = Interval(times[0], times[-1], jnp.zeros((), z.dtype))
        carry = Carry(key, whole.count, None, jnp.array(True))
        solution = dfx.diffeqsolve(
            self.within(process).terms(memory, carry, z),
            self.solver,
            t0=-times[0],
            t1=-times[-1],
            # That of diffrax is below the round-off of t where σ is in the thousands.
            dt0=(times[0] - times[-1]) / self.steps,
            y0=process.scale(times[0]) * z,
            args=whole,
            saveat=dfx.SaveAt(ts=-times) if trajectory else dfx.SaveAt(t1=True),
            stepsize_controller=dfx.PIDController(rtol=self.tol, atol=self.tol * (process.scale(times[0]) * sigma)),
            max_steps=16**4,
            throw=False,
        )
        taken = solution.stats["num_steps"]
        end = solution.ys[-1] / process.scale(times[-1])
        states = solution.ys / process.scale(times)[:, None] if trajectory else None
        outcome = self.finish(
            memory, z, end, sigmas, sigmas[-1], key, solution.result == dfx.RESULTS.successful, states
        )
        evaluations = explicit_evaluations(self.solver, taken)
        counts = (taken + 1).astype(int), jnp.where(evaluations < 0, -1, evaluations + 2).astype(int)
        return eqx.tree_at(lambda found: (found.steps, found.evaluations), outcome, counts)


__all__ = ["ProbabilityFlow"]

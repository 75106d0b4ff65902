"""Recall in the process's own time by diffrax: the probability-flow ODE and the reverse SDE."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

from dispersed.dynamics.dynamics import Dynamics, Outcome, settled, whole, with_end
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class ProbabilityFlow(Dynamics):
    """The probability-flow ODE (Eq. 27) in the process's time t, by any diffrax solver.

    The default is the paper's: Euler on the uniform grid of 300 steps from the cue's t to 0.

    **Arguments**

    - `solver`: any diffrax ODE solver; explicit ones report their evaluations, others −1.
    - `steps`: intervals of a uniform grid from the cue's t to 0. The last of them, in which the slope is
      singular, is one Tweedie step, so Euler costs `steps` evaluations.
    - `tol`: adapt the step to this relative and absolute tolerance instead (not for Euler).
    - `sigma_min`: the noise level at which the Tweedie step takes over, instead of the grid's last point.
    """

    solver: dfx.AbstractSolver
    steps: int
    tol: float | None
    sigma_min: float | None

    def __init__(
        self,
        solver: dfx.AbstractSolver | None = None,
        steps: int = 300,
        tol: float | None = None,
        sigma_min: float | None = None,
    ) -> None:
        self.solver = dfx.Euler() if solver is None else _solver(solver)
        self.steps = at_least("steps", steps, 2)
        if tol is not None and not isinstance(self.solver, dfx.AbstractAdaptiveSolver):
            raise InputError("tol", f"{type(self.solver).__name__} has no error estimate", "try diffrax.Tsit5()")
        self.tol = None if tol is None else positive_number("tol", tol)
        self.sigma_min = None if sigma_min is None else positive_number("sigma_min", sigma_min)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        def backwards(count: Any, x: State, grid: _Grid) -> State:
            t = grid.time(count)
            return -grid.step * process.velocity(x, t, memory._denoise(x / process.scale(t), process.sigma(t)))

        return _integrate(self, dfx.ODETerm(backwards), memory, process, z, sigma, trajectory)


class ReverseSDE(Dynamics):
    """The reverse-time SDE (Eq. 7, 16): each recall is one sample of the posterior over memories.

    **Arguments**

    - `solver`: any diffrax SDE solver for additive noise; Euler–Maruyama by default.
    - `steps`: intervals of a uniform grid from the cue's t to 0, the last of them one Tweedie step.
    - `sigma_min`: the noise level at which the Tweedie step takes over, instead of the grid's last point.
    """

    solver: dfx.AbstractSolver
    steps: int
    sigma_min: float | None
    random = True
    tol = None

    def __init__(
        self, solver: dfx.AbstractSolver | None = None, steps: int = 300, sigma_min: float | None = None
    ) -> None:
        self.solver = dfx.Euler() if solver is None else _solver(solver)
        self.steps = at_least("steps", steps, 2)
        self.sigma_min = None if sigma_min is None else positive_number("sigma_min", sigma_min)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        def drift(count: Any, x: State, grid: _Grid) -> State:
            t = grid.time(count)
            return -grid.step * process.reverse_drift(x, t, memory._denoise(x / process.scale(t), process.sigma(t)))

        def noise(count: Any, x: State, grid: _Grid) -> lx.AbstractLinearOperator:
            amplitude = jnp.sqrt(grid.step) * process.diffusion(grid.time(count))
            return lx.DiagonalLinearOperator(jnp.full_like(x, amplitude))

        noise_key, draw = jax.random.split(key)
        shape = jax.ShapeDtypeStruct(z.shape, z.dtype)
        path = dfx.UnsafeBrownianPath(shape, noise_key, levy_area=_levy_area(self.solver))
        terms: dfx.AbstractTerm = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(noise, path))
        return _integrate(self, terms, memory, process, z, sigma, trajectory, draw)


class _Grid(eqx.Module):
    """A uniform grid of times down to `stop`, solved with the number of steps taken as the variable.

    Whole numbers are free of round-off. diffrax draws noise by the times it is asked for, so noise does
    not change with how a compiler rounds the times of another batch.
    """

    stop: Scalar
    step: Scalar
    last: int

    def time(self, count: Any) -> Float[Array, "..."]:
        """The time after `count` steps; `stop`, exactly, after the last."""
        return self.stop + (self.last - count) * self.step


def _solver(solver: object) -> dfx.AbstractSolver:
    if not isinstance(solver, dfx.AbstractSolver):
        raise InputError("solver", f"got {solver!r}", "a diffrax solver such as diffrax.Heun() is accepted")
    return solver


def _levy_area(solver: dfx.AbstractSolver) -> type:
    """The least that the solver must know of the Brownian path."""
    needed = getattr(solver, "minimal_levy_area", dfx.AbstractBrownianIncrement)
    kinds = (dfx.BrownianIncrement, dfx.SpaceTimeLevyArea, dfx.SpaceTimeTimeLevyArea)
    return next(kind for kind in kinds if issubclass(kind, needed))


def _integrate(
    dynamics: ProbabilityFlow | ReverseSDE,
    terms: dfx.AbstractTerm,
    memory: Denoiser,
    process: Process,
    z: State,
    sigma: Scalar,
    trajectory: bool,
    key: Key[Array, ""] | None = None,
) -> Outcome:
    """Solve `terms`, which run in steps of the grid since the cue, then take the Tweedie step, or draw with a key."""
    start = process.time(sigma)
    if dynamics.sigma_min is None:
        stop = start / dynamics.steps
    else:
        stop = process.time(jnp.minimum(dynamics.sigma_min, sigma / 2))
    last = dynamics.steps - 1
    grid = _Grid(stop, (start - stop) / last, last)
    counts = jnp.arange(last + 1, dtype=z.dtype)
    if dynamics.tol is None:
        controller: dfx.AbstractStepSizeController = dfx.StepTo(counts)
        most = last
        saved = dfx.SaveAt(t0=True, steps=True)
    else:
        controller = dfx.PIDController(rtol=dynamics.tol, atol=dynamics.tol)
        most = 16**4
        saved = dfx.SaveAt(ts=counts)
    solution = dfx.diffeqsolve(
        terms,
        dynamics.solver,
        t0=0.0,
        t1=float(last),
        dt0=None,
        y0=process.scale(start) * z,
        args=grid,
        saveat=saved if trajectory else dfx.SaveAt(t1=True),
        stepsize_controller=controller,
        max_steps=most,
        adjoint=dfx.ForwardMode(),  # recall is not differentiated backwards, and this allows cheap noise
        throw=False,
    )
    sigma_stop = process.sigma(stop)
    end = solution.ys[-1] / process.scale(stop)
    if key is None:
        x, drawn = memory._denoise(end, sigma_stop), None
    else:
        x, drawn = memory._posterior_draw(key, end, sigma_stop)
    period, index, responsibility = settled(memory, x, sigma_stop)
    index = index if drawn is None else drawn
    steps = solution.stats["num_steps"]
    states = sigmas = None
    if trajectory:
        times = grid.time(counts)
        states = with_end(solution.ys / process.scale(times)[:, None], x)
        sigmas = jnp.append(process.sigma(times), 0)
    return Outcome(
        x,
        sigma_stop,
        jnp.where(solution.result == dfx.RESULTS.successful, period, 0).astype(int),
        (steps + 1).astype(int),
        _evaluations(dynamics.solver, steps),
        states,
        sigmas,
        index,
        responsibility,
    )


def _evaluations(solver: dfx.AbstractSolver, steps: Int[Array, ""]) -> Int[Array, ""]:
    """Evaluations made by `steps` solver steps and the Tweedie step."""
    if isinstance(solver, dfx.Euler):
        return (steps + 1).astype(int)
    tableau = getattr(solver, "tableau", None)
    if isinstance(tableau, dfx.ButcherTableau) and isinstance(solver, dfx.AbstractERK):
        reused = int(tableau.fsal)
        return (steps * (tableau.num_stages - reused) + reused + 1).astype(int)
    return whole(-1)

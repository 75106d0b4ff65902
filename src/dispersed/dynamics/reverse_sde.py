"""The reverse-time SDE in the process's own time (Eq. 7, 16), by any diffrax solver."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import lineax as lx

from dispersed.dynamics.diffrax_solver import Carry, DiffraxSolver, Interval
from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.memories import Denoiser
from dispersed.types import Scalar, State


class ReverseSDE(DiffraxSolver):
    """The reverse-time SDE (Eq. 7), by any diffrax solver: each recall is one sample of the posterior over memories.

        dx = [(ṡ/s) x + 2 (σ̇/σ) (x − s D_σ(x/s))] dt + g(t) dW̄

    **Arguments**

    - `solver`: any diffrax SDE solver for additive noise; Euler–Maruyama by default.
    - `steps`, `sigma_min`, `grid`: as of every `Solver`. The last step is a draw from the posterior behind the state,
      where the memory can be drawn from.

    The paper's grid, even in t down to 0, is `ReverseSDE(sigma_min=0.0, grid=uniform_time)`; from wide noise that of
    `VE()` is coarse.
    """

    random = True

    def __init__(
        self,
        solver: dfx.AbstractSolver[Any] | None = None,
        steps: int = 300,
        sigma_min: float | None = None,
        grid: Grid = log_sigma,
    ) -> None:
        super().__init__(solver, steps, sigma_min, grid)

    def terms(self, memory: Denoiser, carry: Carry, x: State) -> dfx.AbstractTerm[Any, Any]:
        process = self.process
        assert process is not None

        # diffrax draws noise by the variable. Whole numbers are free of round-off: the noise does not change with how a
        # compiler rounds the times of another batch.
        def drift(count: Any, x: State, interval: Interval) -> State:
            t = interval.time(count)
            d = memory._denoise(x / process.scale(t), process.sigma(t))
            return (interval.end - interval.start) * process.reverse_drift(x, t, d)

        def noise(count: Any, x: State, interval: Interval) -> lx.AbstractLinearOperator:
            amplitude = jnp.sqrt(interval.start - interval.end) * process.diffusion(interval.time(count))
            return lx.DiagonalLinearOperator(jnp.full_like(x, amplitude))

        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        path = dfx.UnsafeBrownianPath(shape, carry.key, levy_area=_levy_area(self.solver))
        return dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(noise, path))

    def ends(self, interval: Interval) -> tuple[Scalar, Scalar]:
        return interval.count, interval.count + 1


def _levy_area(solver: dfx.AbstractSolver[Any]) -> type:
    """The least that the solver must know of the Brownian path."""
    needed = getattr(solver, "minimal_levy_area", dfx.AbstractBrownianIncrement)
    kinds = (dfx.BrownianIncrement, dfx.SpaceTimeLevyArea, dfx.SpaceTimeTimeLevyArea)
    return next(kind for kind in kinds if issubclass(kind, needed))


__all__ = ["ReverseSDE"]

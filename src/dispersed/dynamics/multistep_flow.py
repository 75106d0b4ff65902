"""Recall by the multistep method of `dispersed.multistep`: few evaluations from any noise level."""

from typing import Any

import jax.numpy as jnp

from dispersed import multistep
from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.memories.denoiser import LEAST
from dispersed.multistep import Value
from dispersed.processes import Process
from dispersed.types import Array, Float, Key, Scalar, State


class MultistepFlow(Solver):
    """The probability flow (Eq. 27) by a multistep method that knows the memory at σ = ∞: few evaluations.

        d(z/σ)/dσ = −D_σ(z)/σ²

    D is the parabola in w = κ/(σ + κ) through its last three values, integrated exactly, with κ a tenth of the spread
    s, the root-mean-square distance of the memories from their mean μ. From σ ≥ s/5 on, the first of these values is
    D = μ at σ = ∞, where μ is known. The first step is of order 2, or of order 1 without μ, and all others of order 3.

    **Arguments**

    - `steps`, `sigma_min`: as of every `Solver`.
    - `grid`: as of every `Solver`; by default levels are even in log(1 + c/σ), c = 0.6 s: few lie above s, however
      noisy the cue.
    """

    own_grid: bool

    def __init__(self, steps: int = 16, sigma_min: float | None = None, grid: Grid | None = None) -> None:
        super().__init__(steps, sigma_min, grid or log_sigma)
        self.own_grid = grid is None

    def spaced(self, memory: Denoiser, process: Process, first: Scalar, last: Scalar) -> Float[Array, " steps"]:
        if not self.own_grid:
            return super().spaced(memory, process, first, last)
        c = multistep.SPACING * _spread(memory, first)
        start, end = jnp.log1p(c / first), jnp.log1p(c / last)
        step = (end - start) / (self.steps - 1)
        levels = c / jnp.expm1(start + step * jnp.arange(self.steps, dtype=step.dtype))
        return levels.at[0].set(first).at[-1].set(last)

    def init(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]
    ) -> tuple[Value, Value, Scalar]:
        spread, mean = _spread(memory, sigma), memory._prior_mean()
        level = sigma
        if mean is None:
            mean = jnp.zeros_like(z)
        else:
            level = jnp.where(sigma >= multistep.FROM_INFINITY * spread, jnp.inf, sigma)
        before = Value(mean.astype(z.dtype), level)
        return before, before, multistep.KAPPA * spread

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
    ) -> tuple[State, tuple[Value, Value, Scalar]]:
        before, earlier, kappa = carry
        mean = memory._denoise(z, sigma)
        there = multistep.step(z, sigma, following, mean, before, earlier, kappa)
        return there, (Value(mean, sigma), before, kappa)


def _spread(memory: Denoiser, sigma: Scalar) -> Scalar:
    """The spread of a memory; of one that has none, nearly none."""
    return jnp.maximum(jnp.asarray(memory._prior_spread(), sigma.dtype), LEAST * sigma)


__all__ = ["MultistepFlow"]

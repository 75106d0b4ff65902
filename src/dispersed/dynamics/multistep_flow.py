"""Recall by the multistep method of `dispersed.multistep`: few evaluations from any noise level."""

from typing import Any

import jax.numpy as jnp

from dispersed import multistep
from dispersed.dynamics.grids import Grid, log_one_plus_snr
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.multistep import Value
from dispersed.processes import Process
from dispersed.types import Array, Key, Scalar, State


class MultistepFlow(Solver):
    """The probability flow (Eq. 27) by a multistep method that knows the memory at σ = ∞: few evaluations.

        d(z/σ)/dσ = −D_σ(z)/σ²

    D is the parabola in w = κ/(σ + κ) through its last three values, integrated exactly, with κ a tenth of the spread
    s, the root-mean-square distance of the memories from their mean μ. From σ ≥ s/5 on, the first of these values is
    D = μ at σ = ∞, where μ is known. The first step is of order 2, or of order 1 without μ, and all others of order 3.

    **Arguments**: `steps`, `sigma_min` and `grid`, as of every `Solver`.

    **Source**: exponential Adams–Bashforth methods of diffusion, as Zhang & Chen (2023), Fast sampling of diffusion
    models with exponential integrator, have them with polynomials in t; the variable w and the value at ∞ are ours.
    """

    def __init__(self, steps: int = 16, sigma_min: float | None = None, grid: Grid = log_one_plus_snr) -> None:
        super().__init__(steps, sigma_min, grid)

    def init(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]
    ) -> tuple[Value, Value, Scalar]:
        spread, mean = memory._spread_at(sigma), memory._prior_mean()
        level = sigma
        if mean is None:
            mean = jnp.zeros_like(z)
        else:
            high = (sigma >= multistep.FROM_INFINITY * spread) & (sigma <= multistep.FAR * spread)
            level = jnp.where(high, jnp.inf, sigma)
        before = Value(mean.astype(z.dtype), level)
        return before, before, multistep.KAPPA * spread

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
    ) -> tuple[State, tuple[Value, Value, Scalar]]:
        before, earlier, kappa = carry
        mean = memory._denoise(z, sigma)
        there = multistep.step(z, sigma, following, mean, before, earlier, kappa)
        return there, (Value(mean, sigma), before, kappa)


__all__ = ["MultistepFlow"]

"""Heun's method in σ, the deterministic sampler of Karras et al. (2022)."""

from dispersed.dynamics.grids import Grid, karras
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.types import Array, Key, Scalar, State


class Heun(Solver):
    """The probability flow dz/dσ = (z − D_σ(z))/σ by Heun's trapezoidal rule, two evaluations a step.

    **Arguments**: `steps`, `sigma_min`, `grid`; Karras' grid with ρ = 7 by default.

    **Source**: Karras et al. (2022), Elucidating the design space of diffusion-based generative models, Algorithm 1.
    Order 2. Its last step, to σ = 0, is Euler's there too, which is D_σ(z).
    """

    def __init__(self, steps: int = 18, sigma_min: float | None = None, grid: Grid = karras) -> None:
        super().__init__(steps, sigma_min, grid)

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: None, key: Key[Array, ""]
    ) -> tuple[State, None]:
        slope = (z - memory._denoise(z, sigma)) / sigma
        euler = z + (following - sigma) * slope
        end = (euler - memory._denoise(euler, following)) / following
        return z + (following - sigma) * (slope + end) / 2, None


__all__ = ["Heun"]

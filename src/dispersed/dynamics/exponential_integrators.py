r"""Recall in σ by exponential integrators: few evaluations, exact for the linear part of the flow.

With λ = −log σ the probability flow (Eq. 27) is dz/dλ = D_σ(z) − z. Over a step h in λ

    z(λ+h) = e^{−h} z(λ) + ∫₀^h e^{−(h−u)} D(λ+u) du,

and a polynomial through the last evaluations of D makes the integral elementary. The moments of such a polynomial are

    m_k = ∫₀^h e^{−(h−u)} (u/h)^k du,    m_0 = 1 − e^{−h},    m_k = 1 − k m_{k−1}/h.

The step to σ = 0 is Tweedie's D_σ(z), the limit h → ∞.
"""

from typing import Any

import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.dynamics.result import Outcome
from dispersed.dynamics.solver import Solver, whole
from dispersed.dynamics.stability import ending_at
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Key, Scalar, State
from dispersed.validation import InputError


class OneStep(Dynamics):
    """Tweedie's formula: x = D_σ(z), the mean of all memories that may lie behind the cue. One evaluation."""

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        x, standing = memory._last_step(z, sigma, z, sigma)
        path = (jnp.stack([z, x]), jnp.stack([sigma, jnp.zeros_like(sigma)])) if trajectory else ()
        return Outcome.at(
            x, sigma, standing, ending_at(memory, x, sigma, standing, sigma / 10), whole(1), whole(2), *path
        )


class DDIM(Solver):
    """The first-order exponential integrator: D is held over the step.

        z' = D + (σ'/σ)(z − D)

    **Source**: Song et al. (2021), Denoising diffusion implicit models, Eq. 12 with η = 0. Order 1.
    """

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: None, key: Key[Array, ""]
    ) -> tuple[State, None]:
        d = memory._denoise(z, sigma)
        return d + following / sigma * (z - d), None


class DPMSolver2M(Solver):
    """DPM-Solver++(2M) as published: two evaluations, the second of which is the last step's.

        z' = e^{−h} z + (1 − e^{−h}) (D + (D − D₋)/2r),    r = h₋/h

    The first step is of first order. `ExponentialIntegrator` integrates the line through both evaluations instead.

    **Source**: Lu et al. (2022), DPM-Solver++, Algorithm 2. Order 2.
    """

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> tuple[Any, ...]:
        return jnp.zeros_like(z), jnp.full_like(sigma, jnp.inf)

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[State, tuple[Any, ...]]:
        before, last = carry
        d, h = memory._denoise(z, sigma), jnp.log(sigma / following)
        slope = (d - before) * (h / last)  # over an infinite step before the first there is none
        return jnp.exp(-h) * z - jnp.expm1(-h) * (d + slope / 2), (d, h)


class DPMSolver3M(Solver):
    """DPM-Solver++(3M) as published: three evaluations, two of them of the steps before.

    With r₀ = h₋/h, r₁ = h₋₋/h, and the differences D₁₀ = (D − D₋)/r₀, D₁₁ = (D₋ − D₋₋)/r₁,

        D₁ = D₁₀ + r₀/(r₀ + r₁) (D₁₀ − D₁₁),    D₂ = (D₁₀ − D₁₁)/(r₀ + r₁),
        z' = e^{−h} z + m₀ D + m₁ D₁ + m₂ D₂/2.

    The first two steps are those of `DPMSolver2M`. D₂ is half the second derivative that m₂/2 belongs to, so the
    order is 2, as its authors' own code has it; `ExponentialIntegrator(order=3)` is of order 3.

    **Source**: Lu et al. (2022), DPM-Solver++, App. B, in the form of the authors' `multistep_dpm_solver_third_update`.
    """

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> tuple[Any, ...]:
        none, infinite = jnp.zeros_like(z), jnp.full_like(sigma, jnp.inf)
        return none, infinite, none, infinite

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[State, tuple[Any, ...]]:
        before, last, earlier, last_but_one = carry
        d, h = memory._denoise(z, sigma), jnp.log(sigma / following)
        m0, m1, m2 = moments(h)
        first = (d - before) * (h / last)
        two = jnp.exp(-h) * z + m0 * (d + first / 2)
        # Of what is not there yet nothing may enter, not even into a derivative.
        there = jnp.isfinite(last_but_one)
        r0, r1 = (jnp.where(there, step, h) / h for step in (last, last_but_one))
        bend = (first - (before - earlier) / r1) / (r0 + r1)
        three = jnp.exp(-h) * z + m0 * d + m1 * (first + r0 * bend) + m2 / 2 * bend
        return jnp.where(there, three, two), (d, h, before, last)


class ExponentialIntegrator(Solver):
    """The exponential Adams–Bashforth method: the polynomial through the last evaluations of D, integrated exactly.

    Order 1 is DDIM. Order 2 integrates the line through the last two evaluations, and so weighs their difference by
    m₁ where DPM-Solver++(2M) has m₀/2. Order 3 integrates the parabola through the last three; it starts with one more
    evaluation, at the end of a first step of first order, without which the order would be 2.

    **Arguments**: `steps`, `order`, `sigma_min` and `grid`, as of every `Solver`.

    **Source**: Hochbruck & Ostermann (2010), Exponential integrators, Sec. 2.5.
    """

    order: int

    def __init__(self, steps: int = 20, order: int = 2, sigma_min: float | None = None, grid: Grid = log_sigma) -> None:
        super().__init__(steps, sigma_min, grid)
        if order not in (1, 2, 3):
            raise InputError("order", f"got {order!r}", "orders 1, 2 and 3 are accepted")
        self.order = order

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> tuple[Any, ...]:
        none, infinite = jnp.zeros_like(z), jnp.full_like(sigma, jnp.inf)
        if self.order < 3:
            return none, infinite, none, infinite
        following = self.levels(memory, process, sigma)[1]
        h = jnp.log(sigma / following)
        first = memory._denoise(z, sigma)
        second = memory._denoise(jnp.exp(-h) * z - jnp.expm1(-h) * first, following)
        return 2 * first - second, h, none, infinite

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[State, tuple[Any, ...]]:
        before, last, slope_before, last_but_one = carry
        d, h = memory._denoise(z, sigma), jnp.log(sigma / following)
        m0, m1, m2 = moments(h)
        # Newton's divided differences; over an infinite step before the first they vanish.
        slope = (d - before) / last
        z = jnp.exp(-h) * z + m0 * d
        if self.order > 1:
            z += h * m1 * slope
        if self.order > 2:
            z += (h * m2 + last * m1) * h * (slope - slope_before) / (last + last_but_one)
        return z, (d, h, slope, last)


def moments(h: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The moments m₀, m₁ and m₂ of a step h."""
    m0 = -jnp.expm1(-h)
    m1 = 1 - m0 / h
    return m0, m1, 1 - 2 * m1 / h


__all__ = ["DDIM", "DPMSolver2M", "DPMSolver3M", "ExponentialIntegrator", "OneStep"]

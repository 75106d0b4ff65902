r"""Recall in σ by exponential integrators: few evaluations, exact for the linear part of the flow.

With λ = −log σ the probability flow is dz/dλ = D_σ(z) − z. Over a step h in λ

    z(λ+h) = e^{−h} z(λ) + ∫₀^h e^{−(h−u)} D(λ+u) du,

and a polynomial through the last evaluations of D makes the integral elementary. Degree 0 is DDIM, degrees
1 and 2 are the multistep DPM-Solver++ 2M and 3M. The step to σ = 0 is Tweedie's D_σ(z), the limit h → ∞.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics, Outcome, settled, whole, with_end
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class OneStep(Dynamics):
    """Tweedie's formula: x = D_σ(z), the mean of all memories that may lie behind the cue. One evaluation."""

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        x = memory._denoise(z, sigma)
        period, index, responsibility = settled(memory, x, sigma)
        states = jnp.stack([z, x]) if trajectory else None
        sigmas = jnp.stack([sigma, jnp.zeros_like(sigma)]) if trajectory else None
        return Outcome(x, sigma, period, whole(1), whole(1), states, sigmas, index, responsibility)


class ExponentialIntegrator(Dynamics):
    """The probability flow by an exponential multistep method in log σ.

    **Arguments**

    - `steps`: denoiser evaluations, at noise levels spaced evenly in log σ from the cue's to `sigma_min`
      (order 3 needs one more, to start).
    - `order`: 1 is DDIM, 2 and 3 are DPM-Solver++ 2M and 3M.
    - `sigma_min`: the last noise level asked, well below the distance between memories.

    **Source**: Song et al. (2021) DDIM; Lu et al. (2022) DPM-Solver++.
    """

    steps: int
    order: int
    sigma_min: float

    def __init__(self, steps: int = 20, order: int = 2, sigma_min: float = 0.05) -> None:
        self.steps = at_least("steps", steps, 2)
        if order not in (1, 2, 3):
            raise InputError("order", f"got {order!r}", "orders 1, 2 and 3 are accepted")
        self.order = order
        self.sigma_min = positive_number("sigma_min", sigma_min)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        last = jnp.minimum(self.sigma_min, sigma / 2)
        h = jnp.log(sigma / last) / (self.steps - 1)
        step = jnp.arange(self.steps)
        sigmas = sigma * jnp.exp(-h * step.astype(z.dtype))
        # ∫ e^{−(h−u)} (u/h)^k du for k = 0, 1, 2; the last step, h → ∞, leaves the latest D alone.
        m0 = -jnp.expm1(-h)
        m1 = 1 - m0 / h
        m2 = 1 - 2 * m1 / h
        final = step == self.steps - 1
        decay, latest = jnp.where(final, 0, jnp.exp(-h)), jnp.where(final, 1, m0)
        linear = jnp.where(final | (self.order < 2), 0, m1)
        quadratic = jnp.where(final | (self.order < 3), 0, (m2 + m1) / 2)

        def advance(carry: tuple[State, State, State], now: Any) -> tuple[tuple[State, State, State], Any]:
            z, before, difference = carry
            i, level, decay, latest, linear, quadratic = now
            d = memory._denoise(z, level)
            first = jnp.where(i > 0, d - before, 0)
            second = jnp.where(i > 1, first - difference, 0)
            new = decay * z + latest * d + linear * first + quadratic * second
            return (new, d, first), (z if trajectory else None)

        grid = (step, sigmas, decay, latest, linear, quadratic)
        none = jnp.zeros_like(z)
        if self.order < 3:
            carry, states = jax.lax.scan(advance, (z, none, none), grid)
        else:
            # A first-order start would leave an error h²: the first step is taken through both its ends.
            d0 = memory._denoise(z, sigmas[0])
            d1 = memory._denoise(decay[0] * z + m0 * d0, sigmas[1])
            second = decay[0] * z + m0 * d0 + m1 * (d1 - d0)
            rest = jax.tree.map(lambda part: part[1:], grid)
            carry, states = jax.lax.scan(advance, (second, d0, none), rest)
            states = None if states is None else jnp.concatenate([z[None], states])
        end = carry[0]
        period, index, responsibility = settled(memory, end, sigmas[-1])
        cost = whole(self.steps + (self.order == 3))
        path = with_end(states, end) if trajectory else None
        levels = jnp.append(sigmas, 0) if trajectory else None
        return Outcome(end, sigmas[-1], period, whole(self.steps), cost, path, levels, index, responsibility)

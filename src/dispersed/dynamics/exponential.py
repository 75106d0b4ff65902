r"""Recall in σ by exponential integrators: few evaluations, exact for the linear part of the flow.

With λ = −log σ the probability flow is dz/dλ = D_σ(z) − z. Over a step h in λ

    z(λ+h) = e^{−h} z(λ) + ∫₀^h e^{−(h−u)} D(λ+u) du,

and a polynomial through the last evaluations of D makes the integral elementary. Degree 0 is DDIM, degrees
1 and 2 are the multistep DPM-Solver++ 2M and 3M. The step to σ = 0 is Tweedie's D_σ(z), the limit h → ∞.
"""

import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics, Outcome, gather, whole, with_end
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class OneStep(Dynamics):
    """Tweedie's formula: x = D_σ(z), the mean of all memories that may lie behind the cue. One evaluation."""

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        x, period = gather(memory, z, sigma)
        states = jnp.stack([z, x]) if trajectory else None
        sigmas = jnp.stack([sigma, jnp.zeros_like(sigma)]) if trajectory else None
        return Outcome(x, sigma, period, whole(1), whole(1), states, sigmas)


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
        sigmas = sigma * jnp.exp(-h * jnp.arange(self.steps, dtype=z.dtype))
        # ∫ e^{−(h−u)} (u/h)^k du for k = 0, 1, 2
        m0 = -jnp.expm1(-h)
        m1 = 1 - m0 / h
        m2 = 1 - 2 * m1 / h
        decay = jnp.exp(-h)

        def step(z: State, latest: State, first: State, second: State) -> State:
            """One step, with the latest D and its first and second backward differences."""
            return decay * z + m0 * latest + m1 * first + (m2 + m1) / 2 * second

        none = jnp.zeros_like(z)
        d0 = memory._denoise(z, sigmas[0])
        z1 = step(z, d0, none, none)
        if self.order == 3:
            # A first-order start would leave an error h²: redo the first step through both its ends.
            z1 = step(z, d0, memory._denoise(z1, sigmas[1]) - d0, none)

        def advance(carry: tuple[State, State, State, Array], level: Scalar):
            z, before, difference, started = carry
            d = memory._denoise(z, level)
            first = d - before
            second = jnp.where(started, first - difference, 0)
            new = step(z, d, first if self.order > 1 else none, second if self.order > 2 else none)
            return (new, d, first, jnp.array(True)), (z if trajectory else None)

        start = (z1, d0, none, jnp.array(False))
        (end, *_), states = jax.lax.scan(advance, start, sigmas[1:-1])
        x, period = gather(memory, end, sigmas[-1])
        if trajectory:
            states = with_end(jnp.concatenate([z[None], states, end[None]]), x)
            levels = jnp.append(sigmas, 0)
        cost = whole(self.steps + (self.order == 3))
        return Outcome(x, sigmas[-1], period, whole(self.steps), cost, *((states, levels) if trajectory else ()))

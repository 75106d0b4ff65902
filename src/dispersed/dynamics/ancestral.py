r"""The reverse SDE with the inverse temperature β = 1/σ² as its clock: each recall samples the posterior.

In z = x/s the reverse SDE (Eq. 7, 16) of every Gaussian process is the same equation in σ. Multiplied by β it
loses its singularity at σ → 0 and becomes, for m = βz,

    dm = D_σ(m/β) dβ + dW_β:

evidence for the memories, D, accumulates at unit rate with unit noise. Its Euler–Maruyama step is exact while
the denoiser stays at D. In z, with r = (σ'/σ)²,

    z' = r z + (1 − r) D_σ(z) + σ' √(1 − r) ε,   ε ~ N(0, I),

which is ancestral sampling (Ho et al. 2020) or first-order SDE-DPM-Solver++ (Lu et al. 2022): weak order 1.
Taking the mean of D at both ends of that step, with the same noise, is Heun's method: the noise is additive,
so its weak order is 2 (Kloeden & Platen 1992, Sec. 15.1). β as a clock is the stochastic localisation of
Eldan (2013).

The order of Heun's method shows slowly. Where σ is below the distance of two memories that are still undecided, the
slope of D is of the order of that distance squared over 4σ², and steps are small only against its inverse. For two
memories ±1 of weights 0.7 and 0.3, a cue at 0.5 and σ = 1.98 down to 0.25, the bias of the share of the second,
computed by propagating densities and not by sampling, is

    steps      3        6        12       24       48       96       192
    order 1    5.2e-2   2.6e-2   1.3e-2   6.6e-3   3.3e-3   1.7e-3   8.4e-4
    order 2    2.5e-2   8.5e-3   2.7e-3   7.9e-4   2.2e-4   6.0e-5   1.6e-5

Halving the step of Heun's method divides its bias by 3.0, 3.2, 3.4, 3.6, 3.7 and 3.8, and by 4 in the limit.
"""

import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics, Outcome, settled, whole, with_end
from dispersed.memories import Denoiser
from dispersed.processes import Process
from dispersed.types import Array, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number


class AncestralSampling(Dynamics):
    """The reverse SDE in steps of log σ; the result does not depend on the clock of the process.

    **Arguments**

    - `steps`: intervals of a grid even in log σ, from the cue's level to `sigma_min` and, the last, to 0. That
      one is a Tweedie step. Order 1 costs `steps` denoiser evaluations, order 2 nearly twice as many.
    - `order`: the weak order, 1 (ancestral sampling) or 2 (Heun).
    - `sigma_min`: the last noise level asked, well below the distance between memories.

    **Source**: Ho et al. (2020) DDPM; Lu et al. (2022) DPM-Solver++, SDE version; Kloeden & Platen (1992).
    """

    steps: int
    order: int
    sigma_min: float
    random = True

    def __init__(self, steps: int = 30, order: int = 2, sigma_min: float = 0.05) -> None:
        self.steps = at_least("steps", steps, 2)
        if order not in (1, 2):
            raise InputError("order", f"got {order!r}", "weak orders 1 and 2 are accepted")
        self.order = order
        self.sigma_min = positive_number("sigma_min", sigma_min)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        last = jnp.minimum(self.sigma_min, sigma / 2)
        h = jnp.log(sigma / last) / (self.steps - 1)
        sigmas = sigma * jnp.exp(-h * jnp.arange(self.steps, dtype=z.dtype))
        kept, replaced = jnp.exp(-2 * h), -jnp.expm1(-2 * h)

        def advance(z: State, i: Int[Array, ""]) -> tuple[State, State | None]:
            noise = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
            d = memory._denoise(z, sigmas[i])
            new = kept * z + replaced * d + sigmas[i + 1] * jnp.sqrt(replaced) * noise
            if self.order == 2:
                new += replaced / 2 * (memory._denoise(new, sigmas[i + 1]) - d)
            return new, (z if trajectory else None)

        end, states = jax.lax.scan(advance, z, jnp.arange(self.steps - 1))
        x, drawn = memory._posterior_draw(jax.random.fold_in(key, self.steps), end, sigmas[-1])
        period, index, responsibility = settled(memory, x, sigmas[-1])
        index = index if drawn is None else drawn
        cost = whole(self.order * (self.steps - 1) + 1)
        path = None if states is None else with_end(with_end(states, end), x)
        levels = None if states is None else jnp.append(sigmas, 0)
        return Outcome(x, sigmas[-1], period, whole(self.steps), cost, path, levels, index, responsibility)

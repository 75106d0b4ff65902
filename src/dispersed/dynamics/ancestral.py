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

from dispersed.dynamics.grids import Grid, log_sigma
from dispersed.dynamics.solver import Solver
from dispersed.memories import Denoiser
from dispersed.types import Array, Key, Scalar, State
from dispersed.validation import InputError


class AncestralSampling(Solver):
    """The reverse SDE in steps of σ, exact while D is constant; the result does not depend on the process.

    **Arguments**

    - `steps`, `sigma_min`, `grid`: as of every `Solver`. Order 1 costs `steps` denoiser evaluations, order 2 nearly
      twice as many, and one for the check of the end.
    - `order`: the weak order, 1 (ancestral sampling, the exponential Euler–Maruyama step) or 2 (Heun).

    The last step draws from the posterior behind the state, where the memory can be drawn from.

    **Source**: Ho et al. (2020) DDPM; Lu et al. (2022) DPM-Solver++, SDE version; Kloeden & Platen (1992).
    """

    order: int
    random = True

    def __init__(self, steps: int = 30, order: int = 2, sigma_min: float = 0.05, grid: Grid = log_sigma) -> None:
        super().__init__(steps, sigma_min, grid)
        if order not in (1, 2):
            raise InputError("order", f"got {order!r}", "weak orders 1 and 2 are accepted")
        self.order = order

    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: None, key: Key[Array, ""]
    ) -> tuple[State, None]:
        r = (following / sigma) ** 2
        # 1 − r without its round-off where steps are short.
        replaced = -jnp.expm1(-2 * jnp.log(sigma / following))
        noise = jax.random.normal(key, z.shape, z.dtype)
        d = memory._denoise(z, sigma)
        new = r * z + replaced * d + following * jnp.sqrt(replaced) * noise
        if self.order == 2:
            new += replaced / 2 * (memory._denoise(new, following) - d)
        return new, None


__all__ = ["AncestralSampling"]

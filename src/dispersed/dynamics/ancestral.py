r"""The reverse SDE with the inverse temperature β = 1/σ² as its clock: each recall samples the posterior.

In z = x/s the reverse SDE (Eq. 7, 16) of every Gaussian process is the same equation in σ. Multiplied by β it
loses its singularity at σ → 0 and becomes, for m = βz,

    dm = D_σ(m/β) dβ + dW_β:

evidence for the memories, D, accumulates at unit rate with unit noise. Its Euler–Maruyama step is exact while
the denoiser stays at D. In z, with r = (σ'/σ)²,

    z' = r z + (1 − r) D_σ(z) + σ' √(1 − r) ε,   ε ~ N(0, I),

which is ancestral sampling (Ho et al. 2020) or first-order SDE-DPM-Solver++ (Lu et al. 2022): weak order 1.
Order 2 takes D as linear in log σ between both ends of that step, with D at its end evaluated at the state z'. With
h = log(σ/σ') this adds (1 − (1 − e^{−2h})/2h) (D_σ'(z') − D_σ(z)). It is an exponential Heun method: the noise is
additive, so its weak order is 2 (Kloeden & Platen 1992, Sec. 15.1). β as a clock is the stochastic localisation of
Eldan (2013).

The second order shows slowly. Where σ is below the distance of two memories that are still undecided, the slope of
D is of the order of that distance squared over 4σ², and steps are small only against its inverse. For two memories
±1 of weights 0.7 and 0.3, a cue at 0.5 and σ = 1.98 down to 0.25, the bias of the probability of the second,
computed by propagating expectations and not by sampling, is

    steps      3        6        12       24       48       96       192
    order 1    7.1e-2   3.7e-2   1.9e-2   9.9e-3   5.0e-3   2.5e-3   1.3e-3
    order 2    2.9e-2   1.0e-2   3.3e-3   9.8e-4   2.8e-4   7.5e-5   2.0e-5

The mean of D at both ends, Heun's method in β, has 1.2 times the bias of order 2 there, and 1.4 times that of the
width of a Gaussian.
"""

import jax
import jax.numpy as jnp

from dispersed.dynamics.exponential_integrators import moments
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
    - `order`: the weak order, 1 (ancestral sampling, the exponential Euler–Maruyama step) or 2 (exponential
      Heun).

    The last step draws from the posterior behind the state, where the memory can be drawn from.

    **Source**: Ho et al. (2020) DDPM; Lu et al. (2022) DPM-Solver++, SDE version; Kloeden & Platen (1992).
    """

    order: int
    random = True

    def __init__(self, steps: int = 30, order: int = 2, sigma_min: float | None = None, grid: Grid = log_sigma) -> None:
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
            _, weight, _ = moments(2 * jnp.log(sigma / following))
            new += weight * (memory._denoise(new, following) - d)
        return new, None


__all__ = ["AncestralSampling"]

r"""One network, two phases: a rhythm that injects noise while it learns and removes it while it recalls.

The paper supposes (Sec. 4, after Hasselmo) that the hippocampal theta cycle separates the two directions of
diffusion. Over one cycle the noise level follows the rhythm, σ(φ) = ½σ_max(1 − cos φ):

- φ from 0 to π: noise is injected into the state, a Brownian path from the experienced pattern y (Eq. 6). Short-term
  memory holds y, and every moment is a sample x = y + σε for the online rule (Eq. 22). Synapses are plastic.
- φ from π to 2π: the same network removes the noise, dx/dσ = (x − D_σ(x))/σ. Synapses are held.

If plasticity leaks into the second phase, the network learns from its own recall. There x is a function of the
state at the turning point: its residual x − y is no noise of level σ, is correlated with the network's own errors,
and does not vanish with σ where the recall goes astray, so that (x − y)/σ has no bound.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.memories import LearnedMemory
from dispersed.plasticity.online import online_update
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Key, Patterns, Scalar, State
from dispersed.validation import InputError, at_least, positive_number, real_array


class Rhythm(eqx.Module):
    """A cycle of noise injection and removal.

    **Arguments**

    - `sigma_max`: the noise level at the turning point.
    - `half`: moments in either phase.
    - `leak`: plasticity in the denoising phase, in [0, 1]; 0 is perfect gating, 1 none.
    """

    sigma_max: float
    half: int
    leak: Scalar

    def __init__(self, sigma_max: float = 2.0, half: int = 20, leak: ArrayLike = 0.0) -> None:
        self.sigma_max = positive_number("sigma_max", sigma_max)
        self.half = at_least("half", half, 2)
        self.leak = real_array("leak", leak).astype(float)
        if is_known(self.leak) and not 0 <= float(self.leak) <= 1:
            raise InputError("leak", f"got {float(self.leak):g}", "numbers in [0, 1] are accepted")

    @property
    def levels(self) -> Float[Array, " half"]:
        """σ at the moments of the first phase, the last being σ_max."""
        # sin²(φ/2) where 1 − cos φ would cancel.
        return self.sigma_max * jnp.sin(jnp.pi * jnp.arange(1, self.half + 1) / (2 * self.half)) ** 2

    def cycle(self, memory: LearnedMemory, y: State, key: Key[Array, ""], rate: Scalar) -> tuple[LearnedMemory, State]:
        """The network after one cycle that began with the experience y, and the state that the cycle ends in."""
        levels = self.levels
        before = jnp.concatenate([jnp.zeros(1), levels[:-1]])
        # sin² a − sin² b = sin(a − b) sin(a + b) is the difference of two levels.
        quarter = jnp.pi / (2 * self.half)
        rise = self.sigma_max * jnp.sin(quarter) * jnp.sin(quarter * (2 * jnp.arange(self.half) + 1))
        increments = jnp.sqrt(rise * (levels + before))[:, None] * jax.random.normal(key, (self.half, y.size))
        noisy = y + jnp.cumsum(increments, axis=0)
        arrays, rest = eqx.partition(memory, eqx.is_array)

        def inject(arrays: Any, moment: tuple[State, Scalar]) -> tuple[Any, None]:
            x, sigma = moment
            changed = online_update(eqx.combine(arrays, rest), y, (x - y) / sigma, sigma, rate)
            return eqx.filter(changed, eqx.is_array), None

        def remove(carry: tuple[Any, State], moment: tuple[Scalar, Scalar]) -> tuple[tuple[Any, State], None]:
            arrays, x = carry
            sigma, lower = moment
            present = eqx.combine(arrays, rest)
            changed = online_update(present, y, (x - y) / sigma, sigma, self.leak * rate)
            denoised = present.denoise(x, sigma)
            return (eqx.filter(changed, eqx.is_array), denoised + lower / sigma * (x - denoised)), None

        arrays, _ = jax.lax.scan(inject, arrays, (noisy, levels))
        (arrays, x), _ = jax.lax.scan(remove, (arrays, noisy[-1]), (levels[::-1], before[::-1]))
        return eqx.combine(arrays, rest), x


@eqx.filter_jit
def live(
    memory: LearnedMemory, rhythm: Rhythm, patterns: Patterns, rates: Float[Array, " cycles"], key: Key[Array, ""]
) -> tuple[LearnedMemory, Float[Array, " cycles"]]:
    """The network after as many cycles as there are `rates`, each begun by a pattern drawn at random.

    Also, of every cycle, the fraction of units whose sign at its end is that of the pattern it began with.
    """
    for_choice, for_noise = jax.random.split(key)
    chosen = jax.random.randint(for_choice, rates.shape, 0, len(patterns))
    arrays, rest = eqx.partition(memory, eqx.is_array)

    def one(arrays: Any, moment: tuple[Any, ...]) -> tuple[Any, Scalar]:
        index, key, rate = moment
        changed, x = rhythm.cycle(eqx.combine(arrays, rest), patterns[index], key, rate)
        return eqx.filter(changed, eqx.is_array), jnp.mean(jnp.sign(x) == jnp.sign(patterns[index]))

    keys = jax.random.split(for_noise, len(rates))
    arrays, kept = jax.lax.scan(one, arrays, (chosen, keys, rates))
    return eqx.combine(arrays, rest), kept

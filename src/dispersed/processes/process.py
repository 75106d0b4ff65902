r"""What a process is: the only place that knows time.

Time t counts how long noise has been injected: t = 0 is the clean pattern (the paper's T − t, Sec. 2.2).
Every Gaussian process is

    x_t = s(t) (y + σ(t) ε),   ε ~ N(0, I),

a scale s and the noise σ under which a memory is observed in z = x/s. Running it backwards needs only those two:

    probability flow  dx/dt = (ṡ/s) x + (σ̇/σ) (x − s D_σ(z))            (Eq. 27)
    reverse SDE       dx = [(ṡ/s) x + 2 (σ̇/σ) (x − s D_σ(z))] dt + s √(2σσ̇) dW̄      (Eq. 7, 16)
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.display import one_line
from dispersed.keys import normal
from dispersed.noise import sigma_of
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, broadcast, check_finite, positive, random_key, real_array


class Process(eqx.Module):
    """A Gaussian noise-injecting process. Subclasses write `scale`, `sigma` and `time`, elementwise."""

    __repr__ = one_line

    def in_precision(self, dtype: Any) -> "Process":
        """The same process with its settings in the precision of the states that it is to meet."""
        return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, self)

    @abc.abstractmethod
    def scale(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """s(t), the factor on the pattern."""

    @abc.abstractmethod
    def sigma(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """σ(t), the noise standard deviation in z = x/s(t); increasing, 0 at t = 0."""

    @abc.abstractmethod
    def time(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time t at which the noise is `sigma`: the inverse of `sigma(t)`."""

    def scale_at(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        """The factor on the pattern at the time at which the noise is `sigma`.

        To be overridden where it is known without that time, which may have no digits left to tell it by.
        """
        return self.scale(self.time(sigma))

    def spread(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """s(t)σ(t), the standard deviation of the noise in x.

        To be overridden where it is finite although σ(t) is not.
        """
        return self.scale(t) * self.sigma(t)

    def alpha(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """The signal level α = 1/√(1 + σ(t)²), the paper's θ_t."""
        return 1 / jnp.hypot(1.0, self.sigma(t))

    def beta(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """β(t) = 1/σ(t)² (Eq. 14)."""
        return self.sigma(t) ** -2

    def velocity(self, x: State, t: Scalar, denoised: State) -> State:
        """dx/dt of the probability flow at x, where `denoised` = D_σ(x/s) (Eq. 27)."""
        decay, relative = self._rates(t)
        return decay * x + relative * (x - self.scale(t) * denoised)

    def reverse_drift(self, x: State, t: Scalar, denoised: State) -> State:
        """The drift of the reverse SDE at x, where `denoised` = D_σ(x/s) (Eq. 7, 16)."""
        decay, relative = self._rates(t)
        return decay * x + 2 * relative * (x - self.scale(t) * denoised)

    def diffusion(self, t: Scalar) -> Scalar:
        """g(t) = s √(2σσ̇), the noise amplitude of the forward and of the reverse SDE."""
        return self.spread(t) * jnp.sqrt(2 * self._rates(t)[1])

    def _rates(self, t: Scalar) -> tuple[Scalar, Scalar]:
        """The relative rates ṡ/s and σ̇/σ."""
        one = jnp.ones_like(t)
        s, ds = jax.jvp(self.scale, (t,), (one,))
        sigma, dsigma = jax.jvp(self.sigma, (t,), (one,))
        return ds / s, dsigma / sigma

    def corrupt(
        self,
        patterns: ArrayLike,
        *,
        alpha: ArrayLike | None = None,
        sigma: ArrayLike | None = None,
        t: ArrayLike | None = None,
        key: Key[Array, ""],
    ) -> Float[Array, "... d"]:
        """Cues x = s(y + σε) of patterns (..., d), drawn from the kernel N(sy, s²σ²I) of the noise (Eq. 8).

        The noise level is given as `alpha`, `sigma` or `t`.

        The noise of the i-th pattern depends on `key` and i alone, not on how many others there are.

        Raises `InputError` unless exactly one level is given, in its domain: α in (0, 1], σ > 0, t > 0; and for cues
        that overflow the precision of the patterns.
        """
        random_key(key)
        y = real_array("patterns", patterns)
        check_finite("patterns", y)
        if y.ndim == 0:
            raise InputError("patterns", "got a single number", "states of shape (..., d) are accepted")
        if t is None:
            level, timed = sigma_of(alpha, sigma).astype(y.dtype), False
        elif alpha is None and sigma is None:
            level, timed = positive("t", t).astype(y.dtype), True
        else:
            raise InputError("alpha, sigma, t", "got more than one", "give the noise level as exactly one of them")
        broadcast("alpha, sigma, t", level.shape, y.shape[:-1])
        x = _corrupted(self, y, level, key, timed)
        if is_known(x) and not np.isfinite(x).all():
            accepted = f"patterns and noise whose sum is within {y.dtype}'s {float(jnp.finfo(y.dtype).max):.3g}"
            raise InputError("patterns", "got cues that overflow", f"{accepted} are accepted")
        return x


@one_program
def _corrupted(
    process: Process, y: Float[Array, "... d"], level: Float[Array, "..."], key: Key[Array, ""], timed: bool
) -> Float[Array, "... d"]:
    """Noisy patterns, at times or at noise levels σ."""
    process = process.in_precision(y.dtype)
    if timed:
        scale, spread = process.scale(level), process.spread(level)
    else:
        scale = process.scale_at(level)
        # By way of t, whose range may be narrower than that of σ, only where nothing of the pattern is left.
        spread = jnp.where(scale > 0, scale * level, process.spread(process.time(level)))
    return scale[..., None] * y + spread[..., None] * normal(key, y.shape, y.dtype)

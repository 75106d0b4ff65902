r"""What a process is: the only place that knows time.

Time t counts how long noise has been injected: t = 0 is the clean pattern (the paper's T − t, Sec. 2.2).
Every Gaussian process is

    x_t = s(t) (y + σ(t) ε),   ε ~ N(0, I),

a scale s and the noise σ that a memory feels in z = x/s. Running it backwards needs only those two:

    probability flow  dx/dt = ṡ z + s (σ̇/σ) (z − D_σ(z))            (Eq. 27)
    reverse SDE       dx = [ṡ z + 2 s (σ̇/σ) (z − D_σ(z))] dt + s √(2σσ̇) dW̄      (Eq. 7, 16)
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.display import one_line
from dispersed.keys import normal
from dispersed.noise import sigma_of
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, check_finite, positive, random_key, real_array


class Process(eqx.Module):
    """A Gaussian noise-injecting process. Subclasses write `scale`, `sigma` and `time`, elementwise."""

    __repr__ = one_line

    @abc.abstractmethod
    def scale(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """s(t), the factor on the pattern."""

    @abc.abstractmethod
    def sigma(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """σ(t), the noise standard deviation in z = x/s(t); increasing, 0 at t = 0."""

    @abc.abstractmethod
    def time(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time t at which the noise is `sigma`: the inverse of `sigma(t)`."""

    def alpha(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """The signal level α = 1/√(1 + σ(t)²), the paper's θ_t."""
        return 1 / jnp.hypot(1.0, self.sigma(t))

    def beta(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """β(t) = 1/σ(t)² (Eq. 14)."""
        return self.sigma(t) ** -2

    def velocity(self, x: State, t: Scalar, denoised: State) -> State:
        """dx/dt of the probability flow at x, where `denoised` = D_σ(x/s) (Eq. 27)."""
        s, ds, relative = self._slopes(t)
        return ds * x / s + s * relative * (x / s - denoised)

    def reverse_drift(self, x: State, t: Scalar, denoised: State) -> State:
        """The drift of the reverse SDE at x, where `denoised` = D_σ(x/s) (Eq. 7, 16)."""
        s, ds, relative = self._slopes(t)
        return ds * x / s + 2 * s * relative * (x / s - denoised)

    def diffusion(self, t: Scalar) -> Scalar:
        """g(t) = s √(2σσ̇), the noise amplitude of the forward and of the reverse SDE."""
        s, _, relative = self._slopes(t)
        return s * self.sigma(t) * jnp.sqrt(2 * relative)

    def _slopes(self, t: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        """s, ṡ and σ̇/σ."""
        one = jnp.ones_like(t)
        s, ds = jax.jvp(self.scale, (t,), (one,))
        sigma, dsigma = jax.jvp(self.sigma, (t,), (one,))
        return s, ds, dsigma / sigma

    def corrupt(
        self,
        patterns: ArrayLike,
        *,
        alpha: ArrayLike | None = None,
        sigma: ArrayLike | None = None,
        t: ArrayLike | None = None,
        key: Key[Array, ""],
    ) -> Float[Array, "... d"]:
        """Cues x = s(y + σε) of patterns (..., d) at a noise level given as `alpha`, `sigma` or `t`.

        The noise of the i-th pattern depends on `key` and i alone, not on how many others there are.

        Raises `InputError` unless exactly one level is given, in its domain: α in (0, 1], σ > 0, t > 0.
        """
        random_key(key)
        y = real_array("patterns", patterns)
        check_finite("patterns", y)
        if y.ndim == 0:
            raise InputError("patterns", "got a single number", "states of shape (..., d) are accepted")
        if t is None:
            level = sigma_of(alpha, sigma).astype(y.dtype)
            t = self.time(level)
        elif alpha is None and sigma is None:
            t = positive("t", t).astype(y.dtype)
            level = self.sigma(t)
        else:
            raise InputError("alpha, sigma, t", "got more than one", "give the noise level as exactly one of them")
        noise = normal(key, y.shape, y.dtype)
        return self.scale(t)[..., None] * (y + level[..., None] * noise)

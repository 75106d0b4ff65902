r"""What a memory is: a distribution of states, felt through Gaussian noise of standard deviation σ.

With φ the distribution of memories and p_σ = φ ∗ N(0, σ²I),

    energy    E_σ(x) = −σ² log p_σ(x)                          (Eq. 11)
    score     s_σ(x) = ∇ log p_σ(x) = −∇E_σ(x)/σ²
    denoiser  D_σ(x) = E[y | x] = x + σ² s_σ(x) = x − ∇E_σ(x)    (Tweedie's formula)

so one gradient step of length one on the energy *is* denoising. A memory writes `log_density` and the rest
follows by differentiation; closed forms replace it where they are faster.

Time is unknown here: σ alone says how noisy a state is.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories.batching import per_state
from dispersed.memories.network import Network
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Scalar, State
from dispersed.validation import InputError, positive

COMPLETED = "points, Gaussians, shapes, cores, their mixtures, smoothed ones and networks are completed from one"
"""What a mask of known entries is accepted for."""


class Denoiser(eqx.Module):
    """Anything that knows E[y | x] at every noise level; enough to be recalled.

    A trained network is a denoiser without being a `Memory`: it has a score but claims no energy.
    """

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """The number of units d."""

    @abc.abstractmethod
    def denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = E[y | x], the mean of the memories that may lie behind x."""

    @per_state
    def score(self, x: State, sigma: Scalar) -> State:
        """s_σ(x) = (D_σ(x) − x)/σ², the gradient of log p_σ. `x`: (..., d), `sigma` > 0."""
        return (self.denoise(x, sigma) - x) / sigma / sigma

    @per_state
    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """∂D_σ/∂x = Cov[y | x]/σ², (..., d, d). Its trace counts the directions left open at σ."""
        return jax.jacfwd(self.denoise)(x, sigma)

    @per_state
    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """Index of the nearest stored pattern and its responsibility p(j | x) at σ.

        `(None, None)` where the memory keeps no list of patterns.
        """
        return None, None

    def sampling(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Denoiser", State, Scalar]:
        """Where random dynamics start once the entries `known` of x were seen: memory, state and noise level."""
        source = self.given(x, known, sigma)
        start, widest = source.uninformed()
        return source, jnp.where(known, x, start), jnp.maximum(sigma, widest)

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Denoiser", State, Scalar]:
        """Where deterministic dynamics start once the entries `known` of x were seen."""
        return self.sampling(x, known, sigma)

    def given(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> "Denoiser":
        """The memory after the entries `known` of one state x were observed with noise σ, and stay as they are."""
        raise InputError("known", f"got a mask for a {type(self).__name__}", COMPLETED)

    def uninformed(self) -> tuple[State, Scalar]:
        """A state that says nothing of which memory it came from, and its noise level."""
        raise InputError("memory", f"{type(self).__name__} does not say how far its memories reach", "give a cue")

    def at(self, sigma: ArrayLike) -> Network:
        """The network that this memory is while its noise level is held at σ."""
        return Held(self, positive("sigma", sigma))


class Memory(Denoiser):
    """A distribution of states with a density at every noise level.

    To add a kind of memory, write `dimension` and `log_density` for one state, decorated with
    `per_state`; overwrite `denoise` or `jacobian` where a closed form is faster.
    """

    @abc.abstractmethod
    def log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x), in nats."""

    @per_state
    def energy(self, x: State, sigma: Scalar) -> Scalar:
        """E_σ(x) = −σ² log p_σ(x) (Eq. 11). `x`: (..., d), `sigma` > 0."""
        return -(sigma**2) * self.log_density(x, sigma)

    @per_state
    def denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = E[y | x] = x − ∇E_σ(x), by Tweedie's formula. `x`: (..., d), `sigma` > 0."""
        return x - jax.grad(self.energy)(x, sigma)

    def evidence(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> Scalar:
        """Log p_σ(x_known): the log density of the entries `known` of one state x, seen with noise σ."""
        raise InputError("known", f"got a mask for a {type(self).__name__}", COMPLETED)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """An anchor p of one state x, and log p_σ(x) + ‖x − p‖²/(2σ²) + d log(σ√2π).

        A `Mixture` compares its components by their anchors, since differences of squared distances keep
        digits that differences of log densities lose. Without a better one the anchor is x itself.
        """
        return x, self.log_density(x, sigma) + gaussian_normaliser(self.dimension, sigma)

    @per_state
    def project(self, x: State) -> State:
        """The nearest state of the memory, for memories that are places."""
        raise InputError("memory", f"a {type(self).__name__} has no nearest point", "extended memories have one")

    @per_state
    def hessian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """∇²E_σ(x) = I − ∂D_σ/∂x, (..., d, d)."""
        return jnp.eye(x.shape[-1], dtype=x.dtype) - self.jacobian(x, sigma)


def gaussian_normaliser(dimension: int | Int[Array, ""], sigma: Scalar) -> Scalar:
    """D log(σ√2π), minus the log density of N(0, σ²I) at its centre."""
    return dimension * (jnp.log(sigma) + np.log(2 * np.pi) / 2)


class Held(Network):
    """A memory at one noise level: a network whose update is the denoiser, x ← D_σ(x).

    For patterns of equal norm this is the modern Hopfield network with β = 1/σ² (Eq. 14).
    """

    memory: Denoiser
    sigma: Float[Array, "..."]

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def energy(self, x: ArrayLike) -> Float[Array, "..."]:
        """E_σ(x); only memories with a density have one."""
        if not isinstance(self.memory, Memory):
            raise InputError("memory", f"a {type(self.memory).__name__} has no density", "a Memory has an energy")
        return self.memory.energy(jnp.asarray(x), self.sigma)

    def update(self, x: ArrayLike) -> Float[Array, "... d"]:
        """X ← D_σ(x) = x − ∇E_σ(x)."""
        return self.memory.denoise(jnp.asarray(x), self.sigma)

    def nearest(self, x: ArrayLike) -> tuple[Int[Array, "..."] | None, Float[Array, "..."] | None]:
        return self.memory.nearest(jnp.asarray(x), self.sigma)

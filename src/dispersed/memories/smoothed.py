"""A memory read with less detail: stored samples become a density (Eq. 24)."""

import equinox as eqx
import jax.numpy as jnp

from dispersed.display import value
from dispersed.memories.memory import Memory, draw, gaussian_normaliser
from dispersed.posterior import Posterior
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, positive


class Smoothed(Memory):
    r"""A memory whose details finer than a bandwidth h are forgotten: φ ∗ N(0, h²I) in place of φ.

    Noise adds up, so with s = √(σ²+h²) everything is the memory's own, asked at s:

        p_σ^h(x) = p_s(x),    D_σ^h(x) = (σ² D_s(x) + h² x)/s².

    `Smoothed(PatternMemory(samples), h)` is the kernel density estimate of the samples: the semantic memory
    of Eq. 24 with what was experienced once as its only evidence. As h → 0 it becomes episodic again.

    **Arguments**: `memory`, with a density; `bandwidth` > 0, in the units of the states.
    """

    memory: Memory
    bandwidth: Scalar

    def __init__(self, memory: Memory, bandwidth: ArrayLike) -> None:
        if not isinstance(memory, Memory):
            raise InputError("memory", f"got {type(memory).__name__}", "a memory with a density is accepted")
        self.memory = memory
        self.bandwidth = positive("bandwidth", bandwidth)
        if self.bandwidth.shape:
            raise InputError("bandwidth", f"got shape {self.bandwidth.shape}", "one number is accepted")

    def __repr__(self) -> str:
        return f"Smoothed({self.memory}, bandwidth={value(self.bandwidth)})"

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def _level(self, sigma: Scalar) -> Scalar:
        return jnp.hypot(sigma, self.bandwidth.astype(sigma.dtype))

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_s(x) of the memory at s = √(σ²+h²), in nats."""
        return self.memory._log_density(x, self._level(sigma))

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = (σ² D_s(x) + h² x)/s²."""
        level = self._level(sigma)
        return (sigma / level) ** 2 * self.memory._denoise(x, level) + (self.bandwidth / level) ** 2 * x

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """The memory's own responsibilities at s, for memories that have them."""
        return self.memory._responsibilities(x, self._level(sigma))

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """The memory's own nearest item, and its responsibility at s."""
        return self.memory._nearest(x, self._level(sigma))

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        of_memory = self.memory._posterior(x, self._level(sigma), leading)
        return eqx.tree_at(lambda posterior: posterior.mean, of_memory, self._denoise(x, sigma))

    @property
    def _proper(self) -> bool:
        return self.memory._proper

    def _sample(self, key: Key[Array, ""]) -> State:
        return draw(self.memory, key, self.bandwidth)

    def _given(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> "SeenSmoothed":
        """The memory after the entries `known` were observed with noise σ: evidence at s for what it smooths."""
        inner = self.memory._given(x, known, self._level(sigma))
        return SeenSmoothed(Smoothed(inner, self.bandwidth), x, known)  # type: ignore[arg-type]

    def _evidence(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> Scalar:
        """Log p_σ(x_known): the memory's own, at s."""
        return self.memory._evidence(x, known, self._level(sigma))

    def prior_start(self) -> tuple[State, Scalar]:
        """The memory's own, with the bandwidth added to the spread."""
        mean, level = self.memory.prior_start()
        return mean, jnp.hypot(level, 10 * self.bandwidth * jnp.sqrt(float(self.dimension)).astype(level.dtype))


class SeenSmoothed(Memory):
    """A smoothed memory of which some entries were observed: these are not blurred. Made by `given`."""

    memory: Smoothed
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x), in nats: the known entries at x_known with the noise σ alone."""
        off = jnp.where(self.known, x - self.x, 0) / sigma
        units, level = self.known.sum(), jnp.hypot(sigma, self.memory.bandwidth.astype(sigma.dtype))
        blurred = self.memory._log_density(jnp.where(self.known, self.x, x), sigma)
        kept = gaussian_normaliser(units, level) - gaussian_normaliser(units, sigma)
        return blurred + kept - off @ off / 2

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x): the known entries, and the smoothed memory's D of the others."""
        return jnp.where(self.known, self.x, self.memory._denoise(jnp.where(self.known, self.x, x), sigma))

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """The smoothed memory's own, for memories that have them."""
        return self.memory._responsibilities(jnp.where(self.known, self.x, x), sigma)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """The smoothed memory's own nearest item, and its responsibility."""
        return self.memory._nearest(jnp.where(self.known, self.x, x), sigma)

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        of_memory = self.memory._posterior(jnp.where(self.known, self.x, x), sigma, leading)
        own = self._denoise(x, sigma), self._log_density(x, sigma)
        return eqx.tree_at(lambda posterior: (posterior.mean, posterior.log_density), of_memory, own)

    def prior_start(self) -> tuple[State, Scalar]:
        """The smoothed memory's own."""
        start, level = self.memory.prior_start()
        return jnp.where(self.known, self.x, start), level

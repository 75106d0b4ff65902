"""A memory read with less detail: stored samples become a density (Eq. 24)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.compiling import one_program
from dispersed.conditioning import Observation, joined
from dispersed.display import value
from dispersed.memories.memory import Memory, draw
from dispersed.posterior import Posterior
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, positive


class Smoothed(Memory):
    r"""From episodic to semantic memory (Sec. 6.1): φ ∗ N(0, h²I) in place of φ forgets what is finer than h.

    Noise adds up, so with s = √(σ²+h²) everything is the memory's own at s:

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

    def _probability(self, x: State, sigma: Scalar, index: Int[Array, ""]) -> Scalar | None:
        return self.memory._probability(x, self._level(sigma), index)

    def _weight(self, index: Int[Array, ""]) -> Scalar | None:
        return self.memory._weight(index)

    def _slope_bound(self, x: State, sigma: Scalar, p: Scalar | None) -> Scalar:
        # The slope is (σ² λ + h²)/s² where λ is the memory's own at s: at most the larger of λ and 1.
        return jnp.maximum(self.memory._slope_bound(x, self._level(sigma), p), 1)

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        of_memory = self.memory._posterior(x, self._level(sigma), leading)
        return eqx.tree_at(lambda posterior: posterior.mean, of_memory, self._denoise(x, sigma))

    @property
    def _proper(self) -> bool:
        return self.memory._proper

    def _sample(self, key: Key[Array, ""]) -> State:
        return draw(self.memory, key, self.bandwidth)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        level = self._level(sigma)
        h = self.bandwidth.astype(x.dtype)
        of_memory, own = jax.random.split(key)
        y, index = self.memory._posterior_draw(of_memory, x, level)
        mean = (sigma / level) ** 2 * y + (h / level) ** 2 * x
        return mean + h * sigma / level * jax.random.normal(own, x.shape, x.dtype), index

    @one_program
    def _conditioned(self, observation: Observation) -> tuple["ConditionedSmoothed", Scalar]:
        """The memory after a measurement, which is of the smoothed states."""
        blank = jnp.zeros((), observation.value.dtype)
        after = ConditionedSmoothed(self.memory, self.bandwidth, observation, blank)
        fit = after._of_memory(jnp.zeros(self.dimension, observation.value.dtype), None)[1]
        return eqx.tree_at(lambda memory: memory.fit, after, fit), fit - observation.normaliser

    def prior_start(self) -> tuple[State, Scalar]:
        """The memory's own, with the bandwidth added to the spread."""
        mean, level = self.memory.prior_start()
        return mean, jnp.hypot(level, 10 * self.bandwidth * jnp.sqrt(float(self.dimension)).astype(level.dtype))


class ConditionedSmoothed(Memory):
    r"""A smoothed memory after linear measurements v = A y + τε of its states y = u + hε', u of the memory itself.

    At s = √(σ²+h²) a state x = y + σε'' says of y, given u, that it is N(μ, ρ²I) with μ = (σ² u + h² x)/s² and
    ρ = hσ/s. With B = A/τ and w = v/τ, what was measured is then one measurement of u,

        w − (h²/s²) B x = (σ²/s²) B u + noise of covariance S = I + ρ² B Bᵀ,

    on which the memory itself is conditioned, and y has the mean μ + ρ² Bᵀ S⁻¹ (w − B μ). S is factored from the matrix
    (ρB, I)ᵀ, in which no digits are lost to squares; of a mask it is diagonal. Made by `condition`.
    """

    memory: Memory
    bandwidth: Scalar
    observation: Observation
    """All measurements in one."""
    fit: Scalar
    """log E exp(−½‖w − B y‖²) over the smoothed memory."""

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def _parts(self, sigma: Scalar | None, dtype: Any) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """The level s, σ²/s², h²/s² and ρ; without a level those of σ = ∞, the last two of which alone count."""
        h = self.bandwidth.astype(dtype)
        if sigma is None:
            return h, jnp.ones_like(h), jnp.zeros_like(h), h
        level = jnp.hypot(sigma, h)
        return level, (sigma / level) ** 2, (h / level) ** 2, h * (sigma / level)

    @full_precision
    def _of_memory(self, x: State, sigma: Scalar | None) -> tuple[Any, Scalar]:
        """The memory itself given all that was measured, and log ∫ φ(u) exp(−½ (…)ᵀ S⁻¹ (…)) du − ½ log det S."""
        _, ratio, _, rho = self._parts(sigma, x.dtype)
        ratio = jnp.maximum(ratio, 1e-30)  # below it nothing is said of u
        off = self.observation.residual(x)
        if self.observation.matrix is None:
            scale = self._scale(rho)
            tau = self.observation.sigma
            mask = self.observation.mask
            assert mask is not None
            value = jnp.where(mask, x + off * tau / ratio, 0)
            inner = Observation(value, mask, sigma=tau * scale / ratio).of(self.dimension)
            log_scale = jnp.sum(jnp.where(mask, jnp.log(scale), 0))
        else:
            matrix = self._whitened()
            factor = _factor(matrix, rho)
            value = _solved(factor, off + ratio * (matrix @ x))
            inner = Observation(value, operator=ratio * _solved(factor, matrix), sigma=jnp.ones_like(ratio))
            log_scale = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factor))))
        conditioned, log_evidence = self.memory._conditioned(inner)
        # Of a mask the measurement was divided by the ratio, and so was its noise.
        return conditioned, log_evidence + inner.normaliser - log_scale

    def _whitened(self) -> Float[Array, "m d"]:
        matrix = self.observation.matrix
        assert matrix is not None
        return matrix / jnp.broadcast_to(self.observation.sigma, matrix.shape[:1])[:, None]

    def _scale(self, rho: Scalar) -> Float[Array, " d"]:
        """√S of a mask, 1 where nothing was observed."""
        return jnp.hypot(jnp.ones_like(rho), rho * jnp.sqrt(self.observation.precision))

    @full_precision
    def _after_blur(self, y: State, rho: Scalar, noise: Any = 0.0) -> State:
        """Y + ρ² Bᵀ S⁻¹ (w − B y − noise)."""
        off = self.observation.residual(y) - noise
        if self.observation.matrix is None:
            gain = (rho / self._scale(rho)) ** 2 * jnp.sqrt(self.observation.precision)
            return y + gain * off
        matrix = self._whitened()
        factor = _factor(matrix, rho)
        solved = jax.scipy.linalg.solve_triangular(factor, _solved(factor, off))
        return y + rho**2 * (solved @ matrix)

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        conditioned, fit = self._of_memory(x, sigma)
        return conditioned._log_density(x, self._parts(sigma, x.dtype)[0]) + fit - self.fit

    def _denoise(self, x: State, sigma: Scalar) -> State:
        level, ratio, rest, rho = self._parts(sigma, x.dtype)
        mean = self._of_memory(x, sigma)[0]._denoise(x, level)
        return self._after_blur(ratio * mean + rest * x, rho)

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return self._of_memory(x, sigma)[0]._responsibilities(x, self._parts(sigma, x.dtype)[0])

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        return self._of_memory(x, sigma)[0]._nearest(x, self._parts(sigma, x.dtype)[0])

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        of_memory = self._of_memory(x, sigma)[0]._posterior(x, self._parts(sigma, x.dtype)[0], leading)
        own = self._denoise(x, sigma), self._log_density(x, sigma)
        return eqx.tree_at(lambda posterior: (posterior.mean, posterior.log_density), of_memory, own)

    def _drawn(self, key: Key[Array, ""], mean: State, rho: Scalar) -> State:
        """A state drawn given u, of which `mean` is μ: the blur drawn, and corrected by what was measured."""
        blur, noise = jax.random.split(key)
        y = mean + rho * jax.random.normal(blur, mean.shape, mean.dtype)
        return self._after_blur(y, rho, jax.random.normal(noise, self.observation.value.shape, mean.dtype))

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        level, ratio, rest, rho = self._parts(sigma, x.dtype)
        of_memory, own = jax.random.split(key)
        y, index = self._of_memory(x, sigma)[0]._posterior_draw(of_memory, x, level)
        return self._drawn(own, ratio * y + rest * x, rho), index

    @property
    def _proper(self) -> bool:
        return self.memory._proper

    def _prior(self) -> Any:
        """The memory itself given the observations, of blurred states, alone."""
        return self._of_memory(jnp.zeros(self.dimension, self.fit.dtype), None)[0]

    def _sample(self, key: Key[Array, ""]) -> State:
        of_memory, own = jax.random.split(key)
        y = self._prior()._sample(of_memory).astype(self.fit.dtype)
        return self._drawn(own, y, self.bandwidth.astype(y.dtype))

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times a distance from it that is no less than the root-mean-square one."""
        mean, level = self._prior().prior_start()
        h = self.bandwidth.astype(level.dtype)
        return self._after_blur(mean, h), jnp.hypot(level, 10 * h * jnp.sqrt(float(self.dimension)).astype(level.dtype))

    @one_program
    def _conditioned(self, observation: Observation) -> tuple["ConditionedSmoothed", Scalar]:
        joint, rest = joined(self.observation, observation)
        after = ConditionedSmoothed(self.memory, self.bandwidth, joint, self.fit)
        fit = after._of_memory(jnp.zeros(self.dimension, observation.value.dtype), None)[1]
        found = eqx.tree_at(lambda memory: memory.fit, after, fit)
        return found, fit + rest - self.fit - observation.normaliser


@jax.custom_jvp
def _factor(matrix: Float[Array, "m d"], rho: Scalar) -> Float[Array, "m m"]:
    """The upper triangle R with S = I + ρ²BBᵀ = RᵀR."""
    return jnp.linalg.qr(_stacked(matrix, rho), mode="r")


@_factor.defjvp
@full_precision
def _factor_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """The derivative dR = Φ(R⁻ᵀ dS R⁻¹) R, Φ the upper triangle with half of the diagonal, in full precision."""
    factor = _factor(*primals)
    stacked, change = jax.jvp(_stacked, primals, tangents)
    half = _solved(factor, _solved(factor, change.T @ stacked).T)
    both = half + half.T
    return factor, (jnp.triu(both) - jnp.diag(jnp.diagonal(both)) / 2) @ factor


def _stacked(matrix: Float[Array, "m d"], rho: Scalar) -> Float[Array, "k m"]:
    return jnp.concatenate([rho * matrix.T, jnp.eye(len(matrix), dtype=matrix.dtype)])


def _solved(factor: Float[Array, "m m"], right: Float[Array, "m *k"]) -> Float[Array, "m *k"]:
    """R⁻ᵀ of columns."""
    return jax.scipy.linalg.solve_triangular(factor, right, trans="T")

r"""What a memory is: a distribution of states, observed under Gaussian noise of standard deviation σ.

With φ the distribution of memories and p_σ = φ ∗ N(0, σ²I),

    energy    E_σ(x) = −σ² log p_σ(x)                          (Eq. 11)
    score     s_σ(x) = ∇ log p_σ(x) = −∇E_σ(x)/σ²
    denoiser  D_σ(x) = E[y | x] = x + σ² s_σ(x) = x − ∇E_σ(x)    (Tweedie's formula)

so one gradient step of length one on the energy *is* denoising. A memory writes `_log_density` and the
rest follows by differentiation; closed forms replace it where they are faster.

Time is unknown here: σ alone says how noisy a state is.
"""

import abc
import copy
import dataclasses
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.engine import Misfits
from dispersed.keys import state_keys
from dispersed.memories.associative_memory import without_derivatives
from dispersed.memories.denoiser import Denoiser, Standing
from dispersed.posterior import Posterior
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, broadcast, host_array, random_key


class Memory(Denoiser):
    """A distribution of states with a density at every noise level.

    To add a kind of memory, write `dimension` and `_log_density` for one state; override `_denoise` or `_jacobian`
    where a closed form is faster, and write `_sample` for one draw, and `_conditioned` for what a linear measurement
    leaves of it.
    """

    log_concave: ClassVar[bool] = False
    """Whether the density is log-concave, and so has no saddle at any noise level."""
    log_evidence: Scalar | None = dataclasses.field(default=None, kw_only=True)
    """Log p(v), in nats, of all observations that the memory was conditioned on; None without any."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Memory":
        # Equinox notes in the structure of a pytree which fields are not set, and pickles do not keep that: the same
        # memory would be another kind of argument to a program.
        memory = super().__new__(cls)
        object.__setattr__(memory, "log_evidence", None)
        return memory

    @abc.abstractmethod
    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x) of one state, in nats."""

    def _misfits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Misfits | None:
        """How far known cues lie from all stored patterns, where the memory keeps patterns and can say so at once."""
        return None

    def _energy(self, x: State, sigma: Scalar) -> Scalar:
        largest = jnp.finfo(x.dtype).max
        return jnp.clip(-(sigma**2) * self._log_density(x, sigma), -largest, largest)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return x + sigma**2 * jax.grad(self._log_density)(x, sigma)

    def _slope_bound(self, x: State, sigma: Scalar, p: Scalar | None) -> Scalar:
        """An upper bound on the largest slope of D_σ at x, where one is known at no price.

        `p` is the probability of the leading pattern at x, if that is known.
        """
        return jnp.asarray(1 if self.log_concave else jnp.inf, x.dtype)

    def _pushed(self, v: State, x: State, sigma: Scalar) -> State:
        """The product of the Jacobian ∂D_σ/∂x with v."""
        return jax.jvp(lambda x: self._denoise(x, sigma), (x,), (v,))[1]

    def _with_certainty(self, standing: Standing, x: State, sigma: Scalar, cue: State, level: Scalar) -> Standing:
        memory, x_end, last = without_derivatives((self, x, sigma))
        standing = dataclasses.replace(standing, linearised=lambda: lambda v: memory._pushed(v, x_end, last))
        return super()._with_certainty(standing, x, sigma, cue, level)

    def _hessian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return jnp.eye(x.shape[-1], dtype=x.dtype) - self._jacobian(x, sigma)

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        return Posterior(self._denoise(x, sigma), self._log_density(x, sigma))

    @property
    def _proper(self) -> bool:
        """Whether the memory is a distribution that can be drawn from; limits at infinity make it improper."""
        return type(self)._sample is not Memory._sample

    def _sample(self, key: Key[Array, ""]) -> State:
        """One state drawn from the memory itself, at σ = 0."""
        raise InputError("memory", f"a {type(self).__name__} cannot be drawn from", "normalised memories can")

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """p(k | x) of every pattern or component, for one state."""
        given = f"a {type(self).__name__} has no responsibilities"
        raise InputError("memory", given, "memories of patterns or components have them")

    def _project(self, x: State) -> State:
        raise InputError("memory", f"a {type(self).__name__} has no nearest point", "extended memories have one")

    def _after(self, observation: Observation) -> "Memory":
        memory, log_evidence = self._conditioned(observation)
        return self._with_evidence(memory, log_evidence)

    def _with_evidence(self, after: "Memory", log_evidence: Scalar) -> "Memory":
        """The memory `after` a measurement of this one, with the evidence of all measurements so far."""
        found = copy.copy(after)
        total = log_evidence if self.log_evidence is None else self.log_evidence + log_evidence
        object.__setattr__(found, "log_evidence", total)
        return found

    def responsibilities(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... n"]:
        """The probabilities p(k | x) of the patterns or components behind each state, (..., n) (Eq. 29).

        Raises `InputError` for memories that are not made of any.
        """
        return self._mapped("_responsibilities", x, sigma)

    def log_density(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "..."]:
        """The log density log p_σ(x), in nats, of states under the memory and Gaussian noise."""
        return self._mapped("_log_density", x, sigma)

    def energy(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "..."]:
        """The energy E_σ(x) = −σ² log p_σ(x) (Eq. 11)."""
        return self._mapped("_energy", x, sigma)

    def hessian(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... d d"]:
        """The Hessian of the energy, ∇²E_σ(x) = I − ∂D_σ/∂x."""
        return self._mapped("_hessian", x, sigma)

    def project(self, x: ArrayLike) -> Float[Array, "... d"]:
        """The state of the memory that is nearest to each state, for memories that are sets of states."""
        return self._mapped("_project", x)

    def sample(self, key: Key[Array, ""], shape: int | tuple[int, ...] = (), sigma: ArrayLike = 0.0) -> Array:
        """States `(*shape, d)` drawn from the memory at noise level `sigma` ≥ 0: x = y + σε, y from the memory.

        The i-th state depends on `key` and i alone. Raises `InputError` for a memory that is no distribution.
        """
        random_key(key)
        if not self._proper:
            given = f"a {type(self).__name__} that is no normalised distribution"
            raise InputError("memory", given, "memories that are can be drawn from")
        shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        shape = tuple(at_least("shape", length, 0) for length in shape)
        level = host_array("sigma", sigma)
        if is_known(level) and not (np.isfinite(level).all() and (np.asarray(level) >= 0).all()):
            raise InputError("sigma", f"got {float(np.min(np.asarray(level))):g}", "finite numbers from 0 are accepted")
        broadcast("sigma", level.shape, shape, grow=False)
        levels = jnp.broadcast_to(jnp.asarray(level), shape).reshape(-1)
        return _draw(self, key, levels).reshape(*shape, self.dimension)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """An anchor p of one state x, and log p_σ(x) + ‖x − p‖²/(2σ²) + d log(σ√2π).

        A `Mixture` compares its components by their anchors, since differences of squared distances keep
        digits that differences of log densities lose. Without a better one the anchor is x itself.
        """
        return x, self._log_density(x, sigma) + gaussian_normaliser(self.dimension, sigma)


def draw(memory: Memory, key: Key[Array, ""], sigma: Scalar) -> State:
    """One state of a memory at noise level σ."""
    pattern, noise = jax.random.split(key)
    y = memory._sample(pattern)
    return y + sigma.astype(y.dtype) * jax.random.normal(noise, y.shape, y.dtype)


@eqx.filter_jit
def _draw(memory: Memory, key: Key[Array, ""], levels: Float[Array, " count"]) -> Float[Array, "count d"]:
    return jax.vmap(lambda key, level: draw(memory, key, level))(state_keys(key, len(levels)), levels)


def gaussian_normaliser(dimension: int | Int[Array, ""], sigma: Scalar) -> Scalar:
    """D log(σ√2π), minus the log density of N(0, σ²I) at its centre."""
    return dimension * (jnp.log(sigma) + math.log(2 * math.pi) / 2)

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
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.display import value
from dispersed.keys import state_keys
from dispersed.memories.associative_memory import AssociativeMemory, without_derivatives
from dispersed.memories.network import Network
from dispersed.posterior import Posterior
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import (
    InputError,
    at_least,
    broadcast,
    host_array,
    is_known,
    positive,
    random_key,
)

WIDE = 10
"""The noise level of `prior_start`, in units of the spread."""
LEAST = 1e-6
"""The least extent of a memory that counts beside the noise of a cue."""


class Standing(eqx.Module):
    """What a memory says of a state that a recall ended at."""

    mean: State
    """D_σ(x)."""
    index: Int[Array, ""] | None
    """The stored item that x stands for."""
    responsibility: Scalar | None
    """The probability of that item given x."""
    probability: Scalar | None = None
    """The probability of that item given the cue."""
    linearised: Callable[[], Callable[[State], State]] | None = None
    """Gives the product of the Jacobian ∂D_σ/∂x with a vector, without derivatives; None where there is no energy."""
    slope_bound: Scalar | None = None
    """An upper bound on the largest slope of D_σ there, where it is known better than from the responsibility."""


class Denoiser(AssociativeMemory):
    """Anything that gives E[y | x] at every noise level, which is enough to recall from it.

    A trained network is a denoiser without being a `Memory`: it has a score but claims no energy. To add one, write
    `dimension` and `_denoise` for one state.

    All public methods take states `x: (..., d)` and noise levels `sigma` > 0, one number or an array that broadcasts
    against the batch axes `...`, and raise `InputError` for states of another dimension and other levels.
    """

    ends_by_the_level: ClassVar[bool] = False
    """Whether the last noise level of a recall says where it ends, whatever the state there."""

    @abc.abstractmethod
    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) of one state."""

    def _score(self, x: State, sigma: Scalar) -> State:
        largest = jnp.finfo(x.dtype).max
        return jnp.clip((self._denoise(x, sigma) - x) / sigma / sigma, -largest, largest)

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return jax.jacfwd(self._denoise)(x, sigma)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        """One memory drawn from the posterior behind x, and its index: the last step of dynamics that sample.

        Where a kind of memory does not say how, it is the posterior mean, without an index.
        """
        return self._denoise(x, sigma), None

    def _mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Any, Any]:
        """D_σ(x) and what x stands for, at the price of one evaluation where they have it in common."""
        return self._denoise(x, sigma), *self._nearest(x, sigma)

    def _mean_and_certainty(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """D_σ(x), and the probability of the one state y that D_σ(x) nearly is, where there is such, else 0."""
        return self._denoise(x, sigma), jnp.zeros_like(sigma)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """Index of the stored item that one state stands for, and its responsibility."""
        return None, None

    def _probability(self, x: State, sigma: Scalar, index: Int[Array, ""]) -> Scalar | None:
        """p(index | x) of one item that `_nearest` names; None where the memory keeps no list of items."""
        return None

    def _weight(self, index: Int[Array, ""]) -> Scalar | None:
        """The prior probability of that item."""
        return None

    def _last_step(self, z: State, sigma: Scalar, cue: State, level: Scalar) -> tuple[State, Standing]:
        """D_σ(z), the last step of a recall from a cue at its noise level, and what the memory says of it."""

        def again(z: State, nothing: None) -> tuple[State, tuple[State, Any, Any]]:
            mean, index, p = self._mean_and_nearest(z, sigma)
            return mean, (mean, index, p)

        # One program of both evaluations, which takes half as long to compile.
        _, (means, index, p) = jax.lax.scan(again, z, length=2)
        index, p = (None if part is None else part[1] for part in (index, p))
        return means[0], self._with_certainty(Standing(means[1], index, p), means[0], sigma, cue, level)

    def _standing(self, x: State, sigma: Scalar, cue: State, level: Scalar, index: Any = None) -> Standing:
        """What the memory says of a state x at σ, and of the cue at its level that x was recalled from.

        `index` is the item that x stands for, if that is known.
        """
        mean, nearest, p = self._mean_and_nearest(x, sigma)
        standing = Standing(mean, nearest if index is None else index, p)
        return self._with_certainty(standing, x, sigma, cue, level)

    def _with_certainty(self, standing: Standing, x: State, sigma: Scalar, cue: State, level: Scalar) -> Standing:
        if standing.index is None:
            return standing
        return dataclasses.replace(standing, probability=self._probability(cue, level, standing.index))

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        return Posterior(self._denoise(x, sigma))

    def denoise(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... d"]:
        """The denoiser D_σ(x) = E[y | x], the mean of the memories that may lie behind x (Tweedie's formula)."""
        return self._mapped("_denoise", x, sigma)

    def score(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... d"]:
        """The score s_σ(x) = (D_σ(x) − x)/σ² = ∇ log p_σ(x)."""
        return self._mapped("_score", x, sigma)

    def jacobian(self, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... d d"]:
        """The Jacobian ∂D_σ/∂x = Cov[y | x]/σ², whose trace counts the directions left open at σ."""
        return self._mapped("_jacobian", x, sigma)

    def nearest(self, x: ArrayLike, sigma: ArrayLike) -> tuple[Int[Array, "..."] | None, Float[Array, "..."] | None]:
        """Index of the stored item that each state most probably stands for, and its responsibility p(j | x) at σ.

        `(None, None)` where the memory keeps no list of items.
        """
        return self._mapped("_nearest", x, sigma)

    def posterior(self, x: ArrayLike, sigma: ArrayLike, *, leading: int = 8) -> Posterior:
        """The posterior over memories behind each state: its mean and, where the memory has them, its log density, the
        `leading` likeliest patterns or components, their probabilities and the entropy.
        """
        return self._mapped("_posterior", x, sigma, leading=at_least("leading", leading, 1))

    def at(self, sigma: ArrayLike) -> Network:
        """The network that this memory is while its noise level is held at one σ > 0: its update is the denoiser."""
        level = positive("sigma", sigma)
        if level.shape:
            raise InputError("sigma", f"got shape {level.shape}", "a network has one noise level")
        return Held(self, level)

    def _extent(self) -> Scalar | float:
        """The length by which solvers measure noise levels: the root-mean-square deviation of one unit of the memories;
        0 if there is but one memory, and 1 where it is unknown.
        """
        if type(self).prior_start is Denoiser.prior_start:
            return 1.0
        return self.prior_start()[1] / (WIDE * math.sqrt(self.dimension))

    def _last_level(self, sigma: Scalar, random: bool = False) -> Scalar:
        """The noise level from which a recall of a cue at σ takes its last step, where its solver names none.

        That is a twentieth of σ or of the extent of the memory, whichever is less, and so the same in all units; a
        fifth where the last step is a draw from the posterior, which is as exact at any level.
        """
        drawn = random and type(self)._posterior_draw is not Denoiser._posterior_draw
        # The extent may be a root of zero, which has no derivative: those by the memory hold it fixed.
        ratio = jax.lax.stop_gradient(self._extent()) / sigma
        return sigma * jnp.where(ratio > 0, jnp.clip(ratio, LEAST, 1), 1) / (5 if drawn else 20)

    def prior_start(self) -> tuple[State, Scalar]:
        """A state and a noise level at which nearly nothing is known: the prior mean, at ten times the spread."""
        raise InputError("memory", f"{type(self).__name__} does not say how far its memories reach", "give a cue")

    def sampling(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Denoiser", State, Scalar]:
        """Where random dynamics start once the entries `known` of x were observed: memory, state and noise level."""
        source, _ = self._conditioned(Observation(x, known, sigma=sigma).of(self.dimension))
        start, widest = source.prior_start()
        return source, start.astype(x.dtype), jnp.maximum(sigma, widest.astype(x.dtype))

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Denoiser", State, Scalar]:
        """Where deterministic dynamics start once the entries `known` of x were observed."""
        return self.sampling(x, known, sigma)


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


def components_posterior(
    mean: State, log_density: Scalar, responsibilities: Float[Array, " n"], leading: int
) -> Posterior:
    """The posterior of one state over a list of patterns or components, of which the `leading` ones are named."""
    p, index = jax.lax.top_k(responsibilities, min(leading, responsibilities.size))
    entropy = jax.scipy.special.entr(responsibilities).sum()
    return Posterior(mean, log_density, index, p, entropy)


def likeliest(responsibilities: Float[Array, " n"]) -> tuple[Int[Array, ""], Scalar]:
    """The first pattern or component of the largest probability, and that probability."""
    index = jnp.argmax(responsibilities)
    return index, responsibilities[index]


def gaussian_normaliser(dimension: int | Int[Array, ""], sigma: Scalar) -> Scalar:
    """D log(σ√2π), minus the log density of N(0, σ²I) at its centre."""
    return dimension * (jnp.log(sigma) + math.log(2 * math.pi) / 2)


class Held(Network):
    """A memory at one noise level is a network, x ← D_σ(x) = x − ∇E_σ(x) (Eq. 14).

    For patterns of equal norm it is the modern Hopfield network with β = 1/σ².
    """

    memory: Denoiser
    sigma: Float[Array, ""]

    def __repr__(self) -> str:
        return f"Held({self.memory}, sigma={value(self.sigma)})"

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def _prepared(self) -> "Held":
        return Held(self.memory._prepared(), self.sigma)

    def _energy(self, x: State) -> Scalar:
        if not isinstance(self.memory, Memory):
            raise InputError("memory", f"a {type(self.memory).__name__} has no density", "a Memory has an energy")
        return self.memory._energy(x, self.sigma.astype(x.dtype))

    def _update(self, x: State) -> State:
        return self.memory._denoise(x, self.sigma.astype(x.dtype))

    def _nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        return self.memory._nearest(x, self.sigma.astype(x.dtype))

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        if not isinstance(self.memory, Memory):
            return super()._slope_bound(x, p)
        return self.memory._slope_bound(x, self.sigma.astype(x.dtype), p)

    def _pushed(self, v: State, x: State) -> State:
        if not isinstance(self.memory, Memory):
            return super()._pushed(v, x)
        return self.memory._pushed(v, x, self.sigma.astype(x.dtype))

    def _length(self, x: State) -> Scalar:
        return self.sigma.astype(x.dtype)

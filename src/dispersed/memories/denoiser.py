"""What recall needs of a memory: E[y | x] at every noise level, and what it says of the state where a recall ends."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.conditioning import Observation
from dispersed.memories.associative_memory import AssociativeMemory
from dispersed.memories.network import Network
from dispersed.posterior import Posterior
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, noise_levels, positive

WIDE = 10
"""The noise level of `prior_start`, in units of the spread."""
LEAST = 1e-18
"""The least extent of a memory that counts beside the noise of a cue."""


class Leader(eqx.Module):
    """The likeliest stored item behind a state."""

    index: Int[Array, ""]
    probability: Scalar


class Foreseen(eqx.Module):
    """What the steps of a recall have evaluated and its last step need not evaluate again."""

    behind_cue: Leader | None
    """The likeliest item behind the cue, where a step has evaluated it."""
    mean: State
    """The posterior mean at the last evaluation."""
    decided: Bool[Array, ""]
    """Whether one item had all probability there, and so has it at every level below."""


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

    def _mean_and_certainty(self, x: State, sigma: Scalar, wanted: Bool[Array, ""]) -> tuple[State, Scalar, Leader]:
        """D_σ(x), the probability of the one state y that D_σ(x) nearly is, where there is such, else 0, and, if it is
        wanted, the likeliest item, for a `_last_step` that can use it.
        """
        none = jnp.zeros_like(sigma)
        return self._denoise(x, sigma), none, Leader(jnp.zeros((), jnp.int32), none)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """Index of the stored item that one state stands for, and its responsibility."""
        return None, None

    def _probability(self, x: State, sigma: Scalar, index: Int[Array, ""]) -> Scalar | None:
        """p(index | x) of one item that `_nearest` names; None where the memory keeps no list of items."""
        return None

    def _weight(self, index: Int[Array, ""]) -> Scalar | None:
        """The prior probability of that item."""
        return None

    def _last_step(
        self, z: State, sigma: Scalar, cue: State, level: Scalar, foreseen: Foreseen | None = None
    ) -> tuple[State, Standing]:
        """D_σ(z), the last step of a recall from a cue at its noise level, and what the memory says of it.

        What its steps have `foreseen` a memory may take for granted.
        """

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
        from dispersed.memories.held import Held  # a network that is made of a denoiser

        level = positive("sigma", sigma)
        if level.shape:
            raise InputError("sigma", f"got shape {level.shape}", "a network has one noise level")
        noise_levels(level, (), self._dtype)
        return Held(self, level)

    def _prior_spread(self) -> Scalar | float:
        """The root-mean-square distance of the memories from their mean, 0 if there is but one; where it is unknown,
        that of units of deviation 1.
        """
        if type(self).prior_start is Denoiser.prior_start:
            return math.sqrt(self.dimension)
        return self.prior_start()[1] / WIDE

    def _spread_at(self, sigma: Scalar) -> Scalar:
        """The same as solvers use it for a cue at σ: not less than 10⁻¹⁸ σ, so that it can be divided by."""
        return jnp.maximum(jnp.asarray(self._prior_spread(), sigma.dtype), LEAST * sigma)

    def _extent(self) -> Scalar | float:
        """The length by which solvers measure the last level: the root-mean-square deviation of one unit."""
        return self._prior_spread() / math.sqrt(self.dimension)

    def _prior_mean(self) -> State | None:
        """E[y], which D_σ tends to as σ → ∞; None where that is unknown."""
        return None

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

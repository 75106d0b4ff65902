"""Networks: one scalar energy, its descent, and recall by iteration (Eq. 1–5)."""

import abc

import jax
import jax.numpy as jnp

from dispersed.conditioning import Observation
from dispersed.memories.associative_memory import AssociativeMemory
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Scalar, State
from dispersed.validation import InputError


class Network(AssociativeMemory):
    """A recurrent network with one energy E(x), recalled by repeating its update x ← x − ∇E(x).

    It has no noise level: what temperature it has is its own. To add one, write `dimension` and `_energy` for one
    state; override `_update` where a closed form is faster or the units are discrete, and `_nearest` if the network
    keeps a list of patterns.
    """

    @property
    def _without_origin(self) -> bool:
        """Whether patterns and states that are all moved by the same have the same updates."""
        return False

    @abc.abstractmethod
    def _energy(self, x: State) -> Scalar:
        """E(x) of one state."""

    def _update(self, x: State) -> State:
        """The next state of one state: x − ∇E(x)."""
        return x - jax.grad(self._energy)(x)

    def _nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """Index of the stored pattern that one state stands for, and its responsibility."""
        return None, None

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        """An upper bound on the largest slope of the update at x, where one is known at no price.

        `p` is the probability of the leading pattern at x, if that is known.
        """
        return jnp.asarray(jnp.inf, x.dtype)

    def _pushed(self, v: State, x: State) -> State:
        """The product of the Jacobian of the update with v."""
        return jax.jvp(self._update, (x,), (v,))[1]

    def _length(self, x: State) -> Scalar:
        """The length that a fixed point of a cue x is told by: of what is stored, in the units of the states.

        By default it is the largest entry of the cue, or 1 if that is less.
        """
        return jnp.minimum(jnp.max(jnp.abs(x)), 1)

    def energy(self, x: ArrayLike) -> Float[Array, "..."]:
        """The energy E(x) that the dynamics lowers. `x`: (..., d)."""
        return self._mapped("_energy", x)

    def update(self, x: ArrayLike) -> Float[Array, "... d"]:
        """The states after one synchronous update of every unit. `x`: (..., d)."""
        return self._mapped("_update", x)

    def nearest(self, x: ArrayLike) -> tuple[Int[Array, "..."] | None, Float[Array, "..."] | None]:
        """Index of the stored pattern that each state stands for, and its responsibility. `x`: (..., d).

        `(None, None)` where the network keeps no list of patterns.
        """
        return self._mapped("_nearest", x)

    def _conditioned(self, observation: Observation) -> tuple["Clamped", None]:
        if observation.mask is None:
            raise InputError("observation", f"got an operator for a {type(self).__name__}", "a mask clamps its units")
        return self._clamped(observation.value, observation.mask), None

    def _clamped(self, x: State, known: Bool[Array, " d"]) -> "Clamped":
        """The network with the units `known` held at those of x."""
        return Clamped(self, x, known)

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Network", State, Scalar]:
        """The network with the units `known` clamped to those of one state x, the others at rest, 0."""
        return self._clamped(x, known), jnp.where(known, x, 0), sigma

    def at(self, sigma: ArrayLike | None) -> "Network":
        """The network itself: it holds its own temperature."""
        return self


class Clamped(Network):
    """A network some of whose units are held at given values."""

    network: Network
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.network.dimension

    @property
    def _without_origin(self) -> bool:
        return self.network._without_origin

    def _energy(self, x: State) -> Scalar:
        return self.network._energy(x)

    def _update(self, x: State) -> State:
        return jnp.where(self.known, self.x, self.network._update(x))

    def _nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        return self.network._nearest(x)

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        # The Jacobian of the other units is a part of the whole one.
        return self.network._slope_bound(x, p)

    def _pushed(self, v: State, x: State) -> State:
        return jnp.where(self.known, 0, self.network._pushed(v, x))

    def _length(self, x: State) -> Scalar:
        return self.network._length(x)

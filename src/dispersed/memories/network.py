"""Networks: state-to-state maps that descend one fixed energy, recalled by iteration."""

import abc

import equinox as eqx
import jax.numpy as jnp

from dispersed.display import one_line
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Scalar, State


class Network(eqx.Module):
    """A recurrent network of `dimension` units with one energy and one update.

    It has no noise level: what temperature it has is its own. Subclasses write `energy`, `update` and
    `nearest` for one state, decorated with `per_state`.
    """

    __repr__ = one_line

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """The number of units d."""

    @abc.abstractmethod
    def energy(self, x: State) -> Scalar:
        """The energy that the dynamics lowers."""

    @abc.abstractmethod
    def update(self, x: State) -> State:
        """One synchronous update of every unit."""

    @abc.abstractmethod
    def nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        """Index of the nearest stored pattern and its responsibility for the state."""

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Network", State, Scalar]:
        """The network with the units `known` clamped to those of one state x, the others at rest, 0."""
        return Clamped(self, x, known), jnp.where(known, x, 0), sigma

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

    def energy(self, x: State) -> Scalar:
        return self.network.energy(x)

    def update(self, x: State) -> State:
        return jnp.where(self.known, self.x, self.network.update(x))

    def nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        return self.network.nearest(x)

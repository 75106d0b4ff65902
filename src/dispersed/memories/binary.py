"""Networks of ±1 units: the classical and the dense associative memory (Eq. 1–4)."""

import abc
from typing import Any

import jax
import jax.numpy as jnp

from dispersed.display import place
from dispersed.memories.interaction import Interaction, Polynomial, as_interaction
from dispersed.memories.network import Network
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import check_binary, pattern_array


def sign(field: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """±1 after the sign of the field; a unit without field keeps the sign it has (+1 if it has none)."""
    kept = jnp.where(x < 0, -1.0, 1.0)
    return jnp.where(field == 0, kept, jnp.sign(field)).astype(x.dtype)


class BinaryNetwork(Network):
    """±1 units driven by the sign of a local field that depends on the overlaps a = Yᵀx alone.

    Cues may be real-valued (a noisy cue, or zeros for missing units); after one update states are ±1.
    """

    patterns: Patterns

    @property
    def dimension(self) -> int:
        return self.patterns.shape[-1]

    def overlaps(self, x: State) -> Float[Array, " n"]:
        """a_j = xᵀy_j."""
        return self.patterns @ x

    @abc.abstractmethod
    def unit_field(self, overlaps: Float[Array, " n"], stored: Float[Array, " n"], x: Scalar) -> Scalar:
        """The local field of one unit whose state is x and whose stored values are (y_1i … y_ni)."""

    @abc.abstractmethod
    def shares(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        """Each pattern's non-negative share of the energy."""

    def _update(self, x: State) -> State:
        """All units at once: x_i ← sign(field_i(x)) (Eq. 1). May end in a 2-cycle."""
        overlaps = self.overlaps(x)
        field = jax.vmap(self.unit_field, (None, 1, 0))(overlaps, self.patterns, x)
        return sign(field, x)

    def sweep(self, x: State, order: Int[Array, " d"]) -> State:
        """One unit after another in the given order; each update of a ±1 state lowers the energy."""

        def visit(step: Int[Array, ""], carry: tuple[State, Array]) -> tuple[State, Array]:
            x, overlaps = carry
            i = order[step]
            stored = self.patterns[:, i]
            new = sign(self.unit_field(overlaps, stored, x[i]), x[i])
            return x.at[i].set(new), overlaps + stored * (new - x[i])

        return jax.lax.fori_loop(0, order.size, visit, (x, self.overlaps(x)))[0]

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """Each pattern's fraction of the energy of a state, (..., n), summing to one."""
        return self._mapped("_responsibilities", x)

    def _responsibilities(self, x: State) -> Float[Array, " n"]:
        """Each pattern's share of the energy of x, (..., n), summing to one."""
        shares = self.shares(self.overlaps(x))
        total = shares.sum()
        return jnp.where(total > 0, shares / jnp.where(total > 0, total, 1), 1 / shares.size)

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern with the largest overlap and its share of the energy."""
        index = jnp.argmax(self.overlaps(x))
        return index, self._responsibilities(x)[index]


class ClassicalHopfield(BinaryNetwork):
    r"""The classical network: Hebbian couplings W = Σ_j y_j y_jᵀ (Eq. 3), recall x ← sign(Wx) (Eq. 1).

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `self_coupling`: keep W's diagonal. Eq. 1 sets it to zero; the paper's Table 1 is reproduced only
      with the diagonal kept.

    Its energy is −½ xᵀWx: Eq. 2 as printed, +xᵀWx, increases under Eq. 1. Asynchronous updates lower it
    when W has no negative diagonal; synchronous ones may end in a 2-cycle, which recall reports.

    **Source**: Hopfield (1982).
    """

    patterns: Patterns
    self_coupling: bool

    def __init__(self, patterns: ArrayLike, self_coupling: bool = False) -> None:
        self.patterns = pattern_array(patterns)
        check_binary("patterns", self.patterns)
        self.self_coupling = self_coupling

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        coupling = f"self_coupling={self.self_coupling}"
        return f"ClassicalHopfield({n} patterns of {d} units, {coupling}, {place(self.patterns)})"

    @property
    def couplings(self) -> Float[Array, "d d"]:
        """W = Σ_j y_j y_jᵀ (Eq. 3), its diagonal zero unless `self_coupling`. Recall never forms it."""
        w = self.patterns.T @ self.patterns
        return w if self.self_coupling else w - jnp.diag(jnp.diag(w))

    def _diagonal(self) -> int:
        return 0 if self.self_coupling else self.patterns.shape[0]

    def _energy(self, x: State) -> Scalar:
        """−½ xᵀWx = −½ Σ_j (xᵀy_j)² (+ ½ n‖x‖² without self-coupling)."""
        overlaps = self.overlaps(x)
        return (self._diagonal() * (x @ x) - overlaps @ overlaps) / 2

    def unit_field(self, overlaps: Float[Array, " n"], stored: Float[Array, " n"], x: Scalar) -> Scalar:
        """(Wx)_i."""
        return stored @ overlaps - self._diagonal() * x

    def shares(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        return overlaps**2


class DenseHopfield(BinaryNetwork):
    r"""The dense associative memory: u(x) = −h(Σ_j F(xᵀy_j)) over ±1 units (Eq. 4, sign mended).

    A unit takes the sign that gives the lower energy with all others fixed (Krotov & Hopfield 2016),

        x_i ← sign Σ_j [ F(y_ji + Σ_{k≠i} y_jk x_k) − F(−y_ji + Σ_{k≠i} y_jk x_k) ].

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `interaction`: `Polynomial(degree, rectified=False)`, `Exponential(beta)` or any function F.
      F is evaluated up to a common factor, so that exponentials of thousands of units stay finite.

    **Source**: Krotov & Hopfield (2016); Demircigil et al. (2017).
    """

    patterns: Patterns
    interaction: Interaction

    def __init__(self, patterns: ArrayLike, interaction: Any = Polynomial(3)) -> None:
        self.patterns = pattern_array(patterns)
        check_binary("patterns", self.patterns)
        self.interaction = as_interaction(interaction)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        return f"DenseHopfield({n} patterns of {d} units, {self.interaction}, {place(self.patterns)})"

    def _energy(self, x: State) -> Scalar:
        """u(x) = −h(Σ_j F(xᵀy_j))."""
        return self.interaction.energy(self.overlaps(x), self.dimension)

    def unit_field(self, overlaps: Float[Array, " n"], stored: Float[Array, " n"], x: Scalar) -> Scalar:
        """Σ_j F(y_ji + …) − F(−y_ji + …), up to a positive factor."""
        rest = overlaps - stored * x
        plus, minus = self.interaction.scaled(jnp.stack([rest + stored, rest - stored]))
        return jnp.sum(plus - minus)

    def shares(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.maximum(self.interaction.scaled(overlaps), 0)

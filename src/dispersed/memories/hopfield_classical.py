"""The classical Hopfield network (Eq. 1–3)."""

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.display import place
from dispersed.memories.hopfield_binary import LARGEST, BinaryNetwork, double, double_product, product
from dispersed.types import Array, ArrayLike, Float, Patterns, Scalar, State
from dispersed.validation import check_binary, is_known, pattern_array


class ClassicalHopfield(BinaryNetwork):
    r"""The classical Hopfield network, recall x ← sign(Wx) (Eq. 1) with Hebbian couplings W = Σ_j y_j y_jᵀ (Eq. 3).

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `self_coupling`: whether W has a diagonal. Eq. 1 sets it to zero; the paper's Table 1 is reproduced only
      with the diagonal.

    Its energy is −½ xᵀWx: Eq. 2 as printed, +xᵀWx, increases under Eq. 1. Asynchronous updates lower it
    when W has no negative diagonal; synchronous ones may end in a 2-cycle, which recall reports. States are multiplied
    by the patterns twice, or by W where that is smaller, d ≤ n.

    **Source**: Hopfield (1982).
    """

    patterns: Patterns
    self_coupling: bool = eqx.field(static=True)
    hebbian: Float[Array, "d d"] | None

    def __init__(self, patterns: ArrayLike, self_coupling: bool = False) -> None:
        self.patterns = pattern_array(patterns)
        check_binary("patterns", self.patterns)
        self.self_coupling = bool(self_coupling)
        self.hebbian = None

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        coupling = f"self_coupling={self.self_coupling}"
        return f"ClassicalHopfield({n} patterns of {d} units, {coupling}, {place(self.patterns)})"

    @property
    def couplings(self) -> Float[Array, "d d"]:
        """The Hebbian couplings W = Σ_j y_j y_jᵀ (Eq. 3), their diagonal zero unless `self_coupling`."""
        w = product(self.patterns.T, self.patterns)
        return w if self.self_coupling else w - jnp.diag(jnp.diag(w))

    def _prepared(self) -> "ClassicalHopfield":
        """The same with Σ_j y_j y_jᵀ, computed once, where that is smaller than the patterns."""
        n, d = self.patterns.shape
        if self.hebbian is not None or d > n or not is_known(self.patterns):
            return self

        def prepared() -> "ClassicalHopfield":
            with jax.ensure_compile_time_eval():
                hebbian = product(self.patterns.T, self.patterns)
            return eqx.tree_at(lambda network: network.hebbian, self, hebbian, is_leaf=lambda leaf: leaf is None)

        return self._once("prepared", prepared)

    def _diagonal(self) -> int:
        return 0 if self.self_coupling else self.patterns.shape[0]

    def _energy(self, x: State) -> Scalar:
        """The energy −½ xᵀWx = −½ Σ_j (xᵀy_j)² (Eq. 2), + ½ n‖x‖² without self-coupling."""
        largest = float(jnp.finfo(x.dtype).max)
        # States whose energy would overflow count as merely very far in that direction.
        farthest = (largest / self.patterns.size) ** 0.5 / (4 * x.size**0.5)
        x = jnp.clip(x, -farthest, farthest)
        overlaps = product(self.patterns, x)
        return (self._diagonal() * (x @ x) - overlaps @ overlaps) / 2

    def _fields(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Wx."""
        times = product if x.dtype == self.patterns.dtype else double_product
        w = self.hebbian
        fields = times(times(x, self.patterns.T), self.patterns) if w is None else times(x, w)
        return fields - self._diagonal() * x

    def _signs(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        # All sums are of whole numbers if the state has no others.
        if self.patterns.size + self._diagonal() > LARGEST[x.dtype]:
            return self._signs_of_any(x)
        whole = jnp.all((x == 0) | (jnp.abs(x) == 1))
        return jax.lax.cond(whole, lambda x: jnp.sign(self._fields(x)), self._signs_of_any, x)

    def _signs_of_any(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        with jax.enable_x64(True):
            return jax.lax.convert_element_type(jnp.sign(self._fields(double(x))), x.dtype)

    def _unit_signs(
        self, overlaps: Float[Array, "b n"], stored: Float[Array, "b n"], x: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        return jnp.sign(jnp.sum(stored * overlaps, axis=1) - self._diagonal() * x)

    def _weights(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        """(x·y_j)², relative to the largest."""
        largest = jnp.abs(overlaps).max()
        return (overlaps / jnp.where(largest > 0, largest, 1)) ** 2

"""The classical Hopfield network (Eq. 1–3)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.compiling import one_program
from dispersed.display import place
from dispersed.memories.hopfield_binary import LARGEST, BinaryNetwork, double, double_product
from dispersed.memories.rules import Hebb, Rule, certain, one_by_one
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, check_binary, pattern_array


class ClassicalHopfield(BinaryNetwork):
    r"""The classical Hopfield network, recall x ← sign(Wx) (Eq. 1) with Hebbian couplings W = Σ_j y_j y_jᵀ (Eq. 3).

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `self_coupling`: whether W has a diagonal. Eq. 1 sets it to zero; the paper's Table 1 is reproduced only
      with the diagonal.
    - `rule`: how W is learned: `Hebb()`, `Palimpsest(decay)`, `Storkey()`, `PseudoInverse()`, `Perceptron(margin)` or
      `Unlearning(steps)`. All but Hebb's hold (d, d) numbers, and a field below its round-off counts as none.

    Its energy is −½ xᵀWx: Eq. 2 as printed, +xᵀWx, increases under Eq. 1. Asynchronous updates lower it
    when W has no negative diagonal; synchronous ones may end in a 2-cycle, which recall reports. States are multiplied
    by the patterns twice, or by W where that is smaller, d ≤ n. Couplings of `Perceptron` are not symmetric: there is
    no energy, and `energy` raises `InputError`.

    **Source**: Hopfield (1982); the rules have theirs.
    """

    patterns: Patterns
    self_coupling: bool = eqx.field(static=True)
    rule: Rule
    matrix: Float[Array, "d d"] | None
    """W of another rule than Hebb's; of Hebb's Σ_j y_j y_jᵀ, once that was computed."""

    def __init__(self, patterns: ArrayLike, self_coupling: bool = False, rule: Any = Hebb()) -> None:
        self.patterns = pattern_array(patterns)
        check_binary("patterns", self.patterns)
        self.self_coupling = bool(self_coupling)
        if not isinstance(rule, Rule):
            raise InputError("rule", f"got {rule!r}", "a rule such as dispersed.Hebb() or PseudoInverse() is accepted")
        self.rule = rule
        self.matrix = None
        if not self._hebbian:
            w = rule.couplings(self.patterns)
            self.matrix = w if self.self_coupling else _null_diagonal(w)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        how = f"self_coupling={self.self_coupling}" + ("" if self._hebbian else f", {self.rule}")
        return f"ClassicalHopfield({n} patterns of {d} units, {how}, {place(self.patterns)})"

    @property
    def _hebbian(self) -> bool:
        """Whether W is Σ_j y_j y_jᵀ, which need not be computed, and fields are whole numbers."""
        return type(self.rule) is Hebb

    @property
    @full_precision
    def couplings(self) -> Float[Array, "d d"]:
        """The couplings W, of Hebb's rule Σ_j y_j y_jᵀ (Eq. 3), their diagonal zero unless `self_coupling`."""
        if self.matrix is not None and not self._hebbian:
            return self.matrix
        w = self.patterns.T @ self.patterns
        return w if self.self_coupling else _null_diagonal(w)

    def _prepared(self) -> "ClassicalHopfield":
        """The same with Σ_j y_j y_jᵀ, computed once, where that is smaller than the patterns."""
        n, d = self.patterns.shape
        if self.matrix is not None or d > n or not is_known(self.patterns):
            return self

        @full_precision
        def prepared() -> "ClassicalHopfield":
            with jax.ensure_compile_time_eval():
                hebbian = self.patterns.T @ self.patterns
            return eqx.tree_at(lambda network: network.matrix, self, hebbian, is_leaf=lambda leaf: leaf is None)

        return self._once("prepared", prepared)

    def _diagonal(self) -> int:
        """What is taken off the diagonal of Σ_j y_j y_jᵀ."""
        return 0 if self.self_coupling or not self._hebbian else self.patterns.shape[0]

    @full_precision
    def _energy(self, x: State) -> Scalar:
        """The energy −½ xᵀWx = −½ Σ_j (xᵀy_j)² (Eq. 2), + ½ n‖x‖² without self-coupling."""
        largest = float(jnp.finfo(x.dtype).max)
        # States whose energy would overflow count as merely very far in that direction.
        farthest = (largest / self.patterns.size) ** 0.5 / (4 * x.size**0.5)
        x = jnp.clip(x, -farthest, farthest)
        if not self._hebbian:
            if not self.rule.symmetric:
                given = f"couplings of {self.rule} are not symmetric"
                raise InputError("energy", given, "networks of symmetric couplings have one")
            return -x @ (self.couplings @ x) / 2
        overlaps = self.patterns @ x
        return (self._diagonal() * (x @ x) - overlaps @ overlaps) / 2

    @full_precision
    def _fields(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Wx."""
        times = jnp.matmul if x.dtype == self.patterns.dtype else double_product
        w = self.matrix
        fields = times(times(x, self.patterns.T), self.patterns) if w is None else times(x, w.T)
        return fields - self._diagonal() * x

    def _signs(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        # All sums are of whole numbers if the state has no others.
        if not self._hebbian or self.patterns.size + self._diagonal() > LARGEST[x.dtype]:
            return self._signs_of_any(x)
        whole = jnp.all((x == 0) | (jnp.abs(x) == 1))
        return jax.lax.cond(whole, lambda x: jnp.sign(self._fields(x)), self._signs_of_any, x)

    def _signs_of_any(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        if not self._hebbian:
            sizes, largest = jnp.sum(jnp.abs(self.couplings), axis=1), jnp.max(jnp.abs(x), axis=1, keepdims=True)
            with jax.enable_x64(True):
                signs = certain(self._fields(double(x)), double(largest), double(sizes), x.dtype)
                return jax.lax.convert_element_type(signs, x.dtype)
        with jax.enable_x64(True):
            return jax.lax.convert_element_type(jnp.sign(self._fields(double(x))), x.dtype)

    def sweep(self, x: State, order: Int[Array, " d"]) -> State:
        if self._hebbian:
            return super().sweep(x, order)
        return one_by_one(self.couplings, x, order)

    def _unit_signs(
        self, overlaps: Float[Array, "b n"], stored: Float[Array, "b n"], x: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        return jnp.sign(jnp.sum(stored * overlaps, axis=1) - self._diagonal() * x)

    def _weights(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        """(x·y_j)², relative to the largest."""
        largest = jnp.abs(overlaps).max()
        return (overlaps / jnp.where(largest > 0, largest, 1)) ** 2


@one_program
def _null_diagonal(w: Float[Array, "d d"]) -> Float[Array, "d d"]:
    return w - jnp.diag(jnp.diag(w))

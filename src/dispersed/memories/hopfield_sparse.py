"""Networks of sparse 0/1 units: Tsodyks and Feigel'man's covariance rule, and Willshaw's clipped couplings."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.display import one_line, place
from dispersed.memories.hopfield_binary import batched, double, double_product
from dispersed.memories.hopfield_universal import manhattan_gaps
from dispersed.memories.network import Network
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, pattern_array


class SparseRule(eqx.Module):
    """How patterns of 0 and 1 become couplings."""

    __repr__ = one_line

    @abc.abstractmethod
    def learned(self, patterns: Patterns) -> tuple[Float[Array, "d d"], Scalar]:
        """V and θ: a unit is active where (V x)_i > θ."""


class Covariance(SparseRule):
    """V = Σ_j (y_j − f)(y_j − f)ᵀ/(d f(1 − f)) without diagonal, θ = ½ − f, with the activity f of the patterns.

    The capacity grows as 1/(2f |ln f|) patterns per unit for small f. Tsodyks & Feigel'man (1988).

    **Arguments**: `threshold`, θ, if it is not to be ½ − f.
    """

    threshold: float | None = eqx.field(static=True)

    def __init__(self, threshold: float | None = None) -> None:
        if threshold is not None and not np.isfinite(threshold):
            raise InputError("threshold", f"got {threshold!r}", "a finite number is accepted")
        self.threshold = None if threshold is None else float(threshold)

    @one_program
    @full_precision
    def learned(self, patterns: Patterns) -> tuple[Float[Array, "d d"], Scalar]:
        d = patterns.shape[1]
        with jax.enable_x64(True):
            wide = double(patterns)
            f = jnp.mean(wide)
            off = wide - f
            spread = f * (1 - f)
            w = off.T @ off / (d * jnp.where(spread > 0, spread, 1))
            theta = 0.5 - f if self.threshold is None else jnp.asarray(self.threshold)
            w, theta = (jax.lax.convert_element_type(part, patterns.dtype) for part in (w, theta))
        return w - jnp.diag(jnp.diag(w)), theta


class Willshaw(SparseRule):
    """Couplings that exist or do not, W = min(1, Σ_j y_j y_jᵀ): a unit is active if all active units are coupled to it.

    That is V = W − 1 with θ = −½. At activities near log₂(d)/d it holds ln 2 bits a coupling. Willshaw, Buneman &
    Longuet-Higgins (1969).
    """

    @one_program
    @full_precision
    def learned(self, patterns: Patterns) -> tuple[Float[Array, "d d"], Scalar]:
        w = jnp.minimum(patterns.T @ patterns, 1)
        return w - 1, jnp.asarray(-0.5, patterns.dtype)


class SparseHopfield(Network):
    r"""Units of 0 and 1, few of them active: x_i ← 1 where (V x)_i > θ, else 0, which lowers −½ xᵀVx + θ Σ_i x_i.

    Fields that exceed θ by no more than round-off count as θ.

    **Arguments**: `patterns`, (n, d) of 0 and 1; `rule`, `Covariance()` or `Willshaw()`.

    Cues may have units missing, as 0; Willshaw's rule recalls from a part of a pattern and cannot bear added units.
    Updates are of all units at once, and may end in a 2-cycle.

    **Raises** `InputError` for other patterns and for what is no rule.

    >>> import dispersed
    >>> network = dispersed.SparseHopfield([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dispersed.Willshaw())
    >>> dispersed.recall(network, [1, 1, 0, 0, 0, 0]).x
    Array([1., 1., 1., 0., 0., 0.], dtype=float32)
    """

    patterns: Patterns
    rule: SparseRule
    matrix: Float[Array, "d d"]
    theta: Scalar

    def __init__(self, patterns: ArrayLike, rule: Any = Covariance()) -> None:
        self.patterns = pattern_array(patterns)
        if is_known(self.patterns) and not np.isin(np.asarray(self.patterns), (0, 1)).all():
            odd = np.asarray(self.patterns)[~np.isin(np.asarray(self.patterns), (0, 1))][0]
            raise InputError("patterns", f"got entries such as {odd:g}", "a sparse network accepts only 0 and 1")
        if not isinstance(rule, SparseRule):
            raise InputError("rule", f"got {rule!r}", "Covariance() or Willshaw() is accepted")
        self.rule = rule
        self.matrix, self.theta = rule.learned(self.patterns)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        return f"SparseHopfield({n} patterns of {d} units, {self.rule}, {place(self.patterns)})"

    @property
    def dimension(self) -> int:
        return self.patterns.shape[1]

    @full_precision
    def _energy(self, x: State) -> Scalar:
        largest = float(np.finfo(x.dtype).max)
        farthest = (largest / self.matrix.size) ** 0.5 / (4 + 4 * self.matrix.shape[0])
        x = jnp.clip(x, -farthest, farthest)
        return -x @ (self.matrix @ x) / 2 + self.theta * jnp.sum(x)

    def _update(self, x: State) -> State:
        return batched(lambda network, x: network._active(x), self, x)

    def _active(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """1 of the units of a batch of states whose fields exceed θ by more than the rounding of V makes of them."""
        eps = float(jnp.finfo(x.dtype).eps)
        with jax.enable_x64(True):
            wide, theta = double(x), double(self.theta)
            fields = double_product(wide, self.matrix.T) - theta
            sizes = double_product(jnp.abs(wide), jnp.abs(self.matrix.T)) + jnp.abs(theta)
            return jax.lax.convert_element_type(fields > 4 * eps * sizes, x.dtype)

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        # Steps are constant almost everywhere.
        return jnp.zeros((), x.dtype)

    def _pushed(self, v: State, x: State) -> State:
        return jnp.zeros_like(v)

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern that differs in the fewest units, the first of several, and its part of the overlaps."""
        index = jnp.argmax(manhattan_gaps(self.patterns, self.patterns[0], x))
        return index, self._responsibilities(x)[index]

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The patterns' parts of the sum of their overlaps with each state, (..., n)."""
        return self._mapped("_responsibilities", x)

    @full_precision
    def _responsibilities(self, x: State) -> Float[Array, " n"]:
        farthest = float(np.finfo(x.dtype).max) / (4 * x.size * self.patterns.shape[0])
        overlaps = jnp.maximum(self.patterns @ jnp.clip(x, -farthest, farthest), 0)
        total = jnp.sum(overlaps)
        return jnp.where(total > 0, overlaps / jnp.where(total > 0, total, 1), 1 / overlaps.size)


__all__ = ["Covariance", "SparseHopfield", "SparseRule", "Willshaw"]

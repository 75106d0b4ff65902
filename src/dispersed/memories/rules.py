r"""Learning rules of pairwise networks: the couplings W that a list of ±1 patterns leaves.

`ClassicalHopfield` recalls by the sign of W x, with W_ii = 0 unless there is self-coupling; a positive factor of W
does not matter. Capacities are numbers of random patterns per unit, α = n/d, at which recall fails in large networks;
measured by `python -m benchmarks.rules`:

| rule | theory | measured, at d units | |
| --- | --- | --- | --- |
| `Hebb` | 0.1379 | 0.1319 (1,000), 0.1336 (2,000), 0.1344 (4,000) | where the overlap is 0.967; Amit et al. (1985) |
| `Palimpsest` | 0.049 | 0.053 (1,000) | the last patterns, whatever came before; Mézard et al. (1986) |
| `Storkey` | | 0.44 (500) | at the same overlap; Storkey & Valabregue (1999) |
| `Unlearning` | | 0.23 (500) | at the same overlap, 1,000 steps of 0.01; Hopfield et al. (1983) |
| `PseudoInverse` | 1 | 0.99 (1,000) | all patterns are fixed points; Kanter & Sompolinsky (1987) |
| `Perceptron` | 2 | 1.95 (1,000) | κ = 0, extrapolated from α ≤ 1.5; Gardner (1988) |
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.batching import any_of_batch
from dispersed.compiling import one_program
from dispersed.display import one_line
from dispersed.memories.hopfield_binary import double
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, Bool, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, at_least, one_number, positive, random_seed, real_array


class Rule(eqx.Module):
    """How patterns become couplings."""

    __repr__ = one_line

    symmetric: ClassVar[bool] = True
    """Whether W_ij = W_ji, so that recall has the energy −½ xᵀWx."""

    @abc.abstractmethod
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        """W of ±1 patterns (n, d), (d, d); its diagonal is used with self-coupling only."""


class Hebb(Rule):
    """W = Σ_j y_j y_jᵀ (Eq. 3). Hopfield (1982)."""

    @full_precision
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        return patterns.T @ patterns


class Palimpsest(Rule):
    """Hebb's rule with decay, W ← (1 − λ) W + y yᵀ for one pattern after the other: the last ones are recalled.

    In large networks a decay of 8.44/d holds the most of them, 0.049 d. Mézard, Nadal & Toulouse (1986).

    **Arguments**: `decay`, λ in [0, 1).
    """

    decay: Float[Array, ""]

    def __init__(self, decay: float) -> None:
        rate = one_number("decay", real_array("decay", decay))
        if is_known(rate) and not 0 <= float(rate) < 1:
            raise InputError("decay", f"got {float(rate):g}", "numbers from 0 and below 1 are accepted")
        self.decay = rate

    @one_program
    @full_precision
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        age = jnp.arange(len(patterns))[::-1]
        weight = jnp.exp(age * jnp.log1p(-self.decay.astype(patterns.dtype)))
        return (patterns.T * weight) @ patterns


class Storkey(Rule):
    """Storkey's local rule: Hebb's, less what the couplings so far predict, one pattern after the other,

        W_ij ← W_ij + (y_i y_j − y_i h_ji − h_ij y_j)/d,    h_ij = Σ_{k ≠ i,j} W_ik y_k.

    Storkey & Valabregue (1999). O(n d²), in double precision: of more patterns than units round-off grows.
    """

    @one_program
    @full_precision
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        d = patterns.shape[1]

        @full_precision
        def learn(w: Float[Array, "d d"], y: State) -> tuple[Float[Array, "d d"], None]:
            y = double(y)
            h = w @ y
            # Σ_{k ≠ i,j} W_ik y_k = h_i − W_ij y_j
            change = jnp.outer(y, y) - jnp.outer(y, h) - jnp.outer(h, y) + 2 * w
            return w + (1 - jnp.eye(d, dtype=w.dtype)) * change / d, None

        with jax.enable_x64(True):
            w = jax.lax.scan(learn, jnp.zeros((d, d), float), patterns)[0]
            return jax.lax.convert_element_type(w, patterns.dtype)


class PseudoInverse(Rule):
    """W = Yᵀ(YYᵀ)⁺Y, the projection onto the patterns, of which each is a fixed point while they span no whole space.

    Also called the projection rule. Personnaz, Guyon & Dreyfus (1985). In double precision, O(min(n, d)³).
    """

    @one_program
    @full_precision
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        n, d = patterns.shape
        with jax.enable_x64(True):
            y = double(patterns)
            values, vectors = jnp.linalg.eigh(y @ y.T if n <= d else y.T @ y)
            # Repeated and dependent patterns span no more than the others do.
            eps = max(n, d) * float(np.finfo(float).eps)
            spans = values > values[-1] * eps
            if n <= d:
                vectors = (y.T @ vectors) / jnp.sqrt(jnp.where(spans, values, 1))
            vectors = jnp.where(spans, vectors, 0)
            w = vectors @ vectors.T
            # A unit that no other is coupled to has no field, but that of round-off.
            w = jnp.where(jnp.abs(w) > 64 * eps * jnp.max(jnp.abs(w)), w, 0)
            return jax.lax.convert_element_type(w, patterns.dtype)


class Perceptron(Rule):
    """Each unit learns as a perceptron until all patterns are stable with a margin, y_i h_i ≥ κ‖W_i‖,

        W_i ← W_i + y_i y/d    wherever that does not hold yet, for one pattern after the other.

    It converges if couplings with the margin exist, which in large networks they do for
    n/d < 1/∫_{−κ}^∞ Dz (z + κ)² (Gardner 1988). Couplings are not symmetric: there is no energy.

    **Arguments**: `margin`, κ ≥ 0, for patterns of ±1 and ‖W_i‖ the Euclidean norm; `sweeps`, the most passes over the
    patterns.
    """

    margin: Float[Array, ""]
    sweeps: int = eqx.field(static=True)
    symmetric = False

    def __init__(self, margin: float = 0.0, sweeps: int = 1000) -> None:
        self.margin = one_number("margin", real_array("margin", margin))
        if is_known(self.margin) and not 0 <= float(self.margin) < np.inf:
            raise InputError("margin", f"got {float(self.margin):g}", "finite numbers from 0 are accepted")
        self.sweeps = at_least("sweeps", sweeps, 1)

    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        return self.of_units(patterns, jnp.arange(patterns.shape[1]))[0]

    def of_units(self, patterns: Patterns, units: Int[Array, " k"]) -> tuple[Float[Array, "k d"], Int[Array, ""]]:
        """The couplings of some units, (k, d), and the number of passes made; fewer than `sweeps` if all converged."""
        d, each = patterns.shape[1], jnp.arange(len(units))
        margin = self.margin.astype(patterns.dtype)

        # Of W d, whose entries, fields and squares are whole numbers: fields of nothing are told from round-off.
        @full_precision
        def learn(carry: tuple[Array, Array], y: State) -> tuple[tuple[Array, Array], Bool[Array, ""]]:
            w, squares = carry
            field = y[units] * (w @ y)
            wrong = (field <= 0) | (field < margin * jnp.sqrt(squares))
            step = jnp.where(wrong, y[units], 0)
            w = (w + jnp.outer(step, y)).at[each, units].set(0)
            return (w, squares + jnp.where(wrong, 2 * field + d - 1, 0)), jnp.any(wrong)

        def unfinished(carry: tuple[Array, Array, Array, Int[Array, ""]]) -> Bool[Array, ""]:
            return carry[2] & (carry[3] < self.sweeps)

        def sweep(carry: tuple[Array, Array, Array, Int[Array, ""]]) -> tuple[Array, Array, Array, Int[Array, ""]]:
            (w, squares), wrong = jax.lax.scan(learn, carry[:2], patterns)
            return w, squares, jnp.any(wrong), carry[3] + 1

        zero = jnp.zeros((len(units), d), patterns.dtype)
        start = (zero, zero[:, 0], jnp.ones((), bool), jnp.zeros((), jnp.int32))
        w, _, _, sweeps = jax.lax.while_loop(unfinished, sweep, start)
        return w / d, sweeps


class Unlearning(Rule):
    """Hebb's rule, after which the network forgets what random states relax to: W ← W − ε s sᵀ, again and again.

    s is where a random state ends under asynchronous updates, mostly a mixture of patterns. Some unlearning widens the
    basins of the patterns, too much destroys them. Hopfield, Feinstein & Palmer (1983).

    **Arguments**: `steps` ≥ 1; `rate`, ε > 0, relative to the couplings of one pattern; `seed`, of the random states.
    """

    rate: Float[Array, ""]
    steps: int = eqx.field(static=True)
    seed: int = eqx.field(static=True)

    def __init__(self, steps: int, rate: float = 0.01, seed: int = 0) -> None:
        self.steps, self.seed = at_least("steps", steps, 1), random_seed(seed)
        self.rate = one_number("rate", positive("rate", rate))

    @full_precision
    def couplings(self, patterns: Patterns) -> Float[Array, "d d"]:
        d, rate = patterns.shape[1], self.rate.astype(patterns.dtype)
        others = 1 - jnp.eye(d, dtype=patterns.dtype)
        hebbian = others * (patterns.T @ patterns)

        def dream(step: Int[Array, ""], forgotten: Float[Array, "d d"]) -> Float[Array, "d d"]:
            def sign(i: Int[Array, ""], x: State) -> Scalar:
                # Two whole numbers, so that a field of nothing is told from round-off.
                learned, lost = jnp.sum(hebbian[i] * x), rate * jnp.sum(forgotten[i] * x)
                size = jnp.abs(learned) + jnp.abs(lost)
                return certain(learned - lost, jnp.ones_like(size), size, x.dtype)

            key = jax.random.fold_in(jax.random.key(self.seed), step)
            s = relaxed(sign, jax.random.rademacher(key, (d,), patterns.dtype))
            return forgotten + others * jnp.outer(s, s)

        return hebbian - rate * jax.lax.fori_loop(0, self.steps, dream, jnp.zeros_like(hebbian))


def relaxed(sign: Callable[[Int[Array, ""], State], Scalar], x: State, sweeps: int = 100) -> State:
    """Where a ±1 state ends under updates of one unit after the other, in their order.

    `sign(i, x)` is that of the field of unit i, 0 where it has none and stays.
    """

    def visit(x: State, i: Int[Array, ""]) -> tuple[State, None]:
        found = sign(i, x)
        return x.at[i].set(jnp.where(found == 0, x[i], found)), None

    def unfinished(carry: tuple[State, Bool[Array, ""], Int[Array, ""]]) -> Bool[Array, ""]:
        return carry[1] & (carry[2] < sweeps)

    def sweep(carry: tuple[State, Bool[Array, ""], Int[Array, ""]]) -> tuple[State, Bool[Array, ""], Int[Array, ""]]:
        x, _, count = carry
        new, _ = jax.lax.scan(visit, x, jnp.arange(x.size))
        return new, jnp.any(new != x), count + 1

    return jax.lax.while_loop(unfinished, sweep, (x, jnp.ones((), bool), jnp.zeros((), jnp.int32)))[0]


def certain(
    fields: Float[Array, "..."], largest: Float[Array, "..."], sizes: Float[Array, "..."], dtype: Any
) -> Float[Array, "..."]:
    """Signs of fields W x in double precision, 0 of those that are no larger than what the rounding of W makes of them.

    `largest` is that of |x|, `sizes` are the sums Σ_k |W_ik|, and `dtype` is the precision of W.
    """
    return jnp.where(jnp.abs(fields) > 4 * float(jnp.finfo(dtype).eps) * largest * sizes, jnp.sign(fields), 0)


def one_by_one(w: Float[Array, "d d"], x: State, order: Int[Array, " d"]) -> State:
    """One update of every unit in the given order: the sign of its field, or what it was without one."""
    sizes, largest = jnp.sum(jnp.abs(w), axis=1), jnp.maximum(jnp.max(jnp.abs(x)), 1)  # visited units are ±1
    # What rounding makes of products and sums in the precision of the states.
    slack = (x.size + 8) * jnp.finfo(x.dtype).eps * largest * sizes

    def visit(x: State, i: Int[Array, ""]) -> tuple[State, None]:
        field = jnp.sum(w[i] * x)
        unsure = ~((jnp.abs(field) > slack[i]) & jnp.isfinite(field))

        def exactly() -> Scalar:
            with jax.enable_x64(True):
                terms = double(w[i]) * double(x)
                found = certain(jnp.sum(terms), jnp.ones_like(terms[0]), jnp.sum(jnp.abs(terms)), w.dtype)
                return jax.lax.convert_element_type(found, x.dtype)

        found = jax.lax.cond(any_of_batch(unsure), exactly, lambda: jnp.sign(field))
        return x.at[i].set(jnp.where(found == 0, jnp.where(x[i] < 0, -1, 1).astype(x.dtype), found)), None

    return jax.lax.scan(visit, x, order)[0]


__all__ = [
    "Hebb",
    "Palimpsest",
    "Perceptron",
    "PseudoInverse",
    "Rule",
    "Storkey",
    "Unlearning",
    "certain",
    "one_by_one",
    "relaxed",
]

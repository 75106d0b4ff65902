r"""The dense associative memory (Eq. 4).

Of a ±1 state x with overlaps h = Yx, the field of unit i is

    Σ_n [F(h_n − x_i y_ni + y_ni) − F(h_n − x_i y_ni − y_ni)]
      = ½ Σ_n y_ni [F(h_n + 2) − F(h_n − 2)] + ½ x_i Σ_n [2F(h_n) − F(h_n + 2) − F(h_n − 2)],

one product for the overlaps, which are whole numbers and exact, and one for all fields. The pattern c with the largest
terms is taken out of both sums and added by itself, since where it agrees with the state its terms nearly cancel in
them. What is left of round-off is at most

    e = γ_{n+1} ½ Σ_{n ≠ c} |F(h_n + 2) − F(h_n − 2)|

and a few units in the last place of every F, in double precision. In single precision F(h + 2) − F(h − 2) is split into
two integers, of as many bits as leave their sums over n patterns without round-off, and the rest bounds the error.
Fields above their bound have their sign; states with others are multiplied in double precision; and the units that are
undecided even then, ties above all, are summed by themselves: of terms y_ni [F(r + 1) − F(r − 1)] with equal rests r =
h_n − x_i y_ni those of opposite sign cancel before anything is evaluated. Fields of real-valued states are such sums,
too.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import place
from dispersed.memories.hopfield_binary import (
    BUDGET,
    LARGEST,
    BinaryNetwork,
    double,
    double_product,
    in_blocks,
)
from dispersed.memories.interaction import Interaction, Polynomial, as_interaction, power_above
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import check_binary, pattern_array

FEWEST_BITS = 6
"""The fewest bits of integers of which two are precise enough; with more patterns a product is in double precision."""
ROUND_OFF = 2.0**-46
"""The error of F, evaluated in double precision, in parts of its value."""


class DenseHopfield(BinaryNetwork):
    r"""The dense associative memory, with the energy u(x) = −h(Σ_j F(xᵀy_j)) over ±1 units (Eq. 4, its sign mended).

    A unit takes the sign that gives the lower energy with all others fixed (Krotov & Hopfield 2016),

        x_i ← sign Σ_j [ F(y_ji + Σ_{k≠i} y_jk x_k) − F(−y_ji + Σ_{k≠i} y_jk x_k) ].

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `interaction`: `Polynomial(degree, rectified=False)`, `Exponential(beta)` or any function F of an array, entry by
      entry. F is evaluated in double precision, up to a common factor, so that exponentials of thousands of units stay
      finite. Programs are compiled anew for every other function object: a `lambda` that is written in a loop is
      another one each time, so define it once.

    One update of ±1 states costs two matrix products and three evaluations of F for each overlap; of real-valued ones,
    as cues are, two evaluations for each pattern and unit.

    **Raises** `InputError` for patterns that are not ±1 and for what is no interaction.

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
        largest = float(jnp.finfo(x.dtype).max)
        return jnp.clip(self.interaction.energy(self._overlaps(x), self.dimension), -largest, largest)

    def _weights(self, overlaps: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.maximum(self.interaction.scaled(overlaps), 0)

    def _signs(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jax.lax.cond(jnp.all(jnp.abs(x) == 1), self._signs_of_binary, self._signs_of_any, x)

    def _exact(self, dtype: Any) -> bool:
        """Whether sums over all patterns have no round-off for states of whole numbers up to one."""
        return self.interaction.largest_sum(*self.patterns.shape) < LARGEST[jnp.dtype(dtype)]

    @full_precision
    def _signs_of_binary(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        y = self.patterns
        overlaps = x @ y.T
        with jax.enable_x64(True):
            terms = self._terms(double(overlaps), x)
            narrow = y.dtype == jnp.float32 and _bits(len(y)) >= FEWEST_BITS
            signs = self._signs_by_integers(x, *terms) if narrow else self._signs_in_double(x, *terms)
        if narrow:
            signs = self._again(signs, x, *terms)
        if self._exact(jnp.float64):
            return signs.astype(x.dtype)
        return self._decided(signs, x, overlaps).astype(x.dtype)

    @full_precision
    def _signs_by_integers(
        self, x: Float[Array, "b d"], slopes: Array, lead: Array, bends: Array, errors: Array
    ) -> Float[Array, "b d"]:
        """By two products of integers, which single precision adds up without round-off."""
        bits = _bits(slopes.shape[1])
        # In units of a power of two, so that nothing over- or underflows or is rounded by it.
        scale = power_above(jnp.max(jnp.abs(slopes), axis=1, keepdims=True))
        high = slopes / scale * 2.0**bits
        low = (high - jnp.round(high)) * 2.0**bits
        left = jnp.sum(jnp.abs(low - jnp.round(low)), axis=1, keepdims=True)
        whole = _single(jnp.concatenate([jnp.round(high), jnp.round(low)]))
        of_high, of_low = jnp.split(double(whole @ self.patterns), 2)
        unit = scale * 2.0 ** (-2 * bits - 1)
        fields = lead + (of_high * 2.0**bits + of_low) * unit + bends * double(x)
        # Of the sums of a few numbers, and of what is below the least normal one.
        sums = jnp.sum(jnp.abs(slopes), axis=1, keepdims=True) / 2 + jnp.abs(bends)
        tiny = float(np.finfo(np.float64).tiny) * slopes.shape[1]
        bound = left * unit * (1 + ROUND_OFF) + ROUND_OFF * (sums + jnp.abs(lead)) + errors + tiny
        # Of exact terms, of which nothing is left, ties are known to be ties.
        return _certain(fields, jnp.where((left == 0) & self._exact(jnp.float64), EXACT, bound))

    def _signs_in_double(
        self, x: Float[Array, "b d"], slopes: Array, lead: Array, bends: Array, errors: Array
    ) -> Float[Array, "b d"]:
        sums = jnp.sum(jnp.abs(slopes), axis=1, keepdims=True) / 2
        bound = EXACT if self._exact(jnp.float64) else _gamma(slopes.shape[1], jnp.float64) * sums + errors
        return _certain(lead + double_product(slopes, self.patterns) / 2 + bends * double(x), bound)

    def _again(self, signs: Float[Array, "b d"], x: Float[Array, "b d"], *terms: Array) -> Float[Array, "b d"]:
        """The signs of states with undecided units in double precision, of these alone where they are few."""
        open_states = jnp.any(signs == UNDECIDED, axis=1)
        count, few = jnp.sum(open_states), max(1, len(signs) // 8)

        def of_few() -> Float[Array, "b d"]:
            (which,) = jnp.nonzero(open_states, size=few, fill_value=0)
            with jax.enable_x64(True):
                return signs.at[which].set(self._signs_in_double(x[which], *(part[which] for part in terms)))

        def of_all() -> Float[Array, "b d"]:
            with jax.enable_x64(True):
                return self._signs_in_double(x, *terms)

        return jax.lax.switch((count > 0).astype(jnp.int32) + (count > few), [lambda: signs, of_few, of_all])

    def _terms(self, h: Float[Array, "b n"], x: Float[Array, "b d"]) -> tuple[Array, Array, Array, Array]:
        """F(h + 2) − F(h − 2) of all patterns but one, that one's fields, ½ Σ(2F(h) − …) and errors of F in fields."""
        f = jax.vmap(self.interaction.scaled)(jnp.stack([h - 2, h, h + 2], axis=1))
        below, here, above = f[:, 0], f[:, 1], f[:, 2]
        size = jnp.abs(below) + 2 * jnp.abs(here) + jnp.abs(above)
        index = jax.lax.broadcasted_iota(jnp.int32, size.shape, 1)
        largest = size == jnp.max(size, axis=1, keepdims=True)
        c = jnp.min(jnp.where(largest, index, size.shape[1] - 1), axis=1, keepdims=True)
        others = index != c
        slopes = jnp.where(others, above - below, 0)
        bends = jnp.sum(jnp.where(others, 2 * here - above - below, 0), axis=1, keepdims=True) / 2
        below_c, here_c, above_c = (
            jnp.sum(jnp.where(others, 0, part), axis=1, keepdims=True) for part in (below, here, above)
        )
        stored = self.patterns[c[:, 0]]
        agrees = stored == x
        lead = double(stored) * jnp.where(agrees, here_c - below_c, above_c - here_c)
        error = jnp.abs(here_c) + jnp.where(agrees, jnp.abs(below_c), jnp.abs(above_c))
        error += jnp.sum(jnp.where(others, size, 0), axis=1, keepdims=True)
        return slopes, lead, bends, ROUND_OFF * error

    def _signs_of_any(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Unit by unit, of real-valued states."""
        y = self.patterns
        # Beyond that sums r hide the difference of r + 1 and r − 1; long before, only ratios of them decide.
        longest = 2.0 ** x.shape[1].bit_length() * jnp.max(jnp.abs(x) / LONGEST, axis=1, keepdims=True)
        x = x / jnp.maximum(power_above(longest), 1)
        with jax.enable_x64(True):
            overlaps = double_product(double(x), y.T)

        def block(x: Float[Array, "c d"], overlaps: Float[Array, "c n"]) -> Float[Array, "c d"]:
            def unit(part: tuple[Array, Array]) -> Float[Array, " c"]:
                with jax.enable_x64(True):
                    stored, own = double(part[0]), double(part[1])[:, None]
                    return self._summed(overlaps - own * stored, jnp.broadcast_to(stored, overlaps.shape), part[1])

            return jax.lax.map(unit, (y.T, x.T)).T

        signs = in_blocks(block, x.shape[0], y.shape[0], x, overlaps)
        return self._decided(signs, x, overlaps).astype(x.dtype)

    def _summed(
        self, rest: Float[Array, "c n"], stored: Float[Array, "c n"], x: Float[Array, " c"]
    ) -> Float[Array, " c"]:
        """Signs of Σ_n y_n [F(r_n + 1) − F(r_n − 1)], or `UNDECIDED`."""
        f = jax.vmap(self.interaction.scaled)(jnp.stack([rest + 1, rest - 1], axis=1))
        fields = jnp.sum(stored * (f[:, 0] - f[:, 1]), axis=1)
        bound = (_gamma(rest.shape[1], jnp.float64) + ROUND_OFF) * jnp.sum(jnp.abs(f), axis=(1, 2))
        if self._exact(jnp.float64):
            bound = jnp.where((x == 0) | (jnp.abs(x) == 1), EXACT, bound)
        return _certain(fields, bound)

    def _unit_signs(
        self, overlaps: Float[Array, "b n"], stored: Float[Array, "b n"], x: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        rest = overlaps - stored * x[:, None]
        signs = self._summed(rest, stored, x)
        undecided = jnp.any(signs == UNDECIDED)
        return jax.lax.cond(
            undecided, lambda: jnp.where(signs == UNDECIDED, self._combined(rest, stored), signs), lambda: signs
        )

    def _decided(
        self, signs: Float[Array, "b d"], x: Float[Array, "b d"], overlaps: Float[Array, "b n"]
    ) -> Float[Array, "b d"]:
        """Signs of which those that are undecided are found one by one."""
        y, (b, d) = self.patterns, x.shape
        # A program asks for the memory of all its parts, needed or not: few pairs at once.
        size = max(1, min(b * d, BUDGET // (16 * y.shape[0])))
        undecided = (signs == UNDECIDED).ravel()

        def decide() -> Float[Array, "b d"]:
            pairs = jnp.nonzero(undecided, size=b * d + size, fill_value=b * d)[0]

            def part(step: Int[Array, ""], signs: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
                pair = jax.lax.dynamic_slice_in_dim(pairs, step * size, size)
                state, unit = jnp.divmod(jnp.minimum(pair, b * d - 1), d)
                with jax.enable_x64(True):
                    stored, own = double(y[:, unit].T), double(x[state, unit])[:, None]
                    found = self._combined(double(overlaps[state]) - own * stored, stored)
                return signs.at[pair].set(found, mode="drop")

            count = (jnp.sum(undecided) + size - 1) // size
            return jax.lax.fori_loop(0, count, part, signs.ravel()).reshape(b, d)

        return jax.lax.cond(jnp.any(undecided), decide, lambda: signs)

    def _combined(self, rest: Float[Array, "c n"], stored: Float[Array, "c n"]) -> Float[Array, " c"]:
        """Signs of Σ_n y_n [F(r_n + 1) − F(r_n − 1)], equal terms counted before they are summed."""

        def difference(rest: Float[Array, " n"]) -> Float[Array, " n"]:
            f = self.interaction.scaled(jnp.stack([rest + 1, rest - 1]))
            return f[0] - f[1]

        rest, count = _count_equal(rest, stored)
        # Only rests that count set the scale of F.
        live = count != 0
        some = jnp.max(jnp.where(live, rest, -jnp.inf), axis=1, keepdims=True)
        some = jnp.where(jnp.isfinite(some), some, 0.0)
        terms = jax.vmap(difference)(jnp.where(live, rest, some))
        # What is odd or even in r gives equal terms of different rests.
        terms, count = _count_equal(jnp.abs(terms), count * jnp.sign(terms))
        return _single(jnp.sign(jnp.sum(terms * count, axis=1)))


LONGEST = 2.0**40
"""The largest overlap of a real-valued state: its round-off in double precision is 10⁻⁴ of what one unit changes."""
UNDECIDED = 2.0
"""Stands where a sign is not known."""
EXACT = -1.0
"""The bound of fields without round-off, whose zeros are zeros; one that underflows to 0 says nothing of them."""


def _certain(fields: Float[Array, "..."], bound: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """Signs of fields that are larger than a bound on their errors, or `EXACT`."""
    return _single(jnp.where(jnp.abs(fields) > bound, jnp.sign(fields), UNDECIDED))


def _single(signs: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.lax.convert_element_type(signs, jnp.float32)


def _gamma(terms: int, dtype: Any) -> float:
    """The relative error of a sum of so many terms (Higham 2002, Sec. 3.1)."""
    nu = terms * float(jnp.finfo(dtype).eps) / 2
    return nu / (1 - nu) if nu < 0.5 else float("inf")


def _bits(terms: int) -> int:
    """How large integers may be, 2^bits, so many of which single precision adds up without round-off."""
    return 24 - (terms - 1).bit_length()


def _count_equal(
    values: Float[Array, "c n"], counts: Float[Array, "c n"]
) -> tuple[Float[Array, "c n"], Float[Array, "c n"]]:
    """Sorted values, of equal ones the last with the sum of all their counts, the others with none."""
    values, counts = jax.lax.sort((values, counts), dimension=1, num_keys=1)
    last = jnp.concatenate([values[:, 1:] != values[:, :-1], jnp.ones_like(values[:, :1], bool)], axis=1)
    # Running sums of whole numbers are exact, and those of a run are a difference of two.
    running = jnp.pad(jax.lax.associative_scan(jnp.add, counts, axis=1), ((0, 0), (1, 0)))
    end = jnp.where(last, jax.lax.broadcasted_iota(jnp.int32, last.shape, 1) + 1, 0)
    before = jnp.pad(jax.lax.associative_scan(jnp.maximum, end, axis=1), ((0, 0), (1, 0)))[:, :-1]
    return values, jnp.where(last, running[:, 1:] - jnp.take_along_axis(running, before, axis=1), 0)

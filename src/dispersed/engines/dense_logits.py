r"""The logits of patterns in memory, inside compiled programs, by products, and by differences where these fail.

With a centre μ, which cancels in all differences, the logit of a pattern at noise σ is

    ℓ_j = log w_j + ((x − μ)·(y_j − μ) − ‖y_j − μ‖²/2)/σ²,

and p(j | x) = softmax_j ℓ_j. A product of d terms in precision u is off by at most γ_{d+10} ‖x − μ‖‖y_j − μ‖ (Higham
2002, Sec. 3.1), so ℓ_j is off by at most

    e = γ_{d+12} P + 2u (|log w_c| + 110),    P = (‖x − μ‖ Y + Y²/2)/σ²,    Y = max‖y_j − μ‖,

with the leading pattern c: log weights are given, and their sum with a product is rounded once. Of a pattern that is
neither far below c nor has a product as large as its log weight, |log w_j| exceeds |log w_c| by no more than that. And
c leads the pattern of most weight by no more than products differ: |log w_c| ≤ |max_j log w_j| + 2P.

Round-off matters only where several patterns share a state: with S = Σ_{j ≠ c} e^{ℓ_j − ℓ_c} beside the leading pattern
c, weights are off by at most S(e^{2e} − 1). States for which that exceeds `TOLERANCE` are weighed by products in
double precision, some at a time, and those for which even these do not suffice one by one by differences,

    ‖x − c‖² − ‖x − y_j‖² = (y_j − c)·(2(x − c) − (y_j − c)),

which are exactly zero for duplicates, exact at near-ties and unharmed by far cues.

The logits of a modern Hopfield network, β x·y_j with β = 1/σ² (Eq. 5), are the same without the squared norms:
x·(y_j − μ) differs from x·y_j by what all patterns have in common, the bound is γ_{d+10} β‖x‖Y, and differences are
x·(y_j − c).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.batching import by_parts, mapped_like
from dispersed.engines.spreads import Spreads
from dispersed.precision import full_precision
from dispersed.types import Array, Bool, Float, Int, Numbers, Patterns, Scalar, State

TOLERANCE = 1e-3
"""The most by which round-off may change a weight in the worst case; a typical one is smaller by √d and more."""
SMALL = 1 << 17
"""The number of states × patterns × units up to which a program by differences alone is compiled and run sooner."""
BLOCK = 1 << 19
"""The number of logits of a block: few enough for the caches of a processor."""
MANY = 64
"""The number of states that a block has nevertheless, so that patterns are not read for too few of them."""
MOST = 1 << 24
"""The number of logits that no block exceeds."""
ON_ACCELERATOR = 1 << 28
"""The number of logits of a block where there are no caches to stay in, and many cores to keep busy."""
PARTS = 8
"""The parts of a block in which those states go for which products do not suffice, and the fewest states of a part."""
CACHED = 1 << 17
"""The number of units of the patterns for each state of a part: what lies in no cache is not read for few of them."""
LEADERS = 4
"""The number of times that differences are taken from another pattern; ties within round-off may take turns."""


class Products(eqx.Module):
    """What products in single precision need to know of the patterns; derived from them, and never differentiated."""

    centre: Float[Numbers, " d"]
    """The centre μ: near the mean of the patterns, or zero where that is no farther than they spread."""
    centred: Float[Numbers, "n d"]
    """y_j − μ: the array of the patterns itself where μ is zero."""
    half_squares: Float[Numbers, " _"]
    """‖y_j − μ‖²/2; empty for logits without norms."""
    norm: Float[Numbers, ""]
    """max‖y_j − μ‖."""
    spreads: Spreads | None = None
    """The spreads of the patterns by their weights, where they have been computed."""
    mean: Float[Numbers, " d"] | None = None
    """The mean of the patterns by their weights, where it has been computed."""
    index_wanted: Bool[Array, ""] | None = None
    """Whether the index of the likeliest pattern is computed; it always is where this is None."""

    @property
    def norms(self) -> bool:
        """Whether logits have norms."""
        return bool(self.half_squares.size)

    def from_centre(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """The factors of the patterns in the products: x − μ, or x where logits have no norms."""
        return x - self.centre if self.norms else x


def products(y: Any, norms: bool, centre: Any = None, numpy: Any = jnp) -> Products:
    """What products need to know of patterns, around a centre; by NumPy or JAX."""
    centred = y if centre is None else y - centre
    half = numpy.sum(centred**2, axis=1) / 2
    zero = numpy.zeros(y.shape[1:], y.dtype) if centre is None else centre
    return Products(zero, centred, half if norms else half[:0], numpy.sqrt(2 * numpy.max(half)))


class Weighed(NamedTuple):
    """Patterns as a batch of states weighs them."""

    logits: Float[Array, "b n"]
    """Relative to the largest."""
    weight: Float[Array, "b n"]
    """Their exponentials."""
    total: Float[Array, " b"]
    """The sums of these."""


def weighed(logits: Float[Array, "b n"]) -> Weighed:
    logits = _without_denormals(logits)
    # XLA computes the exponentials once for each of their sums where nothing holds it back.
    weight = jax.lax.optimization_barrier(jnp.exp(logits))
    return Weighed(logits, weight, jnp.sum(weight, axis=1))


def beside(by: Weighed) -> Float[Array, " b"]:
    """S = Σ_{j ≠ c} e^{ℓ_j − ℓ_c}, which the total has lost where it is small."""
    others = jnp.sum(jnp.where(by.weight == 1, 0, by.weight), axis=1)
    ties = jnp.round(by.total - others)
    return others + (ties - 1)


@partial(jax.jit, static_argnames="summary")
def summarised(y: Any, log_w: Any, known: Products, x: Any, sigma: Any, summary: Callable[..., Any]) -> Any:
    """The summary of logits relative to the largest, by the cheapest way whose round-off is bounded.

    Batches go in blocks whose logits stay in the caches of a processor. For all of them at once every call would ask
    for many megabytes, and wait for their pages to be cleared.
    """
    states, n = x.shape[0], y.shape[0]
    if states * y.size <= SMALL:
        return summary(known, _weighed_in_double(y, log_w, x, sigma, known.norms))
    blocks = -(-states // _most_states(n))
    if blocks == 1:
        return _of_block(y, log_w, known, x, sigma, summary)
    size = -(-states // blocks)

    def split(part: Array) -> Array:
        padding = [(0, blocks * size - states)] + [(0, 0)] * (part.ndim - 1)
        return jnp.pad(part, padding, mode="edge").reshape(blocks, size, *part.shape[1:])

    own = split(log_w) if log_w.ndim == 2 else None

    def one(block: Any) -> Any:
        own, x, sigma = block
        return _of_block(y, log_w if own is None else own, known, x, sigma, summary)

    found = jax.lax.map(one, (own, split(x), split(sigma)))
    return jax.tree.map(lambda part: part.reshape(blocks * size, *part.shape[2:])[:states], found)


def _most_states(n: int) -> int:
    """The number of states of a block."""
    if jax.default_backend() != "cpu":
        return max(1, ON_ACCELERATOR // n)
    return max(1, min(max(BLOCK // n, MANY), MOST // n))


def _of_block(y: Any, log_w: Any, known: Products, x: Any, sigma: Any, summary: Callable[..., Any]) -> Any:
    by, enough = _weighed_by_products(known, log_w, x, sigma)
    found = summary(known, by)

    def improved() -> Any:
        if y.dtype == jnp.float32:
            better, size = _in_double(y, known.norms), _part(len(x), y.size)
        else:
            better, size = _each(partial(_differences, y, norms=known.norms)), 1

        def part(some: Int[Array, " size"]) -> Any:
            own = log_w[some] if log_w.ndim == 2 else log_w
            return summary(known, weighed(better(own, x[some], sigma[some])))

        return by_parts(part, size, ~enough, found)

    # What goes through a conditional is copied: summaries are small, as a rule, and weights are not.
    return jax.lax.cond(jnp.all(enough), lambda: found, improved)


def _part(states: int, units: int) -> int:
    """The number of states of a part; more than half of them are all."""
    size = max(PARTS, -(-states // PARTS), units // CACHED)
    return size if 2 * size <= states else states


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of log weights, which are (n,) or (b, n), and of every state and level of a batch."""

    def of_batch(log_w: Array, x: Float[Array, "b d"], sigma: Float[Array, " b"]) -> Any:
        return jax.vmap(function, (0 if log_w.ndim == 2 else None, 0, 0))(log_w, x, sigma)

    return of_batch


def weighed_by_differences(y: Any, log_w: Any, x: Any, sigma: Any, norms: bool) -> Weighed:
    """By differences, all states at once."""
    return weighed(_each(partial(_differences, y, norms=norms))(log_w, x, sigma))


@partial(jax.jit, static_argnames="norms")
def _weighed_in_double(y: Any, log_w: Any, x: Any, sigma: Any, norms: bool) -> Weighed:
    """The same in double precision; traced once for all summaries, as products are."""
    return weighed(_each(partial(_differences_in_double, y, norms=norms))(log_w, x, sigma))


@jax.jit
def _weighed_by_products(known: Products, log_w: Any, x: Any, sigma: Any) -> tuple[Weighed, Bool[Array, " b"]]:
    """By products, and for which states their round-off is small enough."""
    by = weighed(_product_logits(known, log_w, x, sigma))
    return by, _sufficient(by, _round_off(known, log_w, x, sigma))


@full_precision
def _product_logits(known: Products, log_w: Any, x: Any, sigma: Any) -> Float[Array, "b n"]:
    overlaps = known.from_centre(x) @ known.centred.T
    overlaps = overlaps - known.half_squares if known.norms else overlaps
    logits = overlaps / sigma[:, None] / sigma[:, None] + log_w
    return logits - jnp.max(logits, axis=1, keepdims=True)


def _round_off(known: Products, log_w: Any, x: Any, sigma: Any) -> Float[Array, " b"]:
    """The bound e on the error of every logit."""
    d, eps = x.shape[1], float(jnp.finfo(x.dtype).eps)
    nu = (d + 12) * eps / 2
    distance = jnp.sqrt(jnp.sum(known.from_centre(x) ** 2, axis=1))
    square = known.norm**2 / 2 if known.norms else 0
    size = (distance * known.norm + square) / sigma / sigma
    leading = jnp.abs(jnp.max(log_w, axis=-1)) + 2 * size
    return nu / (1 - nu) * size + eps * (leading + 110)


def _sufficient(by: Weighed, off: Float[Array, " b"]) -> Bool[Array, " b"]:
    """Whether 2e ≤ `TOLERANCE` or S(e^{2e} − 1) ≤ `TOLERANCE`, what underflows included."""
    others = beside(by) + by.weight.shape[1] * np.exp(_least(by.weight.dtype) + 1)
    decided = (off <= 40) & (others * jnp.expm1(2 * jnp.minimum(off, 40)) <= TOLERANCE)
    return (off <= TOLERANCE / 2) | decided


def _in_double(y: Any, norms: bool) -> Callable[[Any, Any, Any], Float[Array, "b n"]]:
    """By products in double precision, whatever the precision of the program; by differences where these fail too."""
    with jax.enable_x64(True):
        wide_y = jax.lax.convert_element_type(y, jnp.float64)
        wide = products(wide_y, norms, jnp.mean(wide_y, axis=0))
    return partial(_logits_in_double, y, wide)


@jax.jit
def _logits_in_double(y: Any, wide: Products, log_w: Any, x: Any, sigma: Any) -> Float[Array, "b n"]:
    with jax.enable_x64(True):
        wide_log_w, z, level = (jax.lax.convert_element_type(a, jnp.float64) for a in (log_w, x, sigma))
        by = weighed(_product_logits(wide, wide_log_w, z, level))
        fine = _sufficient(by, _round_off(wide, wide_log_w, z, level))
        logits = jax.lax.convert_element_type(by.logits, y.dtype)

    def one(state: Any) -> Float[Array, " n"]:
        fine, found, own, x, sigma = state
        differ = partial(_differences_in_double, y, log_w if own is None else own, x, sigma, wide.norms)
        return jax.lax.cond(fine, lambda: found, differ)

    def rest() -> Float[Array, "b n"]:
        return jax.lax.map(one, (fine, logits, log_w if log_w.ndim == 2 else None, x, sigma))

    return jax.lax.cond(jnp.all(fine), lambda: logits, rest)


def _differences_in_double(y: Patterns, log_w: Any, x: State, sigma: Scalar, norms: bool) -> Float[Array, " n"]:
    """By differences in double precision, whatever the precision of the program."""
    with jax.enable_x64(True):
        wide_y, wide_log_w, z, level = (jax.lax.convert_element_type(a, jnp.float64) for a in (y, log_w, x, sigma))
        found = _differences(wide_y, wide_log_w, z, level, norms)
        return jax.lax.convert_element_type(found, y.dtype)


def _differences(y: Patterns, log_w: Float[Array, " n"], x: State, sigma: Scalar, norms: bool) -> Float[Array, " n"]:
    """Logits of one state relative to the leading pattern, by differences from it.

    Those from any pattern tell roughly which one leads, those from that one tell it better, and so on until it is the
    same again: as a rule at the second, and at the third where the first pattern lies far from all others.
    """
    # Without the barrier XLA fuses one evaluation into the next and takes twice the time.
    y, log_w, x = jax.lax.optimization_barrier((y, log_w, x))
    largest, slack = np.finfo(y.dtype).max, 8 * float(np.finfo(y.dtype).eps)
    x = not_too_far(x)

    def elsewhere(now: Any) -> Bool[Array, ""]:
        leader, c, _, step = now
        return (leader != c) & (step < LEADERS)

    def from_leader(now: Any) -> Any:
        c, _, _, step = now
        gap = _gap(y, y[c], x, norms)
        return _first_largest(sigma**2 * log_w + gap, slack), c, gap, step + 1

    zero = jnp.zeros((), jnp.int32)
    begun = mapped_like(sigma, (zero, zero - 1, jnp.zeros_like(log_w), zero))
    _, c, gap, _ = jax.lax.while_loop(elsewhere, from_leader, begun)
    precision = jnp.minimum(1 / sigma / sigma, largest)
    logits = jnp.clip(gap * precision, -largest / 4, largest / 4) + log_w - log_w[c]
    return logits - jnp.max(logits)


def _gap(y: Float[Array, "*n d"], c: State, x: State, norms: bool) -> Float[Array, "*n"]:
    """(‖x − c‖² − ‖x − y‖²)/2, or (y − c)·x without norms, by the difference of y and c."""
    step = y - c
    return jnp.sum(step * (2 * (x - c) - step), axis=-1) / 2 if norms else jnp.sum(step * x, axis=-1)


def _odds(norms: bool, y: State, c: State, log_w: Scalar, log_w_c: Scalar, x: State, sigma: Scalar) -> Scalar:
    """Log p(y | x) − log p(c | x) of two patterns."""
    precision = jnp.minimum(1 / sigma / sigma, np.finfo(x.dtype).max)
    return _gap(y, c, not_too_far(x), norms) * precision + log_w - log_w_c


def log_odds(norms: bool, *pair: Array) -> Scalar:
    """The same in double precision; its derivatives are those in the precision of the program."""
    odds = _odds(norms, *pair)
    with jax.enable_x64(True):
        wide = [jax.lax.convert_element_type(jax.lax.stop_gradient(part), jnp.float64) for part in pair]
        exact = jax.lax.convert_element_type(_odds(norms, *wide), odds.dtype)
    return odds + jax.lax.stop_gradient(exact - odds)


def not_too_far(x: State) -> State:
    """Cues so far away that products would overflow count as merely very far in that direction."""
    farthest = np.sqrt(np.finfo(x.dtype).max / x.size) / 4
    return jnp.clip(x, -farthest, farthest)


def _first_largest(values: Float[Array, "*b n"], slack: float) -> Int[Array, "*b"]:
    """The index of the first value that is less than the largest by no more than `slack` of it.

    Compilers may compute values twice, and round them otherwise the second time.
    """
    largest = jnp.max(values, axis=-1, keepdims=True)
    return first(values >= largest - slack * jnp.abs(largest))


def first(holds: Bool[Array, "*b n"]) -> Int[Array, "*b"]:
    """The index of the first that holds; JAX does not lower a double-precision `argmax` in single precision."""
    index = jax.lax.broadcasted_iota(jnp.int32, holds.shape, holds.ndim - 1)
    return jnp.min(jnp.where(holds, index, holds.shape[-1] - 1), axis=-1)


def _without_denormals(logits: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    """Logits whose weights are normal numbers or zero: denormal numbers cost ten times the time."""
    return jnp.where(logits < _least(logits.dtype), -np.finfo(logits.dtype).max / 4, logits)


def _least(dtype: Any) -> float:
    """The logit from which on a weight counts."""
    return float(np.log(np.finfo(dtype).tiny)) + 10

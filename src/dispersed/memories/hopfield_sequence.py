"""Sequences and pairs: networks in which each pattern calls another one.

Of 100 units, by `python -m benchmarks.sequences`, with theory of as many units (`finite_sequence_error`) and of many:

| f(a) = a^d | capacity | measured | theory | of many units |
| --- | --- | --- | --- | --- |
| d = 1 | transitions | 12.9 | 11.9 | 10.9 |
| | half of all sequences | 11.6 | 10.7 | 9.8 |
| d = 2 | transitions | 369 | 365 | 362 |
| | half of all sequences | 204 | 212 | 209 |
| d = 3 | transitions | 7,465 | 7,386 | 7,238 |
| | half of all sequences | 3,079 | 3,221 | 3,161 |
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import place
from dispersed.memories.hopfield_binary import BUDGET, batched, double, double_product, sign
from dispersed.memories.interaction import Interaction, Polynomial, as_interaction
from dispersed.memories.network import Network
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, at_least, check_binary, pattern_array, positive_number, real_array


class SequenceMemory(Network):
    r"""A network of ±1 units that goes from each pattern to its target, all units at once,

        x_i ← sign Σ_j t_ji F(y_j·x),

    t_j = y_{j+1}, the first after the last, unless other targets are given. It recalls a sequence from its first state.

    **Arguments**

    - `patterns`: (n, d) of ±1.
    - `interaction`: `Polynomial(degree)`, `Exponential(beta)` or any function F of an array, entry by entry; its scale
      does not matter. The degree is d of f(a) = a^d in the source.
    - `targets`: (n, k) of ±1, what each pattern calls. `[*patterns[1:], patterns[-1]]` is a sequence that ends. With
      k ≠ d these are pairs of keys and values: `associate` recalls them, and there is no next state.
    - `pseudo_inverse`: whether overlaps are those with the dual patterns, d (YYᵀ)⁺Y x, so that correlated patterns do
      not disturb each other: each of linearly independent patterns calls its target alone.
    - `symmetric`: an interaction F_S by which the network also stays where it is, so that it dwells at every pattern;
      transitions then need a delay.
    - `strength`, `delay`: λ > 0 and τ ≥ 1 of a network with `symmetric`,

          x_i(t + 1) = sign Σ_j [ y_ji F_S(y_j·x(t))/F_S(d) + λ t_ji F(y_j·x̄(t))/F(d) ],

      x̄ the mean of the last τ states. With F(a) = a it leaves a pattern once that makes up more than (1 + λ)/(2λ)
      of them. `sequence` knows earlier states; `update` and `recall` take it that the network was at x all along.

    Overlaps include a unit's own part, which the source leaves out; it is one of d terms. The recall of a sequence has
    no energy: `energy` raises `InputError`. `recall` with `Iteration(steps)` makes that many transitions, or ends at a
    target that calls itself. Fields are summed in double precision, and those below their round-off count as none:
    the unit keeps its sign.

    **Raises** `InputError` for patterns and targets that are not ±1 or of other shapes, and for what is no interaction.

    **Source**: Chaudhry, Zavatone-Veth, Krotov & Pehlevan (2023), Long sequence Hopfield memory; with a delay
    Sompolinsky & Kanter (1986), Kleinfeld (1986); the pseudo-inverse after Personnaz, Guyon & Dreyfus (1986).

    >>> import dispersed
    >>> song = [[1, 1, 1, 1, 1, 1], [1, -1, 1, -1, 1, -1], [-1, -1, 1, 1, 1, -1]]
    >>> memory = dispersed.SequenceMemory(song)
    >>> memory.nearest(memory.sequence(song[0], 4))[0]
    Array([0, 1, 2, 0, 1], dtype=int32)
    """

    patterns: Patterns
    targets: Float[Array, "n k"]
    interaction: Interaction
    dual: Patterns | None
    symmetric: Interaction | None
    strength: Float[Array, ""]
    delay: int = eqx.field(static=True)

    def __init__(
        self,
        patterns: ArrayLike,
        interaction: Any = Polynomial(2),
        *,
        targets: ArrayLike | None = None,
        pseudo_inverse: bool = False,
        symmetric: Any = None,
        strength: float = 2.5,
        delay: int = 8,
    ) -> None:
        y = pattern_array(patterns)
        check_binary("patterns", y)
        self.patterns = y
        self.interaction = as_interaction(interaction)
        if targets is None:
            self.targets = jnp.roll(y, -1, axis=0)
        else:
            t = real_array("targets", targets).astype(y.dtype)
            if t.ndim != 2 or len(t) != len(y) or t.shape[1] == 0:
                raise InputError("targets", f"got shape {t.shape}", f"one for each pattern, ({len(y)}, k), is accepted")
            check_binary("targets", t)
            self.targets = t
        self.dual = _dual(y) if pseudo_inverse else None
        self.symmetric = None if symmetric is None else as_interaction(symmetric)
        if symmetric is not None and self.targets.shape != y.shape:
            given = f"got one for patterns of {y.shape[1]} units and targets of {self.targets.shape[1]}"
            raise InputError("symmetric", given, "targets of as many units are accepted")
        self.strength = jnp.asarray(positive_number("strength", strength), y.dtype)
        self.delay = at_least("delay", delay, 1)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        how = f"{self.interaction}" + ("" if self.dual is None else ", pseudo_inverse=True")
        if self.symmetric is not None:
            how += f", symmetric={self.symmetric}, delay={self.delay}"
        return f"SequenceMemory({n} patterns of {d} units, {how}, {place(self.patterns)})"

    @property
    def dimension(self) -> int:
        return self.patterns.shape[1]

    def associate(self, x: ArrayLike) -> Float[Array, "... k"]:
        """The target that each state calls, (..., k), by one update. `x`: (..., d)."""
        return self._mapped("_associate", x)

    def sequence(self, x: ArrayLike, steps: int) -> Float[Array, "... times d"]:
        """The states from a first one on, (..., steps + 1, d), itself included. `x`: (..., d)."""
        return self._mapped("_sequence", x, steps=at_least("steps", steps, 0))

    def _most_states(self, hook: Any) -> int | None:
        return max(1, 64 * BUDGET // self.patterns.size)

    def _energy(self, x: State) -> Scalar:
        given = "transitions from one pattern to another lower none"
        raise InputError("energy", given, "networks whose patterns call themselves, such as DenseHopfield, have one")

    def _overlaps(self, x: Float[Array, "b d"]) -> Float[Array, "b n"]:
        """y_j·x in double precision, or of the dual patterns; to be called where that is enabled."""
        farthest = float(np.finfo(x.dtype).max) / (4 * self.dimension)
        y = self.patterns if self.dual is None else self.dual
        return double_product(double(jnp.clip(x, -farthest, farthest)), y.T)

    def _associate(self, x: State) -> Float[Array, " k"]:
        """The signs of the fields of one state; a unit without field keeps its own, or is +1 where it has none."""
        return self._next(x, x[None])

    def _next(self, x: State, past: Float[Array, "tau d"]) -> Float[Array, " k"]:
        """What x calls after the last states, itself included."""
        signs = batched(lambda network, x, past: network._signs(x, past), self, x, past.reshape(-1))
        return sign(signs, x if signs.size == x.size else jnp.ones_like(signs))

    def _signs(self, x: Float[Array, "b d"], past: Float[Array, "b tau_d"]) -> Float[Array, "b k"]:
        """−1, 0 or 1 of the field of every unit in a batch of states, each after the last ones side by side."""
        with jax.enable_x64(True):
            # The sum of ±1 states has no round-off: their mean would have lost which fields are zero.
            past = double(past).reshape(len(x), -1, self.dimension)
            overlaps = self._overlaps(jnp.sum(past, axis=1)) / past.shape[1]
            if self.symmetric is None:
                field, bound = _field(jax.vmap(self.interaction.scaled)(overlaps), self.targets)
                if self.dual is None and self.interaction.largest_sum(*self.patterns.shape) < 2.0**53:
                    # Sums of whole numbers have no round-off.
                    whole = jnp.all(overlaps == jnp.round(overlaps), axis=1, keepdims=True)
                    bound = jnp.where(whole, 0, bound)
            else:
                moved, first = _field(_relative(self.interaction, overlaps, self.dimension), self.targets)
                stays = _relative(self.symmetric, self._overlaps(x), self.dimension)
                stayed, second = _field(stays, self.patterns)
                strength = double(self.strength)
                field, bound = stayed + strength * moved, second + strength * first
            return jnp.where(jnp.abs(field) <= bound, 0, jnp.sign(field)).astype(x.dtype)

    def _update(self, x: State) -> State:
        self._continues()
        return self._associate(x)

    def _continues(self) -> None:
        """Raise `InputError` where what is called is no state."""
        if self.targets.shape[1] != self.dimension:
            given = f"got pairs of {self.dimension} and {self.targets.shape[1]} units"
            raise InputError("targets", given, "associate(x) recalls the second; sequences need as many units")

    def _sequence(self, x: State, steps: int) -> Float[Array, "times d"]:
        self._continues()
        past = jnp.broadcast_to(x, (self.delay if self.symmetric is not None else 1, x.size))

        def step(past: Float[Array, "tau d"], _: None) -> tuple[Float[Array, "tau d"], State]:
            new = self._next(past[-1], past)
            return jnp.concatenate([past[1:], new[None]]), new

        return jnp.concatenate([x[None], jax.lax.scan(step, past, None, steps)[1]])

    @full_precision
    def _nearest(self, x: State) -> tuple[Int[Array, ""], Scalar]:
        """Index of the pattern with the largest overlap, the first of several, and its part of the terms F that are
        positive.
        """
        farthest = float(np.finfo(x.dtype).max) / (4 * x.size)
        overlaps = (self.patterns if self.dual is None else self.dual) @ jnp.clip(x, -farthest, farthest)
        terms = jnp.maximum(self.interaction.scaled(overlaps), 0)
        total = jnp.sum(terms)
        parts = jnp.where(total > 0, terms / jnp.where(total > 0, total, 1), 1 / terms.size)
        index = jnp.argmax(overlaps)
        return index, parts[index]

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        # Signs are constant almost everywhere.
        return jnp.zeros((), x.dtype)

    def _pushed(self, v: State, x: State) -> State:
        return jnp.zeros_like(v)


def _field(terms: Float[Array, "b n"], targets: Float[Array, "n k"]) -> tuple[Float[Array, "b k"], Float[Array, "b 1"]]:
    """Σ_j t_ji F_j of a batch, and a bound on its round-off."""
    eps = float(np.finfo(np.float64).eps)
    total = jnp.sum(jnp.abs(terms), axis=1, keepdims=True)
    return double_product(terms, targets), (terms.shape[1] + 64) * eps * total


def _relative(interaction: Interaction, overlaps: Float[Array, "b n"], d: int) -> Float[Array, "b n"]:
    """F of overlaps in units of F(d), that of a pattern with itself."""
    most = jnp.full((len(overlaps), 1), d, overlaps.dtype)
    scaled = jax.vmap(interaction.scaled)(jnp.concatenate([overlaps, most], axis=1))
    return scaled[:, :-1] / scaled[:, -1:]


@full_precision
def _dual(patterns: Patterns) -> Patterns:
    """The rows of d (YYᵀ)⁺Y: of overlap d with their own pattern and 0 with others, if these are independent."""
    n, d = patterns.shape
    with jax.enable_x64(True):
        y = double(patterns)
        values, vectors = jnp.linalg.eigh(y @ y.T)
        spans: Bool[Array, " n"] = values > values[-1] * (max(n, d) * float(np.finfo(float).eps))
        inverse = jnp.where(spans, vectors / jnp.where(spans, values, 1), 0) @ vectors.T
        return jax.lax.convert_element_type(d * (inverse @ y), patterns.dtype)


__all__ = ["SequenceMemory"]

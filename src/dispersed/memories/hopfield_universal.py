"""Networks of one similarity and one separation: universal Hopfield networks and Hopfield–Fenchel–Young networks."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import place, value
from dispersed.engines import DensePatterns
from dispersed.engines.dense_logits import not_too_far
from dispersed.engines.engine import with_prepared
from dispersed.memories.components import likeliest
from dispersed.memories.interaction import Interaction, UserInteraction
from dispersed.memories.network import Network
from dispersed.memories.separation import Entmax, Normmax, Separation, as_separation
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, pattern_array, returned

SIMILARITIES = ("dot", "cosine", "euclidean", "manhattan")
"""Similarities that have a name."""


class SimilarityNetwork(Network):
    """Continuous units: patterns are scored by similarity to the state, and mixed by weights of the scores."""

    own: eqx.AbstractVar[Patterns | None]
    """The stored patterns, where `held` are none or others."""
    held: eqx.AbstractVar[DensePatterns | None]
    """The patterns whose products with a state are the scores; None where scores are no products."""
    similarity: eqx.AbstractVar[str | Callable[..., Any]]
    separation: eqx.AbstractVar[Separation | Interaction]

    @abc.abstractmethod
    def __repr__(self) -> str:
        """Say in a line what is stored, and how it is scored."""

    @property
    def dimension(self) -> int:
        return self.patterns.shape[1]

    @property
    def patterns(self) -> Patterns:
        """The stored patterns (n, d)."""
        if self.own is not None:
            return self.own
        assert self.held is not None
        return self.held.patterns

    def _prepared(self) -> Any:
        return self if self.held is None else with_prepared(self)

    @full_precision
    def _scores(self, x: State) -> Float[Array, " n"]:
        """s_j: x·y_j, the cosine, −‖x − y_j‖²/2, −Σ|x − y_j|, or what the function says."""
        y, function = self.patterns, self.similarity
        if callable(function):
            return jax.vmap(lambda pattern: returned("similarity", function(x, pattern), ()).astype(x.dtype))(y)
        if self.similarity == "euclidean":
            return -jnp.sum((not_too_far(x) - y) ** 2, axis=1) / 2
        if self.similarity == "manhattan":
            return -jnp.sum(jnp.abs(not_too_far(x) - y), axis=1)
        stored = self.held.patterns if self.held is not None else y
        return stored @ self._probe(x)

    def _probe(self, x: State) -> State:
        """The state as it enters products: for cosines its direction."""
        return _direction(x) if self.similarity == "cosine" else not_too_far(x)

    def _logits(self, x: State, beta: Scalar) -> Float[Array, " n"]:
        """β (s_j − max s)."""
        if self.held is not None:
            return self.held.logits(self._probe(x), jax.lax.rsqrt(beta.astype(x.dtype)))
        scores = self._scores(x)
        if self.similarity == "manhattan":
            scores = manhattan_gaps(self.patterns, self.patterns[jnp.argmax(scores)], x)
        gap = scores - jax.lax.stop_gradient(scores.max())
        limit = float(np.finfo(x.dtype).max) / 4
        logits = jnp.clip(beta.astype(x.dtype) * gap, -limit, 0)
        return logits - logits.max()

    def _weights(self, x: State) -> Float[Array, " n"]:
        """The weights of the patterns in the update, (n,)."""
        if isinstance(self.separation, Separation):
            return self.separation.weights(self._logits(x, self.separation.beta))
        scores = self._scores(x)
        if isinstance(self.separation, UserInteraction):
            return self.separation.scaled(scores)
        if self.similarity in ("euclidean", "manhattan"):
            # A power of a distance grows with it, and of its inverse the scale does not matter.
            distance = jnp.sqrt(-2 * scores) if self.similarity == "euclidean" else -scores
            least = distance.min()
            scores = jnp.where(distance == least, 1, least / jnp.where(distance > 0, distance, 1))
        powers = self.separation.scaled(jnp.where(jnp.any(scores != 0), scores, 1))
        total = jnp.sum(jnp.abs(powers))
        return jnp.where(total > 0, powers / jnp.where(total > 0, total, 1), 1 / powers.size)

    @full_precision
    def _update(self, x: State) -> State:
        """Σ_j p_j y_j."""
        weights = self._weights(x)
        known = None if self.held is None or self.own is not None else self.held.products
        if known is None or not isinstance(self.separation, Separation):
            return weights @ self.patterns
        # Weights that do not sum to one by round-off must not scale an offset.
        return weights @ known.centred + known.centre

    @property
    def _without_origin(self) -> bool:
        return self.similarity in ("euclidean", "manhattan")

    def _length(self, x: State) -> Scalar:
        return jnp.max(jnp.abs(self.patterns - self.patterns[0] if self._without_origin else self.patterns))

    @full_precision
    def _energy(self, x: State) -> Scalar:
        if not isinstance(self.separation, Separation) or self.similarity not in ("dot", "euclidean"):
            given = f"a {type(self).__name__} of this similarity and separation descends none that is known"
            accepted = '"dot" and "euclidean" with Exponential, Entmax, Normmax or Max have one'
            raise InputError("energy", given, accepted)
        largest = float(np.finfo(x.dtype).max)
        x = not_too_far(x)
        beta = self.separation.beta.astype(x.dtype)
        logits = self._logits(x, beta)
        leading = self.patterns[jnp.argmax(logits)]
        own = x @ x / 2 - x @ leading if self.similarity == "dot" else jnp.sum((x - leading) ** 2) / 2
        return jnp.clip(own - self.separation.potential(logits) / beta, -largest, largest)

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The weights of the patterns in the update, (..., n)."""
        return self._mapped("_weights", x)

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern with the largest weight, the first of several, and that weight."""
        return likeliest(self._weights(x))


class UniversalHopfield(SimilarityNetwork):
    r"""A universal Hopfield network: x ← Σ_j p_j y_j with weights p = separation(similarity(x, y_1), …).

    **Arguments**

    - `patterns`: (n, d), finite.
    - `similarity`: `"dot"`, s_j = x·y_j; `"cosine"`, x·y_j/(‖x‖‖y_j‖); `"euclidean"`, −‖x − y_j‖²/2; `"manhattan"`,
      −Σ_i|x_i − y_ji|; or a function of one state and one pattern that returns s.
    - `separation`: `Exponential(beta)`, which is the softmax of βs; `Entmax(alpha, beta)`; `Normmax(gamma, beta)`;
      `Max()`; `Polynomial(degree)`, powers of s divided by the sum of their magnitudes, or of 1/‖x − y_j‖ and
      1/Σ_i|x_i − y_ji| for the two distances; or a function of all scores (n,) that returns all weights, which are
      taken as they are.

    With `"dot"` and the softmax this is `ModernHopfield`, with `"euclidean"` and the softmax the exact diffusion memory
    at σ = 1/√β. For these two similarities with softmax, entmax, normmax and max, the update is x − ∇E(x) of

        E(x) = ‖x‖²/2 − Ω*(βs)/β    and    E(x) = −Ω*(βs)/β.

    For others no energy is known: `energy` raises `InputError`. Scores that are products cost one product, as those of
    all other memories do, and those that round-off could confuse are computed again; Manhattan distances and functions
    take n·d numbers a state.

    **Raises** `InputError` for patterns that are no finite (n, d), and for what is no similarity or separation.

    **Source**: Millidge et al. (2022), Universal Hopfield networks.

    >>> import dispersed
    >>> network = dispersed.UniversalHopfield([[1.0, 2.0], [3.0, -1.0]], "manhattan", dispersed.Exponential(5.0))
    >>> network.nearest([2.5, -1.0])[0]
    Array(1, dtype=int32)
    """

    own: Patterns | None
    held: DensePatterns | None
    similarity: str | Callable[..., Any] = eqx.field(static=True)
    separation: Separation | Interaction

    def __init__(
        self,
        patterns: ArrayLike,
        similarity: str | Callable[..., Any] = "dot",
        separation: Any = None,
    ) -> None:
        y = pattern_array(patterns)
        if not callable(similarity) and similarity not in SIMILARITIES:
            names = ", ".join(map(repr, SIMILARITIES))
            raise InputError("similarity", f"got {similarity!r}", f"{names} or a function of a state and a pattern")
        self.similarity = similarity
        # Its default is made here: at import, arrays would start JAX before a program can say on which devices.
        self.separation = as_separation(Entmax(1.0) if separation is None else separation)
        self.own = None if similarity in ("dot", "euclidean") else y
        self.held = None
        if similarity in ("dot", "cosine", "euclidean"):
            z = jax.vmap(_direction)(y) if similarity == "cosine" else y
            self.held = DensePatterns(z, jnp.zeros(len(z), z.dtype), norms=similarity == "euclidean")

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        name = f"{value(self.similarity)}, {self.separation}, {place(self.patterns)}"
        return f"UniversalHopfield({n} patterns of {d} units, {name})"


class FenchelYoungHopfield(SimilarityNetwork):
    r"""A Hopfield–Fenchel–Young network: sparse weights that recall a pattern exactly at a finite temperature,

        E(x) = ‖x‖²/2 − Ω*(β Yx)/β,    x ← Yᵀ ∇Ω*(β Yx) = x − ∇E(x).

    **Arguments**

    - `patterns`: (n, d), finite.
    - `beta`: the inverse temperature, one number above 0.
    - `alpha`: α ≥ 1 of the entmax ∇Ω*: 1 is softmax and `ModernHopfield`, 2 sparsemax.
    - `gamma`: instead of `alpha`, γ > 1 of normmax.

    Where β x·y_i exceeds β x·y_j by 1/(α − 1) for all other j, or by 1 with normmax, one update gives y_i to the last
    digit. Weights are found without sorting, in a few passes over the scores.

    **Raises** `InputError` for patterns that are no finite (n, d), and α, γ and β outside these domains.

    **Source**: Santos et al. (2024), Hopfield–Fenchel–Young networks: a unified framework for associative memory
    retrieval.

    >>> import dispersed
    >>> network = dispersed.FenchelYoungHopfield([[1.0, 1, -1], [-1, 1, 1]], beta=1.0)
    >>> network.update([0.9, 0.2, -0.8])
    Array([ 1.,  1., -1.], dtype=float32)
    """

    held: DensePatterns
    separation: Separation
    own = None
    similarity = "dot"

    def __init__(self, patterns: ArrayLike, beta: ArrayLike, alpha: float = 1.5, *, gamma: float | None = None) -> None:
        y = pattern_array(patterns)
        self.held = DensePatterns(y, jnp.zeros(len(y), y.dtype), norms=False)
        self.separation = Entmax(alpha, beta) if gamma is None else Normmax(gamma, beta)

    def __repr__(self) -> str:
        n, d = self.held.shape
        return f"FenchelYoungHopfield({n} patterns of {d} units, {self.separation}, {self.held.where})"


def manhattan_gaps(y: Patterns, c: State, x: State) -> Float[Array, " n"]:
    """Σ|x − c| − Σ|x − y_j| of every pattern, unit by unit, in double precision whatever that of the program.

    Its derivatives are those in the precision of the program.
    """

    def gaps(y: Patterns, c: State, x: State) -> Float[Array, " n"]:
        own, other = x - c, x - y
        # On the same side of both a unit says by how much they differ, however far away it is.
        one_side = jnp.where(own > 0, y - c, c - y)
        return jnp.sum(jnp.where(own * jnp.sign(other) > 0, one_side, jnp.abs(own) - jnp.abs(other)), axis=1)

    found = gaps(y, c, x)
    with jax.enable_x64(True):
        wide = (jax.lax.convert_element_type(jax.lax.stop_gradient(part), jnp.float64) for part in (y, c, x))
        exact = jax.lax.convert_element_type(gaps(*wide), found.dtype)
    return found + jax.lax.stop_gradient(exact - found)


def _direction(x: State) -> State:
    """x/‖x‖, or 0."""
    # The inverse of a largest entry near the end of the range would be no normal number.
    x = x * jnp.where(jnp.abs(x).max() > 1, 2.0**-4, 1).astype(x.dtype)
    largest = jnp.abs(x).max()
    scaled = x / jnp.where(largest > 0, largest, 1)
    return scaled / jnp.maximum(jnp.sqrt(jnp.sum(jnp.where(largest > 0, scaled, 1) ** 2)), 1e-30)


__all__ = ["FenchelYoungHopfield", "SimilarityNetwork", "UniversalHopfield", "manhattan_gaps"]

r"""Separation functions: how scores of patterns become their weights, sparse or not.

A regulariser Ω of weights p in the simplex turns scores θ into

    p̂(θ) = argmax_p pᵀθ − Ω(p) = ∇Ω*(θ),    Ω*(θ) = max_p pᵀθ − Ω(p).

Of the Tsallis family Ω(p) = (Σ p_j^α − 1)/(α(α − 1)) it is α-entmax, p_j = [(α − 1)θ_j − τ]₊^{1/(α−1)}: softmax for
α = 1, entmax-1.5, sparsemax for α = 2. Of the norms Ω(p) = ‖p‖_γ − 1 it is γ-normmax, p_j ∝ [θ_j − τ]₊^{1/(γ−1)}. Both
need the root τ of Σ_j (z_j − τ)₊^k = 1, with k = 1/(α − 1) or γ/(γ − 1). Newton's method for the norm
(Σ (z_j − τ)₊^k)^{1/k}, which is convex in τ for k ≥ 1 and falls, ascends to it from max z − 1 in a few passes over the
scores; nothing is sorted.

**Sources**: Peters, Niculae & Martins (2019), Sparse sequence-to-sequence models; Blondel, Martins & Niculae (2020),
Learning with Fenchel–Young losses; Santos et al. (2024), Hopfield–Fenchel–Young networks.
"""

import abc
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.display import value
from dispersed.memories.interaction import Exponential, Interaction, as_interaction
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Scalar
from dispersed.validation import InputError, one_number, positive, positive_number


class Separation(eqx.Module):
    """Weights of patterns from β times their scores, of which only differences matter."""

    beta: eqx.AbstractVar[Float[Array, ""]]
    """The inverse temperature, by which scores are multiplied."""

    @abc.abstractmethod
    def weights(self, logits: Float[Array, " n"]) -> Float[Array, " n"]:
        """Weights p̂ that sum to one, from β times the scores, less the largest of them."""

    @abc.abstractmethod
    def potential(self, logits: Float[Array, " n"]) -> Scalar:
        """Ω* of the same, whose gradient the weights are."""


class Entmax(Separation):
    """α-entmax: softmax for `alpha` = 1, sparse weights above it, sparsemax for `alpha` = 2.

    A pattern has all weight, exactly, where β times its score exceeds that of all others by 1/(α − 1).

    **Arguments**: `alpha` ≥ 1, known when the program is compiled; `beta` > 0, the inverse temperature.
    """

    alpha: float = eqx.field(static=True)
    beta: Float[Array, ""]

    def __init__(self, alpha: float = 1.5, beta: ArrayLike = 1.0) -> None:
        if positive_number("alpha", alpha) < 1:
            raise InputError("alpha", f"got {alpha:g}", "numbers from 1, softmax, are accepted")
        self.alpha = float(alpha)
        self.beta = one_number("beta", positive("beta", beta))

    def __repr__(self) -> str:
        return f"Entmax({self.alpha:g}, beta={value(self.beta)})"

    def weights(self, logits: Float[Array, " n"]) -> Float[Array, " n"]:
        return entmax(logits, self.alpha)

    @full_precision
    def potential(self, logits: Float[Array, " n"]) -> Scalar:
        if self.alpha == 1:
            return jax.nn.logsumexp(logits)
        p = entmax(logits, self.alpha)
        # Σ p^α − 1 = Σ p(p^{α−1} − 1), which is small for α near 1.
        powers = jnp.expm1((self.alpha - 1) * jnp.log(jnp.where(p > 0, p, 1)))
        return p @ (jnp.where(p > 0, logits, 0) - powers / (self.alpha * (self.alpha - 1)))


class Normmax(Separation):
    """γ-normmax: weights that are sparse, and even among the patterns that have any as γ grows.

    A pattern has all weight, exactly, where β times its score exceeds that of all others by 1.

    **Arguments**: `gamma` > 1, known when the program is compiled; `beta` > 0, the inverse temperature.
    """

    gamma: float = eqx.field(static=True)
    beta: Float[Array, ""]

    def __init__(self, gamma: float = 2.0, beta: ArrayLike = 1.0) -> None:
        if positive_number("gamma", gamma) <= 1:
            raise InputError("gamma", f"got {gamma:g}", "numbers above 1 are accepted")
        self.gamma = float(gamma)
        self.beta = one_number("beta", positive("beta", beta))

    def __repr__(self) -> str:
        return f"Normmax({self.gamma:g}, beta={value(self.beta)})"

    def weights(self, logits: Float[Array, " n"]) -> Float[Array, " n"]:
        return normmax(logits, self.gamma)

    @full_precision
    def potential(self, logits: Float[Array, " n"]) -> Scalar:
        p = normmax(logits, self.gamma)
        largest = jax.lax.stop_gradient(p.max())
        norm = largest * jnp.sum((p / largest) ** self.gamma) ** (1 / self.gamma)
        return p @ jnp.where(p > 0, logits, 0) - norm + 1


class Max(Separation):
    """All weight to the pattern with the largest score, evenly among several with the same: the limit β → ∞."""

    beta: Float[Array, ""]

    def __init__(self) -> None:
        # Scores that differ at this temperature differ at all.
        self.beta = jnp.asarray(1e30, jnp.float32)

    def __repr__(self) -> str:
        return "Max()"

    def weights(self, logits: Float[Array, " n"]) -> Float[Array, " n"]:
        leading = jnp.where(logits == logits.max(), 1.0, 0.0).astype(logits.dtype)
        return leading / leading.sum()

    def potential(self, logits: Float[Array, " n"]) -> Scalar:
        return logits.max()


def as_separation(separation: Any) -> Separation | Interaction:
    """A separation as it is, an interaction F whose values are to be normalised, or a function of all scores."""
    if isinstance(separation, Separation):
        return separation
    if isinstance(separation, Exponential):
        return Entmax(1.0, separation.beta)
    if isinstance(separation, Interaction) or callable(separation):
        return as_interaction(separation)
    accepted = "Exponential(beta), Polynomial(degree), Max(), Entmax(alpha, beta), Normmax(gamma, beta) or a function"
    raise InputError("separation", f"got {separation!r}", f"{accepted} of all scores is accepted")


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def entmax(scores: Float[Array, " n"], alpha: float) -> Float[Array, " n"]:
    """α-entmax of scores, α ≥ 1."""
    if alpha == 1:
        return jax.nn.softmax(scores)
    z, k = (alpha - 1) * (scores - scores.max()), 1 / (alpha - 1)
    p = _power(z, root(z, k), k, k >= STEEP)
    return p / jnp.sum(p)


@entmax.defjvp
def _(alpha: float, primals: Any, tangents: Any) -> Any:
    p = entmax(*primals, alpha)
    slope = jnp.where(p > 0, jnp.where(p > 0, p, 1) ** (2 - alpha), 0)
    # Only differences of tangents matter: from that of the largest slope, which for a large α all others are small to.
    off = tangents[0] - tangents[0][jnp.argmax(slope)]
    return p, slope * off - slope * (jnp.sum(slope * off) / jnp.sum(slope))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def normmax(scores: Float[Array, " n"], gamma: float) -> Float[Array, " n"]:
    """γ-normmax of scores, γ > 1."""
    z, k = scores - scores.max(), gamma / (gamma - 1)
    u = _power(z, root(z, k), 1 / (gamma - 1), k >= STEEP)
    return u / jnp.sum(u)


@normmax.defjvp
@full_precision
def _(gamma: float, primals: Any, tangents: Any) -> Any:
    p = normmax(*primals, gamma)
    live = jnp.where(p > 0, p, 1)
    # p = u/Σu with ‖u‖_γ = 1, so that u = p/‖p‖_γ, and dτ = pᵀdθ.
    largest = p.max()
    norm = largest * jnp.sum((p / largest) ** gamma) ** (1 / gamma)
    off = tangents[0] - p @ tangents[0]
    change = jnp.where(p > 0, norm * (live / norm) ** (2 - gamma), 0) * off / (gamma - 1)
    return p, change - p * jnp.sum(change)


STEPS = 64
"""The most passes over the scores; bisection alone halves the bracket as often as a double has bits."""
STEEP = 16
"""Powers k from which on τ is near −1, and is found as τ + 1."""
BLOCK = 64
"""Scores of which the largest alone are solved for first: fewer scores have a lower root, and one close by."""


def root(z: Float[Array, " n"], k: float) -> Scalar:
    """The τ with Σ_j (z_j − τ)₊^k = 1, for scores whose largest is 0 and k > 0; τ + 1 for k from `STEEP` on."""
    eps, steep = float(jnp.finfo(z.dtype).eps), k >= STEEP
    # One pattern alone has the sum 1 at −1, and all of them together, if they were equal, at −n^{−1/k}.
    ends = (0.0, -math.expm1(-math.log(z.size) / k)) if steep else (-1.0, -(z.size ** (-1 / k)))
    low, high = (jnp.asarray(end, z.dtype) for end in ends)
    start = low
    if z.size >= BLOCK**2:
        blocks = jnp.pad(z, (0, -z.size % BLOCK), constant_values=-jnp.inf).reshape(-1, BLOCK)
        start = jnp.maximum(root(blocks.max(axis=1), k), low)

    def unfinished(carry: tuple[Scalar, Scalar, Scalar, Bool[Array, ""], Int[Array, ""]]) -> Bool[Array, ""]:
        return ~carry[3] & (carry[4] < STEPS)

    def advance(carry: Any) -> Any:
        tau, low, high, _, step = carry
        total = jnp.sum(_power(z, tau, k, steep))
        live = z > tau - 1 if steep else z > tau
        slope = jnp.sum(live) if k == 1 else jnp.sum(jnp.where(live, _power(z, tau, k - 1, steep), 0))
        low, high = jnp.where(total >= 1, tau, low), jnp.where(total <= 1, tau, high)
        # Newton's step for the norm, total^{1/k}.
        excess = -total * jnp.expm1(-jnp.log(total) / k) if steep else total - total ** (1 - 1 / k)
        newton = tau + excess / slope
        inside = (newton >= low) & (newton <= high)
        # Below k = 1 the norm is not convex, and from the right Newton's steps may be short or run away.
        new = jnp.where(inside & ((k >= 1) | (step % 2 == 0)), newton, (low + high) / 2)
        done = (jnp.abs(total - 1) <= 8 * eps) | (jnp.abs(new - tau) <= eps * jnp.abs(tau))
        return jnp.where(done, tau, new), low, high, done, step + 1

    done, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(unfinished, advance, (start, low, high, done, zero))[0]


def _power(z: Float[Array, " n"], tau: Scalar, k: float, steep: bool) -> Float[Array, " n"]:
    """(z − τ)₊^k, by products where k is a whole number; (1 + z − τ)₊^k where τ stands for τ + 1."""
    if steep:
        return jnp.exp(k * jnp.log1p(jnp.maximum(z - tau, -1)))
    u = jnp.maximum(z - tau, 0)
    return u ** int(k) if k == int(k) else u**k


__all__ = ["Entmax", "Max", "Normmax", "Separation", "as_separation", "entmax", "normmax", "root"]

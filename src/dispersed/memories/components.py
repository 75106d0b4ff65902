"""Memories that are weighted sums of densities, and which of these lies behind a state."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories.extended import Extended
from dispersed.posterior import Posterior, entropy
from dispersed.types import Array, Float, Int, Scalar, State


class Components(Extended):
    """A memory of several components, each of which is one density or the sum of some.

    To add one, write `dimension`, `_parts`, `_denoise`, `_responsibilities` and `_weight`.
    """

    @abc.abstractmethod
    def _parts(self, x: State, sigma: Scalar) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Anchor and weighted excess of every density."""

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        anchors, excess = self._parts(x, sigma)
        c, logits = compare(x, sigma, anchors, excess)
        return anchors[c], excess[c] + jax.nn.logsumexp(logits)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the component most responsible for x at σ, and its responsibility p(k | x).

        Not the one whose closest point is nearest: a Gaussian of full rank reaches every state.
        """
        return likeliest(self._responsibilities(x, sigma))

    def _probability(self, x: State, sigma: Scalar, index: Int[Array, ""]) -> Scalar:
        return self._responsibilities(x, sigma)[index]

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        p = self._responsibilities(x, sigma)
        return components_posterior(self._denoise(x, sigma), self._log_density(x, sigma), p, leading)


def components_posterior(
    mean: State, log_density: Scalar, responsibilities: Float[Array, " n"], leading: int
) -> Posterior:
    """The posterior of one state over a list of patterns or components, of which the `leading` ones are named."""
    p, index = jax.lax.top_k(responsibilities, min(leading, responsibilities.size))
    return Posterior(mean, log_density, index, p, entropy(responsibilities))


def likeliest(responsibilities: Float[Array, " n"]) -> tuple[Int[Array, ""], Scalar]:
    """The first pattern or component of the largest probability, and that probability."""
    index = jnp.argmax(responsibilities)
    return index, responsibilities[index]


def compare(
    x: State, sigma: Scalar, anchors: Float[Array, "n d"], excess: Float[Array, " n"]
) -> tuple[Int[Array, ""], Float[Array, " n"]]:
    """A leading component c and log p(k | x) − log p(c | x) for all, from anchors and weighted excesses.

    As in `PatternMemory` by differences that are small where it matters:
    ‖x − p_c‖² − ‖x − p_k‖² = (p_k − p_c)·(2(x − p_c) − (p_k − p_c)).
    """
    largest = np.finfo(x.dtype).max
    # Cues so far away that products would overflow count as merely very far in that direction.
    reach = np.sqrt(largest / x.size) / 4
    x, anchors = jnp.clip(x, -reach, reach), jnp.clip(anchors, -reach, reach)
    excess = jnp.maximum(excess, -largest / 8)
    # The leading component is sought at the scale of squared distances, which do not overflow for small σ.
    c = jnp.argmax(sigma**2 * excess - jnp.sum((x - anchors) ** 2, axis=1) / 2)
    step = anchors - anchors[c]
    gap = jnp.sum(step * (2 * (x - anchors[c]) - step), axis=1) / 2
    logits = jnp.clip(_in_levels(gap, sigma), -largest / 4, largest / 4) + excess - excess[c]
    negligible = np.log(np.finfo(x.dtype).tiny) + 10
    return c, jnp.where(logits < negligible, -largest / 4, logits)


@jax.custom_jvp
def _in_levels(gap: Float[Array, " n"], sigma: Scalar) -> Float[Array, " n"]:
    """Differences of squared distances over σ²."""
    return gap / sigma / sigma


@_in_levels.defjvp
def _in_levels_jvp(primals: Any, tangents: Any) -> Any:
    # By the relative change of σ: σ⁻³ is beyond single precision where σ is 1e-13.
    (gap, sigma), (dgap, dsigma) = primals, tangents
    found = _in_levels(gap, sigma)
    return found, dgap / sigma / sigma - 2 * found * (dsigma / sigma)

r"""Extended memories (Eq. 23): sets of equally valid states instead of points.

An extended memory is a set S of equally valid states, φ uniform on S. Eq. 23 as printed lacks −1/β, the
factor e^{−β‖y‖²/2} and the confinement ‖x‖²/2; with them it is Eq. 11 for this φ,

    E_σ(x) = −σ² log (1/|S|) ∫_S N(x; y, σ²I) dy,

up to the choice of |S|. Eq. 23 integrates without dividing by the volume |S|, so that a longer segment weighs
more; here every memory is a normalised density and its weight in a `Mixture` is stated. Weights in proportion
to `volume` give Eq. 23's.

**Numerics.** Every closed form is written as

    log p_σ(x) = excess − ‖x − p‖²/(2σ²) − d log(σ√2π),

with an anchor p in the memory: its point nearest to x. The large term is then a plain squared distance, which
memories can compare by small differences, and the excess stays of the order of a logarithm.
"""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories.memory import Memory, gaussian_normaliser
from dispersed.precision import full_precision
from dispersed.types import Array, Float, Int, Scalar, State


class Extended(Memory):
    """An extended memory (Eq. 23), written by its anchor and excess, from which the density follows.

    To add a shape, write `dimension`, `anchored`, `_project`, `_sample` and `prior_start`, and `_denoise` where a
    closed form is better conditioned than differentiation; `_conditioned` if it can be conditioned on measurements.
    """

    @abc.abstractmethod
    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """An anchor p of x and the excess log p_σ(x) + ‖x − p‖²/(2σ²) + d log(σ√2π)."""

    @full_precision
    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x), in nats (Eq. 23)."""
        anchor, excess = self.anchored(x, sigma)
        residual = (x - anchor) / sigma
        return excess - residual @ residual / 2 - gaussian_normaliser(self.dimension, sigma)


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
    # Led by whom is asked at the scale of squared distances, which do not overflow for small σ.
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


def spread_of_uniform(low: State, high: State) -> tuple[State, State]:
    """Mean and variance of a uniform coordinate; 0 or the finite end, and no variance, where it is unbounded."""
    bounded = jnp.isfinite(low) & jnp.isfinite(high)
    width = jnp.where(bounded, high - jnp.where(bounded, low, 0), 0)
    one_end = jnp.where(jnp.isfinite(low), low, jnp.where(jnp.isfinite(high), high, 0))
    return one_end + jnp.where(bounded, width, 0) / 2, width**2 / 12

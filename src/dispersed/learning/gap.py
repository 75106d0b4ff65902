r"""A learned memory against the exact one it approximates.

How far apart the two denoisers are, level by level and pattern by pattern; which end states the learned
dynamics has that are no stored pattern; and how much of the noise around a pattern still leads back to it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import one_line
from dispersed.dynamics import ExponentialIntegrator, Iteration, recall
from dispersed.keys import normal
from dispersed.memories import Denoiser, LearnedMemory, PatternMemory
from dispersed.types import Array, ArrayLike, Float, Int, Key
from dispersed.validation import InputError, at_least, positive, positive_number


class Gap(eqx.Module):
    """Distances per unit between two denoisers, root mean squares over cues y_j + σε."""

    __repr__ = one_line

    sigma: Float[Array, " levels"]
    denoiser: Float[Array, "levels n"]
    """Of D_σ, for every level and the pattern behind the cue."""
    posterior: Float[Array, "levels n"]
    """Of the exact D_σ from the pattern: the error that no network can avoid, and the scale of the gap."""

    @property
    def score(self) -> Float[Array, "levels n"]:
        """Of the score, which is (D_σ − x)/σ²."""
        return self.denoiser / self.sigma[:, None] ** 2

    @property
    def per_level(self) -> Float[Array, " levels"]:
        """The denoiser's gap at every level, over all patterns."""
        return jnp.sqrt(jnp.mean(self.denoiser**2, axis=1))


def score_gap(
    memory: Denoiser, exact: PatternMemory, sigma: ArrayLike, *, key: Key[Array, ""], draws: int = 256
) -> Gap:
    """How far a memory's denoiser is from the exact one, for every noise level and stored pattern.

    **Arguments**: `sigma`, (levels,), the noise levels; `draws`, cues of each pattern at each level.
    """
    _same_units(memory, exact)
    sigma = jnp.atleast_1d(positive("sigma", sigma))
    if isinstance(memory, LearnedMemory):
        memory.warn_outside(sigma)
    return _gap(memory, exact, sigma, key, at_least("draws", draws, 1))


@eqx.filter_jit
def _gap(memory: Denoiser, exact: PatternMemory, sigma: Array, key: Key[Array, ""], draws: int) -> Gap:
    n, d = exact.patterns.shape
    y = exact.patterns[:, None]
    noise = normal(key, (n, draws, d), y.dtype)

    def at(level: Array) -> tuple[Array, Array]:
        z = y + level * noise
        mean = exact.denoise(z, level)

        def rms(distance: Array) -> Array:
            return jnp.sqrt(jnp.mean(distance**2, axis=(1, 2)))

        return rms(memory.denoise(z, level) - mean), rms(mean - y)

    return Gap(sigma, *jax.lax.map(at, sigma.astype(y.dtype)))


def basins(
    memory: Denoiser, patterns: ArrayLike, sigma: ArrayLike, *, key: Key[Array, ""], draws: int = 64
) -> Float[Array, "levels n"]:
    """The fraction of cues y_j + σε that the flow leads back to y_j, for every level and pattern: its basin.

    A cue is led back if the recalled state is nearer to y_j than to any other pattern, and within half the
    distance to its nearest neighbour; equal patterns are one. The exact memory has basins too: noise can carry a cue
    past the border.
    """
    stored = PatternMemory(patterns).patterns
    levels = jnp.atleast_1d(positive("sigma", sigma)).astype(stored.dtype)
    n, d = stored.shape
    noise = normal(key, (n, at_least("draws", draws, 1), d), stored.dtype)
    cues = stored[:, None] + levels[:, None, None, None] * noise
    shaped = jnp.broadcast_to(levels[:, None, None], cues.shape[:-1])
    recalled = recall(memory, cues, ExponentialIntegrator(), sigma=shaped).x
    distance = jnp.linalg.norm(recalled[..., None, :] - stored, axis=-1)
    apart = jnp.linalg.norm(stored[:, None] - stored, axis=-1)
    nearest_other = jnp.where(apart > 0, apart, jnp.inf).min(axis=1)
    own = jnp.take_along_axis(distance, jnp.arange(n)[None, :, None, None], axis=-1)[..., 0]
    return jnp.mean((own <= distance.min(axis=-1)) & (own < nearest_other[:, None] / 2), axis=-1)


class Attractors(eqx.Module):
    """Where a memory's dynamics ends, most visited first."""

    __repr__ = one_line

    states: Float[Array, "k d"]
    share: Float[Array, " k"]
    """The fraction of starts that ended there; with those that diverged they sum to one."""
    pattern: Int[Array, " k"]
    """The stored pattern that it is, or −1: a spurious state."""
    mixture: Float[Array, "k n"]
    """Its best approximation Σ_j m_j y_j by non-negative m."""
    residual: Float[Array, " k"]
    """The distance per unit from that approximation: near 0 for a mixture of stored patterns."""
    diverged: Float[Array, ""]
    """The fraction of starts that ended at no attractor: they grow without bound, or never come to rest."""

    @property
    def spurious(self) -> Float[Array, ""]:
        """The fraction of starts that ended in no stored pattern."""
        return jnp.sum(jnp.where(self.pattern < 0, self.share, 0))


def attractors(
    memory: Denoiser,
    patterns: ArrayLike,
    *,
    key: Key[Array, ""],
    sigma: float = 2.0,
    held: float = 0.1,
    starts: int = 2000,
    tolerance: float = 0.1,
) -> Attractors:
    """Where the flow ends that starts from pure noise, and what those states are made of.

    Starts are Gaussian states as wide as all patterns at noise σ = `sigma`. Each is recalled by the flow and
    then iterated at noise level `held`, x ← D_held(x), so that only attractors remain. End states that lie
    within `tolerance` of each other per unit, root mean square, count as one; so do an end state and a pattern.

    A denoiser averages patterns, so an end state farther from their mean than every start was is no attractor but has
    diverged, as networks do at noise levels that they were not trained at; so has one that is not a number, or that
    moves by more than `tolerance` when it is iterated on.
    """
    from scipy.optimize import nnls  # slow to import

    stored = PatternMemory(patterns).patterns
    sigma, held = positive_number("sigma", sigma), positive_number("held", held)
    mean, spread = stored.mean(axis=0), stored.std(axis=0)
    noise = normal(key, (at_least("starts", starts, 1), stored.shape[1]), stored.dtype)
    begun = mean + jnp.sqrt(spread**2 + sigma**2) * noise
    ends = recall(memory, begun, ExponentialIntegrator(), sigma=sigma).x
    known = np.asarray(stored, dtype=float)
    farthest = np.linalg.norm(np.asarray(begun - mean, float), axis=1).max()
    settled, bounded = _settled(memory, ends, np.asarray(mean, float), farthest, held, tolerance)
    states, counts = _clusters(settled[bounded], tolerance)
    distance = np.sqrt(np.mean((states[:, None] - known) ** 2, axis=-1))
    nearest = distance.argmin(axis=1)
    mixtures = [nnls(known.T, state) for state in states]
    return Attractors(
        jnp.asarray(states, stored.dtype),
        jnp.asarray(counts / len(settled), stored.dtype),
        jnp.asarray(np.where(distance.min(axis=1) < tolerance, nearest, -1)),
        jnp.asarray(np.reshape([weights for weights, _ in mixtures], (-1, len(known))), stored.dtype),
        jnp.asarray([residual / np.sqrt(known.shape[1]) for _, residual in mixtures], stored.dtype),
        jnp.asarray(1 - bounded.mean(), stored.dtype),
    )


def _settled(
    memory: Denoiser, ends: Array, mean: np.ndarray, farthest: float, held: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where ends come to rest at noise level `held`, and which of them do."""

    def near(x: np.ndarray) -> np.ndarray:
        # Differences of states that are no numbers, or too large, are no numbers either.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.linalg.norm(x - mean, axis=1) <= farthest

    first = np.asarray(ends, float)
    bounded = near(first)
    if not bounded.any():
        return first, bounded
    # Others are not iterated: whatever is no number is refused as a cue.
    begun = jnp.where(jnp.asarray(bounded)[:, None], ends, jnp.asarray(mean, ends.dtype))
    once = recall(memory, begun, Iteration(200), sigma=held).x
    settled = np.asarray(once, float)
    bounded &= near(settled)
    again = jnp.where(jnp.asarray(bounded)[:, None], once, jnp.asarray(mean, ends.dtype))
    still = np.asarray(recall(memory, again, Iteration(200), sigma=held).x, float)
    bounded &= near(still)
    gap = np.where(bounded[:, None], still, 0) - np.where(bounded[:, None], settled, 0)
    return settled, bounded & (np.sqrt(np.mean(gap**2, axis=1)) <= tolerance)


def _clusters(points: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Means and sizes of groups of points within `tolerance` per unit of the group's first, largest first."""
    means, counts = [], []
    left = points
    while len(left):
        near = np.sqrt(np.mean((left - left[0]) ** 2, axis=1)) < tolerance
        means.append(left[near].mean(axis=0))
        counts.append(near.sum())
        left = left[~near]
    if not counts:
        return points, np.zeros(0, int)
    order = np.argsort(counts)[::-1]
    return np.stack(means)[order], np.array(counts)[order]


def _same_units(memory: Denoiser, exact: PatternMemory) -> None:
    if memory.dimension != exact.dimension:
        raise InputError("memory", f"has {memory.dimension} units", f"the exact memory has {exact.dimension}")

"""What digits are like in general: semantic memories learned from real digits."""

import numpy as np

from dispersed.extras import optional_packages
from dispersed.memories import GaussianMemory, Mixture, PatternMemory
from dispersed.types import Array, ArrayLike, Float

BANDWIDTHS = np.geomspace(0.1, 0.8, 22)


def gaussian_semantics(images: ArrayLike, gaussians: int, seed: int) -> Mixture:
    """A mixture of Gaussians of full rank fitted to images by expectation maximisation.

    Every covariance has at least the variance 0.01: grey values come in steps of 1/8.
    """
    with optional_packages():
        from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(gaussians, reg_covar=0.01, max_iter=300, random_state=seed).fit(np.asarray(images, float))
    parts = [
        GaussianMemory.from_covariance(mean.astype(np.float32), covariance.astype(np.float32))
        for mean, covariance in zip(fit.means_, fit.covariances_, strict=True)
    ]
    return Mixture(parts, fit.weights_.astype(np.float32))


def best_bandwidth(images: Float[Array, "n d"], held_out: Float[Array, "m d"]) -> float:
    """The bandwidth whose kernel density of `images` gives `held_out` the highest likelihood."""
    memory = PatternMemory(images)
    scores = [float(memory.log_density(held_out, float(h)).mean()) for h in BANDWIDTHS]
    return float(BANDWIDTHS[int(np.argmax(scores))])


def split(count: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of those learned from and of those held out, drawn at random."""
    order = np.random.default_rng(seed).permutation(count)
    return order[held_out:], order[:held_out]


def nearest_of(images: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every state the index of the nearest image and its distance."""
    squares = ((states[:, None] - images[None]) ** 2).sum(-1)
    index = squares.argmin(1)
    return index, np.sqrt(squares[np.arange(len(states)), index])

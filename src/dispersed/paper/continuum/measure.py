"""One continuum: recall from a cue of signal level α → 0 is generation (Sec. 6.1).

The same call, the same dynamics: only the cue x = αy + √(1−α²)ε carries less and less of a stored digit. What
comes back is the very image (faithful recall), another image of the same digit (reconstruction) or some other
digit (generation). Three memories hold the same 1,797 digits: the exact one, the same samples read as a density
(smoothed by the bandwidth that serves held-out digits best), and a mixture of 20 Gaussians.
"""

import jax
import numpy as np

from dispersed.datasets import load_digits
from dispersed.diagnostics import effective_patterns
from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.memories import Memory, PatternMemory, Smoothed
from dispersed.noise import sigma_from_alpha
from dispersed.paper.results import Row
from dispersed.paper.semantics import best_bandwidth, gaussian_semantics, nearest_of, split
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.validation import at_least, random_seed

ALPHAS = (0.99, 0.9, 0.8, 0.68, 0.55, 0.45, 0.35, 0.27, 0.2, 0.14, 0.1, 0.05, 0.01)
DYNAMICS = ExponentialIntegrator(40)
GAUSSIANS = 20
MEMORIES = {"exact": "exact memory", "smoothed": "smoothed samples", "gaussians": "Gaussian mixture"}


def continuum(seed: int = 0, cues: int = 200) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Recall `cues` digits at every signal level from three memories.

    Returns rows with `memory`, `alpha`, and, over cues,

    - `same_image`, `same_digit`, `other_digit`: the fraction of recalled states whose nearest stored image is the
      cue's own, another one of its digit, or one of another digit; they add up to one;
    - `novelty`: median distance to the nearest stored image, over the median distance of stored images to
      their nearest neighbours: 0 is a copy, 1 a digit as new as any;
    - `effective_patterns`: median number of stored items that answer for the cue;

    and strips of recalled images by memory and level.
    """
    random_seed(seed)
    at_least("cues", cues, 10)
    patterns, labels = load_digits()
    images = np.asarray(patterns)
    learned, fresh = split(len(images), 400, seed)
    bandwidth = best_bandwidth(patterns[learned], patterns[fresh])
    memories: dict[str, Memory] = {
        "exact": PatternMemory(patterns),
        "smoothed": Smoothed(PatternMemory(patterns), bandwidth),
        "gaussians": gaussian_semantics(patterns, GAUSSIANS, seed),
    }
    for_choice, for_noise = jax.random.split(jax.random.key(seed))
    chosen = np.asarray(jax.random.choice(for_choice, len(images), (cues,), replace=False))
    spacing = _spacing(images)
    rows: list[Row] = []
    pictures = {"stored": images[chosen[:8]]}
    for name, alpha in track([(name, alpha) for name in memories for alpha in ALPHAS], "Continuum"):
        memory = memories[name]
        noisy = VP().corrupt(images[chosen], alpha=alpha, key=for_noise)
        recalled = np.asarray(recall(memory, noisy, DYNAMICS, alpha=alpha).x)
        index, distance = nearest_of(images, recalled)
        own, digit = index == chosen, labels[index] == labels[chosen]
        rows.append(
            {
                "memory": name,
                "alpha": alpha,
                "same_image": float(own.mean()),
                "same_digit": float((digit & ~own).mean()),
                "other_digit": float((~digit).mean()),
                "novelty": float(np.median(distance) / spacing),
                "effective_patterns": float(
                    np.median(effective_patterns(memory, noisy / alpha, sigma_from_alpha(alpha)))
                ),
                "bandwidth": bandwidth if name == "smoothed" else None,
            }
        )
        pictures[f"{name}, {alpha}"] = recalled[:8]
    return rows, pictures


def _spacing(images: np.ndarray) -> float:
    """The median distance of an image to its nearest neighbour."""
    norms = (images**2).sum(1)
    squares = norms[:, None] + norms[None] - 2 * images @ images.T
    np.fill_diagonal(squares, np.inf)
    return float(np.median(np.sqrt(np.maximum(squares.min(1), 0))))

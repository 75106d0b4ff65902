"""The black dots of Figure 3b: how many patterns a trained score network holds.

For each of several random pattern sets of d units, training starts with as many patterns as the exact memory
holds, plus 4. If the mean Hamming error over 30 batches of fresh corruptions of all patterns exceeds the
threshold, the last pattern is dropped and a new network is trained, until it does not (Supp. A). The network
has three hidden layers of 80d ReLU units, told α at every layer, and is trained by Adam at 1e-3 on batches that
hold all patterns.

Supp. A does not say how long to train: here 1,500 steps, each with 8 noisy cues of every pattern at times
uniform in (0.001, 1.5). A training is skipped, and counted as failed, where the exact memory itself errs on the
very same cues by more than the threshold and half a percentage point: no recall errs less on average than the best
sign of each unit, and the exact memory is near that.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.capacities.cell import random_sets
from dispersed.capacities.cell_file import CellFile, Values
from dispersed.dynamics import recall
from dispersed.experiments.progress import track
from dispersed.experiments.results import Row
from dispersed.experiments.statistics import bootstrap_mean
from dispersed.learning import Recipe, UniformTime, noise_network, train
from dispersed.memories import Denoiser, PatternMemory
from dispersed.types import Array, Float
from dispersed.validation import at_least

BATCHES = 30
MARGIN = 0.005
"""By how much a learned memory might err less than the exact one on the same cues."""
RECIPE = Recipe(steps=1500, draws=8, levels=UniformTime())


def learned_capacities(
    starts: dict[int, int],
    alpha: float,
    threshold: float,
    repeats: int = 8,
    seed: int = 0,
    cells: CellFile | None = None,
) -> tuple[list[Row], list[Row]]:
    """The capacity of learned memories at each dimension of `starts`, going down from the number given there.

    Capacity rows are those of `figure3`, the interval being the bootstrap of the mean over repeats; they are not
    smoothed. The rows of trainings have `dimension`, `repeat`, `n_patterns`, the mean Hamming `error`, that of the
    `exact` memory on the same cues, and whether the network was `trained`.
    """
    at_least("repeats", repeats, 1)
    rows, trainings = [], []
    jobs = [(d, repeat) for d in sorted(starts) for repeat in range(repeats)]
    held: dict[int, list[int]] = {d: [] for d in starts}
    for d, repeat in track(jobs, "Figure 3, learned"):
        found = largest_learned(d, starts[d], alpha, threshold, repeat, seed, cells)
        held[d].append(next((row["n_patterns"] for row in found if row["passed"]), 0))
        trainings += found
    for d, numbers in sorted(held.items()):
        capacity, low, high = bootstrap_mean(numbers, seed)
        rows.append(
            {
                "method": "learned",
                "dimension": d,
                "capacity": capacity,
                "ci_low": low,
                "ci_high": high,
                "smoothed": None,
                "smoothed_low": None,
                "smoothed_high": None,
                "beyond": starts[d] in numbers,
                "sets": repeats,
            }
        )
    return rows, trainings


def largest_learned(
    d: int, start: int, alpha: float, threshold: float, repeat: int, seed: int, cells: CellFile | None
) -> list[Row]:
    """Trainings with `start` patterns and ever fewer, the last of which passed."""
    patterns = jnp.asarray(random_sets(seed, d, start, repeat + 1)[0][repeat])
    rows: list[Row] = []
    for n in range(start, 0, -1):
        settings = {
            "experiment": "learned capacity",
            "recipe": [RECIPE.steps, RECIPE.draws, repr(RECIPE.levels)],
            "dimension": d,
            "start": start,
            "n_patterns": n,
            "alpha": alpha,
            "threshold": threshold,
            "margin": MARGIN,
            "repeat": repeat,
            "seed": seed,
        }

        def compute(n: int = n) -> Values:
            return train_and_test(patterns, n, alpha, threshold, [seed, d, repeat, n])

        values = compute() if cells is None else cells.get(settings, compute)
        (error,), (exact,) = values["error"] or [None], values["exact"]
        passed = error is not None and error <= threshold
        rows.append(
            {
                "dimension": d,
                "repeat": repeat,
                "n_patterns": n,
                "error": error,
                "exact": exact,
                "trained": error is not None,
                "passed": passed,
            }
        )
        if passed:
            break
    return rows


def train_and_test(
    patterns: Float[Array, "start d"], n: int, alpha: float, threshold: float, seeds: Sequence[int]
) -> Values:
    """Mean Hamming errors with the first n patterns: of a network trained on them, if it can pass, and exact."""
    start, d = patterns.shape
    rng = np.random.default_rng(seeds)
    # All patterns keep their place, with weight zero if not stored: one shape, one compiled training.
    weights = jnp.where(jnp.arange(start) < n, 1.0 / n, 0.0)
    noise = rng.standard_normal((BATCHES, start, d)).astype(np.float32)
    cues = alpha * patterns + np.sqrt(1 - alpha**2) * noise

    def error_of(memory: Denoiser) -> float:
        recalled = recall(memory, cues, alpha=alpha).x
        return float(jnp.mean((jnp.sign(recalled) != patterns)[:, :n]))

    exact = error_of(PatternMemory(patterns, weights))
    if exact > threshold + MARGIN:
        return {"error": [], "exact": [exact]}
    for_network, for_training = jax.random.split(jax.random.key(int(rng.integers(2**31))))
    network = noise_network(d, key=for_network)
    trained = train(network, patterns, RECIPE, key=for_training, weights=weights, check_every=RECIPE.steps)
    return {"error": [error_of(trained.memory)], "exact": [exact]}

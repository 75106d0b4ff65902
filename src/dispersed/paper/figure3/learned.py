"""The black dots of Figure 3b: how many patterns a trained score network holds.

For each of several random pattern sets of d units, training starts with as many patterns as the exact memory
holds, plus 4. If the mean Hamming error over 30 batches of fresh corruptions of all patterns exceeds the
threshold, the last pattern is dropped and a new network is trained, until it does not (Supp. A). The network
has three hidden layers of 80d ReLU units, told α at every layer, and is trained by Adam at 1e-3 on batches that
hold all patterns.

Supp. A does not say how long to train: here 500 steps, each with at least 4 noisy cues of every pattern at times
uniform in (0.001, 1.5), and the average of the weights with decay 0.99 is tested (Song et al. 2021, whose training
the paper follows, average too). A training is skipped, and counted as failed, where the best of all recalls already
fails: no recall has a smaller mean Hamming error than the sign of the posterior mean E[y | x], and if that errs on
the very same cues by more than the threshold and two standard errors, no network would have passed but by chance.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.capacities.cell import random_sets
from dispersed.capacities.cell_file import CellFile, Values
from dispersed.dynamics import Dynamics, OneStep, recall
from dispersed.learning import Recipe, UniformTime, noise_network, train
from dispersed.memories import Denoiser, PatternMemory
from dispersed.paper.results import Row
from dispersed.paper.statistics import bootstrap_mean
from dispersed.progress import track
from dispersed.types import Array, Float
from dispersed.validation import at_least

BATCHES = 30
RECIPE = Recipe(steps=500, draws=4, levels=UniformTime(), average=0.99)


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
    `exact` memory's recall and of the `best` sign of each unit on the same cues, the best's standard error
    `best_se`, and whether the network was `trained`.
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
            "recipe": [RECIPE.steps, RECIPE.draws, repr(RECIPE.levels), RECIPE.average],
            "dimension": d,
            "start": start,
            "n_patterns": n,
            "alpha": alpha,
            "threshold": threshold,
            "repeat": repeat,
            "seed": seed,
        }

        def compute(n: int = n) -> Values:
            return train_and_test(patterns, n, alpha, threshold, [seed, d, repeat, n])

        values = compute() if cells is None else cells.get(settings, compute)
        (error,), (exact,), (best, best_se) = values["error"] or [None], values["exact"], values["best"]
        passed = error is not None and error <= threshold
        rows.append(
            {
                "dimension": d,
                "repeat": repeat,
                "n_patterns": n,
                "error": error,
                "exact": exact,
                "best": best,
                "best_se": best_se,
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
    # The first n patterns over and over fill the place of all: one shape, one compiled training for every n.
    at = np.arange(start) % n
    patterns, weights = patterns[at], jnp.asarray(1 / (n * np.bincount(at)[at]), patterns.dtype)
    noise = rng.standard_normal((BATCHES, start, d)).astype(np.float32)
    cues = alpha * patterns + np.sqrt(1 - alpha**2) * noise

    def errors_of(memory: Denoiser, dynamics: Dynamics | None = None) -> Float[np.ndarray, " batches"]:
        wrong = jnp.sign(recall(memory, cues, dynamics, alpha=alpha).x) != patterns
        return np.asarray(wrong.mean(axis=-1) @ weights, dtype=float)

    stored = PatternMemory(patterns, weights)
    best = errors_of(stored, OneStep())
    standard_error = best.std(ddof=1) / np.sqrt(BATCHES)
    values: Values = {
        "error": [],
        "exact": [float(errors_of(stored).mean())],
        "best": [float(best.mean()), float(standard_error)],
    }
    if best.mean() <= threshold + 2 * standard_error:
        for_network, for_training = jax.random.split(jax.random.key(int(rng.integers(2**31))))
        network = noise_network(d, key=for_network)
        trained = train(network, patterns, RECIPE, key=for_training, weights=weights, check_every=RECIPE.steps)
        values["error"] = [float(errors_of(trained.memory).mean())]
    return values

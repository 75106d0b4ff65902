"""From samples seen once to patterns seen repeatedly: where is a memory, at every σ (Sec. 6.1, 6.2)?

1,797 digits are stored, one of them seen r times and the others once. Around that digit, at x = y + σε, three
diagnostics say whether the memory is episodic (one item answers, no direction is open, the denoised state is
that item) or semantic (many items, open directions, a state between them). The same for the samples read as a
density, and for a mixture of Gaussians, where the items are Gaussians.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.datasets import load_digits
from dispersed.diagnostics import effective_patterns, local_dimension
from dispersed.keys import normal
from dispersed.memories import Memory, PatternMemory, Smoothed
from dispersed.paper.results import Row
from dispersed.paper.semantics import best_bandwidth, gaussian_semantics, split
from dispersed.progress import track
from dispersed.types import Array
from dispersed.validation import at_least, random_seed

SIGMAS = tuple(float(s) for s in np.geomspace(0.05, 50, 19))
REPEATS = (1, 10, 100, 1000)
EPISODIC = 2.0
"""A memory counts as episodic where fewer items than this answer for a state."""


def spectrum(seed: int = 0, probes: int = 60) -> list[Row]:
    """The diagnostics at `probes` digits, each seen r times, and every σ.

    Returns rows with `memory` ("exact", "smoothed", "gaussians"), `repeats`, `sigma`, and medians over probes:
    `effective_patterns`, `local_dimension` and `distance`, from the denoised state to the nearest stored image.
    """
    random_seed(seed)
    at_least("probes", probes, 4)
    patterns, _ = load_digits()
    n = len(patterns)
    learned, fresh = split(n, 400, seed)
    bandwidth = best_bandwidth(patterns[learned], patterns[fresh])
    gaussians = gaussian_semantics(patterns, 20, seed)
    for_choice, for_noise = jax.random.split(jax.random.key(seed))
    chosen = jax.random.choice(for_choice, n, (probes,), replace=False)
    noise = normal(for_noise, (probes, patterns.shape[1]), patterns.dtype)

    stored = PatternMemory(patterns)

    def weighted(exact: PatternMemory, index: Array, repeats: Array) -> PatternMemory:
        return PatternMemory(exact.patterns, jnp.ones_like(exact.weights).at[index].set(repeats))

    kinds: dict[str, Callable[[PatternMemory, Array, Array], Memory]] = {
        "exact": weighted,
        "smoothed": lambda exact, index, repeats: Smoothed(weighted(exact, index, repeats), bandwidth),
        "gaussians": lambda exact, index, repeats: gaussians,
    }

    def measure(
        name: str, exact: PatternMemory, index: Array, epsilon: Array, sigma: Array, repeats: Array
    ) -> tuple[Array, Array, Array]:
        memory = kinds[name](exact, index, repeats)
        x = exact.patterns[index] + sigma * epsilon
        nearest = jnp.sqrt(jnp.sum((exact.patterns - memory.denoise(x, sigma)) ** 2, axis=1).min())
        return effective_patterns(memory, x, sigma), local_dimension(memory, x, sigma), nearest

    rows: list[Row] = []
    jobs = [(name, r) for name in kinds for r in (REPEATS if name != "gaussians" else (1,))]
    programs = {name: jax.jit(jax.vmap(functools.partial(measure, name), (None, 0, 0, None, None))) for name in kinds}
    for name, repeats in track(jobs, "Spectrum"):
        for sigma in SIGMAS:
            level, seen = jnp.asarray(sigma), jnp.asarray(float(repeats))
            many, open_directions, distance = programs[name](stored, chosen, noise, level, seen)
            rows.append(
                {
                    "memory": name,
                    "repeats": repeats,
                    "sigma": sigma,
                    "effective_patterns": float(jnp.median(many)),
                    "local_dimension": float(jnp.median(open_directions)),
                    "distance": float(jnp.median(distance)),
                }
            )
    return rows


def transition(rows: list[Row], memory: str, repeats: int) -> float:
    """The σ below which fewer than `EPISODIC` items answer, by interpolation in log σ."""
    mine = sorted((r for r in rows if (r["memory"], r["repeats"]) == (memory, repeats)), key=lambda r: r["sigma"])
    counts = np.log([row["effective_patterns"] for row in mine])
    levels = np.log([row["sigma"] for row in mine])
    # A memory seen very often turns episodic once more at large σ: the first crossing counts.
    above = np.flatnonzero(counts >= np.log(EPISODIC))
    if above.size == 0:
        return float(np.exp(levels[-1]))
    at = int(above[0])
    if at == 0:
        return float(np.exp(levels[0]))
    fraction = (np.log(EPISODIC) - counts[at - 1]) / (counts[at] - counts[at - 1])
    return float(np.exp(levels[at - 1] + fraction * (levels[at] - levels[at - 1])))

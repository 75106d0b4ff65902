"""One cell: the errors of recall with N patterns of d units stored, over many random pattern sets.

Sets are nested. The r-th set at dimension d is one endless list of random ±1 patterns with their noise, which
depends on the seed, d and r alone, and a cell stores its first N. Error curves over N are then smooth, and a
bootstrap over sets resamples whole curves.
"""

import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int, UInt32

from dispersed.capacities.corruption import Corruption
from dispersed.dynamics import Dynamics, recall
from dispersed.machine import compiled_soon
from dispersed.memories import Denoiser, Network
from dispersed.types import Array

Family = Callable[[Array], Denoiser | Network]
"""What makes a memory of patterns (n, d); it must be a function that `jax.jit` can trace."""

UNDECIDED = 1e-3
"""A recalled unit nearer to zero than this has no sign: patterns that a cue cannot tell apart are recalled as
their mean, and round-off must not decide. It counts as half an error."""

BLOCK = 2**22
"""Numbers in the largest array of one block of pattern sets that are recalled at once."""


class Cell(eqx.Module):
    """Errors with `n_patterns` stored patterns of `dimension` units, one number per pattern set."""

    dimension: int
    n_patterns: int
    cues: int
    """Cues of each set: its first patterns, all of them up to a limit."""
    half_errors: Int[np.ndarray, " sets"]
    """Twice the wrong units of all cues; an undecided unit counts one half."""
    wrong_cues: Int[np.ndarray, " sets"]
    """Cues with any unit wrong or undecided."""

    @property
    def hamming(self) -> Float[np.ndarray, " sets"]:
        """Mean fraction of wrong units."""
        return self.half_errors / (2 * self.cues * self.dimension)

    @property
    def pattern(self) -> Float[np.ndarray, " sets"]:
        """Fraction of cues not recalled without error."""
        return self.wrong_cues / self.cues


def random_sets(
    seed: int, dimension: int, n: int, sets: int
) -> tuple[Float[np.ndarray, "sets n d"], Float[np.ndarray, "sets n d"], Float[np.ndarray, "sets n d"]]:
    """Uniform ±1 patterns, standard normal noise and uniform numbers; those of fewer patterns are a prefix."""
    patterns, noise, chance = (np.empty((sets, n, dimension), dtype=np.float32) for _ in range(3))
    for r in range(sets):
        streams = np.random.SeedSequence([seed, dimension, r]).spawn(3)
        for_patterns, for_noise, for_chance = map(np.random.default_rng, streams)
        patterns[r] = np.where(for_patterns.random((n, dimension)) < 0.5, -1, 1)
        noise[r] = for_noise.standard_normal((n, dimension))
        chance[r] = for_chance.random((n, dimension))
    return patterns, noise, chance


def measure_cell(
    family: Family,
    dimension: int,
    n: int,
    dynamics: Dynamics | None,
    corruption: Corruption,
    sets: int,
    max_cues: int,
    seed: int,
) -> Cell:
    """Store `n` patterns in each of `sets` memories, recall up to `max_cues` damaged ones, count the errors."""
    signs, truth = recall_cell(family, dimension, n, dynamics, corruption, sets, max_cues, seed)
    agreement = signs * truth
    return Cell(
        dimension,
        n,
        truth.shape[1],
        half_errors=(1 - agreement).sum(axis=(1, 2)),
        wrong_cues=(agreement < 1).any(axis=2).sum(axis=1),
    )


def recall_cell(
    family: Family,
    dimension: int,
    n: int,
    dynamics: Dynamics | None,
    corruption: Corruption,
    sets: int,
    max_cues: int,
    seed: int,
) -> tuple[Int[np.ndarray, "sets m d"], Int[np.ndarray, "sets m d"]]:
    """The signs recalled from the damaged patterns, 0 where undecided, and those patterns."""
    cues = min(n, max_cues)
    patterns, noise, chance = (array.astype(corruption.dtype) for array in random_sets(seed, dimension, n, sets))
    damaged = corruption.cues(patterns[:, :cues], noise[:, :cues], chance[:, :cues]).astype(corruption.dtype)
    keys = np.random.default_rng([seed, dimension, n]).integers(2**32, size=(sets, 2), dtype=np.uint32)
    blocks = min(sets, math.ceil(sets * cues * n * dimension / BLOCK))
    # Every shape is a new program, and on a CPU small cells take longer to compile than to compute.
    program = jax.jit(
        functools.partial(_recall_blocks, family, dynamics, corruption.alpha, blocks),
        compiler_options=compiled_soon(0 if blocks == 1 else 1),
    )
    with jax.enable_x64(corruption.dtype == np.float64):
        recalled = np.asarray(program((patterns, damaged, keys)))
    signs = np.where(np.abs(recalled) < UNDECIDED, 0, np.sign(recalled))
    return signs.astype(int), patterns[:, :cues].astype(int)


def _recall_blocks(
    family: Family,
    dynamics: Dynamics | None,
    alpha: float,
    blocks: int,
    sets: tuple[Float[Array, "sets n d"], Float[Array, "sets m d"], UInt32[Array, "sets 2"]],
) -> Float[Array, "sets m d"]:
    """What each memory makes of its cues, block of sets after block."""

    def one(patterns: Array, cues: Array, key: Array) -> Array:
        memory = family(patterns)
        # A network holds its own temperature; a memory is told how noisy the cue is.
        level = None if isinstance(memory, Network) else alpha
        return recall(memory, cues, dynamics, alpha=level, key=jax.random.wrap_key_data(key)).x

    if blocks == 1:
        return jax.vmap(one)(*sets)
    count = len(sets[0])
    # The last block is filled up with first sets: a shorter one would be a second program.
    rows = np.resize(np.arange(count), (blocks, math.ceil(count / blocks)))
    recalled = jax.lax.map(lambda block: jax.vmap(one)(*block), tuple(array[rows] for array in sets))
    return recalled.reshape(rows.size, *recalled.shape[2:])[:count]

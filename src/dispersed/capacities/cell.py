"""One cell: the errors of recall with N patterns of d units stored, over many random pattern sets.

Sets are nested. The r-th set at dimension d is one endless list of random patterns with their noise, which depends on
the seed, d and r alone, and a cell stores its first N. Error curves over N are then smooth, and a bootstrap over sets
resamples whole curves.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt32

from dispersed.capacities.corruption import Corruption
from dispersed.capacities.ensembles import Ensemble, Rademacher, drawn
from dispersed.capacities.measures import OF_SIGNS, Measure, errors_by
from dispersed.dynamics import Dynamics, recall
from dispersed.machine import compiled_soon
from dispersed.memories import Denoiser, Network
from dispersed.types import Array, Key
from dispersed.validation import InputError, check_finite

Family = Callable[[Array], Denoiser | Network]
"""What makes a memory of patterns (n, d); it must be a function that `jax.jit` can trace."""
Recalled = Callable[[Any, Float[Array, "m d"], Key[Array, ""]], Float[Array, "m d"]]
"""A dynamics of the user: from a memory, all cues of it and a key to states; `jax.jit` must be able to trace it."""

Recaller = Callable[[Any, Any, range], Float[np.ndarray, "sets m d"]]
"""From the patterns and the cues of a range of sets to the states that are recalled."""

UNDECIDED = 1e-3
"""A recalled unit nearer to the middle of the two values of patterns than this part of the way to either has no sign:
patterns that a cue cannot tell apart are recalled as their mean, and round-off must not decide. It counts as half an
error.
"""

BLOCK = 2**22
"""Numbers in the largest array of one block of pattern sets that are recalled at once."""


class Cell(eqx.Module):
    """Errors with `n_patterns` stored patterns of `dimension` units, one number per pattern set."""

    dimension: int
    n_patterns: int
    cues: int
    """Cues of each set: its first patterns, all of them up to a limit."""
    errors: dict[str, Float[np.ndarray, " sets"]]
    """By measure the mean error over the cues of each set. Of patterns with two values `hamming`, the fraction of wrong
    units, and `pattern`, that of cues with any unit wrong or undecided."""

    @property
    def sets(self) -> int:
        """The number of pattern sets."""
        return len(next(iter(self.errors.values())))


class Trial(eqx.Module):
    """All that a cell measures but its size: what is stored, how it is damaged and recalled, what counts as an
    error.
    """

    family: Family
    dimension: int
    dynamics: Dynamics | Recalled | None
    corruption: Corruption
    ensemble: Ensemble = Rademacher()
    levels: tuple[float, float] | None = (-1.0, 1.0)
    """The two values of the patterns, if they have two."""
    measure: tuple[str, Measure | None] = ("hamming", None)
    max_cues: int = 256
    seed: int = 0

    def check(self) -> None:
        """Raise the `InputError` of a memory that cannot store such patterns: inside of a program it sees no values."""
        some = drawn(self.ensemble, np.random.default_rng(0), 2, self.dimension)
        self.family(jnp.asarray(some, jnp.float32))

    def counted(self) -> tuple[str, ...]:
        """The names under which the numbers of a set are kept in a file."""
        return ("half_errors", "wrong_cues") if self.measure[1] is None else (f"{self.measure[0]}_errors",)


def random_sets(
    seed: int, dimension: int, n: int, sets: int
) -> tuple[Float[np.ndarray, "sets n d"], Float[np.ndarray, "sets n d"], Float[np.ndarray, "sets n d"]]:
    """Uniform ±1 patterns, standard normal noise and uniform numbers; those of fewer patterns are a prefix."""
    patterns, noise, chance = (np.empty((sets, n, dimension), dtype=np.float32) for _ in range(3))
    for r in range(sets):
        for_patterns, for_noise, for_chance = streams(seed, dimension, r)
        patterns[r] = Rademacher()(for_patterns, n, dimension)
        noise[r] = for_noise.standard_normal((n, dimension))
        chance[r] = for_chance.random((n, dimension))
    return patterns, noise, chance


def streams(seed: int, dimension: int, r: int) -> tuple[np.random.Generator, ...]:
    """The random numbers of the r-th set: for its patterns, for noise, and for what happens by chance."""
    return tuple(map(np.random.default_rng, np.random.SeedSequence([seed, dimension, r]).spawn(3)))


def damaged_sets(
    trial: Trial, n: int, sets: range
) -> tuple[Float[np.ndarray, "sets n d"], Float[np.ndarray, "sets m d"]]:
    """The first n patterns of each set, and the cues made of the first of them."""
    d, dtype = trial.dimension, trial.corruption.dtype
    patterns = np.empty((len(sets), n, d), dtype=dtype)
    cues = np.empty((len(sets), min(n, trial.max_cues), d), dtype=dtype)
    for i, r in enumerate(sets):
        for_patterns, for_noise, for_chance = streams(trial.seed, d, r)
        patterns[i] = drawn(trial.ensemble, for_patterns, n, d)
        cues[i] = trial.corruption.cues(patterns[i, : cues.shape[1]], for_noise, for_chance)
    return patterns, cues


def measure_cell(
    trial: Trial, n: int, sets: range, recaller: Recaller | None = None
) -> dict[str, list[int]] | dict[str, list[float]]:
    """Store `n` patterns in the memory of each set, recall damaged ones, and count the errors."""
    patterns, cues = damaged_sets(trial, n, sets)
    targets = patterns[:, : cues.shape[1]]
    recalled = (recaller or recaller_of(trial, n, len(sets)))(patterns, cues, sets)
    # A state that is not finite is on no side and at no distance: measures would take it for right.
    check_finite("recalled states", recalled)
    if trial.measure[1] is not None:
        return {trial.counted()[0]: errors_by(trial.measure[1], recalled, targets, patterns).tolist()}
    agreement = signs(recalled, trial.levels) * signs(targets, trial.levels)
    return {
        "half_errors": (1 - agreement).sum(axis=(1, 2)).tolist(),
        "wrong_cues": (agreement < 1).any(axis=2).sum(axis=1).tolist(),
    }


def cell_of(trial: Trial, n: int, counts: dict[str, np.ndarray]) -> Cell:
    """The cell of these counts, as `measure_cell` returns them."""
    cues = min(n, trial.max_cues)
    if trial.measure[1] is not None:
        errors = {trial.measure[0]: next(iter(counts.values()))}
    else:
        by = counts["half_errors"] / (2 * cues * trial.dimension), counts["wrong_cues"] / cues
        errors = dict(zip(OF_SIGNS, by, strict=True))
    return Cell(trial.dimension, n, cues, errors)


def signs(states: Float[np.ndarray, "..."], levels: tuple[float, float] | None) -> Int[np.ndarray, "..."]:
    """On which side of the middle of two values each unit is, 0 where undecided."""
    low, high = levels or (-1.0, 1.0)
    above = states - (low + high) / 2
    return np.where(np.abs(above) < UNDECIDED * (high - low) / 2, 0, np.sign(above)).astype(int)


def recaller_of(trial: Trial, n: int, together: int) -> Recaller:
    """What recalls the cues of memories of n patterns, `together` sets at a time, in one compiled program."""
    d, cues_each = trial.dimension, min(n, trial.max_cues)
    blocks = min(together, math.ceil(together * cues_each * n * d / BLOCK))
    # Every shape is a new program, and on a CPU small cells take longer to compile than to compute.
    program = jax.jit(
        functools.partial(_recall_blocks, trial.family, trial.dynamics, trial.corruption.alpha, blocks),
        compiler_options=compiled_soon(0 if blocks == 1 else 1),
    )

    def recall_all(patterns: Any, cues: Any, sets: range) -> Float[np.ndarray, "sets m d"]:
        drawn_keys = np.random.default_rng([trial.seed, d, n]).integers(2**32, size=(sets.stop, 2), dtype=np.uint32)
        arrays = patterns, cues, drawn_keys[sets.start :]
        with jax.enable_x64(trial.corruption.dtype == np.float64):
            parts = [
                np.asarray(program(tuple(array[at : at + together] for array in arrays)))
                for at in range(0, len(sets), together)
            ]
        return np.concatenate(parts)

    return recall_all


def _recall_blocks(
    family: Family,
    dynamics: Dynamics | Recalled | None,
    alpha: float,
    blocks: int,
    sets: tuple[Float[Array, "sets n d"], Float[Array, "sets m d"], UInt32[Array, "sets 2"]],
) -> Float[Array, "sets m d"]:
    """What each memory makes of its cues, block of sets after block."""

    def one(patterns: Array, cues: Array, key: Array) -> Array:
        memory = family(patterns)
        if not isinstance(dynamics, Dynamics | None):
            states = dynamics(memory, cues, jax.random.wrap_key_data(key))
            if np.shape(states) != cues.shape:
                given = f"got a function that returns {type(states).__name__} of shape {np.shape(states)}"
                raise InputError("dynamics", given, f"states of the shape of the cues, {cues.shape}, are accepted")
            return states
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

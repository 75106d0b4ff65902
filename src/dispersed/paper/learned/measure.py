"""Learned against exact: as training goes on, does a score network become the exact memory of its patterns?

Sets of eight random ±1 patterns of ten units are learned by the paper's perceptron and by a preconditioned one.
At several lengths of training, each network's denoiser is compared with the exact one at every noise level; at
the end, their basins, the attractors of the learned dynamics and the recall of fresh cues at α = 0.68 are too.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.learning.ensemble import Ensemble, train_ensemble
from dispersed.learning.gap import attractors, basins, score_gap
from dispersed.learning.networks import noise_network, preconditioned_network
from dispersed.learning.recipe import Recipe
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.paper.results import Row
from dispersed.paper.statistics import bootstrap_mean
from dispersed.paper.table1.measure import random_patterns
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.types import Array, Float, Key
from dispersed.validation import at_least, random_seed

ALPHA, DIMENSION, PATTERNS, CUES = 0.68, 10, 8, 50
LEVELS = tuple(float(level) for level in np.geomspace(0.05, 2.0, 12))
FIELDS = ("gap", "posterior", "basin", "basin_exact")
"""What is measured of every pattern at every level."""
Fields = dict[str, Float[np.ndarray, "sets levels n"]]
NETWORKS = {"paper": "the paper's perceptron", "preconditioned": "preconditioned perceptron"}


def learned(sets: int = 8, steps: int = 16_000, width: int = 800, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Train both networks on `sets` pattern sets for steps/64, steps/8 and `steps` steps and compare.

    Returns two lists of rows. Of the first, each has `network`, `steps`, `sigma`, `gap` (root mean square distance
    of the denoisers per unit), `ci_low`, `ci_high`, `posterior` (that of the exact denoiser from the pattern: what
    nothing can undo) and, after the last step, `basin` and `basin_exact`.

    The second is what lies behind it after the last step, and says of which `part` each row is:

    - `network`: `agreement` of signs with the exact recall with its interval, `distinct` (patterns of a set, equal ones
      counted once), `stored` (those that are attractors), `spurious` (fraction of recalls from pure noise that end in
      no pattern) and `mixtures` (fraction of those whose end state is a non-negative combination of patterns, within
      0.1 per unit).
    - `pattern`: `gap`, `posterior`, `basin` and `basin_exact` of one pattern of one set at one `sigma`.
    - `attractor`: the `fraction` of recalls from pure noise that end there, the `pattern` that it is or None if it is
      spurious, how many patterns are `mixed` in it (weights above 0.05) and the `residual` of that mixture.
    """
    at_least("sets", sets, 2)
    at_least("steps", steps, 64)
    random_seed(seed)
    for_patterns, for_training, for_test = jax.random.split(jax.random.key(seed), 3)
    keys = jax.random.split(for_patterns, sets)
    patterns = jax.vmap(lambda key: random_patterns(key, PATTERNS, DIMENSION))(keys)
    makers: dict[str, Callable[[Key[Array, ""]], LearnedMemory]] = {
        "paper": lambda key: noise_network(DIMENSION, width, key=key),
        "preconditioned": lambda key: preconditioned_network(DIMENSION, width, key=key),
    }
    jobs = [(name, length) for name in makers for length in (steps // 64, steps // 8, steps)]
    gaps: list[Row] = []
    ends: list[Row] = []
    for name, length in track(jobs, "Learned against exact"):
        # The same key gives the same first steps: the shorter trainings are prefixes of the longest.
        recipe = Recipe(length, average=0.99)
        every = max(1, steps // 64)
        ensemble = train_ensemble(patterns, recipe, key=for_training, network=makers[name], check_every=every)
        last = length == steps
        found = list(_gaps(ensemble.memories, patterns, for_test))
        if last:
            found += _basins(ensemble.memories, patterns, for_test)
        fields = dict(zip(FIELDS, map(np.asarray, found), strict=False))
        gaps += _level_rows(name, length, fields)
        if last:
            ends += [*_end_rows(name, ensemble, patterns, for_test), *_pattern_rows(name, fields)]
    return gaps, ends


@eqx.filter_jit
def _gaps(memories: LearnedMemory, patterns: Array, key: Key[Array, ""]) -> tuple[Array, Array]:
    """Gap and posterior spread, (sets, levels, n)."""

    def one(memory: LearnedMemory, own: Array) -> tuple[Array, Array]:
        gap = score_gap(memory, PatternMemory(own), jnp.array(LEVELS), key=key)
        return gap.denoiser, gap.posterior

    return eqx.filter_vmap(one)(memories, patterns)


@eqx.filter_jit
def _basins(memories: LearnedMemory, patterns: Array, key: Key[Array, ""]) -> tuple[Array, Array]:
    """Basins of the learned and of the exact memory, (sets, levels, n)."""

    def one(memory: LearnedMemory, own: Array) -> tuple[Array, Array]:
        learned, exact = (basins(m, own, jnp.array(LEVELS), key=key) for m in (memory, PatternMemory(own)))
        return learned, exact

    return eqx.filter_vmap(one)(memories, patterns)


def _level_rows(name: str, length: int, fields: Fields) -> list[Row]:
    """Averages over patterns and sets, level by level."""
    gap, posterior = (np.sqrt((fields[field] ** 2).mean(axis=-1)) for field in ("gap", "posterior"))
    rows = []
    for i, sigma in enumerate(LEVELS):
        mean, low, high = bootstrap_mean(gap[:, i], seed=0)
        means = {field: float(fields[field][:, i].mean()) if field in fields else None for field in FIELDS[2:]}
        spread = float(posterior[:, i].mean())
        row = {"network": name, "steps": length, "sigma": sigma, "gap": mean, "ci_low": low, "ci_high": high}
        rows.append({**row, "posterior": spread, **means})
    return rows


def _pattern_rows(name: str, fields: Fields) -> list[Row]:
    """The same, pattern by pattern."""
    sets, _, n = fields["gap"].shape
    return [
        {
            "part": "pattern",
            "network": name,
            "set": r,
            "pattern": j,
            "sigma": sigma,
            **{field: float(values[r, i, j]) for field, values in fields.items()},
        }
        for r in range(sets)
        for j in range(n)
        for i, sigma in enumerate(LEVELS)
    ]


@eqx.filter_jit
def _agreement(memories: LearnedMemory, patterns: Array, key: Key[Array, ""]) -> Array:
    def one(memory: LearnedMemory, own: Array, key: Key[Array, ""]) -> Array:
        cues = VP().corrupt(jnp.tile(own, (CUES, 1)), alpha=ALPHA, key=key)
        recalled, exact = (
            recall(m, cues, ExponentialIntegrator(), alpha=ALPHA).x for m in (memory, PatternMemory(own))
        )
        return jnp.mean(jnp.sign(recalled) == jnp.sign(exact))

    return eqx.filter_vmap(one)(memories, patterns, jax.random.split(key, len(patterns)))


def _end_rows(name: str, ensemble: Ensemble, patterns: Float[Array, "m n d"], key: Key[Array, ""]) -> list[Row]:
    """What recall and the learned dynamics come to: one row for the network, one for every attractor."""
    mean, low, high = bootstrap_mean(_agreement(ensemble.memories, patterns, key), seed=0)
    rows: list[Row] = []
    for r, own in enumerate(patterns):
        found = attractors(ensemble[r].memory, own, key=key, starts=500)
        pattern, mixture = np.asarray(found.pattern), np.asarray(found.mixture)
        rows += [
            {
                "part": "attractor",
                "network": name,
                "set": r,
                "pattern": None if pattern[k] < 0 else int(pattern[k]),
                "fraction": float(found.share[k]),
                "mixed": int((mixture[k] > 0.05).sum()),
                "residual": float(found.residual[k]),
            }
            for k in range(len(pattern))
        ]
    spurious = [row for row in rows if row["pattern"] is None]
    total = sum(row["fraction"] for row in spurious)
    mixed = sum(row["fraction"] for row in spurious if row["residual"] < 0.1)
    stored = {(row["set"], row["pattern"]) for row in rows if row["pattern"] is not None}
    whole: Row = {
        "part": "network",
        "network": name,
        "agreement": mean,
        "ci_low": low,
        "ci_high": high,
        "distinct": float(np.mean([len(np.unique(own, axis=0)) for own in np.asarray(patterns)])),
        "stored": len(stored) / len(patterns),
        "spurious": total / len(patterns),
        "mixtures": mixed / total if total else None,
    }
    return [whole, *rows]

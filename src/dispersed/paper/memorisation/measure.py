"""From memorisation to generalisation: networks of real digits, as training patterns become more and as time goes on.

Of scikit-learn's digits some are held out, and the others are two halves without a digit in common. For every number n
of training patterns two networks of one size are trained, one on the first n digits of each half. At several lengths of
training each generates digits from noise, by the flow, and `audit` says how many of these are

- memorised: so near to a training pattern, and so much nearer than to the second, as held-out digits are not;
- spurious: no copies, but repeated, which are so near to each other as held-out digits are not;
- generalised: neither.

Beside them are the exact memory of the same patterns, which is what a network that memorises becomes, and the local
memory, the exact denoiser of their patches of 5 × 5 pixels, from the same noise. The time to memorise is the length of
training at which half of a network's samples are memorised.

**Sources**: Pham et al. (2025), arXiv 2505.21777 (spurious states); Kadkhodaie et al. (2023), arXiv 2310.02557 (two
halves); Bonnaire et al. (2025), arXiv 2505.17638 (the time to memorise grows as n); Kamb & Ganguli (2024), arXiv
2412.20292 (local scores).
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dispersed.auditing import audit
from dispersed.capacities import CellFile
from dispersed.datasets import DIGIT_SIDE, load_digits
from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.learning import Ensemble, LogUniform, Recipe, UnitOutput, preconditioned_network, train_ensemble
from dispersed.memories import Denoiser, LocalMemory, PatternMemory
from dispersed.paper.results import Row
from dispersed.paper.statistics import power_law
from dispersed.progress import track
from dispersed.types import Array, Float, Key
from dispersed.validation import at_least, random_seed

HELD_OUT = 261
"""Digits that no network sees: what the two halves of 768 leave."""
LEVELS = LogUniform(0.1, 4.0)
"""Noise levels of the training; digits are generated from the highest."""
SPREAD = 0.85
"""The root mean square of the digits' entries."""
PATCH = 5
FALSE_ALARMS = 0.01
PICTURED = 8
ADAM = optax.adam(3e-3)
SOLVER = ExponentialIntegrator(20)
Values = dict[str, list[Any]]


def memorisation(
    folder: Path,
    seed: int = 0,
    sizes: Sequence[int] = (8, 16, 32, 64, 512),
    steps: int = 12_800,
    width: int = 256,
    samples: int = 200,
) -> tuple[list[Row], list[Row], dict[str, np.ndarray]]:
    """Train two networks for each of `sizes` for steps/64, steps/32, … `steps` steps, and audit what they generate.

    Returns two lists of rows and pictures. Of the first each has `memory` ("network", "exact" or "local"), `n`, `half`,
    the `steps` of training (None for exact memories), `memorised`, `spurious` and `generalised` fractions of its
    samples, and of networks the denoising `error` of training patterns, that of `held_out` digits, and the `gap` to the
    exact memory, root mean squares per unit. The second has for each memory and `n` how far `apart` samples of the two
    halves from the same noise are, median root mean square distance per unit, and of networks the `time` after which
    each half was memorised (None if it was not).

    Finished lengths are kept in `folder`, where a training that was stopped goes on.
    """
    random_seed(seed)
    steps, samples = at_least("steps", steps, 64), at_least("samples", samples, 2)
    for_split, for_training, for_noise = jax.random.split(jax.random.key(seed), 3)
    digits = np.asarray(jax.random.permutation(for_split, load_digits()[0]), np.float32)
    held_out, learned = digits[:HELD_OUT], digits[HELD_OUT:]
    halves = np.split(learned[: len(learned) // 2 * 2], 2)
    noise = LEVELS.high * jax.random.normal(for_noise, (samples, learned.shape[1]))
    members = [(n, half) for n in sizes for half in (0, 1)]
    settings = {"seed": seed, "sizes": list(sizes), "steps": steps, "width": width, "samples": samples}
    cells = CellFile(folder / "memorisation.jsonl")
    checkpoint = folder / f"memorisation-{seed}-{steps}-{width}-{'-'.join(map(str, sizes))}.checkpoint"

    rows: list[Row] = []
    states: dict[tuple[str, int, int], Any] = {}
    for name in ("exact", "local"):
        for n, half in track(members, f"Samples of {name} memories"):
            states[name, n, half] = _generated(_exact(name, halves[half][:n]), noise)
            fractions = _fractions(halves[half][:n], states[name, n, half], held_out)
            rows.append({"memory": name, "n": n, "half": half, "steps": None} | fractions)
    lengths = [steps // 2**k for k in range(6, -1, -1)]
    for length in lengths:

        def trained(length: int = length) -> Values:
            ensemble = _ensemble(halves, members, length, steps, width, for_training, held_out, checkpoint)
            return _measured(ensemble, halves, members, noise, held_out, with_states=length == steps)

        found = cells.get(settings | {"length": length}, trained)
        for i, (n, half) in enumerate(members):
            numbers = {name: values[i] for name, values in found.items() if name != "states"}
            rows.append({"memory": "network", "n": n, "half": half, "steps": length} | numbers)
            if length == steps:
                states["network", n, half] = np.asarray(found["states"][i], np.float32).reshape(samples, -1)
    checkpoint.unlink(missing_ok=True)
    return (
        rows,
        _halves(rows, states, sizes),
        {f"{name}, {n}, {half}": np.asarray(values[:PICTURED]) for (name, n, half), values in states.items()},
    )


def _exact(name: str, patterns: Float[np.ndarray, "n d"]) -> Denoiser:
    if name == "exact":
        return PatternMemory(patterns)
    return LocalMemory(patterns.reshape(-1, DIGIT_SIDE, DIGIT_SIDE), PATCH)


def _generated(memory: Denoiser, noise: Float[Array, "k d"]) -> Float[np.ndarray, "k d"]:
    return np.asarray(recall(memory, noise, SOLVER, sigma=LEVELS.high).x)


def _ensemble(
    halves: list[np.ndarray],
    members: list[tuple[int, int]],
    length: int,
    steps: int,
    width: int,
    key: Key[Array, ""],
    held_out: np.ndarray,
    checkpoint: Path,
) -> Ensemble:
    """One network for each member; all of them see as many cues in a step."""
    most = max(n for n, _ in members)
    patterns = np.stack([halves[half][:most] for _, half in members])
    weights = np.stack([np.arange(most) < n for n, _ in members]).astype(float)
    recipe = Recipe(length, 2, LEVELS, UnitOutput(SPREAD), ADAM, average=0.99, batch=32)
    return train_ensemble(
        patterns,
        recipe,
        key=key,
        network=lambda key: preconditioned_network(patterns.shape[-1], width, 3, SPREAD, key=key),
        weights=weights,
        held_out=held_out,
        check_every=steps // 64,
        checkpoint=checkpoint,
    )


def _measured(
    ensemble: Ensemble,
    halves: list[np.ndarray],
    members: list[tuple[int, int]],
    noise: Float[Array, "k d"],
    held_out: np.ndarray,
    with_states: bool,
) -> Values:
    curve = ensemble.curve
    assert curve.gap is not None
    assert curve.held_out is not None
    values: Values = {"memorised": [], "spurious": [], "generalised": []}
    ends = np.asarray(
        ensemble.recall(jnp.broadcast_to(noise, (len(members), *noise.shape)), SOLVER, sigma=LEVELS.high).x
    )
    for (n, half), own in zip(members, ends, strict=True):
        for name, fraction in _fractions(halves[half][:n], own, held_out).items():
            values[name].append(fraction)
    for name in ("error", "gap", "held_out"):
        values[name] = np.asarray(getattr(curve, name))[:, -1].tolist()
    if with_states:
        values["states"] = [np.round(own, 4).reshape(-1).tolist() for own in ends]
    return values


def _fractions(patterns: np.ndarray, samples: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    found = audit(patterns, samples, held_out, false_alarms=FALSE_ALARMS)
    return {name: float(getattr(found, name)) for name in ("memorised", "spurious", "generalised")}


def _halves(rows: list[Row], states: dict[tuple[str, int, int], Any], sizes: Sequence[int]) -> list[Row]:
    """How far samples of the two halves are apart, and when they were memorised."""
    found: list[Row] = []
    for name in ("network", "exact", "local"):
        for n in sizes:
            gap = states[name, n, 0] - states[name, n, 1]
            row: Row = {"memory": name, "n": n, "apart": float(np.median(np.sqrt(np.mean(gap**2, axis=1))))}
            for half in (0, 1):
                own = [r for r in rows if (r["memory"], r["n"], r["half"]) == (name, n, half)]
                row[f"time_{half}"] = time_to_memorise(own) if name == "network" else None
            found.append(row)
    return found


def time_to_memorise(rows: Sequence[Row]) -> float | None:
    """The length of training at which half of a network's samples are memorised, between two lengths by logarithms.

    None if that is before the first length or not reached.
    """
    ordered = sorted(rows, key=lambda row: row["steps"])
    for before, after in itertools.pairwise(ordered):
        if before["memorised"] < 0.5 <= after["memorised"]:
            part = (0.5 - before["memorised"]) / (after["memorised"] - before["memorised"])
            return float(before["steps"] * (after["steps"] / before["steps"]) ** part)
    return None


class Fit(NamedTuple):
    """The times to memorise, and the exponent k of n^k with its interval; None of fewer than three numbers n."""

    n: list[int]
    times: list[float]
    exponent: float | None
    low: float | None
    high: float | None


def fitted(halves: Sequence[Row]) -> Fit:
    """The power law of the time to memorise over n."""
    found = [(row["n"], row[f"time_{half}"]) for row in halves for half in (0, 1) if row["memory"] == "network"]
    known = [(n, time) for n, time in found if time is not None]
    n, times = [pair[0] for pair in known], [pair[1] for pair in known]
    if len(set(n)) < 3:
        return Fit(n, times, None, None, None)
    return Fit(n, times, *power_law(n, times))


def last(rows: Sequence[Row], memory: str) -> list[Row]:
    """The rows of a memory, of networks those after the longest training."""
    own = [row for row in rows if row["memory"] == memory]
    longest = max((row["steps"] or 0 for row in own), default=0)
    return [row for row in own if (row["steps"] or 0) == longest]

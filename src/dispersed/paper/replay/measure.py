"""Consolidation and replay (Sec. 6.2): can a memory that trains on its own replays make an event episodic?

Four experiments, each against what chance alone would do:

- **Feedback.** Eight events experienced once each; the exact memory is trained again and again on 24 of its own
  replays. Neutral replay must drift as the Wright–Fisher model says. Sharper replay, the feedback of Sec. 6.2,
  and a bias to replay one event (novelty) are set beside it.
- **Forgetting.** Eight events in sequence, one a generation. Training on the new alone, or interleaved with
  replays of all: how much of the first event is left?
- **Core.** Real digits of which every replay keeps only the upper half and draws the rest from semantic memory,
  all the other digits: which features survive?
- **Network.** The same feedback in the weights of score networks, trained in each generation on states they
  generated themselves.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.consolidation.drift import diversity, fixation_probability, mean_fixation_time
from dispersed.consolidation.replay import generate, partial_replay, replay
from dispersed.datasets import load_digits
from dispersed.dynamics import AncestralSampling
from dispersed.dynamics.posterior import wilson
from dispersed.learning.ensemble import train_ensemble
from dispersed.learning.levels import LogUniform
from dispersed.learning.networks import preconditioned_network
from dispersed.learning.recipe import Recipe
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.paper.results import Row
from dispersed.paper.statistics import bootstrap_mean
from dispersed.progress import track
from dispersed.types import Array, Float, Key
from dispersed.validation import at_least, random_seed

EVENTS = 8
REPLAYS = 24
GENERATIONS = 200
SHARPNESS = 1.1
NOVELTY = 0.1
KINDS = {
    "neutral": "neutral replay (drift)",
    "novelty": f"event 0 favoured by e^{NOVELTY:g}",
    "sharp": f"sharper replay, γ = {SHARPNESS:g}",
}
"""Replay without a tendency and with two, by name in the results."""
INTERLEAVED = (0.0, 0.5, 0.9)
"""The fraction of replay in the training on a sequence of events."""
NETWORK_REPLAYS, NETWORK_GENERATIONS = 64, 8
NETWORKS = {
    "drift": "own replays only",
    "interleaved": "half replays, half events",
    "novelty": "event 0 twice as often",
}


TOLERANCE = 0.5
"""How alike, per pixel of grey values in [−1, 1], the core of another digit must be to lend the rest."""


SHOWN = 5
"""The digit in the figure: a 5 whose upper half semantic memory completes to an 8 or a 1."""


def replays(seed: int = 0, runs: int = 300, networks: int = 6) -> tuple[list[Row], dict[str, np.ndarray]]:
    """The four experiments as rows, their kind in the column `part`, and arrays for the figure.

    `runs` repeats of every condition with the exact memory, `networks` repeats with score networks.
    """
    random_seed(seed)
    at_least("runs", runs, 20)
    at_least("networks", networks, 2)
    key = jax.random.key(seed)
    pictures: dict[str, np.ndarray] = {}
    rows = _feedback(jax.random.fold_in(key, 0), runs, seed, pictures)
    rows += _forgetting(jax.random.fold_in(key, 1), runs, seed)
    rows += _core(jax.random.fold_in(key, 2), pictures)
    rows += _network(jax.random.fold_in(key, 3), networks, seed)
    return rows, pictures


def _events() -> PatternMemory:
    """The corners of a cube: eight events at equal distance from the mean."""
    return PatternMemory(np.array(list(itertools.product((-1.0, 1.0), repeat=3))))


def _feedback(key: Key[Array, ""], runs: int, seed: int, pictures: dict[str, np.ndarray]) -> list[Row]:
    memory = _events()
    novelty = NOVELTY * (jnp.arange(EVENTS) == 0)
    settings: dict[str, dict[str, Any]] = {
        "neutral": {},
        "novelty": {"bias": novelty},
        "sharp": {"sharpness": SHARPNESS},
    }
    keys = jax.random.split(key, runs)
    rows: list[Row] = []
    for kind, setting in track(list(settings.items()), "Replay, feedback"):

        def run(key: Array, setting: Mapping[str, Any] = setting) -> Array:
            return replay(memory, generations=GENERATIONS, replays=REPLAYS, key=key, **setting)

        weights = np.asarray(jax.vmap(run)(keys))
        pictures[f"weights, {kind}"] = weights[0]
        alone = weights.max(axis=-1) > 1 - 0.5 / REPLAYS
        fixed = alone[:, -1]
        time, time_low, time_high = bootstrap_mean(alone.argmax(axis=1)[fixed], seed)
        wins = int((weights[fixed, -1].argmax(axis=-1) == 0).sum())
        wins_low, wins_high = map(float, wilson(wins, int(fixed.sum())))
        advantage = {"neutral": 0.0, "novelty": NOVELTY}.get(kind)
        rows.append(
            {
                "part": "feedback",
                "kind": kind,
                "runs": runs,
                "fixed": float(fixed.mean()),
                "fixation_time": time,
                "time_low": time_low,
                "time_high": time_high,
                "time_expected": mean_fixation_time(REPLAYS, EVENTS) if kind == "neutral" else None,
                "wins": wins / int(fixed.sum()),
                "wins_low": wins_low,
                "wins_high": wins_high,
                "wins_expected": None if advantage is None else fixation_probability(REPLAYS, 1 / EVENTS, advantage),
            }
        )
        for generation in (0, 1, 2, 5, 10, 20, 40, 80, 120, 200):
            mean, low, high = bootstrap_mean(diversity(weights[:, generation]), seed)
            expected = (1 - 1 / EVENTS) * (1 - 1 / REPLAYS) ** generation if kind == "neutral" else None
            rows.append(_curve("diversity", kind, generation, mean, low, high, expected))
    return rows


def _curve(part: str, kind: str, generation: int, value: float, low: float, high: float, expected: float | None) -> Row:
    return {
        "part": part,
        "kind": kind,
        "generation": generation,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "expected": expected,
    }


def _forgetting(key: Key[Array, ""], runs: int, seed: int) -> list[Row]:
    """Event g is experienced in generation g; the probability of event 0 is followed, which is there from the start."""
    memory = PatternMemory(_events().patterns, jnp.eye(EVENTS)[0])
    sequence = jnp.eye(EVENTS)[1:]
    keys = jax.random.split(key, runs)
    rows: list[Row] = []
    for fraction in track(INTERLEAVED, "Replay, forgetting"):

        def run(key: Array, fraction: float = fraction) -> Array:
            return replay(
                memory,
                generations=EVENTS - 1,
                replays=REPLAYS,
                key=key,
                experiences=sequence,
                replayed=fraction,
            )

        first = np.asarray(jax.vmap(run)(keys))[:, :, 0]
        for generation in range(EVENTS):
            found = bootstrap_mean(first[:, generation], seed)
            rows.append(_curve("forgetting", f"{fraction:g}", generation, *found, fraction**generation))
    return rows


def _core(key: Key[Array, ""], pictures: dict[str, np.ndarray], generations: int = 5, count: int = 50) -> list[Row]:
    """Eight digits, each replayed by its upper half; semantic memory is all the digits but the one replayed."""
    patterns, digits = load_digits()
    core = jnp.arange(64) < 32
    measured = []
    for which in track(range(8), "Replay, cores"):
        event = np.asarray(patterns[which])
        semantic = PatternMemory(np.delete(np.asarray(patterns), which, axis=0))
        traces = np.asarray(
            partial_replay(
                semantic,
                event,
                core,
                generations=generations,
                replays=count,
                noise=0.05,
                tolerance=TOLERANCE,
                key=jax.random.fold_in(key, which),
                dynamics=AncestralSampling(20),
            )
        )
        measured.append(
            [_left_of(event, states, semantic, np.delete(digits, which) == digits[which]) for states in traces]
        )
        if which == SHOWN:
            pictures["event"], pictures["traces"] = event, traces[-1, :5]
    means = np.mean(measured, axis=0)
    names = ("core_rms", "rest_rms", "core_spread", "rest_spread", "frozen", "same_digit")
    return [
        {"part": "core", "kind": "upper half", "generation": generation}
        | {name: float(value) for name, value in zip(names, row, strict=True)}
        for generation, row in enumerate(means, start=1)
    ]


def _left_of(event: np.ndarray, states: np.ndarray, semantic: PatternMemory, alike: np.ndarray) -> list[float]:
    """Error and spread of the core and of the rest, units frozen, fraction of traces nearest to a digit `alike`."""
    error, spread = (states - event) ** 2, states.std(axis=0)
    nearest = np.argmin(((states[:, None] - np.asarray(semantic.patterns)) ** 2).sum(axis=-1), axis=1)
    rms = [np.sqrt(part.mean()) for part in (error[:, :32], error[:, 32:])]
    found = [*rms, spread[:32].mean(), spread[32:].mean(), (spread < 0.25).sum(), alike[nearest].mean()]
    return list(map(float, found))


def _network(key: Key[Array, ""], networks: int, seed: int) -> list[Row]:
    """Score networks trained from scratch, in each generation, on the replays of the ones before."""
    angles = 2 * np.pi * np.arange(EVENTS) / EVENTS
    events = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.sqrt(2), dtype=float)
    kinds = [kind for kind in NETWORKS for _ in range(networks)]
    recipe = Recipe(steps=400, draws=8, levels=LogUniform(0.03, 20.0))
    experienced = jnp.tile(events, (NETWORK_REPLAYS // EVENTS, 1))
    batch = jnp.broadcast_to(experienced, (len(kinds), *experienced.shape))
    generating = eqx.filter_jit(eqx.filter_vmap(_generate))
    rows: list[Row] = []
    for generation in track(range(NETWORK_GENERATIONS + 1), "Replay, networks"):
        weights, distance = _weights(batch, events)
        for kind in NETWORKS:
            own = np.array([k == kind for k in kinds])
            found = bootstrap_mean(diversity(weights[own]), seed)
            expected = (1 - 1 / EVENTS) * (1 - 1 / NETWORK_REPLAYS) ** generation if kind == "drift" else None
            row = _curve("network", kind, generation, *found, expected)
            first, first_low, first_high = bootstrap_mean(weights[own, 0], seed)
            row |= {"first_event": first, "first_low": first_low, "first_high": first_high}
            # A probability x chosen twice as often becomes 2x/(1 + x): its odds double.
            odds = 2**generation / (EVENTS - 1)
            row["first_expected"] = odds / (1 + odds) if kind == "novelty" else 1 / EVENTS
            rows.append(row | {"distance": float(distance[own].mean())})
        if generation == NETWORK_GENERATIONS:
            break
        now = jax.random.fold_in(key, generation)
        for_training, for_replay, for_choice = jax.random.split(now, 3)
        trained = train_ensemble(
            batch,
            recipe,
            key=for_training,
            network=lambda k: preconditioned_network(2, 48, 2, key=k),
            check_every=recipe.steps,
        )
        made = generating(trained.memories, jax.random.split(for_replay, len(kinds)))
        batch = jnp.stack(
            [
                _selected(kind, states, events, experienced, jax.random.fold_in(for_choice, i))
                for i, (kind, states) in enumerate(zip(kinds, made, strict=True))
            ]
        )
    return rows


def _generate(memory: LearnedMemory, key: Key[Array, ""]) -> Float[Array, "many d"]:
    """Twice as many states as are trained on, for the biased choice."""
    dynamics = AncestralSampling(20, sigma_min=0.05)
    return generate(memory, 2 * NETWORK_REPLAYS, jnp.zeros(2), jnp.asarray(15.0), dynamics, key)


def _selected(kind: str, states: Array, events: Array, experienced: Array, key: Key[Array, ""]) -> Array:
    """What is trained on next: replays, replays and events, or replays of which event 0 is chosen twice as often."""
    if kind == "drift":
        return states[:NETWORK_REPLAYS]
    if kind == "interleaved":
        return jnp.concatenate([states[: NETWORK_REPLAYS // 2], experienced[: NETWORK_REPLAYS // 2]])
    nearest = jnp.argmin(jnp.sum((states[:, None] - events) ** 2, axis=-1), axis=1)
    chances = jnp.where(nearest == 0, 2.0, 1.0)
    return states[jax.random.choice(key, len(states), (NETWORK_REPLAYS,), p=chances / chances.sum())]


def _weights(batch: Array, events: Array) -> tuple[np.ndarray, np.ndarray]:
    """The fraction of each event among the states of every network, and their mean distance to the nearest event."""
    gaps = np.sqrt(np.sum((np.asarray(batch)[:, :, None] - np.asarray(events)) ** 2, axis=-1))
    weights = (gaps.argmin(axis=-1)[..., None] == np.arange(EVENTS)).mean(axis=1)
    return weights, gaps.min(axis=-1).mean(axis=1)

"""Reconstructive memory on real digits (Eq. 25): a core is stored, the rest is made up, plausibly.

Semantic memory is a mixture of 20 Gaussians learned from 1,397 digits. Events are digits that it never saw, and
of each only a core is stored. Every event is recalled from its own core and a cue that is nearly all noise
(α = 0.1), so that what is recalled comes from memory.

- How faithful? The core is the first w principal components. Core and rest of the recalled image are compared
  with the event; "rest" is everything orthogonal to the core.
- Broken glass. "The memory of a car crash may evoke the memory of broken glass, although the windshield was not
  actually broken" (Sec. 6.1). Events whose lower half was blank are stored by their upper half. Does ink come
  back that was never there, and is it the ink that belongs there?

Both readings of Eq. 25 are run: conditioning, as the text means it, and the sum, as it is printed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.datasets import DIGIT_SIDE as SIDE
from dispersed.datasets import load_digits
from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.machine import compiled_soon
from dispersed.memories import Memory, Mixture, PatternMemory, ReconstructiveMemory, SumOfCores
from dispersed.paper.results import Row
from dispersed.paper.semantics import gaussian_semantics, nearest_of, split
from dispersed.paper.statistics import bootstrap_mean, pearson
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.types import Array, Float
from dispersed.validation import at_least, random_seed

ALPHA = 0.1
GAUSSIANS = 20
WIDTHS = (2, 4, 8, 16, 32)
HELD_OUT = 400
DYNAMICS = ExponentialIntegrator(30)
BLANK = -1.0
"""The grey value of a pixel without ink."""


def _both(semantic: Mixture, encoder: np.ndarray, cores: np.ndarray) -> dict[str, Callable[[Array], Memory]]:
    """The two readings of Eq. 25: the memory of the i-th event by each."""
    matrix, stored = jnp.asarray(encoder), jnp.asarray(cores)
    conditioned = ReconstructiveMemory(semantic, encoder, cores)
    return {
        "conditioned": conditioned.event,
        "printed": lambda i: SumOfCores(semantic, lambda x: matrix @ x, stored[i][None]),
    }


def _recall_each(memory_of: Callable[[Array], Memory], cues: Float[Array, "n d"]) -> np.ndarray:
    """The i-th cue recalled by the memory of the i-th event."""

    def one(i: Array, cue: Array) -> Array:
        return recall(memory_of(i), cue, DYNAMICS, alpha=ALPHA).x

    # Every core is a new program; on a CPU the compiler's full effort costs more than it saves here.
    return np.asarray(jax.jit(jax.vmap(one), compiler_options=compiled_soon())(jnp.arange(len(cues)), cues))


def reconstruction(seed: int = 0, events: int = 100) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Recall `events` digits from their cores, by both readings of Eq. 25.

    Returns rows with `task` ("fidelity" or "broken_glass"), `memory`, `core` (numbers stored per event) and

    - `core_error`: root-mean-square error of the recalled core, relative to the spread of the cores;
    - `rest_error`: of the rest, relative to its spread: 1 is the error of the mean image, √2 of a random one;
    - `same_digit`: fraction of recalled images whose nearest learned image shows the event's digit;
    - `plausibility`: mean log density of recalled images under the semantic memory at σ = 0.3, less that
      of the events;
    - `ink`: ink in the lower half relative to the complete digits', with a bootstrap interval over events;
    - `ink_match`: correlation of that ink with the complete digit's, which was never stored; 0 for one grey;

    and a dictionary of picture strips.
    """
    random_seed(seed)
    at_least("events", events, 10)
    images, labels = (np.asarray(part) for part in load_digits())
    learned, fresh = split(len(images), HELD_OUT, seed)
    semantic = gaussian_semantics(images[learned], GAUSSIANS, seed)
    chosen = fresh[:events]
    truth, digit = images[chosen], labels[chosen]
    mean = images[learned].mean(0)
    axes = np.linalg.svd(images[learned] - mean, full_matrices=False)[2]
    key = jax.random.key(seed)
    rows: list[Row] = []
    pictures = {"event": truth[:8]}
    typical = float(semantic.log_density(truth, 0.3).mean())

    def describe(memory: str, core: int, encoder: np.ndarray, found: np.ndarray) -> Row:
        missed = found - truth
        inside = encoder.T @ encoder
        outside = np.eye(SIDE * SIDE) - inside
        return {
            "task": "fidelity",
            "memory": memory,
            "core": core,
            "core_error": _ratio(missed @ inside, (truth - mean) @ inside),
            "rest_error": _ratio(missed @ outside, (truth - mean) @ outside),
            "same_digit": float(np.mean(labels[learned][nearest_of(images[learned], found)[0]] == digit)),
            "plausibility": float(semantic.log_density(found.astype(np.float32), 0.3).mean()) - typical,
        }

    cues = VP().corrupt(truth, alpha=ALPHA, key=key)
    for width in track(WIDTHS, "Reconstruction"):
        encoder = axes[:width].astype(np.float32)
        cores = truth @ encoder.T
        memories = _both(semantic, encoder, cores)
        for name, memory in memories.items():
            found = _recall_each(memory, cues)
            rows.append(describe(name, width, encoder, found))
            pictures[f"{name}, {width}"] = found[:8]
        expected = np.asarray(
            jax.vmap(lambda i, of=memories["conditioned"]: of(i).prior_start()[0])(jnp.arange(events))
        )
        rows.append(describe("conditional_mean", width, encoder, expected))
    _broken_glass(semantic, truth, key, rows, pictures)
    return rows, pictures


def _broken_glass(
    semantic: Mixture, truth: np.ndarray, key: Array, rows: list[Row], pictures: dict[str, np.ndarray]
) -> None:
    """Store the upper halves of digits whose lower half was blank, and recall them."""
    half = SIDE * SIDE // 2
    events = truth.copy()
    events[:, half:] = BLANK
    encoder = np.eye(SIDE * SIDE, dtype=np.float32)[:half]
    cores = events[:, :half]
    stored = jnp.asarray(events)
    memories = {"pattern_memory": lambda i: PatternMemory(stored[i][None]), **_both(semantic, encoder, cores)}
    cues = VP().corrupt(events, alpha=ALPHA, key=key)
    pictures["blank"] = events[:8]
    belongs = ink(truth[:, half:]).sum(1).mean()
    for name, memory in memories.items():
        found = _recall_each(memory, cues)
        below = ink(found[:, half:])
        amounts = below.sum(1) / belongs
        estimate, low, high = bootstrap_mean(amounts, 0)
        # One grey for all pixels, up to round-off, matches nothing.
        varied = below.std(1) > 1e-2
        match = np.zeros(len(below))
        if varied.any():
            match[varied] = pearson(below[varied], truth[varied][:, half:])
        pictures[f"glass, {name}"] = found[:8]
        rows.append(
            {
                "task": "broken_glass",
                "memory": name,
                "core": half,
                "core_error": _ratio(found[:, :half] - cores, events[:, :half] - events[:, :half].mean(0)),
                "ink": estimate,
                "ink_low": low,
                "ink_high": high,
                "ink_match": float(match.mean()),
            }
        )


def ink(pixels: Float[Array, "..."] | np.ndarray) -> np.ndarray:
    """Grey values −1 to 1 as ink, 0 to 1."""
    return np.clip((np.asarray(pixels) - BLANK) / 2, 0, 1)


def _ratio(error: np.ndarray, spread: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2) / np.mean(spread**2)))

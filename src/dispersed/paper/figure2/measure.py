"""Figure 2: how the units of one cue travel to a memory, by diffusion, by Hopfield updates, exact and learned.

Four random ±1 patterns of five units; a variance-preserving process with constant rate 1; the probability flow
and the reverse SDE by Euler in 2000 steps; four modern Hopfield updates at β = 5 from the same cue. The learned
memory is the paper's network of three hidden layers of 750 units, recalled by the same deterministic flow.

The paper does not say from which noise its trajectories start: here from α = 0.68, as everywhere else in it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.dynamics import Dynamics, Iteration, ProbabilityFlow, Recall, ReverseSDE, recall
from dispersed.dynamics.grids import uniform_time
from dispersed.learning import Recipe, UniformTime, noise_network, train
from dispersed.memories import Denoiser, ModernHopfield, Network, PatternMemory
from dispersed.paper.results import Row
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.tracing import as_array
from dispersed.types import Array
from dispersed.validation import at_least, random_seed

ALPHA = 0.68
BETA = 5.0
UNITS, PATTERNS = 5, 4
STEPS = 2000
WIDTH = 750
CUES = 10
"""Cues of each pattern in the summary."""
METHODS = {
    "diffusion": "exact diffusion, ODE",
    "diffusion_sde": "exact diffusion, SDE",
    "modern_hopfield": "modern Hopfield, β = 5",
    "learned": "learned diffusion, ODE",
}
"""What each trajectory is, by its name in the results."""


def figure2(seed: int = 0, training_steps: int = 3000) -> tuple[list[Row], list[Row]]:
    """A summary over all cues, and the trajectories of the first cue.

    Summary rows have `method`, `same_as_hopfield` and `same_as_pattern` (fraction of equal signs) and
    `rms_to_hopfield`, the distance of the recalled states per unit. Trajectory rows have `method`, `step`, the time
    `t`, the signal level `alpha` and `unit_1` … `unit_5`, in the coordinates of the process; a Hopfield update has
    no time or level.
    """
    random_seed(seed)
    at_least("training_steps", training_steps, 1)
    rng = np.random.default_rng([seed, UNITS, PATTERNS])
    every = 2 * ((np.arange(2**UNITS)[:, None] >> np.arange(UNITS)) & 1) - 1.0
    patterns = as_array(rng.permutation(every)[:PATTERNS], jnp.zeros(()).dtype)
    process = VP(rate=1.0)
    for_cues, for_network, for_training, for_recall = jax.random.split(jax.random.key(seed), 4)
    truth = np.tile(patterns, (CUES, 1))
    cues = process.corrupt(truth, alpha=ALPHA, key=for_cues)
    recipe = Recipe(training_steps, draws=32, levels=UniformTime(process))
    network = noise_network(UNITS, WIDTH, key=for_network)
    learned = train(network, patterns, recipe, key=for_training, check_every=training_steps).memory

    exact = PatternMemory(patterns)
    pairs: dict[str, tuple[Denoiser | Network, Dynamics]] = {
        "diffusion": (exact, ProbabilityFlow(steps=STEPS, sigma_min=0.0, grid=uniform_time)),
        "diffusion_sde": (exact, ReverseSDE(steps=STEPS, sigma_min=0.0, grid=uniform_time)),
        "modern_hopfield": (ModernHopfield(patterns, BETA), Iteration(4, tol=0.0)),
        "learned": (learned, ProbabilityFlow(steps=STEPS, sigma_min=0.0, grid=uniform_time)),
    }
    recalls = {
        name: recall(
            memory,
            cues,
            dynamics,
            alpha=None if isinstance(memory, Network) else ALPHA,
            process=process,
            key=for_recall,
            trajectory=True,
        )
        for name, (memory, dynamics) in track(pairs.items(), "Figure 2", total=len(pairs))
    }
    ends = {name: np.asarray(result.x) for name, result in recalls.items()}
    hopfield = ends["modern_hopfield"]
    summary: list[Row] = [
        {
            "method": name,
            "same_as_hopfield": float(np.mean(np.sign(x) == np.sign(hopfield))),
            "same_as_pattern": float(np.mean(np.sign(x) == truth)),
            "rms_to_hopfield": float(np.sqrt(np.mean((x - hopfield) ** 2))),
        }
        for name, x in ends.items()
    ]
    return summary, [row for name, result in recalls.items() for row in _trajectory(name, result, process)]


def _trajectory(name: str, path: Recall, process: VP) -> list[Row]:
    """The states that the first cue passed through, at most 201 of them."""
    states, sigmas = np.asarray(path.trajectory)[0], np.asarray(path.sigmas)[0]
    timeless = name == "modern_hopfield"
    times, alphas = np.asarray(_times(process, sigmas)), 1 / np.hypot(1, sigmas)
    shown = range(0, len(states), max(1, (len(states) - 1) // 200))
    return [
        {
            "method": name,
            "step": step,
            "t": None if timeless else float(times[step]),
            "alpha": None if timeless else float(alphas[step]),
            **{f"unit_{i + 1}": float(value) for i, value in enumerate(states[step])},
        }
        for step in shown
    ]


@jax.jit
def _times(process: VP, sigmas: Array) -> Array:
    return process.time(sigmas)

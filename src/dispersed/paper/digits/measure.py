"""Real digits: the 1,797 handwritten digits inside scikit-learn, recalled from damaged cues.

All of them are stored as patterns of 64 units with grey values in [−1, 1]. Some are then damaged: by noise,
x = αy + √(1−α²)ε, or by losing half of the image. A masked cue is completed in two ways:

- the paper's: missing entries are set to zero and the cue is recalled as if it were a noisy one;
- as evidence: the responsibilities start from the observed entries alone, which stay as given.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.datasets import DIGIT_SIDE, load_digits
from dispersed.dynamics import Dynamics, Recall, named, recall
from dispersed.memories import PatternMemory
from dispersed.paper.results import Row
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.validation import at_least, random_seed

ALPHAS = (0.9, 0.68, 0.5)
DYNAMICS: dict[str, Dynamics] = {name: named(name) for name in ("iteration", "one-step", "exponential", "flow", "sde")}


def digits(seed: int = 0, cues: int = 60) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Recall `cues` damaged digits by every dynamics.

    Returns rows with `task`, `alpha`, `method`, `exact` (fraction of cues whose very pattern is recalled),
    `same_digit`, `rms_error`, `probability` and `evaluations`, each the mean over `cues`, and a dictionary
    of eight-digit picture strips for the figure.
    """
    random_seed(seed)
    at_least("cues", cues, 8)
    patterns, targets = load_digits()
    memory = PatternMemory(patterns)
    key = jax.random.key(seed)
    for_choice, for_noise, for_recall = jax.random.split(key, 3)
    chosen = jax.random.choice(for_choice, len(patterns), (cues,), replace=False)
    truth = patterns[chosen]
    rows: list[Row] = []
    pictures = {"stored": np.asarray(truth[:8])}

    def measure(task: str, alpha: float | None, method: str, run: Callable[[], Recall]) -> None:
        result = run()
        rows.append(
            {
                "task": task,
                "alpha": alpha,
                "method": method,
                "exact": float(jnp.mean(result.index == chosen)),
                "same_digit": float(np.mean(targets[np.asarray(result.index)] == targets[np.asarray(chosen)])),
                "rms_error": float(jnp.sqrt(jnp.mean((result.x - truth) ** 2))),
                "probability": float(np.mean(np.asarray(result.probability))),
                "evaluations": float(result.evaluations.mean()),
                "cues": cues,
            }
        )
        pictures[f"{task}, {method}, {alpha}"] = np.asarray(result.x[:8])

    jobs: list[tuple[str, float | None, str, Callable[[], Recall]]] = []
    for alpha in ALPHAS:
        noisy = VP().corrupt(truth, alpha=alpha, key=for_noise)
        pictures[f"noisy, {alpha}"] = np.asarray(noisy[:8] / alpha)
        for method, dynamics in DYNAMICS.items():
            jobs.append(("noise", alpha, method, partial(recall, memory, noisy, dynamics, alpha=alpha, key=for_recall)))
    known = jnp.arange(DIGIT_SIDE**2) < DIGIT_SIDE**2 // 2
    masked = jnp.where(known, truth, 0)
    pictures["masked"] = np.asarray(jnp.where(known, truth, jnp.nan)[:8])
    for method, dynamics in DYNAMICS.items():
        complete = partial(recall, memory, masked, dynamics, key=for_recall)
        jobs.append(("zero_mask", 0.68, method, partial(complete, alpha=0.68, process=VP(rate=0.8))))
        jobs.append(("evidence", None, method, partial(complete, sigma=0.1, known=known)))
    for job in track(jobs, "Digits"):
        measure(*job)
    return rows, pictures

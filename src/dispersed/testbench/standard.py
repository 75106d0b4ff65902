"""Standard problems for samplers, from easy to hard."""

import importlib.util
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.datasets import load_digits
from dispersed.extras import MissingExtraError
from dispersed.memories import PatternMemory
from dispersed.testbench.problem import Problem

N, D = 64, 16


def standard_problems() -> list[Problem]:
    """Problems whose posterior is known exactly, from easy to hard; they are the same in every process.

    The patterns are 64 of 16 units, drawn from N(0, 1), so that some entries lie beyond ±1, where nothing is said
    otherwise: one likely pattern; two; many; near ties, pairs at a distance of 1; rare ones, of 1 % each; duplicates;
    unequal weights; patterns far from the origin. Then 200 real digits of 64 units in [−1, 1], where scikit-learn is
    installed, and 100 real faces of 625 units, where scikit-image is. Problems "from noise" give no cue: every sample
    starts from a state of its own, for deterministic samplers too. Those that are measured are for samplers by the
    denoiser of the conditioned memory, and for solvers of inverse problems.
    """
    rng = np.random.default_rng(2024)
    y = rng.standard_normal((N, D))
    near = y.copy()
    direction = rng.standard_normal((N // 2, D))
    near[1::2] = near[::2] + direction / np.linalg.norm(direction, axis=1, keepdims=True)
    rare = np.full(N, 0.01)
    rare[20:] = 0
    rare[0] = 1 - rare[1:].sum()
    unequal = np.exp(-np.arange(N) / 8)
    double = np.concatenate([y[: N // 4]] * 3 + [y[N // 4 : N // 2]])
    ones = np.ones(N)

    def problem(name: str, patterns: np.ndarray, weights: np.ndarray, sigma: float, cue: bool = True) -> Problem:
        memory = PatternMemory(jnp.asarray(patterns, jnp.float32), weights)
        z = patterns[:4].mean(axis=0) + 0.3 * sigma * rng.standard_normal(D) if cue else None
        return Problem(memory, z, sigma, name=name)

    operator = rng.standard_normal((4, D)) / math.sqrt(D)
    mask = np.arange(D) % 2 == 0
    measured = problem("half observed", y, ones, 8.0, cue=False)
    projected = problem("four projections", y, ones, 8.0, cue=False)
    problems = [
        Problem(PatternMemory(jnp.asarray(y, jnp.float32)), y[5] + 0.1, 0.5, name="one pattern"),
        problem("two patterns", np.concatenate([y[:2]] * (N // 2)), ones, 3.0),
        problem("many patterns", y, ones, 3.0),
        problem("near ties", near, ones, 2.0),
        problem("rare patterns", y, rare, 40.0),
        problem("duplicates", double, ones, 3.0),
        problem("unequal weights", y, unequal, 3.0),
        problem("far from the origin", y + 5, ones, 3.0),
        problem("many patterns, from noise", y, ones, 20.0, cue=False),
        problem("unequal weights, from noise", y + 1, unequal, 20.0, cue=False),
        Problem(
            measured.memory,
            None,
            8.0,
            Observation(np.where(mask, y[7], 0) + 0.3, mask, sigma=1.0),
            "half observed, from noise",
        ),
        Problem(
            projected.memory,
            None,
            8.0,
            Observation(operator @ y[9], operator=operator, sigma=0.5),
            "four projections, from noise",
        ),
    ]
    return problems + _digits() + _faces()


def _digits() -> list[Problem]:
    try:
        digits, _ = load_digits()
    except MissingExtraError:
        return []
    memory = PatternMemory(digits[:200])
    start, noise = digits[3], jax.random.normal(jax.random.key(3), (64,))
    return [
        Problem(memory, start + 2.0 * noise, 2.0, name="digits"),
        Problem(memory, None, 30.0, name="digits, from noise"),
    ]


def _faces() -> list[Problem]:
    # The file that scikit-image has in its wheel is read without importing it; other faces would be downloads.
    spec = importlib.util.find_spec("skimage")
    file = Path(spec.origin if spec and spec.origin else "").parent / "data" / "lfw_subset.npy"
    if not file.is_file():
        return []
    faces = jnp.asarray(2 * np.load(file)[:100].reshape(100, 625) - 1, jnp.float32)
    noise = jax.random.normal(jax.random.key(4), (625,))
    return [
        Problem(PatternMemory(faces), faces[3] + 6.0 * noise, 6.0, name="faces"),
        Problem(PatternMemory(faces), None, 60.0, name="faces, from noise"),
    ]


__all__ = ["standard_problems"]

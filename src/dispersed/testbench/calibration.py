r"""Calibration of samples over many problems at once.

If y was drawn from a memory and z = y + σε, then y and samples of the posterior behind z are exchangeable: the rank of
f(y) among f of the samples is uniform, whatever f (Cook et al. 2006; Talts et al. 2018). That needs no exact posterior,
and it judges all of a memory where `check` judges one cue.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories import Memory
from dispersed.testbench.check import LEVEL
from dispersed.testbench.problem import Problem, Sampler, key_and_seed
from dispersed.testbench.statistics import multinomial_p_value, projections
from dispersed.validation import at_least, positive_number


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Ranks of the truth among samples, over many problems."""

    passed: bool
    """Whether the ranks are uniform, at the level 10⁻³."""
    p_value: float
    """The smallest p-value of all directions, times their number."""
    counts: np.ndarray
    """How often each rank came, (directions, samples + 1)."""

    def __str__(self) -> str:
        directions, ranks = self.counts.shape
        problems = int(self.counts[0].sum())
        verdict = "passed, the ranks are uniform" if self.passed else "FAILED, the ranks are not uniform"
        return (
            f"calibration: {verdict} (p = {self.p_value:.2g}, {problems} problems, {ranks - 1} samples each, "
            f"{directions} directions)."
        )


def calibration(
    sampler: Sampler, memory: Memory, sigma: float, *, problems: int = 500, samples: int = 15, key: Any = None
) -> Calibration:
    """Whether samples are calibrated: over many y of a memory and cues y + σε, the rank of y among samples is uniform.

    **Arguments**

    - `sampler`, `key`: as for `check`. It is called once, with the states of all problems.
    - `memory`: any that can be drawn from.
    - `problems`, `samples`: how many cues, and how many samples of each.

    Ranks are those of projections on up to eight principal axes; ties are broken at random.
    """
    problems, samples = at_least("problems", problems, 1), at_least("samples", samples, 1)
    problem = Problem(memory, None, positive_number("sigma", sigma))
    key, seed = key_and_seed(key)
    for_truth, for_noise, for_sampler = jax.random.split(key, 3)
    y = memory.sample(for_truth, (problems,))
    z = y + problem.sigma * jax.random.normal(for_noise, y.shape, y.dtype)
    x = problem.drawn(sampler, jnp.repeat(z, samples, axis=0), for_sampler if seed is None else seed)
    rng, truth = np.random.default_rng(0), np.asarray(y, float)
    axes = projections(truth, 0, rng)[:8]
    drawn = np.nan_to_num(x.reshape(problems, samples, -1) @ axes.T, nan=np.inf)
    mean = np.broadcast_to((truth @ axes.T)[:, None], drawn.shape)
    # Samples of a stored pattern equal it up to round-off, and those are ties.
    slack = 1e-3 * mean[:, :1].std(axis=0)
    below = (drawn < mean - slack).sum(axis=1)
    tied = (np.abs(drawn - mean) <= slack).sum(axis=1)
    ranks = below + rng.integers(0, tied + 1)
    counts = np.stack([np.bincount(column, minlength=samples + 1) for column in ranks.T])
    uniform = np.full(samples + 1, 1 / (samples + 1))
    p_value = min(1.0, len(axes) * min(multinomial_p_value(row.astype(float), uniform, rng) for row in counts))
    return Calibration(p_value > LEVEL, p_value, counts)


__all__ = ["Calibration", "calibration"]

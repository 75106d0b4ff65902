"""One sampler on one problem: are its samples draws of the exact posterior?"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from dispersed.memories import PatternMemory
from dispersed.testbench.page import page
from dispersed.testbench.problem import Problem, Sampler
from dispersed.testbench.statistics import (
    goodness_of_fit,
    largest_distance,
    projections,
    total_variation_floor,
)
from dispersed.validation import InputError, at_least, probability

LEVEL = 1e-3
"""The probability that a sampler without fault is said to have one, in each check."""
STRAY = 0.01
"""The fraction of samples that may be no pattern."""
NEAR = 0.1
"""How far a sample may be from its pattern, in distances from there to the nearest other one."""
WIDTH = 0.01
"""The noise of a sample that is not judged, in the widest standard deviation of a memory without patterns."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What `check` found: `str(check)` says it in one sentence, `check.page()` as a page of HTML."""

    problem: Problem
    samples: int
    passed: bool
    """Whether the samples are draws of the exact posterior, at the level 10⁻³."""
    total_variation: float
    """½ Σ_j |frequency_j − p_j|; of a memory without patterns the largest distance of the distribution functions of the
    samples and of exact draws along any axis, which is a lower bound on their total variation."""
    floor: float
    """The same of as many exact draws."""
    p_value: float
    """The probability of samples that lie as far off, if they were exact draws."""
    stray: float
    """The fraction of samples that are not finite, or no pattern."""
    frequencies: np.ndarray
    """The fraction of samples at each distinct pattern; of a memory without patterns the standard deviations of the
    samples along its principal axes."""
    exact: np.ndarray
    """What these are for the exact posterior."""

    def __str__(self) -> str:
        name = self.problem.name
        figures = f"total variation {self.total_variation:.3f} where exact draws have {self.floor:.3f}"
        if self.passed:
            return f"{name}: passed, {figures}, p = {self.p_value:.2g} with {self.samples:,} samples."
        if not self.stray <= STRAY:
            patterns = isinstance(self.problem.memory, PatternMemory) and self.frequencies.any()
            kind = "no stored pattern" if patterns else "not finite"
            return f"{name}: FAILED, {self.stray:.1%} of {self.samples:,} samples are {kind}."
        j = int(np.abs(self.frequencies - self.exact).argmax())
        if isinstance(self.problem.memory, PatternMemory):
            worst = f"a pattern of probability {self.exact[j]:.3g} came in {self.frequencies[j]:.1%} of the samples"
        else:
            worst = f"a standard deviation of {self.exact[j]:.3g} came out as {self.frequencies[j]:.3g}"
        p = f"p = {self.p_value:.1g}" if self.p_value > 1e-6 else "p < 1e-6"
        return f"{name}: FAILED, {figures} ({p}); {worst}."

    def page(self) -> str:
        """A page of HTML with the verdict, its figures, and exact beside sampled probabilities."""
        return page([self])

    def _repr_html_(self) -> str:
        return self.page()


def check(sampler: Sampler, problem: Problem, samples: int = 4000, *, key: Any = None, level: float = LEVEL) -> Check:
    """Whether a sampler draws from the exact posterior of a problem.

    **Arguments**

    - `sampler`: `sampler(denoise, z, sigma, key)` returns one sample for each state of the batch z: (samples, d), each
      a noisy pattern at the level `sigma`, a float. `denoise(z, sigma)` is the exact denoiser D_σ(z), in variance
      exploding coordinates; with a measurement, that of the conditioned memory. A solver of inverse problems has a
      fifth parameter named `observation`: it is given the measurement, and the denoiser without it.
    - `samples`: how many; smaller faults need more.
    - `key`: a JAX key, by default `jax.random.key(0)`, and the sampler is called with arrays and a key of JAX; or a
      whole number, and it is called with tensors of PyTorch, after `torch.manual_seed`, and the number.
    - `level`: the probability of a false alarm.

    Samples count as the nearest pattern, duplicates as one. Those farther from it than a tenth of its distance to the
    nearest other one are no pattern, of which one in a hundred may be. The test of the counts is exact, however rare a
    pattern is. Of a memory without patterns the samples are compared with exact draws along its principal and some
    random axes by Kolmogorov–Smirnov tests; noise of one in a hundred of its widest standard deviation is not judged.

    A sampler that is right in the limit of many steps passes with enough of them: `convergence` tells few steps from a
    fault.

    **Raises** `InputError` for what is no sampler and for samples of another shape.

    >>> import dispersed, jax
    >>> memory = dispersed.PatternMemory([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> problem = Problem(memory, [0.5, 0.1], 1.0)
    >>> exact = lambda denoise, z, sigma, key: problem.posterior.sample(key, (len(z),))
    >>> check(exact, problem, key=jax.random.key(0)).passed
    True
    >>> check(lambda denoise, z, sigma, key: denoise(z, sigma), problem, key=jax.random.key(0)).passed
    False
    """
    samples, level = at_least("samples", samples, 1), probability("level", level)
    if not isinstance(problem, Problem):
        raise InputError("problem", f"got {type(problem).__name__}", "a testbench.Problem is accepted")
    x = problem.draws(sampler, samples, key)
    test = _of_patterns if isinstance(problem.memory, PatternMemory) else _of_distribution
    return test(problem, x, level, np.random.default_rng(0))


def nearest_pattern(x: np.ndarray, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the nearest pattern of every sample, and whether it is none: samples (s, d), distinct patterns."""
    finite = np.isfinite(x).all(axis=1)
    centre = patterns.mean(axis=0)
    y, at = patterns - centre, np.where(finite[:, None], np.nan_to_num(x), centre) - centre
    index = ((y**2).sum(axis=1) / 2 - at @ y.T).argmin(axis=1)
    distance = np.linalg.norm(at - y[index], axis=1)
    if len(y) == 1:
        room = np.full(1, max(1e-6, np.linalg.norm(centre)))
    else:
        apart = (y**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * y @ y.T
        np.fill_diagonal(apart, np.inf)
        other = apart.argmin(axis=1)
        room = np.linalg.norm(y - y[other], axis=1)
    return index, ~finite | (distance > NEAR * room[index])


def _of_patterns(problem: Problem, x: np.ndarray, level: float, rng: np.random.Generator) -> Check:
    patterns, p = problem.probabilities()
    index, stray = nearest_pattern(x, patterns)
    counts = np.bincount(index[np.isfinite(x).all(axis=1)], minlength=len(p)).astype(float)
    drawn = int(counts.sum())
    p_value = goodness_of_fit(counts, p, rng) if drawn else 0.0
    frequencies = counts / max(drawn, 1)
    distance = float(np.abs(frequencies - p).sum() / 2)
    passed = bool(p_value > level and stray.mean() <= STRAY)
    floor = total_variation_floor(p, len(x))
    return Check(problem, len(x), passed, distance, floor, p_value, float(stray.mean()), frequencies, p)


def _of_distribution(problem: Problem, x: np.ndarray, level: float, rng: np.random.Generator) -> Check:
    finite = np.isfinite(x).all(axis=1)
    stray, kept = float(1 - finite.mean()), x[finite]
    # Few samples, too, are compared with many exact draws.
    many = 4 * max(len(x), 1000)
    drawn = np.asarray(problem.posterior.sample(jax.random.key(1), (many + len(x),)), float)
    exact, fresh = drawn[:many], drawn[many:]
    axes = projections(exact, 8, rng)
    width = WIDTH * float(np.std(exact @ axes[0]))
    along = [part @ axes.T for part in (exact, fresh, kept)]
    blurred = [part + width * rng.standard_normal(part.shape) for part in along]
    floor, _ = largest_distance(blurred[1], blurred[0])
    distance, p_value = largest_distance(blurred[2], blurred[0]) if len(kept) else (1.0, 0.0)
    passed = bool(p_value > level and stray <= STRAY)
    principal = min(16, exact.shape[1])
    spreads = [part[:, :principal].std(axis=0) if len(part) else np.full(principal, math.nan) for part in along]
    return Check(problem, len(x), passed, distance, floor, p_value, stray, spreads[2], spreads[0])


__all__ = ["LEVEL", "Check", "check"]

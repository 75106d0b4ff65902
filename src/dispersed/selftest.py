"""Ten seconds of checks that this installation computes what it should, against numbers from elsewhere.

Each check compares with something that does not come from the code it tests: plain float64 NumPy, a pattern that must
come back, a distribution that is known.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dispersed.dynamics import ProbabilityFlow, recall, recall_many
from dispersed.memories import PatternMemory
from dispersed.processes import VP


class Check(NamedTuple):
    """What one check found."""

    name: str
    passed: bool
    found: str


def selftest() -> Iterator[Check]:
    """Every check in turn; one that raises has failed."""
    for name, check in CHECKS.items():
        try:
            passed, found = check()
        except Exception as error:  # whatever a broken installation raises
            passed, found = False, f"{type(error).__name__}: {error}".splitlines()[0]
        yield Check(name, passed, found)


def _posterior(y: np.ndarray, x: np.ndarray, sigma: float) -> Float[np.ndarray, " n"]:
    """p(j | x) in float64 (Eq. 29)."""
    logits = -((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2).sum(axis=-1) / (2 * sigma**2)
    r = np.exp(logits - logits.max())
    return r / r.sum()


def _case(dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forty patterns of 16 units, and cues between them at noise levels from far below to above their distance."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((40, 16)).astype(dtype)
    sigma = np.repeat([0.05, 0.3, 1.0, 3.0], 8).astype(dtype)
    middle = (y[:32] + y[8:]) / 2
    return y, (middle + sigma[:, None] * rng.standard_normal((32, 16))).astype(dtype), sigma


def denoiser() -> tuple[bool, str]:
    """D_σ in single precision against float64."""
    y, x, sigma = _case("float32")
    exact = np.stack([_posterior(y, *pair) @ y.astype(np.float64) for pair in zip(x, sigma.astype(float), strict=True)])
    error = np.abs(np.asarray(PatternMemory(y).denoise(x, sigma)) - exact).max()
    return bool(error < 1e-5), f"differs from float64 NumPy by {error:.1e}; below 1e-5 is right"


def double() -> tuple[bool, str]:
    """Log densities in double precision, to the digits that it has."""
    with jax.enable_x64(True):
        y, x, sigma = _case("float64")
        logits = -((x[:, None] - y) ** 2).sum(axis=-1) / (2 * sigma[:, None] ** 2)
        top = logits.max(axis=1)
        exact = top + np.log(np.exp(logits - top[:, None]).mean(axis=1)) - 16 * np.log(sigma * np.sqrt(2 * np.pi))
        error = np.abs(np.asarray(PatternMemory(y).log_density(x, sigma)) / exact - 1).max()
    return bool(error < 1e-12), f"log densities differ from NumPy by {error:.1e} of their size; below 1e-12 is right"


def recalled() -> tuple[bool, str]:
    """Noisy cues of ±1 patterns must end at their own."""
    rng = np.random.default_rng(1)
    y = np.sign(rng.standard_normal((16, 64)))
    cues = y + 0.4 * rng.standard_normal(y.shape)
    result = recall(PatternMemory(y), cues, sigma=0.4)
    error = np.abs(np.asarray(result.x) - y).max()
    right = int((np.asarray(result.index) == np.arange(16)).sum())
    settled = int(np.asarray(result.converged).sum())
    passed = bool(right == settled == 16 and error < 1e-3)
    return passed, f"{right} of 16 cues end at their pattern, {settled} in a fixed point, within {error:.1e}"


def sampled() -> tuple[bool, str]:
    """Samples of one cue against the exact posterior, by Pearson's χ²."""
    y = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 0.5]])
    cue, sigma = np.array([0.2, 0.1]), 1.0
    found = recall_many(PatternMemory(y), cue, sigma=sigma, samples=3000, key=jax.random.key(0))
    counts, expected = np.asarray(found.counts), 3000 * _posterior(y, cue, sigma)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    # The 0.1 % point of χ² with two degrees of freedom; the key is fixed, so a right sampler always passes.
    return statistic < 13.8, f"χ² = {statistic:.2f} against the exact posterior; below 13.8 is right"


def speed() -> tuple[bool, str]:
    """The time of one compiled scan."""
    rng = np.random.default_rng(2)
    y = np.sign(rng.standard_normal((30, 100)))
    memory, cues = PatternMemory(y), VP().corrupt(y, alpha=0.68, key=jax.random.key(0))

    def run() -> float:
        start = time.perf_counter()
        jax.block_until_ready(recall(memory, cues, ProbabilityFlow(), alpha=0.68).x)
        return time.perf_counter() - start

    first, again = run(), min(run() for _ in range(3))
    finite = bool(jnp.isfinite(recall(memory, cues, ProbabilityFlow(), alpha=0.68).x).all())
    return (
        finite,
        f"300 Euler steps of 30 × 100 units: {1e3 * again:.0f} ms, and {first - again:.1f} s to compile",
    )


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "denoiser": denoiser,
    "float64": double,
    "recall": recalled,
    "sampling": sampled,
    "speed": speed,
}

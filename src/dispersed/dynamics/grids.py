r"""Grids of noise levels: the levels at which a solver evaluates the memory, from the cue's down to the last.

A grid is a function of the first level, the last level, their number, the process and the spread of the memories, the
root-mean-square distance from their mean, and returns the levels in falling order. The step from the last level to
σ = 0 is the solver's final denoising step.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.multistep import FAR, SPACING
from dispersed.processes import VE, Process
from dispersed.types import Array, Float, Scalar
from dispersed.validation import InputError, returned

Grid = Callable[[Scalar, Scalar, int, Process, Scalar], Float[Array, " n"]]
"""A function that places noise levels between the first and the last one: `grid(first, last, n, process, spread)`."""


def log_sigma(first: Scalar, last: Scalar, n: int, process: Process, spread: Scalar) -> Float[Array, " n"]:
    """Levels even in log σ: σ_i = σ_max (σ_min/σ_max)^{i/(n−1)}."""
    step = jnp.log(first / last) / (n - 1)
    return first * jnp.exp(-step * jnp.arange(n, dtype=step.dtype))


def log_one_plus_snr(first: Scalar, last: Scalar, n: int, process: Process, spread: Scalar) -> Float[Array, " n"]:
    """Levels even in log(1 + c/σ), c = 0.6 of the spread: few of them lie above it, however noisy the cue.

    From a cue that is farther than 10,000 times the spread the first step leads to a tenth of that.
    """
    c, far = SPACING * spread, first > FAR * spread
    near = jnp.where(far, jnp.maximum(FAR / 10 * spread, last), first)
    start, end = jnp.log1p(c / near), jnp.log1p(c / last)
    k = jnp.arange(n, dtype=start.dtype)
    levels = c / jnp.expm1(start + (end - start) * jnp.where(far, (k - 1) / max(n - 2, 1), k / (n - 1)))
    return levels.at[0].set(first).at[-1].set(last)


def karras(
    first: Scalar, last: Scalar, n: int, process: Process, spread: Scalar, rho: float = 7.0
) -> Float[Array, " n"]:
    """Levels even in σ^{1/ρ}, closer together at low noise (Karras et al. 2022, Eq. 5).

    σ_i = (σ_max^{1/ρ} + i/(n−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ.
    """
    even = jnp.linspace(0, 1, n, dtype=jnp.result_type(first))
    # Relative to the first level, which may be too large or too small for a power of it.
    ratio = (last / first) ** (1 / rho)
    return first * (1 + even * (ratio - 1)) ** rho


def uniform_time(first: Scalar, last: Scalar, n: int, process: Process, spread: Scalar) -> Float[Array, " n"]:
    """Levels even in the time t of the process, as in the paper."""
    start, stop = process.time(first), process.time(last)
    even = stop + (start - stop) * jnp.linspace(1, 0, n, dtype=jnp.result_type(first))
    return process.sigma(even).at[0].set(first)


def check_grid(grid: Grid, n: int) -> None:
    """Raise `InputError` for a grid whose levels are not numbers above 0 in falling order, by those of one cue."""
    if grid not in (log_sigma, log_one_plus_snr, karras, uniform_time):
        _check_levels(grid, n)


@functools.cache
def _check_levels(grid: Grid, n: int) -> None:
    with jax.ensure_compile_time_eval():
        first, last, spread = (jnp.float32(number) for number in (1, 0.01, 1))
        levels = np.asarray(returned("grid", grid(first, last, n, VE(), spread), (n,)))
    if not (np.isfinite(levels) & (levels > 0)).all() or (np.diff(levels) > 0).any():
        found = np.array2string(levels, precision=3, threshold=6, edgeitems=3)
        raise InputError("grid", f"returned {found}", "noise levels above 0 that do not rise are accepted")


__all__ = ["Grid", "karras", "log_one_plus_snr", "log_sigma", "uniform_time"]

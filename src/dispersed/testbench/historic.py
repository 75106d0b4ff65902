r"""Faults that shipped in maintained libraries of diffusion models, each re-created from its public description.

They are what the test bench is tested with: `FAULTS` names an algorithm and its fault, `made` builds the sampler, with
the fault or without one:

- `ancestral`: z' = r z + (1 − r) D + σ' √(1−r) ε with r = (σ'/σ)², and a second stage;
- `reverse_sde`: Euler–Maruyama steps of dx = (−½βx − β s) dt + √β dW, in variance preserving coordinates;
- `heun`: the second-order step of Karras et al. (2022) along the probability flow, deterministic;
- `solve`: completion of observed entries.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.testbench.problem import Sampler

STEPS, LAST = 25, 0.02


def log_grid(sigma: Any, steps: int) -> Any:
    """Levels from σ down to `LAST` in equal steps of log σ."""
    return jnp.exp(jnp.linspace(jnp.log(sigma), jnp.log(LAST), steps))


def karras_grid(sigma: Any, steps: int) -> Any:
    """Levels in equal steps of σ^{1/7}."""
    return jnp.linspace(sigma ** (1 / 7), LAST ** (1 / 7), steps) ** 7


def ancestral(denoise: Any, z: Any, sigma: Any, key: Any, *, fault: str = "", steps: int = STEPS) -> Any:
    """Ancestral sampling of second order in variance exploding coordinates, as of `dispersed.AncestralSampling`."""
    grid = log_grid(sigma, steps)

    def mean(z: Any, i: Any) -> Any:
        told = grid[jnp.minimum(i + 1, steps - 1)] if fault == "step index off by one" else grid[i]
        found = denoise(z / jnp.hypot(1.0, grid[i]) if fault == "state scaled twice" else z, told)
        return jnp.clip(found, -1, 1) if fault == "clipped" else found

    def step(z: Any, i: Any) -> tuple[Any, None]:
        level, following = grid[i], grid[i + 1]
        r, h = (following / level) ** 2, jnp.log(level / following)
        spread = following * jnp.sqrt(1 - r)
        spread = spread**2 if fault == "variance for deviation" else spread
        spread = following if fault == "noise of the next level" else spread
        spread = 0.0 if fault == "no noise" else spread
        at = key if fault == "noise re-used across steps" else jax.random.fold_in(key, i)
        shape = z.shape[1:] if fault == "noise shared by the batch" else z.shape
        begun = mean(z, i)
        new = r * z + (1 - r) * begun + spread * jax.random.normal(at, shape, z.dtype)
        return new + (1 - (1 - r) / (2 * h)) * (mean(new, i + 1) - begun), None

    z, _ = jax.lax.scan(step, z, jnp.arange(steps - 1))
    if fault == "noise in the last step":
        return denoise(z, grid[-1]) + grid[steps // 2] * jax.random.normal(key, z.shape, z.dtype)
    return denoise(z, grid[-1])


def reverse_sde(denoise: Any, z: Any, sigma: Any, key: Any, *, fault: str = "", steps: int = 300) -> Any:
    """Euler–Maruyama steps of the reverse SDE of a variance preserving process, equal in log σ."""
    grid = log_grid(sigma, steps)
    x = z if fault == "start not scaled" else z / jnp.hypot(1.0, sigma)

    def step(x: Any, now: Any) -> tuple[Any, None]:
        i, level, following = now
        alpha, after = 1 / jnp.hypot(1.0, level), 1 / jnp.hypot(1.0, following)
        beta = 2 * jnp.log(after / alpha)  # ∫ β dt of the step, since α = exp(−½ ∫ β dt)
        told = x if fault == "input not rescaled" else x / alpha
        score = (alpha * denoise(told, level) - x) / (alpha * level) ** 2
        factor = 0.5 if fault == "factor 2 missing" else 1.0
        noise = jnp.sqrt(beta) * jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        return x + beta * x / 2 + factor * beta * score + noise, None

    x, _ = jax.lax.scan(step, x, (jnp.arange(steps - 1), grid[:-1], grid[1:]))
    return denoise(x * jnp.hypot(1.0, grid[-1]), grid[-1])


def heun(denoise: Any, z: Any, sigma: Any, key: Any, *, fault: str = "", steps: int = 20) -> Any:
    """Heun's method along the probability flow dz/dσ = (z − D)/σ (Karras et al. 2022, Algorithm 1)."""
    grid = karras_grid(sigma, steps)
    # The network is told levels that are not those of the state: the grid of the schedule before it was respaced.
    told = log_grid(sigma, steps) if fault == "levels not those of the Karras grid" else grid

    def step(z: Any, now: Any) -> tuple[Any, None]:
        i, level, following = now
        slope = (z - denoise(z, told[i])) / level
        ahead = z + (following - level) * slope
        at = told[i] if fault == "level of Heun's second stage" else told[i + 1]
        second = (ahead - denoise(ahead, at)) / (level if fault == "level of Heun's second stage" else following)
        slope = slope + second if fault == "slopes added" else (slope + second) / 2
        return z + (following - level) * slope, None

    z, _ = jax.lax.scan(step, z, (jnp.arange(steps - 1), grid[:-1], grid[1:]))
    return denoise(z, grid[-1])


def solve(
    denoise: Any, z: Any, sigma: Any, key: Any, observation: Any, *, fault: str = "replacement", steps: int = STEPS
) -> Any:
    """Completion by replacement: at every level the observed entries are set to the observed values plus noise.

    It is no posterior sampler, and none without a fault is like it. With "start" the samples begin at the observed
    values and noise of unit variance.
    """
    grid, mask, value = log_grid(sigma, steps), observation.mask, observation.value
    if fault == "start":
        z = jnp.where(mask, value, jax.random.normal(jax.random.fold_in(key, steps), z.shape, z.dtype))

    def step(z: Any, now: Any) -> tuple[Any, None]:
        i, level, following = now
        for_value, for_step = jax.random.split(jax.random.fold_in(key, i))
        z = jnp.where(mask, value + level * jax.random.normal(for_value, z.shape, z.dtype), z)
        r = (following / level) ** 2
        noise = following * jnp.sqrt(1 - r) * jax.random.normal(for_step, z.shape, z.dtype)
        return r * z + (1 - r) * denoise(z, level) + noise, None

    z, _ = jax.lax.scan(step, z, (jnp.arange(steps - 1), grid[:-1], grid[1:]))
    return denoise(z, grid[-1])


def made(algorithm: Callable[..., Any], fault: str = "") -> Sampler:
    """A sampler with a fault, whose program serves all problems of one shape."""
    run = _compiled(algorithm, fault)

    def sampler(denoise: Any, z: Any, sigma: float, key: Any) -> Any:
        return run(denoise, z, jnp.asarray(sigma, z.dtype), key)

    def solver(denoise: Any, z: Any, sigma: float, key: Any, observation: Any) -> Any:
        return run(denoise, z, jnp.asarray(sigma, z.dtype), key, observation)

    return solver if algorithm is solve else sampler


@functools.cache
def _compiled(algorithm: Callable[..., Any], fault: str) -> Any:
    return eqx.filter_jit(functools.partial(algorithm, fault=fault))


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "factor 2 of the score missing": (reverse_sde, "factor 2 missing"),
    "input of the network not rescaled": (reverse_sde, "input not rescaled"),
    "start not rescaled": (reverse_sde, "start not scaled"),
    "variance for standard deviation": (ancestral, "variance for deviation"),
    "noise of the next level": (ancestral, "noise of the next level"),
    "noise added in the last step": (ancestral, "noise in the last step"),
    "step index off by one": (ancestral, "step index off by one"),
    "state scaled twice": (ancestral, "state scaled twice"),
    "clipped to [−1, 1]": (ancestral, "clipped"),
    "no noise": (ancestral, "no noise"),
    "noise re-used across steps": (ancestral, "noise re-used across steps"),
    "noise shared by the batch": (ancestral, "noise shared by the batch"),
    "level of Heun's second stage": (heun, "level of Heun's second stage"),
    "levels not those of the Karras grid": (heun, "levels not those of the Karras grid"),
    "slopes added, not averaged": (heun, "slopes added"),
    "completion by replacement": (solve, "replacement"),
    "completion from another start": (solve, "start"),
}
"""The algorithm and the line that is wrong, by name."""

__all__ = ["FAULTS", "ancestral", "heun", "made", "reverse_sde", "solve"]

r"""What a network has memorised, by the network itself: beside the exact denoiser, level by level.

A network that has memorised denoises as the exact denoiser of its training patterns does, better on these than on
held-out states, leads noisy patterns back to themselves, and leaves no direction open around them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.auditing.neighbours import Points
from dispersed.diagnostics import local_dimension
from dispersed.dynamics import ExponentialIntegrator, recall
from dispersed.memories import Denoiser, PatternMemory
from dispersed.types import Array, Float, Key
from dispersed.validation import InputError, random_key

CUES = 256
"""Noisy states of each kind at each level."""
LEVELS = 6
WIDEST = 1 << 22
"""Entries of all Jacobians at one level."""


class NetworkAudit(eqx.Module):
    """Root mean squares per unit over noisy training patterns and noisy held-out states, for each noise level."""

    sigma: Float[np.ndarray, " levels"]
    gap_train: Float[np.ndarray, " levels"]
    """Of the difference from the exact denoiser, at noisy training patterns."""
    gap_held_out: Float[np.ndarray, " levels"] | None
    error_train: Float[np.ndarray, " levels"]
    """Of the difference from the state behind the noise."""
    error_held_out: Float[np.ndarray, " levels"] | None
    basin: Float[np.ndarray, " levels"]
    """The fraction of noisy training patterns that the network's flow leads back to themselves."""
    basin_exact: Float[np.ndarray, " levels"]
    """The same of the exact denoiser."""
    local_dimension: Float[np.ndarray, " levels"]
    """Open directions of the network at noisy training patterns, Σ min(e, 1) of the eigenvalues of ∂D_σ/∂x."""
    local_dimension_exact: Float[np.ndarray, " levels"]

    def __repr__(self) -> str:
        return f"NetworkAudit({len(self.sigma)} noise levels, σ from {self.sigma.max():.3g} to {self.sigma.min():.3g})"

    def rows(self) -> list[dict[str, float | None]]:
        """One row a noise level."""
        names = ("sigma", "gap_train", "gap_held_out", "error_train", "error_held_out", "basin", "basin_exact")
        found = {name: getattr(self, name) for name in (*names, "local_dimension", "local_dimension_exact")}
        return [{name: _told(values, i) for name, values in found.items()} for i in range(len(self.sigma))]


def audit_network(model: Denoiser, train: Points, held_out: Points | None, key: Key[Array, ""] | None) -> NetworkAudit:
    """Gap, error, basins and local dimension of a network, from where every pattern is alone to where all are one."""
    if key is None:
        raise InputError("key", "got None", "a model is audited with noise: give key=jax.random.key(0)")
    random_key(key)
    n, d = train.shape
    if model.dimension != d:
        raise InputError("model", f"has {model.dimension} units", f"the training patterns have {d}")
    exact = PatternMemory(train.source)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = np.sort(rng.choice(n, min(n, CUES), replace=False))
    y = train.rows(chosen)
    fresh = None
    if held_out is not None:
        fresh = held_out.rows(np.sort(rng.choice(held_out.shape[0], min(held_out.shape[0], CUES), replace=False)))
    near = train.to_nearest_other(y)
    found: dict[str, list[Any]] = {}
    levels = _levels(model, y, near, n)
    for sigma in map(float, levels):
        x = y + sigma * rng.standard_normal(y.shape)
        at: dict[str, Any] = {"gap_train": None, "error_train": None}
        at["gap_train"], at["error_train"] = _gap(model, exact, x, y, sigma)
        if fresh is not None:
            noisy = fresh + sigma * rng.standard_normal(fresh.shape)
            at["gap_held_out"], at["error_held_out"] = _gap(model, exact, noisy, fresh, sigma)
        few = jnp.asarray(x[: max(1, min(16, WIDEST // d**2))], jnp.result_type(float))
        for name, memory in (("", model), ("_exact", exact)):
            ends = np.asarray(recall(memory, jnp.asarray(x, few.dtype), ExponentialIntegrator(), sigma=sigma).x, float)
            at["basin" + name] = _led_back(train, ends, chosen, y, near)
            open_directions = np.nan if d > 1024 else float(np.mean(np.asarray(local_dimension(memory, few, sigma))))
            at["local_dimension" + name] = open_directions
        for name, value in at.items():
            found.setdefault(name, []).append(value)
    curves: dict[str, Any] = {name: np.array(values, float) for name, values in found.items()}
    return NetworkAudit(sigma=levels, **({"gap_held_out": None, "error_held_out": None} | curves))


def _levels(model: Denoiser, y: np.ndarray, near: np.ndarray, n: int) -> np.ndarray:
    """From the width of the data down to where most patterns are alone, among the levels of the training."""
    high = float(np.sqrt(y.var(axis=0).sum() / y.shape[1])) or 1.0
    apart = near[np.isfinite(near)]
    low = float(np.median(apart)) / (4 * np.sqrt(2 * np.log(n) + 1)) if len(apart) else high / 30
    low = min(low, high / 10)
    trained = getattr(model, "levels", None)
    if trained is not None:
        low, high = (float(np.clip(level, *trained)) for level in (low, high))
        low, high = (low, high) if low < high else trained
    return np.geomspace(high, low, LEVELS)


def _gap(model: Denoiser, exact: PatternMemory, x: np.ndarray, y: np.ndarray, sigma: float) -> tuple[float, float]:
    """The network's distance per unit from the exact denoiser, and from the states behind the noise."""
    cues = jnp.asarray(x, jnp.result_type(float))
    said = np.asarray(model.denoise(cues, sigma), float)
    return tuple(
        float(np.sqrt(np.mean((said - other) ** 2))) for other in (np.asarray(exact.denoise(cues, sigma), float), y)
    )  # type: ignore[return-value]


def _led_back(train: Points, ends: np.ndarray, chosen: np.ndarray, y: np.ndarray, near: np.ndarray) -> float:
    """The fraction of ends whose nearest pattern is that behind the cue, within half the distance to its neighbour."""
    good = np.isfinite(ends).all(axis=1) & (np.abs(ends) < 1e30).all(axis=1)
    if not good.any():
        return 0.0
    index, distance = train.nearest(ends[good], 1)
    same = (index[:, 0] == chosen[good]) | (train.rows(index[:, 0]) == y[good]).all(axis=1)
    return float((same & (distance[:, 0] < near[good] / 2)).sum() / len(ends))


def _told(values: np.ndarray | None, i: int) -> float | None:
    return None if values is None or not np.isfinite(values[i]) else float(values[i])

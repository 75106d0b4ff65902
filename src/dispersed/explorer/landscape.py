"""The 2-D landscape: energy, field, what a cue says, and what recall makes of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.diagnostics import effective_patterns
from dispersed.dynamics import Dynamics, named, recall
from dispersed.explorer.scene import LEAST, MOST, PROCESSES, REACH, Scene, levels
from dispersed.explorer.work import Check
from dispersed.memories import Memory

RESOLUTION = 200
"""The energy is drawn from 200 × 200 states."""
SITES = 23
"""The field is drawn at 23 × 23 of them."""
RECALLS = 48
"""Random recalls of one cue."""
FRAMES = 100
"""States of a trajectory that are drawn."""
DYNAMICS: dict[str, Dynamics] = {name: named(name) for name in ("iteration", "flow", "exponential", "sde")}


def _grid(count: int) -> jax.Array:
    axis = np.linspace(-REACH, REACH, count, dtype=np.float32)
    return jnp.asarray(np.stack(np.meshgrid(axis, axis), axis=-1))


def picture(scene: Scene, memory: Memory, cue: tuple[float, float] | None, field: str) -> dict[str, Any]:
    """The energy E_σ on a grid, rows from low x₂ to high, the field at some sites, and what the cue says.

    `field` is `displacement`, D_σ(x) − x, or `score`, that over σ². With a cue, `responsibilities` are those of the
    scene's remembered items, with their entropy in nats and its exponential, the effective number of them.
    """
    sigma = jnp.float32(scene.sigma)
    sites = _grid(SITES)
    arrows = memory.score(sites, sigma) if field == "score" else memory.denoise(sites, sigma) - sites
    answer: dict[str, Any] = {
        "energy": np.asarray(memory.energy(_grid(RESOLUTION), sigma)),
        "field": np.asarray(arrows),
        "levels": levels(scene.sigma, PROCESSES[scene.process]()),
        "limits": _limits(scene.process),
    }
    if cue is not None:
        answer["cue"] = what_it_says(scene, memory, cue)
    return answer


@functools.cache
def _limits(process: str) -> list[dict[str, float]]:
    """The ends of the sliders."""
    return [levels(sigma, PROCESSES[process]()) for sigma in (LEAST, MOST)]


def what_it_says(scene: Scene, memory: Any, cue: tuple[float, float]) -> dict[str, Any]:
    """What the memory at σ makes of a cue: energy, responsibilities, their entropy, the posterior mean."""
    x, sigma = jnp.asarray(cue, jnp.float32), jnp.float32(scene.sigma)
    effective = float(effective_patterns(memory, x, sigma))
    return {
        "at": list(cue),
        "energy": float(memory.energy(x, sigma)),
        "responsibilities": np.asarray(memory.responsibilities(x, sigma))[scene.slots()].tolist(),
        "effective": effective,
        "entropy": float(np.log(effective)),
        "denoised": np.asarray(memory.denoise(x, sigma)).tolist(),
    }


def runs(
    scene: Scene, memory: Any, cue: tuple[float, float], names: list[str], seed: int, check: Check
) -> dict[str, Any]:
    """Recall of one cue by some dynamics: trajectories (recalls, times, 2) in z = x/s(t), and how they ended."""
    process = PROCESSES[scene.process]()
    x = jnp.asarray(cue, jnp.float32) * process.scale(process.time(jnp.float32(scene.sigma)))
    slots = scene.slots()
    answer: dict[str, Any] = {}
    for name in names:
        check()
        dynamics = DYNAMICS[name]
        cues = jnp.broadcast_to(x, (RECALLS if dynamics.random else 1, 2))
        found = recall(
            memory,
            cues,
            dynamics,
            sigma=jnp.float32(scene.sigma),
            process=process,
            key=jax.random.key(seed),
            trajectory=True,
        )
        sigmas = jnp.asarray(found.sigmas)
        states = np.asarray(found.trajectory) / np.asarray(process.scale(process.time(sigmas)))[..., None]
        used = int(found.steps.max()) + 1
        kept = np.unique(np.linspace(0, min(used, states.shape[1]) - 1, FRAMES).round().astype(int))
        index = np.asarray(found.index)
        counts = [int((index == slot).sum()) for slot in slots]
        answer[name] = {
            "trajectory": states[:, kept],
            "sigmas": np.asarray(sigmas)[0, kept],
            "end": np.asarray(found.x).tolist() if not dynamics.random else np.asarray(found.x)[:3].tolist(),
            "counts": counts,
            "steps": int(found.steps[0]),
            "evaluations": int(found.evaluations[0]),
            "converged": float(found.converged.mean()),
        }
    return answer

"""The 2-D landscape: energy, field, what a cue says, and what recall makes of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import entr

from dispersed.dynamics import Dynamics, named, recall
from dispersed.explorer.scene import LEAST, MOST, PROCESSES, REACH, Scene, levels
from dispersed.explorer.work import Check
from dispersed.validation import InputError

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


def picture(scene: Scene, memory: Any, cue: tuple[float, float] | None, field: str) -> dict[str, Any]:
    """The energy on a grid, rows from low x₂ to high, the field at some sites, and what the cue says.

    `field` is `displacement`, the step from x of the memory's iteration, D_σ(x) − x, or `score`, that over σ². With a
    cue, `responsibilities` are those of the scene's remembered items, with their entropy in nats and its exponential,
    the effective number of them.
    """
    sites = _grid(SITES)
    step = memory.at(scene.sigma).update(sites) - sites
    surface, height = _surface(scene, memory)
    answer: dict[str, Any] = {
        "surface": surface,
        "energy": np.asarray(height),
        "field": np.asarray(step / scene.sigma**2 if field == "score" else step),
        "levels": levels(scene.sigma, PROCESSES[scene.process]()),
        "limits": _limits(scene.process),
    }
    if cue is not None:
        answer["cue"] = what_it_says(scene, memory, cue)
    return answer


def _surface(scene: Scene, memory: Any) -> tuple[str, jax.Array]:
    """The energy; of a network that descends none the length of its step, which is 0 at fixed points."""
    grid = _grid(RESOLUTION)
    try:
        return "energy", memory.energy(grid, *scene.noise)
    except InputError:
        return "step", jnp.linalg.norm(memory.update(grid) - grid, axis=-1)


@functools.cache
def _limits(process: str) -> list[dict[str, float]]:
    """The ends of the sliders."""
    return [levels(sigma, PROCESSES[process]()) for sigma in (LEAST, MOST)]


def what_it_says(scene: Scene, memory: Any, cue: tuple[float, float]) -> dict[str, Any]:
    """What the memory makes of a cue: responsibilities, their entropy, the state after one step of its iteration."""
    x = jnp.asarray(cue, jnp.float32)
    responsibilities = np.asarray(memory.responsibilities(x, *scene.noise))[scene.slots()]
    entropy = float(entr(responsibilities).sum())
    return {
        "at": list(cue),
        "responsibilities": responsibilities.tolist(),
        # None, where no pattern is within reach of the cue.
        "effective": float(np.exp(entropy)) if responsibilities.any() else 0.0,
        "entropy": entropy,
        "denoised": np.asarray(memory.at(scene.sigma).update(x)).tolist(),
    }


def runs(
    scene: Scene, memory: Any, cue: tuple[float, float], names: list[str], seed: int, check: Check
) -> dict[str, Any]:
    """Recall of one cue by some dynamics: trajectories (recalls, times, 2) in z = x/s(t), and how they ended."""
    process = PROCESSES[scene.process]()
    x = jnp.asarray(cue, jnp.float32) * process.scale_at(jnp.float32(scene.sigma))
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
            sigma=scene.noise[0] if scene.noise else None,
            process=process,
            key=jax.random.key(seed),
            trajectory=True,
        )
        sigmas = jnp.asarray(found.sigmas)
        states = np.asarray(found.trajectory) / np.asarray(process.scale_at(sigmas))[..., None]
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

"""Real digits: one of scikit-learn's 1,797, damaged by noise or a mask, and what recall makes of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import entr

from dispersed.conditioning import Observation, condition
from dispersed.datasets import load_digits
from dispersed.dynamics import recall
from dispersed.explorer.scene import choice, mapping, number
from dispersed.memories import PatternMemory
from dispersed.noise import sigma_from_alpha
from dispersed.paper.digits.measure import DYNAMICS
from dispersed.processes import VE, VP
from dispersed.validation import InputError

FRAMES = 8
"""Pictures of a film strip."""
SHOWN = 6
"""Alternatives shown."""
SURE = 0.9
"""A memory, or a digit, with at least this probability is named; otherwise the answer is "I don't know"."""


@functools.cache
def stored() -> tuple[PatternMemory, np.ndarray, np.ndarray]:
    """The memory of all digits, their images and what they show."""
    patterns, labels = load_digits()
    return PatternMemory(patterns), np.asarray(patterns, dtype=np.float32), labels


def digit(given: Any) -> dict[str, Any]:
    """Damage one stored image, recall it, and say what else it may have been.

    `given`: `index` of the image, `alpha` in (0, 1), `seed`, `missing` entries (a list of 0 to 63, or empty) and
    `dynamics`. Missing entries are not looked at; the others are evidence (`known` of `dispersed.recall`).
    """
    asked = mapping("digit", given)
    memory, images, labels = stored()
    index = int(number("index", asked.get("index"), 0, len(images) - 1))
    alpha = number("alpha", asked.get("alpha"), 0.02, 0.999)
    seed = int(number("seed", asked.get("seed", 0), 0, 2**31 - 1))
    name = choice("dynamics", asked.get("dynamics", "exponential"), DYNAMICS)
    known = _known(asked.get("missing", []), images.shape[1])
    dynamics = DYNAMICS[name]
    for_noise, for_recall = jax.random.split(jax.random.key(seed))
    process = VP() if known is None else VE()
    cue = process.corrupt(images[index], alpha=alpha, key=for_noise)
    sigma = sigma_from_alpha(alpha)
    found = recall(memory, cue, dynamics, alpha=alpha, known=known, key=for_recall, trajectory=True)
    z = cue / process.scale(process.time(sigma))
    if known is None:
        exact = memory.responsibilities(z, sigma)
    else:
        exact = condition(memory, Observation(z, mask=known, sigma=sigma)).weights
    posterior = np.asarray(exact, dtype=float)
    leading = np.argsort(-posterior, kind="stable")[:SHOWN]
    by_digit = np.bincount(labels, posterior, minlength=10)
    entropy = float(entr(posterior).sum())
    sigmas, nearest = jnp.asarray(found.sigmas), int(jnp.asarray(found.index))
    states = np.asarray(found.trajectory) / np.asarray(process.scale(process.time(sigmas)))[:, None]
    kept = np.linspace(0, min(int(found.steps) + 1, len(states) - 1), FRAMES).round().astype(int)
    return {
        "truth": images[index],
        "cue": np.asarray(z),
        "recalled": np.asarray(found.x),
        "film": states[kept],
        "film_sigma": np.asarray(sigmas)[kept],
        "label": int(labels[index]),
        "sigma": float(sigma),
        "nearest": nearest,
        "nearest_label": int(labels[nearest]),
        "probability": float(jnp.asarray(found.probability)),
        "converged": bool(found.converged),
        "evaluations": int(found.evaluations),
        "alternatives": [
            {"index": int(j), "label": int(labels[j]), "probability": float(posterior[j])} for j in leading
        ],
        "by_digit": by_digit.tolist(),
        "entropy": entropy,
        "effective": float(np.exp(entropy)),
        "verdict": verdict(posterior, labels),
    }


def verdict(posterior: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What the posterior allows to say: this image, this digit, or "I don't know"."""
    best = int(np.argmax(posterior))
    by_digit = np.bincount(labels, posterior, minlength=10)
    if posterior[best] >= SURE:
        return {"sure": "image", "text": f"Image {best}, a {labels[best]}: p = {posterior[best]:.2f}"}
    if by_digit.max() >= SURE:
        said = int(by_digit.argmax())
        return {"sure": "digit", "text": f"A {said} (p = {by_digit[said]:.2f}), but I don't know which image"}
    return {"sure": "no", "text": f"I don't know: at best a {int(by_digit.argmax())}, p = {by_digit.max():.2f}"}


def _known(missing: Any, units: int) -> np.ndarray | None:
    """Which entries were seen, or None if all of them."""
    if not isinstance(missing, list) or not all(isinstance(i, int) and 0 <= i < units for i in missing):
        raise InputError("missing", f"got {missing!r:.60}", f"a list of entries from 0 to {units - 1} is accepted")
    if not missing:
        return None
    if len(set(missing)) == units:
        raise InputError("missing", "got every entry", "at least one entry must be seen")
    known = np.ones(units, dtype=bool)
    known[missing] = False
    return known

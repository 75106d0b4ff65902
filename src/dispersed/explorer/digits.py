"""Real digits: one of scikit-learn's 1,797, damaged by noise or a mask, and what recall makes of it."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import entr

from dispersed.conditioning import Observation, condition
from dispersed.datasets import load_digits
from dispersed.dynamics import recall
from dispersed.explorer.scene import choice, mapping, number, whole
from dispersed.explorer.work import Check
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


@dataclass(frozen=True)
class Damage:
    """What is done to a stored image, and by which dynamics it is recalled."""

    index: int
    alpha: float
    seed: int
    missing: list[int]
    """The entries that are not observed, rising."""
    dynamics: str


def read_damage(given: Any) -> Damage:
    """The damage that a page describes: `index` of the image, `alpha`, `seed`, `missing` entries and `dynamics`."""
    damage = mapping("digit", given)
    _, images, _ = stored()
    return Damage(
        whole("index", damage.get("index"), 0, len(images) - 1),
        number("alpha", damage.get("alpha"), 0.02, 0.999),
        whole("seed", damage.get("seed", 0), 0, 2**31 - 1),
        _missing(damage.get("missing", []), images.shape[1]),
        choice("dynamics", damage.get("dynamics", "exponential"), DYNAMICS),
    )


def digit(given: Any, check: Check) -> dict[str, Any]:
    """Damage one stored image, recall it, and say what else it may have been.

    Missing entries are not observed; the others are evidence (`known` of `dispersed.recall`).
    """
    damage = read_damage(given)
    index, alpha, seed, missing, name = damage.index, damage.alpha, damage.seed, damage.missing, damage.dynamics
    memory, images, labels = stored()
    known = None
    if missing:
        known = np.ones(images.shape[1], dtype=bool)
        known[missing] = False
    dynamics = DYNAMICS[name]
    for_noise, for_recall = jax.random.split(jax.random.key(seed))
    process = VP() if known is None else VE()
    cue = process.corrupt(images[index], alpha=alpha, key=for_noise)
    sigma = sigma_from_alpha(alpha)
    check()
    found = recall(memory, cue, dynamics, alpha=alpha, known=known, key=for_recall, trajectory=True)
    check()
    z = cue / process.scale_at(sigma)
    if known is None:
        exact = memory.responsibilities(z, sigma)
    else:
        exact = condition(memory, Observation(z, mask=known, sigma=sigma)).weights
    posterior = np.asarray(exact, dtype=float)
    leading = np.argsort(-posterior, kind="stable")[:SHOWN]
    by_digit = np.bincount(labels, posterior, minlength=10)
    entropy = float(entr(posterior).sum())
    sigmas, nearest = jnp.asarray(found.sigmas), int(jnp.asarray(found.index))
    states = np.asarray(found.trajectory) / np.asarray(process.scale_at(sigmas))[:, None]
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


def _missing(given: Any, units: int) -> list[int]:
    """The entries that are not observed, in their order."""
    accepted = f"a list of different entries from 0 to {units - 1} is accepted"
    if not isinstance(given, list) or len(given) > units:
        raise InputError("missing", f"got {given!r:.60}", accepted)
    entries = sorted(whole("missing", entry, 0, units - 1) for entry in given)
    if len(set(entries)) < len(entries):
        raise InputError("missing", "got an entry twice", accepted)
    if len(entries) == units:
        raise InputError("missing", "got every entry", "at least one entry must be observed")
    return entries

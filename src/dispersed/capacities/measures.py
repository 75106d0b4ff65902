"""What counts as an error of recall.

A measure is a function `(recalled, targets, patterns) -> errors` of arrays (m, d), (m, d) and (n, d): of m cues the
states that were recalled, the patterns behind them, and all n stored patterns; it returns one error for each cue. Two
measures of patterns that have two values, `"hamming"` and `"pattern"`, are counted exactly and are no functions: see
`cell`.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from dispersed.validation import InputError

Measure = Callable[[Any, Any, Any], Float[np.ndarray, " m"]]

OF_SIGNS = ("hamming", "pattern")
"""Measures of patterns that have two values, by which side of their middle a unit is on."""


def nearest(recalled: Any, targets: Any, patterns: Any) -> Float[np.ndarray, " m"]:
    """Whether another stored pattern, no duplicate, is nearer to the recalled state than the one behind the cue."""
    own = np.linalg.norm(recalled - targets, axis=1)
    closest = cdist(recalled, patterns).min(axis=1)
    # What two computations of one distance differ by, in units of the states: duplicates are equally near.
    slack = 1e-12 * np.linalg.norm(targets, axis=1)
    return (closest < own * (1 - 1e-6) - slack).astype(float)


class Overlap(eqx.Module):
    """Whether the cosine of the recalled state and the pattern behind the cue is below `least`."""

    least: float

    def __init__(self, least: float = 0.9) -> None:
        if not (isinstance(least, Real) and -1 < least <= 1):
            raise InputError("least", f"got {least!r}", "cosines in (-1, 1] are accepted")
        self.least = float(least)

    def __call__(self, recalled: Any, targets: Any, patterns: Any) -> Float[np.ndarray, " m"]:
        norms = np.linalg.norm(recalled, axis=1) * np.linalg.norm(targets, axis=1)
        cosine = (recalled * targets).sum(axis=1) / np.maximum(norms, np.finfo(float).tiny)
        return (cosine < self.least).astype(float)


def square(recalled: Any, targets: Any, patterns: Any) -> Float[np.ndarray, " m"]:
    """The squared error, averaged over units."""
    return np.mean((recalled - targets) ** 2, axis=1)


MEASURES: Mapping[str, Measure] = {"nearest": nearest, "overlap": Overlap(), "square": square}
"""Measures of any patterns by name."""


def measure_of(given: Any) -> tuple[str, Measure | None]:
    """The name of a measure and its function, which those of signs have not."""
    if isinstance(given, str) and given in OF_SIGNS:
        return given, None
    if isinstance(given, str) and given in MEASURES:
        return given, MEASURES[given]
    if isinstance(given, str) or not callable(given) or isinstance(given, type):
        names = ", ".join((*OF_SIGNS, *MEASURES))
        raise InputError(
            "measure", f"got {given!r}", f"{names} and functions (recalled, targets, patterns) are accepted"
        )
    if isinstance(given, Overlap):
        return "overlap", given
    return getattr(given, "__name__", type(given).__name__), given


def errors_by(measure: Measure, recalled: Any, targets: Any, patterns: Any) -> Float[np.ndarray, " sets"]:
    """The mean error of each set's cues."""
    errors = []
    for one in zip(recalled, targets, patterns, strict=True):
        found = np.asarray(measure(*(part.astype(float) for part in one)), dtype=float)
        if found.shape != (len(one[0]),) or not np.isfinite(found).all():
            given = (
                f"got errors of shape {found.shape}" if np.isfinite(found).all() else "got errors that are not finite"
            )
            raise InputError("measure", given, f"one finite error for each of the {len(one[0])} cues is accepted")
        errors.append(found.mean())
    return np.array(errors)

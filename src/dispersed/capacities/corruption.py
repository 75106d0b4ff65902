"""How cues are made of stored patterns."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from dispersed.validation import InputError, is_known, probability, signal_level


class Corruption(eqx.Module):
    """A way to damage patterns, and the signal level that a memory is told to recall them from."""

    alpha: float
    dtype: ClassVar[type[np.floating]] = np.float32
    """The precision in which its cues are recalled."""

    @abc.abstractmethod
    def cues(
        self, patterns: Float[np.ndarray, "n d"], noise: Float[np.ndarray, "n d"], chance: Float[np.ndarray, "n d"]
    ) -> Float[np.ndarray, "n d"]:
        """Damaged patterns, made with standard normal `noise` and with `chance` uniform in [0, 1)."""


class Noise(Corruption):
    """X = αy + √(1−α²) ε: the cue of a variance-preserving process (Supp. A, α = 0.68 there)."""

    alpha: float

    def __init__(self, alpha: float = 0.68) -> None:
        self.alpha = _level(alpha)

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        return self.alpha * patterns + np.sqrt(1 - self.alpha**2) * noise


class Mask(Corruption):
    """Every entry set to zero with probability `rate`: the paper's completion cue, recalled as if from `alpha`.

    Such a cue often has equal overlaps with several patterns and starts near a saddle of a network's energy. What
    leads away from there is a difference of 1e-9 or less, so these cues are recalled in double precision.
    """

    alpha: float
    rate: float
    dtype = np.float64

    def __init__(self, rate: float = 0.5, alpha: float = 0.68) -> None:
        self.alpha = _level(alpha)
        self.rate = probability("mask_rate", rate)

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        return np.where(chance < self.rate, 0.0, patterns)


def _level(alpha: float) -> float:
    level = signal_level(alpha)
    if not is_known(level) or level.ndim:
        raise InputError("alpha", f"got shape {level.shape}", "one signal level is accepted")
    return float(alpha)

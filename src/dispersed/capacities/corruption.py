"""How cues are made of stored patterns."""

import abc
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from dispersed.tracing import is_known
from dispersed.types import ArrayLike
from dispersed.validation import InputError, check_finite, double_array, mask_array, probability, signal_level

Damage = Callable[[Float[np.ndarray, "n d"], np.random.Generator], Float[np.ndarray, "n d"]]
"""A function of the user that makes cues of patterns."""


class Corruption(eqx.Module):
    """A way to damage patterns, and the signal level that a memory is told to recall them from."""

    alpha: eqx.AbstractVar[float]
    dtype: ClassVar[type[np.floating]] = np.float64
    """The precision in which its cues are recalled: cues that lack entries, or have whole numbers, often are equally
    near to several patterns, and what leads away from there is a difference of 1e-9 or less."""

    @abc.abstractmethod
    def cues(
        self, patterns: Float[np.ndarray, "n d"], noise: np.random.Generator, chance: np.random.Generator
    ) -> Float[np.ndarray, "n d"]:
        """Damaged patterns. The first draws for each pattern must not depend on how many there are."""


class Noise(Corruption):
    """X = αy + √(1−α²) ε: the cue of a variance-preserving process (Supp. A, α = 0.68 there)."""

    alpha: float
    dtype = np.float32

    def __init__(self, alpha: float = 0.68) -> None:
        self.alpha = _level(alpha)

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        epsilon = noise.standard_normal(patterns.shape).astype(np.float32)
        return self.alpha * patterns + np.sqrt(1 - self.alpha**2) * epsilon


class Mask(Corruption):
    """Every entry set to zero with probability `rate`: the paper's completion cue, recalled as if from `alpha`.

    Such a cue starts near a saddle of a network's energy where it has equal overlaps with several patterns.
    """

    alpha: float
    rate: float

    def __init__(self, rate: float = 0.5, alpha: float = 0.68) -> None:
        self.alpha = _level(alpha)
        self.rate = probability("mask_rate", rate)

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        drawn = chance.random(patterns.shape).astype(np.float32).astype(float)
        return np.where(drawn < self.rate, 0.0, patterns)


class Flip(Corruption):
    r"""Every unit mirrored at `middle` with probability `rate`: y becomes 2·middle − y, of 0/1 patterns with `middle`
    ½.

    By default the memory is told the level at which it weighs patterns as this channel does. With two values that lie
    2h apart, each unit in which a pattern differs from the cue costs log((1−p)/p) of its log probability, and 2h²/σ²
    under Gaussian noise:

        σ² = 2h²/log((1−p)/p),    h = 1 for ±1,

    which needs a rate below one half. With `middle` 0 values are taken to be ±1, with another one 0 and 2·`middle`; for
    any others give `alpha`.
    """

    alpha: float
    rate: float
    middle: float

    def __init__(self, rate: float = 0.1, alpha: float | None = None, middle: float = 0.0) -> None:
        self.rate = probability("flip_rate", rate)
        if not (isinstance(middle, Real) and math.isfinite(middle)):
            raise InputError("middle", f"got {middle!r}", "a finite number, half way between both values, is accepted")
        self.middle = float(middle)
        if alpha is None:
            if self.rate >= 0.5:
                raise InputError("flip_rate", f"got {rate!r}", "rates below 0.5 are accepted, or give alpha too")
            half = self.middle or 1.0
            alpha = 1 / math.sqrt(1 + 2 * half**2 / math.log((1 - self.rate) / self.rate))
        self.alpha = _level(alpha)

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        return np.where(chance.random(patterns.shape) < self.rate, 2 * self.middle - patterns, patterns)


class Occlusion(Corruption):
    """The same entries of every pattern hidden, set to zero: a part of an image. `hidden` is True where they are."""

    alpha: float
    hidden: Bool[np.ndarray, " d"]

    def __init__(self, hidden: ArrayLike, alpha: float = 0.68) -> None:
        self.alpha = _level(alpha)
        self.hidden = np.asarray(mask_array(hidden, np.shape(hidden), "hidden", "is hidden")).ravel()

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        if self.hidden.size != patterns.shape[1]:
            accepted = f"a mask of the {patterns.shape[1]} units is accepted"
            raise InputError("hidden", f"got {self.hidden.size} entries", accepted)
        return np.where(self.hidden, 0.0, patterns)


class Custom(Corruption):
    """Cues made by a function `(patterns, rng) -> cues` of the user."""

    alpha: float
    function: Damage

    def cues(self, patterns: Any, noise: Any, chance: Any) -> Any:
        cues = double_array("corruption", self.function(patterns.astype(float), chance))
        if cues.shape != patterns.shape:
            raise InputError("corruption", f"got cues of shape {cues.shape}", f"{patterns.shape} is accepted here")
        check_finite("corruption", cues)
        return cues


def corruption_of(given: Any, alpha: float, mask_rate: float | None) -> Corruption:
    """The corruption that was given, or noise, or a mask; functions are told to be recalled from `alpha`."""
    if given is None:
        return Noise(alpha) if mask_rate is None else Mask(mask_rate, alpha)
    if mask_rate is not None:
        raise InputError("corruption, mask_rate", "got both", "at most one of them is accepted")
    if isinstance(given, Corruption):
        return given
    if not callable(given) or isinstance(given, type):
        accepted = "a corruption such as Flip(0.1) or a function (patterns, rng) is accepted"
        raise InputError("corruption", f"got {given!r}", accepted)
    return Custom(_level(alpha), given)


def _level(alpha: float) -> float:
    level = signal_level(alpha)
    if not is_known(level) or level.ndim:
        raise InputError("alpha", f"got shape {level.shape}", "one signal level is accepted")
    return float(alpha)

r"""Memories that live in weights: a network that undoes noise is a memory like any other (Sec. 4).

A score network estimates either the unit noise ε or the pattern y behind a noisy state, and is fed either the
variance-preserving cue or the variance-exploding one,

    VP:  x = αy + √(1−α²) ε,  told α          VE:  z = y + σε,  told σ

with z = x/α and σ = √(1−α²)/α. Whatever it estimates, D_σ(z) follows: z − σε̂, or ŷ itself.

The score is −ε̂/σ in VE coordinates. Eq. 10 as printed, score = −s/σ with s trained on δ = x − y, lacks a factor
of the elapsed time: a network of the total noise has the score −s/(σ²(T−t)).
"""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from dispersed.memories.denoiser import Denoiser
from dispersed.tracing import is_known
from dispersed.types import Scalar, State
from dispersed.validation import InputError, at_least, returned

PREDICTS = ("noise", "pattern")
COORDINATES = ("VP", "VE")
ROUNDED = 1e-3
"""By how much levels may miss the range of the training, relatively, when they are rounded."""


class LearnedMemory(Denoiser):
    """A network that estimates the noise or the pattern behind a noisy state, as a memory with a score (Eq. 10).

    It has a score but claims no energy: the field of a trained network need not be a gradient.

    **Arguments**

    - `model`: `model(x, level) -> (d,)` for one state x: (d,); an equinox module or a plain JAX function.
    - `dimension`: the number of units d.
    - `predicts`: "noise", the unit noise ε, or "pattern", the clean y.
    - `coordinates`: "VP", the model is fed x = αz and level = α; or "VE", it is fed z and level = σ.
    - `levels`: the lowest and the highest noise level σ that the network was trained at, if known. Training sets them.
      Outside of programs, evaluations and recalls at any other level warn: a network means nothing there.

    >>> import jax.numpy as jnp
    >>> memory = LearnedMemory(lambda z, sigma: jnp.tanh(z / sigma**2), 3, "pattern", "VE")  # ±1 units, independent
    >>> memory.denoise(jnp.array([3.0, -2.0, 0.0]), 0.5).round(3)
    Array([ 1., -1.,  0.], dtype=float32)
    """

    model: Callable[..., Any]
    units: int
    predicts: str
    coordinates: str
    levels: tuple[float, float] | None

    def __init__(
        self,
        model: Callable[..., Any],
        dimension: int,
        predicts: str = "noise",
        coordinates: str = "VP",
        *,
        levels: tuple[float | int, float | int] | None = None,
    ) -> None:
        if not callable(model):
            raise InputError("model", f"got {type(model).__name__}", "a function of a state and its noise level")
        if predicts not in PREDICTS:
            raise InputError("predicts", f"got {predicts!r}", "'noise' or 'pattern' is accepted")
        if coordinates not in COORDINATES:
            raise InputError("coordinates", f"got {coordinates!r}", "'VP' or 'VE' is accepted")
        self.model = model
        self.units = at_least("dimension", dimension, 1)
        self.predicts = predicts
        self.coordinates = coordinates
        self.levels = None if levels is None else _ordered(levels)

    def __repr__(self) -> str:
        name = getattr(self.model, "__name__", type(self.model).__name__)
        trained = "" if self.levels is None else ", trained at σ from {:g} to {:g}".format(*self.levels)
        return f"LearnedMemory({name} of {self.units} units, predicts {self.predicts} in {self.coordinates}{trained})"

    @property
    def dimension(self) -> int:
        return self.units

    def trained_at(self, levels: Any) -> "LearnedMemory":
        """The same network, trained at the noise levels between the two of `levels`; None if that is unknown."""
        trained: LearnedMemory = object.__new__(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(trained, field.name, getattr(self, field.name))
        object.__setattr__(trained, "levels", None if levels is None else _ordered(levels))
        return trained

    def warn_outside(self, sigma: Any, level: int = 3) -> None:
        """Warn if some noise levels, whose values are known, are not among those that the network was trained at."""
        if self.levels is None or not is_known(sigma):
            return
        values, (low, high) = np.asarray(sigma, float), self.levels
        outside = values[(values < low * (1 - ROUNDED)) | (values > high * (1 + ROUNDED))]
        if outside.size:
            told = f"sigma: got {outside.flat[0]:g}; this network was trained at {low:g} to {high:g}, and means nothing"
            warnings.warn(f"{told} at other levels", stacklevel=level)

    def _evaluated(self, hook: Any, x: Any, levels: tuple[Any, ...], settings: tuple[tuple[str, Any], ...]) -> Any:
        for sigma in levels:
            self.warn_outside(sigma, 6)
        return super()._evaluated(hook, x, levels, settings)

    def _last_level(self, sigma: Scalar, random: bool = False) -> Scalar:
        """No lower than the network was trained at, unless the cue has less than twice that noise."""
        last = super()._last_level(sigma, random)
        return last if self.levels is None else jnp.maximum(last, jnp.minimum(self.levels[0], sigma / 2))

    def estimate(self, z: State, sigma: Scalar) -> State:
        """What the model says of one VE state z: ε̂ or ŷ."""
        if self.coordinates == "VP":
            alpha = 1 / jnp.hypot(1.0, sigma)
            return returned("model", self.model(alpha * z, alpha), z.shape)
        return returned("model", self.model(z, sigma), z.shape)

    def error(self, y: State, noise: State, sigma: Scalar) -> State:
        """D_σ(z) − y at z = y + σ·noise, for one state, without the cancellation of z − σε̂ − y."""
        estimate = self.estimate(y + sigma * noise, sigma)
        return estimate - y if self.predicts == "pattern" else sigma * (noise - estimate)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = x − σε̂, or ŷ. `x`: (..., d), in VE coordinates; `sigma` > 0."""
        estimate = self.estimate(x, sigma)
        return estimate if self.predicts == "pattern" else x - sigma * estimate


def _ordered(levels: Any) -> tuple[float, float]:
    try:
        low, high = (float(level) for level in levels)
    except (TypeError, ValueError, OverflowError):
        low, high = math.nan, math.nan
    if not 0 < low <= high < math.inf:
        raise InputError("levels", f"got {levels!r}", "the lowest and the highest σ, such as (0.02, 2), are accepted")
    return low, high

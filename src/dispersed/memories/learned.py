r"""Memories that live in weights: a network that undoes noise is a memory like any other (Sec. 4).

A score network estimates either the unit noise ε or the pattern y behind a noisy state, and is fed either the
variance-preserving cue or the variance-exploding one,

    VP:  x = αy + √(1−α²) ε,  told α          VE:  z = y + σε,  told σ

with z = x/α and σ = √(1−α²)/α. Whatever it estimates, D_σ(z) follows: z − σε̂, or ŷ itself.

The score is −ε̂/σ in VE coordinates. Eq. 10 as printed, score = −s/σ with s trained on δ = x − y, lacks a factor
of the elapsed time: a network of the total noise has the score −s/(σ²(T−t)).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from dispersed.memories.memory import Denoiser
from dispersed.types import Scalar, State
from dispersed.validation import InputError, at_least

PREDICTS = ("noise", "pattern")
COORDINATES = ("VP", "VE")


class LearnedMemory(Denoiser):
    """A network that estimates the noise or the pattern behind a noisy state, as a memory with a score (Eq. 10).

    It has a score but claims no energy: the field of a trained network need not be a gradient.

    **Arguments**

    - `model`: `model(x, level) -> (d,)` for one state x: (d,); an equinox module or a plain JAX function.
    - `dimension`: the number of units d.
    - `predicts`: "noise", the unit noise ε, or "pattern", the clean y.
    - `coordinates`: "VP", the model is fed x = αz and level = α; or "VE", it is fed z and level = σ.

    >>> import jax.numpy as jnp
    >>> memory = LearnedMemory(lambda z, sigma: jnp.tanh(z / sigma**2), 3, "pattern", "VE")  # ±1 units, independent
    >>> memory.denoise(jnp.array([3.0, -2.0, 0.0]), 0.5).round(3)
    Array([ 1., -1.,  0.], dtype=float32)
    """

    model: Callable[..., Any]
    units: int
    predicts: str
    coordinates: str

    def __init__(
        self, model: Callable[..., Any], dimension: int, predicts: str = "noise", coordinates: str = "VP"
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

    def __repr__(self) -> str:
        name = getattr(self.model, "__name__", type(self.model).__name__)
        return f"LearnedMemory({name} of {self.units} units, predicts {self.predicts} in {self.coordinates})"

    @property
    def dimension(self) -> int:
        return self.units

    def estimate(self, z: State, sigma: Scalar) -> State:
        """What the model says of one VE state z: ε̂ or ŷ."""
        if self.coordinates == "VP":
            alpha = 1 / jnp.hypot(1.0, sigma)
            return self.model(alpha * z, alpha)
        return self.model(z, sigma)

    def error(self, y: State, noise: State, sigma: Scalar) -> State:
        """D_σ(z) − y at z = y + σ·noise, for one state, without the cancellation of z − σε̂ − y."""
        estimate = self.estimate(y + sigma * noise, sigma)
        return estimate - y if self.predicts == "pattern" else sigma * (noise - estimate)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = x − σε̂, or ŷ. `x`: (..., d), in VE coordinates; `sigma` > 0."""
        estimate = self.estimate(x, sigma)
        return estimate if self.predicts == "pattern" else x - sigma * estimate

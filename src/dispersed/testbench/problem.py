"""Problems for samplers: a memory, a noisy state and perhaps a measurement, whose posterior is known exactly."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation, condition
from dispersed.extras import pytorch
from dispersed.interop import as_torch
from dispersed.interop.torch_denoiser import denoised
from dispersed.memories import Memory, PatternMemory
from dispersed.types import Array, ArrayLike, Float, Key
from dispersed.validation import (
    InputError,
    at_least,
    plain_array,
    positive_number,
    random_key,
    random_seed,
    state_array,
)

LARGEST = 1e100
"""The largest entry of a sample, whose square is a number; larger ones have diverged."""
Sampler = Callable[..., Any]
"""`sampler(denoise, z, sigma, key)`, or `sampler(denoise, z, sigma, key, observation)`."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a sampler is to draw from: the posterior of a memory behind a state z = y + σε, and behind a measurement.

    **Arguments**

    - `memory`: a memory that can be conditioned: patterns, or a distribution.
    - `cue`: z, (d,), the same for every sample; or None, and each sample starts at a z of its own, drawn from p_σ. Then
      the posterior of all samples together is the memory itself, for deterministic samplers too.
    - `sigma`: the noise level σ > 0 of z.
    - `observation`: a linear measurement of y beside z.
    - `name`: how reports call it.
    - `shape`: the shape of a state as the sampler is to have it, such as (1, 8, 8); by default (d,).

    **Raises** `InputError` for what is not that.
    """

    memory: Memory
    cue: ArrayLike | None
    sigma: float
    observation: Observation | None = None
    name: str = "problem"
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.memory, Memory):
            raise InputError("memory", f"got {type(self.memory).__name__}", "a memory with a density is accepted")
        d = self.memory.dimension
        object.__setattr__(self, "sigma", positive_number("sigma", self.sigma))
        if self.cue is not None:
            cue = state_array("cue", self.cue, d)
            if cue.ndim != 1:
                raise InputError("cue", f"got shape {cue.shape}", f"one state ({d},) is accepted")
            object.__setattr__(self, "cue", jnp.asarray(cue))
        if self.observation is not None and not isinstance(self.observation, Observation):
            given = f"got {type(self.observation).__name__}"
            raise InputError("observation", given, "an Observation or None is accepted")
        shape = (d,) if self.shape is None else self.shape
        if not isinstance(shape, Sequence) or isinstance(shape, str) or np.prod([_size(n) for n in shape]) != d:
            raise InputError("shape", f"got {shape!r}", f"a shape of the {d} units is accepted, such as ({d},)")
        shape = tuple(shape)
        object.__setattr__(self, "shape", shape)
        if not isinstance(self.memory, PatternMemory) and not self.posterior._proper:
            given = f"got {type(self.memory).__name__}, of whose posterior there are no exact draws"
            raise InputError("memory", given, "patterns, Gaussians, segments, boxes and mixtures of them are accepted")

    def __repr__(self) -> str:
        start = "from the prior" if self.cue is None else "from a cue"
        measured = "" if self.observation is None else ", measured"
        return f"Problem({self.name!r}, {self.memory!r}, {start} at σ = {self.sigma:g}{measured})"

    @property
    def source(self) -> Memory:
        """The memory after the measurement."""
        return self.memory if self.observation is None else condition(self.memory, self.observation)

    @property
    def posterior(self) -> Memory:
        """The memory after the measurement and the cue, which the samples are to be drawn from."""
        return self.source if self.cue is None else condition(self.source, Observation(self.cue, sigma=self.sigma))

    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct patterns, (n, d), and their exact posterior probabilities, (n,), in double precision.

        log p_j = log w_j − ‖z − y_j‖²/(2σ²) − ‖(v − A y_j)/τ‖²/2 (Eq. 29), up to a constant.
        """
        if not isinstance(self.memory, PatternMemory):
            raise InputError("memory", f"got {type(self.memory).__name__}", "a PatternMemory has probabilities")
        y = np.asarray(self.memory.patterns, float)
        logits = np.asarray(self.memory.log_weights, float)
        if self.cue is not None:
            logits = logits - ((np.asarray(self.cue, float) - y) ** 2).sum(axis=1) / (2 * self.sigma**2)
        if self.observation is not None:
            seen = self.observation.of(self.memory.dimension)
            value, level = np.asarray(seen.value, float), np.asarray(seen.sigma, float)
            images = y if seen.matrix is None else y @ np.asarray(seen.matrix, float).T
            off = ((value - images) / level) ** 2
            logits = logits - (off if seen.mask is None else np.where(np.asarray(seen.mask), off, 0)).sum(axis=1) / 2
        p = np.exp(logits - logits.max())
        distinct, which = np.unique(y, axis=0, return_inverse=True)
        return distinct, np.bincount(which.reshape(-1), p / p.sum(), len(distinct))

    def starts(self, key: Key[Array, ""], count: int) -> Float[Array, "samples d"]:
        """The states z that so many samples start at."""
        if self.cue is None:
            return self.source.sample(key, (count,), self.sigma)
        return jnp.broadcast_to(jnp.asarray(self.cue), (count, self.memory.dimension))

    def draws(self, sampler: Sampler, count: int, key: Any) -> Float[np.ndarray, "samples d"]:
        """What a sampler returns for so many states, flat, in double precision; see `check` for how it is called."""
        key, seed = key_and_seed(key)
        for_start, for_sampler = jax.random.split(key)
        return self.drawn(sampler, self.starts(for_start, count), for_sampler if seed is None else seed)

    def drawn(self, sampler: Sampler, z: Float[Array, "samples d"], key: Any) -> Float[np.ndarray, "samples d"]:
        """What a sampler returns for states z: (samples, d)."""
        solves = _solves(sampler)
        measured: tuple[Any, ...] = (self.observation,) if solves else ()
        memory, states = self.memory if solves else self.source, z.reshape(len(z), *self.shape or ())
        if isinstance(key, int):
            torch = pytorch()
            with torch.random.fork_rng():
                torch.manual_seed(key)
                denoise = as_torch(memory, self.shape)
                returned = sampler(denoise, torch.tensor(np.asarray(states)), self.sigma, key, *measured)
        else:
            returned = sampler(ExactDenoiser(memory, self.shape or ()), states, self.sigma, key, *measured)
        if isinstance(returned, tuple):
            raise InputError("sampler", f"returned a tuple of {len(returned)}", "the samples alone are accepted")
        found = plain_array("sampler", returned)
        if found.shape != states.shape:
            raise InputError("sampler", f"returned shape {found.shape}", f"{states.shape} is accepted")
        if found.dtype.kind not in "biuf":
            raise InputError("sampler", f"returned dtype {found.dtype}", "real numbers are accepted")
        samples = found.reshape(z.shape).astype(float)
        return np.where(np.abs(samples) > LARGEST, np.inf, samples)


def _size(n: Any) -> int:
    return at_least("shape", n, 1)


def _solves(sampler: Any) -> bool:
    """Whether a sampler takes the measurement; refuses what cannot be called as samplers are."""
    accepted = "sampler(denoise, z, sigma, key) is accepted"
    if not callable(sampler):
        raise InputError("sampler", f"got {type(sampler).__name__}", accepted)
    try:
        signature = inspect.signature(sampler)
    except ValueError:  # of some functions that are not written in Python
        return False
    solves = "observation" in signature.parameters
    try:
        signature.bind(*range(5 if solves else 4))
    except TypeError as error:
        raise InputError("sampler", f"got one of the parameters {signature} ({error})", accepted) from None
    return solves


def key_and_seed(key: Any) -> tuple[Key[Array, ""], int | None]:
    """The JAX key of a run, and its seed where that was a whole number, which means a sampler of PyTorch."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(random_seed(int(key))), int(key)
    key = jax.random.key(0) if key is None else key
    random_key(key)
    return key, None


class ExactDenoiser(eqx.Module):
    """The exact denoiser D_σ(z) as samplers call it, for one state or a batch.

    It is a pytree of arrays: programs that take it as an argument serve all memories of one shape.
    """

    memory: Memory
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, z: Any, sigma: Any) -> Any:
        z = jnp.asarray(z)
        batch = z.shape[: z.ndim - len(self.shape)]
        level = jnp.asarray(sigma, z.dtype)
        if level.ndim == z.ndim and level.ndim > len(batch):
            level = level.reshape(level.shape[: len(batch)])
        return denoised(self.memory, z.reshape(*batch, self.memory.dimension), level).reshape(z.shape)


__all__ = ["ExactDenoiser", "Problem", "Sampler", "key_and_seed"]

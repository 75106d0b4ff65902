"""One call that recalls from every memory by every dynamics."""

import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics, Outcome, Recall
from dispersed.dynamics.exponential import ExponentialIntegrator
from dispersed.dynamics.iteration import Asynchronous, Iteration
from dispersed.keys import state_keys
from dispersed.memories import Denoiser, Network
from dispersed.noise import sigma_of
from dispersed.processes import VE, VP, Process
from dispersed.types import Array, ArrayLike, Bool, Float, Key
from dispersed.validation import InputError, check_finite, state_array


def recall(
    memory: Denoiser | Network,
    cue: ArrayLike,
    dynamics: Dynamics | None = None,
    *,
    alpha: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    process: Process | None = None,
    known: ArrayLike | None = None,
    key: Key[Array, ""] | None = None,
    trajectory: bool = False,
) -> Recall:
    r"""Gather what noise has dispersed: recall the memories behind cues.

    **Arguments**

    - `memory`: a memory (`PatternMemory`, a trained network, …) or a Hopfield network.
    - `cue`: states (..., d), in the coordinates of `process`.
    - `dynamics`: `Iteration()`, `Asynchronous()`, `OneStep()`, `ExponentialIntegrator()`,
      `ProbabilityFlow()`, `ReverseSDE()`, `CertifiedFlow()`. By default `ExponentialIntegrator()` for a memory and
      `Iteration()` for a network.
    - `alpha` in (0, 1] or `sigma` > 0: the noise level of the cue, a number or one per cue; exactly one of
      them for a memory, none for a network, which has its own temperature.
    - `process`: how the cue was made, x = s(y + σε). By default `VP()` (x = αy + √(1−α²)ε) if `alpha` is
      given, `VE()` (x = y + σε) if `sigma` or `known` is given.
    - `known`: which entries were observed, booleans that broadcast against the cue. They are evidence:
      responsibilities come from them alone, and they are returned as given; the other entries of the cue
      are not looked at. Deterministic dynamics end at the memory that fits the known entries best, or between
      several that fit alike (half a circle is completed to the middle of its two sides); random ones sample
      the memories by their probability, with noise σ on each known entry. Points, Gaussians, shapes, cores,
      their mixtures and smoothed ones are completed exactly; a `Subspace` with limits in several directions is
      not.
    - `key`: for random dynamics. The i-th cue's result depends on `key` and i, not on the batch.
    - `trajectory`: also return the states passed through.

    **Returns** a `Recall` with the batch axes of the cue.

    **Raises** `InputError` for a cue of another dimension or with NaN or inf, a level outside its domain, a
    dynamics that cannot recall this memory, a missing key.

    >>> import jax, dispersed
    >>> patterns = jax.numpy.array([[1.0, 1, -1], [-1, 1, 1]])
    >>> dispersed.recall(dispersed.PatternMemory(patterns), [0.9, 0.2, -0.8], alpha=0.7).index
    Array(0, dtype=int32)
    """
    if not isinstance(memory, Denoiser | Network):
        raise InputError("memory", f"got {type(memory).__name__}", "a dispersed memory or network is accepted")
    if dynamics is None:
        dynamics = Iteration() if isinstance(memory, Network) else ExponentialIntegrator()
    if not isinstance(dynamics, Dynamics):
        raise InputError("dynamics", f"got {dynamics!r}", "a dynamics such as dispersed.ProbabilityFlow() is accepted")
    dynamics.check(memory)
    if known is not None and isinstance(dynamics, Asynchronous):
        raise InputError("known", "got a mask for Asynchronous", "clamped units are recalled by Iteration()")
    if key is None and dynamics.random:
        raise InputError("key", "got None", f"{type(dynamics).__name__} is random and needs a jax.random.key")
    x = state_array("cue", cue, memory.dimension)
    check_finite("cue", x)
    batch = x.shape[:-1]
    if process is None:
        process = VE() if alpha is None or known is not None else VP()
    level = _level(memory, alpha, sigma, x, batch)
    mask = None if known is None else _mask(known, x)
    keys = state_keys(jax.random.key(0) if key is None else key, x.size // x.shape[-1])
    result = dynamics.run_all(memory, process, x.reshape(-1, x.shape[-1]), level, mask, keys, trajectory)
    return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), result)


def _level(memory, alpha, sigma, x, batch) -> Float[Array, " states"]:
    """The noise level of every cue, flattened."""
    if isinstance(memory, Network):
        if alpha is not None or sigma is not None:
            raise InputError(
                "alpha, sigma", f"got one for a {type(memory).__name__}", "a network holds its own temperature"
            )
        level = jnp.ones((), x.dtype)
    else:
        level = sigma_of(alpha, sigma).astype(x.dtype)
    try:
        level = jnp.broadcast_to(level, batch)
    except ValueError:
        raise InputError(
            "alpha, sigma", f"got shape {level.shape}", f"one level, or one per cue of the batch {batch}, is accepted"
        ) from None
    # At α = 1 the cue is clean up to round-off, and that is then its noise.
    floor = jnp.finfo(x.dtype).eps * jnp.maximum(1, jnp.abs(x).max(axis=-1))
    return jnp.maximum(level, floor).reshape(-1)


def _mask(known: ArrayLike, x: Float[Array, "... d"]) -> Bool[Array, "states d"]:
    mask = jnp.asarray(known)
    if mask.dtype != bool:
        raise InputError("known", f"got dtype {mask.dtype}", "booleans are accepted, True where an entry was observed")
    try:
        return jnp.broadcast_to(mask, x.shape).reshape(-1, x.shape[-1])
    except ValueError:
        raise InputError(
            "known", f"got shape {mask.shape}", f"a mask that broadcasts against the cue {x.shape} is accepted"
        ) from None


__all__ = ["Outcome", "Recall", "recall"]

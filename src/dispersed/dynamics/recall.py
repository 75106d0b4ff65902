"""One call that recalls from every memory by every dynamics."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.dynamics.certified import CertifiedFlow
from dispersed.dynamics.cues import cues_and_masks, levels_of_cues
from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.exponential_integrators import ExponentialIntegrator
from dispersed.dynamics.iteration import Asynchronous, Iteration
from dispersed.dynamics.multistep_flow import MultistepFlow
from dispersed.dynamics.noise_level import NoiseLevel, noise_level
from dispersed.dynamics.reporting import Callback, Reporting
from dispersed.dynamics.result import Outcome, Recall
from dispersed.engines import Scanned
from dispersed.keys import state_keys
from dispersed.memories import AssociativeMemory, LearnedMemory, Memory, Network, PatternMemory
from dispersed.memories.components import components_posterior
from dispersed.noise import sigma_of
from dispersed.posterior import Posterior
from dispersed.processes import VE, VP, Process
from dispersed.tracing import as_array, is_known, on_host, reshaped
from dispersed.types import Array, ArrayLike, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError, broadcast, noise_levels, random_key


def recall(
    memory: AssociativeMemory,
    cue: ArrayLike,
    dynamics: Dynamics | None = None,
    *,
    alpha: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    process: Process | None = None,
    known: ArrayLike | None = None,
    key: Key[Array, ""] | None = None,
    trajectory: bool = False,
    callback: Callback | None = None,
) -> Recall:
    r"""Recall the memories behind cues: follow noisy states down in noise to what they are noisy versions of.

    **Arguments**

    - `memory`: a memory (`PatternMemory`, a trained network, …) or a Hopfield network.
    - `cue`: states (..., d), in the coordinates of `process`.
    - `dynamics`: `Iteration()`, `Asynchronous()`, `OneStep()`, `MultistepFlow()`, `ExponentialIntegrator()`,
      `ProbabilityFlow()`, `ReverseSDE()`, `CertifiedFlow()`. By default `Iteration()` for a network, `MultistepFlow()`
      for patterns, `CertifiedFlow()` for those that are scanned, and `ExponentialIntegrator()` for all other memories.
    - `alpha` in (0, 1] or `sigma` > 0: the noise level of the cue, a number or one per cue; at most one of
      them for a memory, none for a network, which has its own temperature. With neither the level of each cue is
      estimated by maximum likelihood (`estimate_sigma`), and the result has the `estimate`; that needs a memory with
      a density, cues of `VE()`, and values that are known, outside of `jax.jit`.
    - `process`: how the cue was made, x = s(y + σε). By default `VP()` (x = αy + √(1−α²)ε) if `alpha` is
      given, `VE()` (x = y + σε) otherwise and with `known`.
    - `known`: which entries were observed, booleans that broadcast against the cue. They are evidence:
      responsibilities come from them alone, and they are returned as given; the other entries of the cue
      are not looked at. Deterministic dynamics end at the memory that fits the known entries best, or between
      several that fit alike (half a circle is completed to the middle of its two sides); random ones sample
      the memories by their probability, with noise σ on each known entry. Points, Gaussians, shapes, cores,
      their mixtures and smoothed ones are completed exactly; a `Subspace` with limits in several directions is
      not.
    - `key`: for random dynamics. The i-th cue's result depends on `key` and i, not on the batch.
    - `trajectory`: also return the states passed through.
    - `callback`: `callback(step, sigma, z)` is called before every step of a solver, for all cues at once, with NumPy
      arrays; to show progress, or to keep what a trajectory does not. What it raises ends the recall. Another function
      is another program, so give the same one to every call.

    **Returns** a `Recall` with the batch axes of the cue.

    **Raises** `InputError` for a cue of another dimension or with NaN or inf, a level outside its domain, a
    dynamics that cannot recall this memory, a missing key.

    >>> import jax, dispersed
    >>> patterns = jax.numpy.array([[1.0, 1, -1], [-1, 1, 1]])
    >>> dispersed.recall(dispersed.PatternMemory(patterns), [0.9, 0.2, -0.8], alpha=0.7).index
    Array(0, dtype=int32)
    """
    if not isinstance(memory, AssociativeMemory):
        raise InputError("memory", f"got {type(memory).__name__}", "a dispersed memory or network is accepted")
    dynamics = chosen_dynamics(dynamics, memory)
    if callback is not None:
        dynamics = Reporting(dynamics, callback)
    if known is not None and isinstance(dynamics, Asynchronous):
        raise InputError("known", "got a mask for Asynchronous", "clamped units are recalled by Iteration()")
    if key is None and dynamics.random:
        raise InputError("key", "got None", f"{type(dynamics).__name__} is random: give key=jax.random.key(0)")
    if key is not None:
        random_key(key)
    x, mask = cues_and_masks(memory, cue, known)
    batch = x.shape[:-1]
    level, process, estimate = noise_of_cues(memory, alpha, sigma, process, x, mask)
    keys = state_keys(key, math.prod(batch)) if dynamics.random and key is not None else None
    flat = x if x.ndim == 2 else reshaped(x, (math.prod(batch), x.shape[-1]))
    result = dynamics.run_all(memory, process, flat, level, mask, keys, trajectory)
    if len(batch) != 1:
        result = (_in_batch if on_host(result.x) else one_program(_in_batch))(result, batch)
    result = dataclasses.replace(result, estimate=estimate)
    if result.probability is not None and is_known(x, level):
        # No part of the result, whose parts are of the cues: it would follow it out of every program.
        evidence = functools.partial(_alternatives, memory, process, x, level, mask)
        object.__setattr__(result, "_evidence", evidence)
    return result


def _in_batch(result: Recall, batch: tuple[int, ...]) -> Recall:
    return jax.tree.map(lambda part: reshaped(part, (*batch, *part.shape[1:])), result)


@one_program
def _without_process(
    process: Process, x: Float[Array, "... d"], level: Float[Array, " states"]
) -> tuple[Float[Array, "... d"], Float[Array, "..."]]:
    """Cues in the coordinates of the memory, and the noise level of each."""
    level = level.reshape(x.shape[:-1])
    return x / process.scale_at(level)[..., None], level


def _alternatives(
    memory: Any,
    process: Process,
    x: Float[Array, "... d"],
    level: Float[Array, " states"],
    mask: Bool[Array, "states d"] | None,
    k: int,
) -> Posterior:
    """The posterior over the items of a memory behind each cue, or behind its observed entries alone."""
    z, level = _without_process(process, x, level)
    return memory.posterior(z, level, leading=k) if mask is None else _of_observed(memory, z, level, mask, k)


@one_program
def _of_observed(
    memory: Any, z: Float[Array, "... d"], level: Float[Array, "..."], mask: Bool[Array, "states d"], k: int
) -> Posterior:
    def one(z: State, known: Bool[Array, " d"], sigma: Scalar) -> Posterior:
        after, log_evidence = memory._conditioned(Observation(z, known, sigma=sigma).of(memory.dimension))
        weights = jnp.exp(after.log_weights)
        start, _ = after.prior_start()
        return components_posterior(start, log_evidence, weights, k)

    flat = jax.vmap(one)(z.reshape(-1, z.shape[-1]), mask, level.reshape(-1))
    return jax.tree.map(lambda part: part.reshape(*level.shape, *part.shape[1:]), flat)


def chosen_dynamics(dynamics: Any, memory: AssociativeMemory) -> Dynamics:
    """The dynamics that was given, or the default one of the memory."""
    if dynamics is None:
        if isinstance(memory, Network):
            return Iteration()
        if not isinstance(memory, PatternMemory):
            return ExponentialIntegrator()
        return CertifiedFlow() if isinstance(memory.engine, Scanned) else MultistepFlow()
    if not isinstance(dynamics, Dynamics):
        if isinstance(dynamics, type) and issubclass(dynamics, Dynamics):
            raise InputError("dynamics", f"got the class {dynamics.__name__}", f"call it: {dynamics.__name__}()")
        accepted = "a dynamics such as dispersed.ProbabilityFlow() is accepted"
        if isinstance(dynamics, str):
            accepted += "; dispersed.dynamics.named makes one from its name"
        raise InputError("dynamics", f"got {dynamics!r}", accepted)
    dynamics.check(memory)
    return dynamics


def noise_of_cues(
    memory: AssociativeMemory,
    alpha: Any,
    sigma: Any,
    process: Process | None,
    x: Float[Array, "... d"],
    known: Bool[Array, "states d"] | None,
) -> tuple[Float[Array, " states"], Process, NoiseLevel | None]:
    """The noise level of every cue, flattened, the process that made the cues, in their precision, and the estimate of
    the level where it was not given.
    """
    batch = x.shape[:-1]
    if process is not None and not isinstance(process, Process):
        raise InputError("process", f"got {process!r}", "a process such as dispersed.VP() is accepted")
    if isinstance(memory, Network):
        if alpha is not None or sigma is not None:
            raise InputError(
                "alpha, sigma", f"got one for a {type(memory).__name__}", "a network holds its own temperature"
            )
        process = VE() if process is None else process
        return as_array(np.ones(math.prod(batch), x.dtype)), process.in_precision(x.dtype), None
    estimate = None
    if alpha is None and sigma is None and isinstance(memory, Memory):
        if not isinstance(process, VE | None):
            given = f"got neither for cues of {process}"
            raise InputError("alpha, sigma", given, "one of them is accepted; the level is estimated for cues of VE()")
        estimate = noise_level(memory, x, known)
        sigma = estimate.sigma
    level: Any = sigma_of(alpha, sigma)
    broadcast("alpha, sigma", level.shape, batch, grow=False)
    # At α = 1 the cue is clean up to round-off, and that is then its noise.
    level = levels_of_cues(level, x)
    if is_known(level):
        noise_levels(level, batch, x.dtype)
        if isinstance(memory, LearnedMemory):
            memory.warn_outside(level, 4)
    if process is None:
        process = VE() if alpha is None or known is not None else VP()
    return as_array(level.reshape(-1)), process.in_precision(x.dtype), estimate


__all__ = ["Outcome", "Recall", "recall"]

"""What every dynamics has in common: from one cue to one recalled state, and from a batch of cues to a `Recall`."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import compiled
from dispersed.conditioning import Observation
from dispersed.display import one_line
from dispersed.dynamics.result import Outcome, Recall
from dispersed.memories import AssociativeMemory, Denoiser, Network
from dispersed.memories.associative_memory import in_precision, over_states
from dispersed.processes import VP, Process
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError


class Dynamics(eqx.Module):
    """A way to recall: from a cue at its noise level to a state of the memory.

    A solver that steps through falling noise levels is a `Solver`, which is shorter to write. To add a dynamics of
    another kind, write `run` for one cue and say with `serves` what it can recall.
    """

    __repr__ = one_line

    serves: ClassVar[tuple[type, ...]] = (Denoiser,)
    """The kinds of memory that it can recall."""
    random: ClassVar[bool] = False
    """Whether it draws random numbers, and so needs a key."""

    @abc.abstractmethod
    def run(
        self,
        memory: Any,
        process: Process,
        z: State,
        sigma: Scalar,
        key: Key[Array, ""],
        trajectory: bool,
    ) -> Outcome:
        """Recall from the cue z at noise level sigma; keep the states passed through if `trajectory`.

        `memory` is of a kind that `serves` names.
        """

    def run_all(
        self,
        memory: Any,
        process: Process,
        cues: Float[Array, "states d"],
        levels: Float[Array, " states"],
        masks: Bool[Array, "states d"] | None,
        keys: Key[Array, " states"] | None,
        trajectory: bool,
    ) -> Recall:
        """Recall from every cue, in the coordinates of the process: `run` of each, in one compiled program.

        `masks` say which entries were observed; `keys` are None for dynamics that draw nothing.
        """
        # Settings that are real numbers are arguments of the program, so that others do not compile it anew.
        dynamics = jax.tree.map(lambda a: _setting(a, cues.dtype), self)
        memory = memory._prepared()
        arguments = dynamics, memory, process, cues, levels, masks, keys, trajectory
        return compiled(_recalled, memory._size * len(cues), arguments)(*arguments)

    def check(self, memory: AssociativeMemory) -> None:
        """Raise `InputError` unless this dynamics can recall that memory."""
        if not isinstance(memory, self.serves):
            raise InputError(
                "dynamics",
                f"{type(self).__name__} cannot recall a {type(memory).__name__}",
                "it serves " + " and ".join(kind.__name__ for kind in self.serves),
            )


def _setting(value: Any, dtype: Any) -> Any:
    """A real number as an array in the precision of the cues, all else as it is."""
    if isinstance(value, float):
        return np.asarray(value, dtype)
    return value.astype(dtype) if eqx.is_inexact_array(value) else value


def _recalled(
    dynamics: Any, memory: Any, process: Any, cues: Any, levels: Any, masks: Any, keys: Any, trajectory: Any
) -> Recall:
    memory = in_precision(memory, cues.dtype)

    def one(x: Any, sigma: Any, known: Any, key: Any) -> Recall:
        t = process.time(sigma)
        z = x if isinstance(memory, Network) else x / process.scale(t)
        source, cue, level, clock = memory, z, sigma, process
        if known is not None:
            begin = memory.sampling if dynamics.random else memory.observing
            source, z, level = begin(z, known, sigma)
            # In z all processes are one; over so wide a range of σ, only VP's time has an even grid.
            clock = VP()
        key = jax.random.key(0) if key is None else key
        outcome = dynamics.run(source, clock, z, level, key, trajectory)
        z = outcome.z if known is None else jnp.where(known, cue, outcome.z)
        index, responsibility, probability = outcome.index, outcome.responsibility, outcome.probability
        if index is None:
            last = () if isinstance(source, Network) else (outcome.sigma,)
            index, responsibility = source._nearest(z, *last)
        if index is not None and isinstance(memory, Denoiser) and (probability is None or known is not None):
            probability = _probability(memory, cue, sigma, known, index)
        states = outcome.states
        if states is not None and not isinstance(memory, Network):
            states = states * process.scale_at(outcome.sigmas)[:, None]
        return Recall(
            z,
            index,
            probability,
            responsibility,
            outcome.result,
            outcome.steps,
            outcome.evaluations,
            states,
            outcome.sigmas,
        )

    return over_states(one, memory._most_states("_denoise"), cues, levels, masks, keys)


def _probability(memory: Denoiser, cue: State, sigma: Scalar, known: Any, index: Any) -> Scalar | None:
    """p(index | cue) at the cue's own noise level; given its observed entries alone, where there are such."""
    if known is None:
        return memory._probability(cue, sigma, index)
    return memory._conditioned(Observation(cue, known, sigma=sigma).of(memory.dimension))[0]._weight(index)


__all__ = ["Dynamics"]

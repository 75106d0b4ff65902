"""What every dynamics has in common: from one cue to one recalled state."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.memories import Denoiser, Network
from dispersed.processes import Process
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError


class Outcome(eqx.Module):
    """What a dynamics makes of one cue, in the coordinates z = x/s in which a memory is asked."""

    z: State
    """The recalled state."""
    sigma: Scalar
    """The last noise level at which the memory was asked."""
    period: Int[Array, ""]
    """1 at a fixed point, 2 on a 2-cycle, 0 where neither was reached."""
    steps: Int[Array, ""]
    """Steps taken until then."""
    evaluations: Int[Array, ""]
    """Denoiser evaluations, or network updates, that the recall cost."""
    states: Float[Array, "times d"] | None = None
    """The states passed through, cue and recalled state included, if asked for."""
    sigmas: Float[Array, " times"] | None = None
    """The noise level of each of them; 0 for the recalled state."""


class Dynamics(eqx.Module):
    """A way to gather a dispersed memory.

    To add one, write `run` for one cue and say with `serves` what it can recall.
    """

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

    def check(self, memory: Denoiser | Network) -> None:
        """Raise `InputError` unless this dynamics can recall that memory."""
        if not isinstance(memory, self.serves):
            raise InputError(
                "dynamics",
                f"{type(self).__name__} cannot recall a {type(memory).__name__}",
                "it serves " + " and ".join(kind.__name__ for kind in self.serves),
            )


def gather(memory: Denoiser, z: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
    """The last step, from σ to 0, and whether the result is a fixed point of the memory at that σ.

    The flow's slope has no limit at σ = 0, but the exponential step to 0 has: it is Tweedie's
    D_σ(z). The result counts as a fixed point if denoising it again moves it by less than σ/10 a unit.
    """

    def denoise(x: State, _: None) -> tuple[State, State]:
        x = memory.denoise(x, sigma)
        return x, x

    # A loop, since two calls would be compiled twice.
    again, (x, _) = jax.lax.scan(denoise, z, length=2)
    moved = jnp.sqrt(jnp.mean((again - x) ** 2))
    return x, (moved <= sigma / 10).astype(int)


def with_end(states: Float[Array, "times d"], x: State) -> Float[Array, "times+1 d"]:
    return jnp.concatenate([states, x[None]])


def whole(number: int) -> Int[Array, ""]:
    return jnp.asarray(number, dtype=int)

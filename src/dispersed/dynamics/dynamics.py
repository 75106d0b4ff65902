"""What every dynamics has in common: from one cue to one recalled state."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import MOST, gallery, one_line, place
from dispersed.dynamics.noise_level import NoiseLevel
from dispersed.memories import AssociativeMemory, Denoiser, Network
from dispersed.memories.associative_memory import in_precision, over_states
from dispersed.processes import VP, Process
from dispersed.types import Array, Bool, Float, Int, Key, Numbers, Scalar, State
from dispersed.validation import InputError, is_known


class Outcome(eqx.Module):
    """What a dynamics makes of one cue, in the coordinates z = x/s in which a memory is asked."""

    __repr__ = one_line

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
    index: Int[Array, ""] | None = None
    """The stored pattern that the recalled state stands for, if that is known already."""
    responsibility: Scalar | None = None
    """The probability of that pattern at the last noise level."""


class Certificate(eqx.Module):
    """What is proven of recalls from a batch `(...)`."""

    bound: Float[Array, "..."]
    """An upper bound of ‖D − D_σ(z)‖ for every denoiser D that was used."""
    certified: Bool[Array, "..."]
    """Whether the last state is in a certified basin of attraction: the exact flow from it provably ends where the
    recall does."""
    screens: Int[Array, "..."]
    """The number of screenings of all patterns in single precision."""
    sums: Int[Array, "..."]
    """The number of full scans, in which all patterns were summed."""


class Recall(eqx.Module):
    """What was recalled from each cue of a batch `(...)`."""

    x: Float[Array, "... d"]
    """The recalled states, in the units of the patterns."""
    index: Int[Array, "..."] | None
    """The stored pattern nearest to each; None where the memory keeps no list of patterns."""
    responsibility: Float[Array, "..."] | None
    """p(index | x) at the last noise level asked: below 1 where several memories share the state."""
    period: Int[Array, "..."]
    """1: a fixed point. 2: a 2-cycle of a synchronous network. 0: neither was reached."""
    steps: Int[Array, "..."]
    """Steps taken until then."""
    evaluations: Int[Array, "..."]
    """Denoiser evaluations (network updates) spent; −1 for solvers that do not tell."""
    trajectory: Float[Array, "... times d"] | None
    """The states passed through, in the coordinates of the cue; only if asked for."""
    sigmas: Float[Array, "... times"] | None
    """The noise level of each state of the trajectory."""
    certificate: Certificate | None = None
    """How exact it is; of `CertifiedFlow` alone."""
    estimate: NoiseLevel | None = None
    """The noise level of each cue, estimated; None where it was given."""

    @property
    def converged(self) -> Bool[Numbers, "..."]:
        """Whether each recalled state is a fixed point."""
        return self.period == 1

    def rows(self) -> list[dict[str, int | float | bool | None]]:
        """One row a cue, in the order of the flattened batch: what was recalled, how surely and at what cost.

        `pandas.DataFrame(recall.rows())` is a table of them; the states themselves stay in `x`.
        """
        names = ("index", "responsibility", "converged", "steps", "evaluations")
        found = {name: getattr(self, name) for name in names}
        flat = {name: [None] * self.period.size if v is None else np.ravel(v).tolist() for name, v in found.items()}
        return [{"cue": i} | {name: flat[name][i] for name in names} for i in range(self.period.size)]

    def __repr__(self) -> str:
        if not is_known(self.x):
            return f"Recall(x={self.x})"
        *batch, d = self.x.shape
        shape = f"{' × '.join(map(str, batch))} states" if batch else "one state"
        cost = "" if self.evaluations.size == 0 else f", {float(self.evaluations.mean()):.4g} evaluations each"
        share = float(self.converged.mean()) if self.converged.size else 1.0
        estimated = "" if self.estimate is None else ", noise level estimated"
        return f"Recall({shape} of {d} units, {share:.1%} converged{cost}{estimated}, {place(self.x)})"

    def _repr_html_(self) -> str | None:
        """The recalled states as pictures, or in a table, with what was recalled; for notebooks."""
        if not is_known(self.x):
            return None
        states = np.asarray(self.x).reshape(-1, self.x.shape[-1])
        named = {0: "not converged", 1: "", 2: "2-cycle"}
        columns = {"": [named[int(period)] for period in np.ravel(self.period)[:MOST]]}
        if self.index is not None and self.responsibility is not None:
            index = [str(int(i)) for i in np.ravel(self.index)[:MOST]]
            columns = {"memory": index, "p =": [f"{p:.2f}" for p in np.ravel(self.responsibility)[:MOST]], **columns}
        return gallery(repr(self), states, columns, len(states))


class Dynamics(eqx.Module):
    """A way to gather a dispersed memory.

    To add one, write `run` for one cue and say with `serves` what it can recall.
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
        dynamics = jax.tree.map(lambda a: np.asarray(a, cues.dtype) if isinstance(a, float) else a, self)
        return _run_all(dynamics, memory._prepared(), process, cues, levels, masks, keys, trajectory)

    def check(self, memory: AssociativeMemory) -> None:
        """Raise `InputError` unless this dynamics can recall that memory."""
        if not isinstance(memory, self.serves):
            raise InputError(
                "dynamics",
                f"{type(self).__name__} cannot recall a {type(memory).__name__}",
                "it serves " + " and ".join(kind.__name__ for kind in self.serves),
            )


@eqx.filter_jit
def _run_all(dynamics, memory, process, cues, levels, masks, keys, trajectory) -> Recall:
    memory = in_precision(memory, cues.dtype)

    def one(x, sigma, known, key) -> Recall:
        t = process.time(sigma)
        z = x if isinstance(memory, Network) else x / process.scale(t)
        source, cue, clock = memory, z, process
        if known is not None:
            begin = memory.sampling if dynamics.random else memory.observing
            source, z, sigma = begin(z, known, sigma)
            # In z all processes are one; over so wide a range of σ, only VP's time has an even grid.
            clock = VP()
        key = jax.random.key(0) if key is None else key
        outcome = dynamics.run(source, clock, z, sigma, key, trajectory)
        z = outcome.z if known is None else jnp.where(known, cue, outcome.z)
        index, responsibility = outcome.index, outcome.responsibility
        if index is None:
            level = () if isinstance(source, Network) else (outcome.sigma,)
            index, responsibility = source._nearest(z, *level)
        states = outcome.states
        if states is not None and not isinstance(memory, Network):
            states = states * process.scale(process.time(outcome.sigmas))[:, None]
        return Recall(
            z, index, responsibility, outcome.period, outcome.steps, outcome.evaluations, states, outcome.sigmas
        )

    return over_states(one, memory._most_states("_denoise"), cues, levels, masks, keys)


def settled(memory: Denoiser, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Any, Any]:
    """Whether a recalled state is a fixed point of the memory at the last noise level, 1 or 0, and what it stands for.

    It counts as one if denoising it again moves it by less than σ/10 a unit. The flow's slope has no limit at σ = 0,
    but the exponential step to 0 has: it is Tweedie's D_σ(z), the last step of every recall.
    """
    again, index, responsibility = memory._mean_and_nearest(x, sigma)
    moved = jnp.sqrt(jnp.mean((again - x) ** 2))
    return (moved <= sigma / 10).astype(int), index, responsibility


def with_end(states: Float[Array, "times d"], x: State) -> Float[Array, "times+1 d"]:
    return jnp.concatenate([states, x[None]])


def whole(number: int) -> Int[Array, ""]:
    return jnp.asarray(number, dtype=int)

"""How a recall ended, and what it found."""

from typing import Any

import equinox as eqx
import numpy as np

from dispersed.compiling import one_program
from dispersed.display import MOST, gallery, one_line, place
from dispersed.dynamics.noise_level import NoiseLevel
from dispersed.memories.denoiser import Standing
from dispersed.posterior import Posterior
from dispersed.tracing import is_known
from dispersed.types import Array, Bool, Float, Int, Numbers, Scalar, State
from dispersed.validation import InputError, at_least


class Result(eqx.Enumeration):
    """How a recall ended; `Result[recall.result]` is the message."""

    converged = "converged to an attractor"
    certified = "in a certified basin of attraction, whose attractor is returned"
    saddle = "stopped at a fixed point that is no attractor: a small change of the state leaves it"
    cycle = "in a 2-cycle, which synchronous networks have"
    exhausted = "all steps were taken before a fixed point was reached"


ENDINGS: Any = Result
"""The same class, whose members type checkers take for text."""


class Outcome(eqx.Module):
    """What a dynamics makes of one cue, in the coordinates z = x/s of the memory."""

    __repr__ = one_line

    z: State
    """The recalled state."""
    sigma: Scalar
    """The last noise level at which the memory was evaluated."""
    result: Result
    """How the recall ended."""
    steps: Int[Array, ""]
    """The number of steps taken."""
    evaluations: Int[Array, ""]
    """The number of denoiser evaluations, or network updates; −1 for solvers that do not tell."""
    states: Float[Array, "times d"] | None = None
    """The states passed through, cue and recalled state included, if a trajectory was requested."""
    sigmas: Float[Array, " times"] | None = None
    """The noise level of each of them; 0 for the recalled state."""
    index: Int[Array, ""] | None = None
    """The stored pattern that the recalled state stands for, if it is known already."""
    responsibility: Scalar | None = None
    """The probability of that pattern given the recalled state, at the last noise level."""
    probability: Scalar | None = None
    """The probability of that pattern given the cue, at its own noise level, if it is known already."""

    @classmethod
    def at(
        cls,
        z: State,
        sigma: Scalar,
        standing: Standing,
        result: Result,
        steps: Int[Array, ""],
        evaluations: Int[Array, ""],
        states: Float[Array, "times d"] | None = None,
        sigmas: Float[Array, " times"] | None = None,
    ) -> "Outcome":
        """The outcome at a state of which the memory said all that it has to say."""
        own = standing.index, standing.responsibility, standing.probability
        return cls(z, sigma, result, steps, evaluations, states, sigmas, *own)


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
    """The stored pattern that each stands for; None where the memory keeps no list of patterns."""
    probability: Float[Array, "..."] | None
    """How sure that is: p(index | cue) at the cue's own noise level (Eq. 29). None for networks, and for memories
    without a list of patterns."""
    responsibility: Float[Array, "..."] | None
    """p(index | x), of the recalled state at the last noise level: below 1 where several memories share the state."""
    result: Result
    """How each recall ended; `Result[recall.result]` says it in words."""
    steps: Int[Array, "..."]
    """The number of steps taken until then."""
    evaluations: Int[Array, "..."]
    """The number of denoiser evaluations, or network updates, the one that checks for a fixed point included; −1 for
    solvers that do not tell."""
    trajectory: Float[Array, "... times d"] | None
    """The states passed through, in the coordinates of the cue; only if `trajectory` was set."""
    sigmas: Float[Array, "... times"] | None
    """The noise level of each state of the trajectory."""
    certificate: Certificate | None = None
    """How exact the recall is; of `CertifiedFlow` alone."""
    estimate: NoiseLevel | None = None
    """The noise level of each cue, estimated; None where it was given."""

    @property
    @one_program
    def converged(self) -> Bool[Numbers, "..."]:
        """Whether each recall ended at an attractor, or provably would."""
        return (self.result == ENDINGS.converged) | (self.result == ENDINGS.certified)

    def alternatives(self, k: int = 3) -> Posterior:
        """The `k` likeliest patterns behind each cue, and their probabilities p(j | cue) at the cue's own noise level.

        Raises `InputError` for memories without a list of patterns, and where the recall has left the program, or the
        tree operation, that made it: `memory.posterior(cue, sigma, leading=k)` says the same there.
        """
        k = at_least("k", k, 1)
        evidence = getattr(self, "_evidence", None)
        if evidence is None:
            given = "this recall knows its cues no more, as after jax.jit and jax.tree.map"
            raise InputError("alternatives", given, "memory.posterior(cue, sigma, leading=k) says them")
        return evidence(k)

    def rows(self) -> list[dict[str, int | float | str | None]]:
        """One row a cue, in the order of the flattened batch: what was recalled, how surely, how it ended and its cost.

        `pandas.DataFrame(recall.rows())` is a table of them; the states themselves stay in `x`.
        """
        names = ("index", "probability", "converged", "steps", "evaluations")
        found = {name: getattr(self, name) for name in names}
        flat = {name: [None] * self.steps.size if v is None else np.ravel(v).tolist() for name, v in found.items()}
        flat["result"] = ending_names(self.result)
        order = ("index", "probability", "converged", "result", "steps", "evaluations")
        return [{"cue": i} | {name: flat[name][i] for name in order} for i in range(self.steps.size)]

    def __repr__(self) -> str:
        if not is_known(self.x):
            return f"Recall(x={self.x})"
        *batch, d = self.x.shape
        shape = f"{' × '.join(map(str, batch))} states" if batch else "one state"
        evaluations, converged = np.asarray(self.evaluations), np.asarray(self.converged)
        cost = "" if evaluations.size == 0 else f", {evaluations.mean():.4g} evaluations each"
        fraction = converged.mean() if converged.size else 1.0
        estimated = "" if self.estimate is None else ", noise level estimated"
        return f"Recall({shape} of {d} units, {fraction:.1%} converged{cost}{estimated}, {place(self.x)})"

    def _repr_html_(self) -> str | None:
        """The recalled states as pictures, or in a table, with what was recalled; for notebooks."""
        if not is_known(self.x):
            return None
        states = np.asarray(self.x).reshape(-1, self.x.shape[-1])
        named = {"converged": "", "certified": "certified", "cycle": "2-cycle", "exhausted": "not converged"}
        columns = {"": [named.get(name, name) for name in ending_names(self.result)[:MOST]]}
        if self.probability is not None:
            columns = {"p =": [f"{p:.2f}" for p in np.ravel(self.probability)[:MOST]], **columns}
        if self.index is not None:
            columns = {"memory": [str(int(i)) for i in np.ravel(self.index)[:MOST]], **columns}
        return gallery(repr(self), states, columns, len(states))


def ending_names(result: Result) -> list[str]:
    """The names of how recalls ended, in the order of the flattened batch."""
    names = ("converged", "certified", "saddle", "cycle", "exhausted")
    found = np.full(np.shape(result == ENDINGS.converged), "", object)
    for name in names:
        found[np.asarray(result == getattr(ENDINGS, name))] = name
    return np.ravel(found).tolist()


__all__ = ["Certificate", "Outcome", "Recall", "Result", "ending_names"]

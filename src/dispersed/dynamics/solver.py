"""Solvers: recall in steps through falling noise levels, and the one driver that takes them.

A solver says where its levels are (a grid) and how to step from one to the next. What all have in common is here, once:
the loop, the final denoising step, trajectories, the number of evaluations, and how the recall ended. Steps are
recomputed when a recall is differentiated in reverse mode, so that it needs the memory of one step beside the states
passed through.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from dispersed.batching import any_of_batch, mapped_like
from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.grids import Grid, check_grid, log_sigma
from dispersed.dynamics.result import Outcome
from dispersed.dynamics.stability import ending_at
from dispersed.memories import AssociativeMemory, Denoiser
from dispersed.memories.denoiser import Foreseen, Leader
from dispersed.multistep import FAR
from dispersed.processes import Process
from dispersed.types import Array, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, level_range, non_negative_number, returned


class Solver(Dynamics):
    """A recall in steps through falling noise levels. To add one, write `step`.

    **Arguments**

    - `steps`: the number of noise levels, from the cue's to `sigma_min`; after the last follows the step to σ = 0.
    - `sigma_min`: the last noise level, well below the distance between memories; half the noise of the cue if that
      is less. By default a twentieth of the noise of the cue, or, whichever is less, a fiftieth of the root-mean-square
      distance of patterns from their mean, of other memories a twentieth of the deviation of one unit; four times that
      where the last step is a draw. Derivatives by the memory hold it fixed. 0: that at t/`steps`, of a cue at time t.
    - `grid`: where the levels are: `log_sigma`, `log_one_plus_snr`, `karras`, `uniform_time` or any function like
      them.

    The step to σ = 0 is the posterior mean D_σ(z) (Tweedie's formula), or, of a `random` solver, a draw from the
    posterior behind z.
    """

    steps: int
    sigma_min: float | None
    grid: Grid
    scarcest: ClassVar[int] = 2
    """The least number of levels."""

    def __init__(self, steps: int = 20, sigma_min: float | None = None, grid: Grid = log_sigma) -> None:
        self.steps = at_least("steps", steps, self.scarcest)
        self.sigma_min = None if sigma_min is None else non_negative_number("sigma_min", sigma_min)
        if not callable(grid):
            raise InputError("grid", f"got {grid!r}", "a function such as dispersed.dynamics.karras is accepted")
        self.grid = grid

    def check(self, memory: AssociativeMemory) -> None:
        super().check(memory)
        check_grid(self.grid, self.steps)

    def within(self, process: Process) -> "Solver":
        """The solver itself, or one that knows the process in whose time it steps."""
        return self

    def init(self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""]) -> Any:
        """What the solver carries from step to step, before the first: arrays, in any structure. Nothing by default."""
        return None

    @abc.abstractmethod
    def step(
        self, memory: Denoiser, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
    ) -> tuple[State, Any]:
        """The state at noise level `following` from the state z at `sigma`, and what is carried on.

        `memory.denoise(z, sigma)` evaluates the memory; `key`, for `random` solvers, is of this step alone.
        """

    @property
    def stops_early(self) -> bool:
        """Whether a recall may stop where one pattern has all probability."""
        return True

    @property
    def has_grid(self) -> bool:
        """Whether its steps are those of its grid, and not chosen on the way."""
        return True

    def cost(self, begun: int, each: Any, intervals: Any) -> Any:
        """The number of evaluations of so many steps; −1 where that is unknown.

        By default what `init` and `step` were seen to call for.
        """
        return begun + each * intervals

    def key_of(self, key: Key[Array, ""], step: Any) -> Key[Array, ""]:
        """The key of one step; of a solver that draws nothing the same for all, which is a smaller program."""
        return jax.random.fold_in(key, step) if self.random else key

    def succeeded(self, carry: Any) -> Bool[Array, ""]:
        """Whether all steps were taken as they should be, which a solver that can fail says otherwise."""
        return jnp.array(True)

    def run(
        self, memory: Denoiser, process: Process, z: State, sigma: Scalar, key: Key[Array, ""], trajectory: bool
    ) -> Outcome:
        solver, (begin, level) = self.within(process), self._begun(memory, process, z, sigma)
        sigmas = self.levels(memory, process, level)
        watched: Any = _Watched(memory)
        carry = solver.init(watched, process, begin, level, self.key_of(key, self.steps + 1))
        begun = watched.evaluations
        states: Any = None
        if trajectory or self.random or not self.stops_early:
            end, states = _all_steps(solver, memory, begin, sigmas, carry, key)
            states = jnp.concatenate([z[None], states[1:], end.z[None]]) if trajectory else None
            sigmas = sigmas.at[0].set(sigma)
        else:
            end = _until_decided(solver, memory, z, sigmas, carry, key)
        outcome = self.finish(memory, z, end.z, sigmas, end.sigma, key, end.succeeded, states, end.foreseen)
        cost = self.cost(begun, end.evaluations, end.steps)
        last = 2 if end.foreseen is None else 2 - end.foreseen.decided
        counts = end.steps + 1, whole(jnp.where(cost < 0, -1, cost + last))
        return eqx.tree_at(lambda found: (found.steps, found.evaluations), outcome, counts)

    def _begun(self, memory: Denoiser, process: Process, z: State, sigma: Scalar) -> tuple[State, Scalar]:
        """The state and the level that the steps begin with: those of the cue, unless a sampler starts so far away that
        nothing but the mean of the patterns is to be told until much nearer. The flow to there keeps the distribution.
        """
        mean = memory._prior_mean() if self.random else None
        if mean is None:
            return z, sigma
        spread = jnp.asarray(memory._prior_spread(), sigma.dtype)
        there, last = FAR / 10 * spread, self.levels(memory, process, sigma)[-1]
        # A single pattern has no spread, and needs no level near it.
        far = (sigma > FAR * spread) & (there > 2 * last)
        near = jnp.where(far, there, sigma)
        return jnp.where(far, mean + near / sigma * (z - mean), z).astype(z.dtype), near

    def finish(
        self,
        memory: Denoiser,
        cue: State,
        z: State,
        sigmas: Float[Array, " steps"],
        last: Scalar,
        key: Key[Array, ""],
        succeeded: Bool[Array, ""],
        states: Float[Array, "steps d"] | None,
        foreseen: Foreseen | None = None,
    ) -> Outcome:
        """The outcome of a recall that reached z at the level `last`: the step to σ = 0 and how it ended.

        `states` are those at all levels, if a trajectory was requested.
        """
        key = self.key_of(key, self.steps)
        if self.random:
            x, index = memory._posterior_draw(key, z, last)
            # What was drawn is judged where a flow would have ended.
            last = memory._last_level(sigmas[0]) if self.sigma_min is None else last
            standing = memory._standing(x, last, cue, sigmas[0], index)
        else:
            x, standing = memory._last_step(z, last, cue, sigmas[0], foreseen)
        path = () if states is None else (jnp.concatenate([states, x[None]]), jnp.append(sigmas, 0))
        # The flow's slope has no limit at σ = 0, but the exponential step to 0 has: D_σ(z), the last of every recall.
        result = ending_at(memory, x, last, standing, last / 10, succeeded)
        return Outcome.at(x, last, standing, result, whole(self.steps), whole(2), *path)

    def levels(self, memory: Denoiser, process: Process, sigma: Scalar) -> Float[Array, " steps"]:
        """The noise levels of a cue at `sigma`."""
        if self.sigma_min is None:
            last = memory._last_level(sigma, self.random)
        else:
            even = process.sigma(process.time(sigma) / self.steps)
            last = jnp.where(self.sigma_min > 0, jnp.minimum(self.sigma_min, sigma / 2), even)
        last = jnp.maximum(last, 20 * level_range(sigma.dtype)[0])  # a tenth of it is a level, too
        return returned("grid", self.grid(sigma, last, self.steps, process, memory._spread_at(sigma)), (self.steps,))


class End(eqx.Module):
    """Where the steps of a solver led."""

    z: State
    """The state at the level `sigma`."""
    sigma: Scalar
    """The last level, or one above it at which one pattern has all probability."""
    succeeded: Bool[Array, ""]
    """Whether all steps were taken as they should be."""
    steps: Int[Array, ""]
    """The number of steps taken."""
    evaluations: Int[Array, ""]
    """The number of evaluations in each of them."""
    foreseen: Foreseen | None = None


def _stepped(
    solver: Solver, memory: Any, z: State, sigma: Scalar, following: Scalar, carry: Any, key: Key[Array, ""]
) -> tuple[State, Any]:
    """One step, by a solver that may be anyone's."""
    found: Any = solver.step(memory, z, sigma, following, carry, key)
    step = f"step of {type(solver).__name__}"
    if not isinstance(found, tuple) or len(found) != 2:
        raise InputError(step, "returned no pair", "the state and what is carried on are accepted")
    return returned(step, found[0], z.shape), found[1]


def _all_steps(
    solver: Solver, memory: Denoiser, z: State, sigmas: Float[Array, " steps"], carry: Any, key: Key[Array, ""]
) -> tuple[End, Float[Array, "intervals d"]]:
    """All steps, and the states they start from; each step is recomputed where derivatives in reverse mode need it."""
    watched: Any = _Watched(memory)

    def advance(carry: tuple[State, Any], now: Any) -> tuple[tuple[State, Any], State]:
        watched.evaluations = 0
        i, sigma, following = now
        return _stepped(solver, watched, carry[0], sigma, following, carry[1], solver.key_of(key, i)), carry[0]

    grid = (jnp.arange(solver.steps - 1), sigmas[:-1], sigmas[1:])
    (end, carry), states = jax.lax.scan(jax.checkpoint(advance, prevent_cse=False), (z, carry), grid)
    done = End(end, sigmas[-1], solver.succeeded(carry), whole(solver.steps - 1), whole(watched.evaluations))
    return done, states


@eqx.filter_custom_jvp
def _until_decided(
    solver: Solver, memory: Denoiser, z: State, sigmas: Float[Array, " steps"], carry: Any, key: Key[Array, ""]
) -> End:
    r"""The steps until one pattern has all probability; from there on D is that pattern y, and the flow is

        z(σ') = y + (σ'/σ) (z − y).

    Along it the gap to no other pattern y_j falls: with v = z − y, Δ = y − y_j and s = σ/σ' it is
    (s²‖Δ‖²/2 + s v·Δ)/σ², which grows with s where it is not negative at s = 1. Each state of a batch stops by itself.
    Derivatives are those of these steps: D has none from there on but that of y.
    """
    advance, sure, watched = _watched_step(solver, memory, sigmas, key)

    def undecided(now: Now) -> Bool[Array, ""]:
        return (now.i < solver.steps - 1) & (now.p < sure)

    end = jax.lax.while_loop(undecided, advance, _start(z, carry))
    return _followed(end, solver, watched, sigmas, sure)


@_until_decided.def_jvp
def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[End, Any]:
    """A loop of unknown length has no derivative in reverse mode: one over all steps, of which the last are skipped."""

    def stopping(
        solver: Solver, memory: Denoiser, z: State, sigmas: Float[Array, " steps"], carry: Any, key: Key[Array, ""]
    ) -> End:
        advance, sure, watched = _watched_step(solver, memory, sigmas, key)

        def unless_decided(now: Now, _: None) -> tuple[Now, None]:
            goes_on = now.p < sure
            new = jax.lax.cond(any_of_batch(goes_on), advance, lambda now: now, now)
            return jax.tree.map(lambda a, b: jnp.where(goes_on, a, b), new, now), None

        body = jax.checkpoint(unless_decided, prevent_cse=False)
        end, _ = jax.lax.scan(body, _start(z, carry), length=solver.steps - 1)
        return _followed(end, solver, watched, sigmas, sure)

    return eqx.filter_jvp(stopping, primals, tangents)


class Now(eqx.Module):
    """A state on its way."""

    z: State
    carry: Any
    i: Int[Array, ""]
    """The steps taken."""
    mean: State
    """The posterior mean that the last step saw last."""
    p: Scalar
    """The least probability of the likeliest pattern that the last step saw."""
    behind_cue: Leader
    """The likeliest item behind the cue, after a first step that saw it."""


def _start(z: State, carry: Any) -> Now:
    none = jnp.zeros_like(z[0])
    carry, i, p, leader = mapped_like(z[0], (carry, whole(0), none, Leader(jnp.zeros((), jnp.int32), none)))
    return Now(z, carry, i, z, p, leader)


def _watched_step(
    solver: Solver, memory: Denoiser, sigmas: Float[Array, " steps"], key: Key[Array, ""]
) -> tuple[Callable[[Now], Now], float, "_Watched"]:
    """One step, the probability from which on a pattern has all, and the memory as a step that was traced saw it."""
    watched: Any = _Watched(memory)

    def advance(now: Now) -> Now:
        i, sigma = now.i, sigmas[now.i]
        watched.evaluations, watched.seen, watched.first = 0, [], i == 0
        watched.level = get_opaque_trace_state()
        z, carry = _stepped(solver, watched, now.z, sigma, sigmas[i + 1], now.carry, solver.key_of(key, i))
        mean, p, behind_cue = z, jnp.zeros_like(now.p), now.behind_cue
        if watched.seen:
            mean = watched.seen[-1].mean
            p = functools.reduce(jnp.minimum, [seen.p for seen in watched.seen])
        # What the first step evaluates first is the cue, if a step evaluates its state.
        watched.saw_state = bool(watched.seen) and watched.seen[0].x is now.z and watched.seen[0].sigma is sigma
        if watched.saw_state:
            behind_cue = jax.tree.map(lambda new, old: jnp.where(i == 0, new, old), watched.seen[0].leader, behind_cue)
        return Now(z, carry, i + 1, mean, jax.lax.stop_gradient(p), behind_cue)

    return advance, 1 - 2 * float(jnp.finfo(sigmas.dtype).eps), watched


def _followed(end: Now, solver: Solver, watched: "_Watched", sigmas: Float[Array, " steps"], sure: float) -> End:
    """The flow from where the steps ended to the last level; where one pattern has all probability, to half the level:
    what others have there is the fourth power of what they had, and less noise would only cost more digits.
    """
    level = sigmas[end.i]
    last, decided = sigmas[-1], end.p >= sure
    if watched.memory.ends_by_the_level:
        foreseen = None
    else:
        last = jnp.where(decided, jnp.maximum(last, level / 2), last)
        foreseen = Foreseen(end.behind_cue if watched.saw_state else None, end.mean, decided)
    ahead = end.mean + last / level * (end.z - end.mean)
    z = jnp.where(decided, ahead, end.z)
    return End(z, last, solver.succeeded(end.carry), end.i, whole(watched.evaluations), foreseen)


def whole(number: Any) -> Any:
    """A whole number as an array."""
    return jnp.asarray(number, dtype=int)


class _Seen(NamedTuple):
    """One evaluation of a memory by a solver."""

    x: State
    sigma: Scalar
    mean: State
    p: Scalar
    leader: Leader


class _Watched:
    """A memory as a solver sees it while its program is being traced: how often it is evaluated, and how sure it is."""

    def __init__(self, memory: Denoiser) -> None:
        self.memory = memory
        self.evaluations = 0
        self.level: Any = None
        """The program whose values `seen` may hold, and not those of a loop inside of a step."""
        self.seen: list[_Seen] = []
        self.first: Any = None
        """Whether the step is the first one, whose likeliest items are computed."""
        self.saw_state = False
        """Whether a step begins with the evaluation of the state that it starts from."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # To a solver it is the memory.
        return type(self.memory)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        self.evaluations += 1
        if self.level is None or get_opaque_trace_state() != self.level:
            return self.memory._denoise(x, sigma)
        mean, p, leader = self.memory._mean_and_certainty(x, sigma, self.first)
        self.seen.append(_Seen(x, sigma, mean, p, leader))
        return mean

    denoise = _denoise

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.memory, name)
        if name.removeprefix("_") in EVALUATIONS:
            self.evaluations += 1
        return found


EVALUATIONS = {"score", "log_density", "energy", "jacobian", "nearest", "mean_and_nearest", "posterior"}
"""The other methods that evaluate a memory at one state."""

__all__ = ["Solver", "whole"]

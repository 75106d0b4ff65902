r"""The probability flow over any number of patterns, certified, at the price of a few passes over all of them.

One screen finds the patterns that can matter; the others are bounded, there and along the way
(`dispersed.engines.shortlist`). The flow then runs on the shortlist until the bound says that all patterns must be
screened again, or until the state is in the certified basin of attraction of one pattern: the exact flow ends there,
and nothing is left to compute. Where very many patterns matter, at high noise, all are summed, and as few steps as
possible are to be taken there, those of `dispersed.multistep`. Noise levels are even in log(1 + c/σ), with c a
fraction of the spread of the patterns.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed import multistep
from dispersed.engines.candidate_screening import States, allowed_tail, screen_states
from dispersed.engines.collectives import all_gather
from dispersed.engines.engine import LAST_LEVEL
from dispersed.engines.host_callback import Answer, pushed
from dispersed.engines.ladder import SINGLE, climb
from dispersed.engines.placed_patterns import DistinctPatterns, PlacedPatterns
from dispersed.engines.shortlist import (
    EnclosingBall,
    Shortlist,
    ShortlistPosterior,
    in_certified_basin,
    required_size,
    shortened,
    shortlist_posterior,
    transported_tail,
)
from dispersed.engines.stacked_shortlists import enclosing_ball, grouped_shortlists, pad_batch, round_up
from dispersed.machine import jitted_soon
from dispersed.multistep import Value
from dispersed.types import Array, Bool, Float, Int, Numbers, Scalar, State

RUNNING, INVALID, CERTIFIED, ENDED = range(4)
"""A state is on its way, has a shortlist that does not serve any more, is decided, or is at the last noise level."""
NARROWEST = 1e-12
"""The least spread beside a noise level, so that equal patterns have one."""
FARTHEST = 1e10
"""The largest noise level beside the spread: from above it D is the mean to so many digits that the flow is known."""


class FlowState(eqx.Module):
    """A state on its way from its cue, in internal units."""

    x: Float[Numbers, "*b d"]
    """The state."""
    before: Float[Numbers, "*b d"]
    """D of the step before."""
    earlier: Float[Numbers, "*b d"]
    """D of the step before that."""
    step: Int[Numbers, "*b"]
    """The number of steps taken."""
    start: Float[Numbers, "*b"]
    """log(1 + s/σ) at the cue."""
    h: Float[Numbers, "*b"]
    """The length of a step in log(1 + s/σ)."""
    spread: Float[Numbers, "*b"]
    """The length s by which noise levels are spaced."""
    kappa: Float[Numbers, "*b"]
    """The length κ of the variable of interpolation."""
    from_infinity: Bool[Numbers, "*b"]
    """Whether D at σ = ∞ is used, which is `before` at first."""
    status: Int[Numbers, "*b"]
    """Running, invalid, certified or ended."""
    bound: Float[Numbers, "*b"]
    """The largest bound of any denoiser so far."""
    evaluations: Int[Numbers, "*b"]
    """The number of denoisers evaluated."""
    index: Int[Numbers, "*b"]
    """The leading pattern, −1 where none is known for certain."""
    responsibility: Float[Numbers, "*b"]
    """A lower bound on the responsibility of the leading pattern."""
    period: Int[Numbers, "*b"]
    """1 if the last state is a fixed point, else 0."""
    log_mass: Float[Numbers, "*b"]
    """Log Σ w_j exp(−‖x − y_j‖²/(2σ²)) at the cue."""

    @property
    def sigma(self) -> Float[Numbers, "*b"]:
        """The noise level."""
        return self.sigma_at(self.step)

    def sigma_at(self, step: Int[Numbers, "*b"], numpy: Any = jnp) -> Float[Numbers, "*b"]:
        """The noise level after so many steps."""
        return self.spread / numpy.expm1(self.start + self.h * step)

    def after(self, mean: State, steps: int | Int[Array, ""]) -> "FlowState":
        """One step with the denoiser `mean`; the last step is to 0."""
        k, a = self.step, self.sigma
        beginning = jnp.where(self.from_infinity, jnp.inf, self.sigma_at(jnp.zeros_like(k)))
        back, further = (jnp.where(k >= n, self.sigma_at(jnp.maximum(k - n, 0)), beginning) for n in (1, 2))
        before, earlier = Value(self.before, back), Value(self.earlier, further)
        x = multistep.step(self.x, a, self.sigma_at(k + 1), mean, before, earlier, self.kappa)
        last = k >= steps - 1
        new = (jnp.where(last, mean, x), mean, self.before, jnp.where(last, k, k + 1), jnp.where(last, ENDED, RUNNING))
        return eqx.tree_at(lambda p: (p.x, p.before, p.earlier, p.step, p.status), self, new)


class FlowResult(NamedTuple):
    """Where the flow ended from each cue of a batch, (b, …), in the units of the patterns."""

    x: np.ndarray
    """The last states, (b, d)."""
    sigma: np.ndarray
    """Their noise levels, (b,)."""
    pattern: np.ndarray
    """The index of the leading pattern of each, (b,)."""
    responsibility: np.ndarray
    """A lower bound on its responsibility at the last noise level, (b,)."""
    probability: np.ndarray
    """Its probability given the cue, at its own noise level, (b,)."""
    converged: np.ndarray
    """Whether the last state is a fixed point, (b,)."""
    certified: np.ndarray
    """Whether the exact flow from the last state provably ends at the leading pattern, (b,)."""
    bound: np.ndarray
    """An upper bound on ‖D − D_σ(z)‖ for every denoiser D that was used, (b,)."""
    steps: np.ndarray
    """The number of steps, (b,)."""
    evaluations: np.ndarray
    """The number of denoisers evaluated, (b,)."""
    screens: np.ndarray
    """The number of screens of all patterns, (b,)."""
    sums: np.ndarray
    """The number of full scans, (b,)."""


class FlowSolver(NamedTuple):
    """The solver of the certified flow over placed patterns."""

    placed: PlacedPatterns
    """The patterns."""
    steps: int
    """The number of noise levels down to the last one, and 0."""
    sigma_min: float | None
    """The largest last noise level, in the units of the patterns; less where the patterns or the cue ask for it. None:
    a twentieth of the noise of the cue or a fiftieth of the spread, whichever is less."""
    tol: float
    """What ‖D − D_σ(z)‖ may be for every denoiser D on the way, in the units of the patterns."""

    def solve(self, z: np.ndarray, sigma: np.ndarray) -> FlowResult:
        """Integrate the flow from states z (b, d) at noise levels sigma (b,), in the units of the patterns.

        Raises `InputError` as `PlacedPatterns.internal` does.
        """
        factor = self.placed.statistics.factor
        x, level = self._approached(*self.placed.internal(z, sigma))
        integrated = self._integrate(x, level)
        if isinstance(integrated, DistinctPatterns):
            # The flow of equal patterns is that of one of them with the weight of all.
            placed, indices, fraction = integrated
            end = self._replace(placed=placed).solve(z, sigma)
            part = fraction[end.pattern]
            responsibility, probability = end.responsibility * part, end.probability * part
            return end._replace(pattern=indices[end.pattern], responsibility=responsibility, probability=probability)
        flow, screens, sums = integrated
        certified = flow.status == CERTIFIED
        return FlowResult(
            flow.x / factor,
            flow.sigma_at(flow.step, np) / factor,
            flow.index,
            np.minimum(flow.responsibility, 1),
            self._probability(flow, x),
            certified | (flow.period == 1),
            certified,
            flow.bound / factor,
            flow.step + 1,
            flow.evaluations,
            screens,
            sums,
        )

    @property
    def _tol(self) -> float:
        return self.tol * self.placed.statistics.factor

    def _approached(self, x: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cues so far away that nothing but the mean of the patterns is to be told, at the level where more is."""
        mean, (spread, _) = self.placed.prior_moments
        near = np.where(spread > 0, np.minimum(sigma, FARTHEST * spread), sigma)
        return np.where((near < sigma)[:, None], mean + (near / sigma)[:, None] * (x - mean), x), near

    def _start(self, z: np.ndarray, sigma: np.ndarray) -> FlowState:
        options, factor = self.placed.options, self.placed.statistics.factor
        b = len(z)
        mean, spreads = self.placed.prior_moments
        width, lowest = (np.maximum(spread, NARROWEST * sigma) for spread in spreads)
        if self.sigma_min is None:
            last = np.minimum(sigma / 20, LAST_LEVEL * lowest)
        else:
            last = np.minimum(np.minimum(self.sigma_min * factor, sigma / 2), options.last_level * lowest)
        high = sigma >= multistep.FROM_INFINITY * width
        spread = multistep.SPACING * width
        start = np.log1p(spread / sigma)
        h = (np.log1p(spread / last) - start) / max(self.steps - 1, 1)
        zeros, none = np.zeros(b, np.int64), np.zeros(b)
        mean = np.broadcast_to(mean, z.shape)
        levels = (zeros, start, h, spread, multistep.KAPPA * width, high)
        flow = FlowState(z, mean, mean, *levels, zeros + RUNNING, none, zeros, zeros - 1, none, zeros, none)
        return jax.tree.map(np.array, flow)

    def _integrate(
        self, z: np.ndarray, sigma: np.ndarray
    ) -> tuple[FlowState, np.ndarray, np.ndarray] | DistinctPatterns:
        """The flow, and how often all patterns were screened and summed for each state; or, before any sum, the
        distinct patterns, where many are equal.
        """
        placed = self.placed
        b = len(z)
        flow = self._start(z, sigma)
        screens, sums = np.zeros(b, np.int64), np.zeros(b, np.int64)
        tail = allowed_tail(placed, self._tol)
        found = np.full(b, None, object)
        """The candidates of each state."""
        place, level = z.copy(), sigma.copy()
        """Where they were found."""
        stuck = np.zeros(b, bool)
        """Which states could not take a step with their candidates."""
        while (active := np.flatnonzero(flow.status < CERTIFIED)).size:
            flow.status[active] = RUNNING
            new = active[[one is None for one in found[active]]]
            place[new], level[new] = flow.x[new], _levels(flow, new)
            hopeful = new[~stuck[new]]
            if hopeful.size:
                found[hopeful], tried = screen_states(placed, States.of(placed, place[hopeful], level[hopeful]), tail)
                screens[hopeful] += tried
            rest = new[[one is None for one in found[new]]]
            if rest.size:
                if placed.distinct is not None:
                    return placed.distinct
                found[rest] = self._step(flow, rest, level[rest])
                sums[rest] += 1
            going = active[[one is not None for one in found[active]] & (flow.status[active] < CERTIFIED)]
            # What a screen found is for the very place; what a sum found is for places further on.
            on = going[np.isin(going, rest)]
            hopeless = on[~self._promising(flow, on, found[on], place[on], level[on])]
            found[hopeless] = None
            going = np.setdiff1d(going, hopeless)
            before = flow.step[going].copy()
            with jax.enable_x64(True):
                states = States.of(placed, place[going], level[going])
                for some, shortlists in grouped_shortlists(placed, states, found[going]):
                    self._run(flow, going[some], shortlists, tail)
            lost = going[flow.status[going] < CERTIFIED]
            here = flow.step[lost] == before[np.searchsorted(going, lost)]
            stuck[:] = False
            stuck[lost] = here & ~np.isin(lost, rest)
            found[lost] = None
        self._name(flow)
        return flow, screens, sums

    def _promising(
        self, flow: FlowState, states: np.ndarray, found: np.ndarray, place: np.ndarray, level: np.ndarray
    ) -> np.ndarray:
        """Whether states have few candidates, beside which all others look small: a guess before they are weighed."""
        placed = self.placed
        first = np.array([one.indices[0] if len(one.indices) else -1 for one in found], int)
        x, sigma = flow.x[states], _levels(flow, states)
        y = placed.internal_patterns(np.maximum(first, 0)).astype(float)
        lead = placed.log_weights(np.maximum(first, 0)) - np.sum(((x - y) / sigma[:, None]) ** 2, axis=1) / 2
        lead = all_gather(np.where(first >= 0, lead, -np.inf)).max(axis=0, initial=-np.inf)
        tail, distance = (np.array([getattr(one, name) for one in found]) for name in _BOUNDS)
        moved = np.linalg.norm(x - place, axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            tail = transported_tail(tail, distance, moved, level, sigma, x.shape[1], np)
        tail = np.logaddexp.reduce(all_gather(tail), axis=0)
        most = placed.options.most_candidates(placed.total)
        few = all_gather(np.array([len(one.indices) for one in found], int)).max(axis=0) <= most
        allowed = np.log(self._tol / (2 * max(placed.statistics.radius, 1e-300)))
        return few & (tail - lead <= allowed + placed.options.lead_margin)

    def _step(self, flow: FlowState, states: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """One step with the denoiser of all patterns; the candidates that are left to go on with."""
        total = climb(self.placed, flow.x[states], sigma, self._tol, 0, SINGLE)
        flow.bound[states] = np.maximum(flow.bound[states], total.bound)
        flow.evaluations[states] += 1
        first = flow.step[states] == 0
        flow.log_mass[states[first]] = total.log_mass[first]
        with jax.enable_x64(True):
            here, mean = pad_batch((_at(flow, states), total.mean))
            _put(flow, states, _after(here, mean, np.asarray(self.steps)))
        return total.candidates

    def _run(self, flow: FlowState, states: np.ndarray, shortlists: Shortlist, tail: float) -> None:
        """Go on with shortlists, as far as they serve."""
        options, ball = self.placed.options, enclosing_ball(self.placed)
        here = _at(flow, states)
        shortlists, here = pad_batch((shortlists, here))
        tol, tail, steps, most = np.float64(self._tol), tail * options.flow_tail, np.asarray(self.steps), 0
        # At first states are only evaluated: what is decided there, and how long the shortlists must be.
        while True:
            advance = _ADVANCE[int(shortlists.y.size > options.small_stack)]
            here, seen = jax.tree.map(np.asarray, advance(shortlists, here, ball, tol, steps, np.asarray(most)))
            _put(flow, states, here)
            running = np.flatnonzero(flow.status[states] == RUNNING)
            if not running.size:
                return
            states = states[running]
            size = int(round_up(len(states), 4))
            some = np.concatenate([running, np.repeat(running[:1], size - len(running))])
            shortlists, here, seen = jax.tree.map(lambda a, some=some: np.asarray(a)[some], (shortlists, here, seen))
            width = int(round_up(required_size(seen, tail).max(), 4, 16))
            if width < shortlists.index.shape[1]:
                shortlists = shortened(shortlists, here.x, here.sigma_at(here.step, np), seen, width, ball.flush)
            most = options.stride if width > options.small_shortlist else self.steps

    def pushing(self, x: np.ndarray, sigma: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The products of the Jacobians Cov[y | x]/σ² at states x (b, d) with vectors, in the units of the patterns."""
        placed = self.placed
        found = climb(placed, *placed.internal(x, sigma), self._tol, 0)
        log_mass = found.log_mass - (np.log(placed.total) if placed.uniform else 0)
        zeros = np.zeros(len(x))
        answer = Answer(found.mean / placed.statistics.factor, log_mass, zeros, zeros, zeros)
        return lambda v: all_gather(pushed(placed, (), v, x, sigma, answer)).sum(axis=0)

    def _name(self, flow: FlowState) -> None:
        """The likeliest pattern of states that ended without one, its responsibility, and whether they are fixed."""
        states = np.flatnonzero(flow.index < 0)
        if states.size:
            x, sigma = flow.x[states], _levels(flow, states)
            found = climb(self.placed, x, sigma, self._tol, 1)
            flow.index[states], flow.responsibility[states] = found.indices[:, 0], found.responsibilities[:, 0]
            flow.period[states] = _is_fixed(x, found.mean, sigma, np)

    def _probability(self, flow: FlowState, x: np.ndarray) -> np.ndarray:
        """The probability of the leading patterns given the cues x (b, d)."""
        placed = self.placed
        # The pattern is weighed by itself: on the host that has it.
        own = flow.index - placed.first
        here = (own >= 0) & (own < len(placed.storage))
        row = np.where(here, own, 0)
        off = (x - placed.internal_patterns(row)) / flow.sigma_at(np.zeros_like(flow.step), np)[:, None]
        logit = placed.log_weights(row) - np.sum(off**2, axis=1) / 2
        logit = all_gather(np.where(here, logit, -np.inf)).max(axis=0)
        return np.exp(np.minimum(logit - flow.log_mass, 0))


_BOUNDS = ("log_tail_mass", "excluded_distance")


def _at(flow: FlowState, states: np.ndarray) -> FlowState:
    return jax.tree.map(lambda array: array[states], flow)


def _levels(flow: FlowState, states: np.ndarray) -> np.ndarray:
    """The noise levels of some states, by NumPy."""
    return flow.sigma_at(flow.step, np)[states]


def _put(flow: FlowState, states: np.ndarray, part: FlowState) -> None:
    for array, new in zip(jax.tree.leaves(flow), jax.tree.leaves(part), strict=True):
        array[states] = np.asarray(new)[: len(states)]


def _evaluate(
    shortlist: Shortlist, flow: FlowState, ball: EnclosingBall, tol: Any
) -> tuple[ShortlistPosterior, FlowState]:
    """The posterior at a state, and what follows from it: the state is decided, or lost, or can go on."""
    seen = shortlist_posterior(shortlist, flow.x, flow.sigma, ball)
    serves = seen.bound <= tol
    decided = serves & in_certified_basin(shortlist, seen, flow.x, flow.sigma, ball)
    status = jnp.where(decided, CERTIFIED, jnp.where(serves, RUNNING, INVALID))
    lead = shortlist.y[seen.lead].astype(flow.x.dtype)
    return seen, eqx.tree_at(
        lambda p: (p.x, p.status, p.bound, p.evaluations, p.index, p.responsibility, p.log_mass),
        flow,
        (
            jnp.where(decided, lead, flow.x),
            status,
            jnp.where(serves, jnp.maximum(flow.bound, seen.bound), flow.bound),
            flow.evaluations + serves,
            jnp.where(decided, shortlist.index[seen.lead], -1),
            jnp.where(serves, _responsibility(seen), flow.responsibility),
            jnp.where(flow.step == 0, seen.log_mass, flow.log_mass),
        ),
    )


def _responsibility(seen: ShortlistPosterior) -> Scalar:
    """A lower bound on the responsibility of the leading pattern, but for round-off."""
    return jax.nn.softmax(seen.logits)[seen.lead] * jax.nn.sigmoid(seen.log_mass - seen.log_tail_mass)


@jitted_soon()
def _after(flow: FlowState, mean: Array, steps: Array) -> FlowState:
    return jax.vmap(lambda flow, mean: flow.after(mean, steps))(flow, mean)


def _advance(
    shortlists: Shortlist, flow: FlowState, ball: EnclosingBall, tol: Any, steps: Array, most: Array
) -> tuple[FlowState, ShortlistPosterior]:
    """At most `most` steps on shortlists, and the posterior where each state comes to a halt."""

    def one(shortlist: Shortlist, flow: FlowState) -> tuple[FlowState, ShortlistPosterior]:
        end = flow.step + most

        def go(carry: tuple[FlowState, ShortlistPosterior, Array]) -> tuple[FlowState, ShortlistPosterior, Array]:
            flow, _, _ = carry
            seen, now = _evaluate(shortlist, flow, ball, tol)
            goes_on = (now.status == RUNNING) & (flow.step < end)
            # Where it comes to a halt the next step evaluates again, and counts.
            halts = (now.status == RUNNING) & ~goes_on
            now = eqx.tree_at(lambda p: p.evaluations, now, now.evaluations - halts)
            there = jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), now.after(seen.mean, steps), now)
            ended = flow.status == ENDED
            last = _finished(shortlist, seen, flow)
            there = jax.tree.map(lambda new, old: jnp.where(ended, new, old), last, there)
            return there, seen, ended | ~goes_on

        def more(carry: tuple[FlowState, ShortlistPosterior, Array]) -> Array:
            return ~carry[2]

        blank = jax.tree.map(
            lambda part: jnp.zeros(part.shape, part.dtype), jax.eval_shape(_evaluate, shortlist, flow, ball, tol)[0]
        )
        flow, seen, _ = jax.lax.while_loop(more, go, (flow, blank, flow.status != RUNNING))
        return flow, seen

    return jax.vmap(one)(shortlists, flow)


_ADVANCE = {level: jitted_soon(level)(_advance) for level in (0, 1)}
"""The program, by how much it is optimised: what runs briefly is not worth it."""


def _is_fixed(
    x: Float[Numbers, "*b d"], mean: Float[Numbers, "*b d"], sigma: Float[Numbers, "*b"], numpy: Any = jnp
) -> Bool[Numbers, "*b"]:
    """Whether denoising moves a state by less than σ/10 a unit."""
    return numpy.sqrt(numpy.mean((mean - x) ** 2, axis=-1)) <= sigma / 10


def _finished(shortlist: Shortlist, seen: ShortlistPosterior, flow: FlowState) -> FlowState:
    """A state at the end of its flow, by what denoising once more makes of it."""
    still = _is_fixed(flow.x, seen.mean, flow.sigma)
    # Nothing that was excluded can be likelier than the leading pattern.
    lead = jnp.where(seen.log_tail_mass <= seen.log_lead, shortlist.index[seen.lead], -1)
    return eqx.tree_at(
        lambda p: (p.period, p.index, p.responsibility),
        flow,
        (still.astype(flow.period.dtype), lead, _responsibility(seen)),
    )

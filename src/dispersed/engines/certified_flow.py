r"""The probability flow over any number of patterns, certified, at the price of looking at all of them a few times.

One look at all patterns finds those that matter; the others are bounded, there and along the way
(`dispersed.engines.shortlist`). The flow then runs on those that were kept until the bound says that more must be
looked at, or until one pattern provably owns the basin: the exact flow ends there, and nothing is left to compute.
Where very many patterns matter, at high noise, all are summed, and as few steps as possible are to be taken there. So
the flow

    d(z/σ)/dσ = −D_σ(z)/σ²

is integrated with D a quadratic in w = κ/(σ + κ) through its last three values, which is a multistep method of order 3
like that of `ExponentialIntegrator`, but for what D is a polynomial in. Above the spread c of the patterns, D differs
from their mean μ in proportion to 1/σ, as w does; far below κ, a polynomial in w is one in σ. And at σ = ∞, where
w = 0, D = μ is a value that need not be computed: a flow that begins at high noise begins with it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.certified_posterior import (
    allowed_tail,
    grouped_shortlists,
    max_candidates,
    pad_batch,
    posterior,
    round_up,
    screen_states,
)
from dispersed.engines.collectives import all_gather
from dispersed.engines.full_scan import ScanResult, scan_to_tolerance
from dispersed.engines.placed_patterns import PlacedPatterns
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
from dispersed.types import Array, Bool, Float, Int, Numbers, Scalar, State

RUNNING, INVALID, CERTIFIED, ENDED = range(4)
"""On its way; in need of another look at all patterns; decided; at the last noise level."""
HIGH, COARSE, KAPPA = 0.5, 0.3, 0.1
"""In units of c: the noise from which on a flow begins at σ = ∞, what its steps are even with instead of c, and κ. By
trial, on digits, clusters and a power law."""
SMALL = 256
"""Kept patterns below which leaving more out is not worth a step of its own."""
STRIDE = 4
"""Steps between two such."""
LEAD_MARGIN = 3.0
"""Nats by which the leading pattern may weigh less than all that was kept."""
MARGIN = 1e-3
"""How much less than the tolerance allows may be left out where the flow is to go on: what was left out grows."""


class FlowState(eqx.Module):
    """A state on its way from its cue."""

    x: Float[Numbers, "*b d"]
    before: Float[Numbers, "*b d"]
    """D of the step before,"""
    earlier: Float[Numbers, "*b d"]
    """and of the one before that."""
    step: Int[Numbers, "*b"]
    start: Float[Numbers, "*b"]
    """σ of the cue."""
    h: Float[Numbers, "*b"]
    """Steps in log(σ/(σ + c)),"""
    spread: Float[Numbers, "*b"]
    """with this c,"""
    scale: Float[Numbers, "*b"]
    """and κ."""
    known: Bool[Numbers, "*b"]
    """Whether D at σ = ∞ is used, which is `before` at first."""
    status: Int[Numbers, "*b"]
    bound: Float[Numbers, "*b"]
    """The largest so far."""
    evaluations: Int[Numbers, "*b"]
    index: Int[Numbers, "*b"]
    """The pattern that leads,"""
    share: Float[Numbers, "*b"]
    """and its responsibility."""
    period: Int[Numbers, "*b"]

    @property
    def sigma(self) -> Float[Numbers, "*b"]:
        return self.sigma_at(self.step)

    def sigma_at(self, step: Int[Numbers, "*b"], exp: Callable[..., Any] = jnp.exp) -> Float[Numbers, "*b"]:
        """The noise level after so many steps."""
        ratio = self.start / (self.start + self.spread) * exp(-self.h * step)
        return self.spread * ratio / (1 - ratio)

    def after(self, mean: State, steps: int) -> "Path":
        """One step with the denoiser `mean`; the last step is to 0."""
        k, kappa = self.step, self.scale
        a, b = self.sigma, self.sigma_at(k + 1)
        w = kappa / (a + kappa)
        back = jnp.where(k > 0, kappa / (self.sigma_at(jnp.maximum(k - 1, 0)) + kappa), 0)
        further = jnp.where(k > 1, kappa / (self.sigma_at(jnp.maximum(k - 2, 0)) + kappa), 0)
        # Divided differences; of what is not known, none.
        two, three = (k > 0) | self.known, (k > 1) | ((k > 0) & self.known)
        first = jnp.where(two, mean - self.before, 0) / jnp.where(two, w - back, 1)
        older = jnp.where(three, self.before - self.earlier, 0) / jnp.where(three, back - further, 1)
        second = jnp.where(three, first - older, 0) / jnp.where(three, w - further, 1)
        m0, m1, m2 = moments(a, b, kappa)
        x = (b / a) * self.x + m0 * mean + m1 * first + (m2 + (w - back) * m1) * second
        last = k >= steps - 1
        new = (jnp.where(last, mean, x), mean, self.before, jnp.where(last, k, k + 1), jnp.where(last, ENDED, RUNNING))
        return eqx.tree_at(lambda p: (p.x, p.before, p.earlier, p.step, p.status), self, new)


def moments(a: Scalar, b: Scalar, kappa: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The moments b ∫_b^a (w(σ) − w(a))ⁿ/σ² dσ, n = 0, 1, 2, of w(σ) = κ/(σ + κ), by partial fractions."""
    apart, far = (a - b) / (a * b), (a - b) / ((a + kappa) * (b + kappa))
    turn = jnp.log(a / b) - jnp.log((a + kappa) / (b + kappa))
    first = a / kappa * apart - (a + kappa) / kappa**2 * turn
    second = (a / kappa) ** 2 * apart + ((a + kappa) / kappa) ** 2 * far - 2 * a * (a + kappa) / kappa**3 * turn
    ratio = kappa / (a + kappa)
    return b * apart, b * ratio * first, b * ratio**2 * second


class FlowSolver(NamedTuple):
    """The solver of the certified flow over placed patterns: see `CertifiedFlow` for its arguments."""

    placed: PlacedPatterns
    steps: int
    sigma_min: float
    tol: float

    def solve(self, z: np.ndarray, sigma: np.ndarray) -> tuple[FlowState, np.ndarray, np.ndarray]:
        """Integrate the flow from states z (b, d) at noise levels sigma (b,): the last state of each, and how often
        all patterns were screened and summed for it.
        """
        placed = self.placed
        b = len(z)
        width = max(placed.statistics.spread, 1e-30)
        last, high = np.minimum(self.sigma_min, sigma / 2), sigma >= HIGH * width
        spread = np.where(high, COARSE, 1) * width
        h = np.log(sigma / (sigma + spread) / (last / (last + spread))) / (self.steps - 1)
        zeros, none = np.zeros(b, np.int64), np.zeros(b)
        known = np.broadcast_to(placed.ball.centre, z.shape)
        steps = (zeros, sigma, h, spread, none + KAPPA * width, high)
        path = FlowState(z, known, known, *steps, zeros + RUNNING, none, zeros, zeros - 1, none, zeros)
        path = jax.tree.map(np.array, path)
        screens, sums = zeros.copy(), zeros.copy()
        share = allowed_tail(placed, self.tol)
        found = np.full(b, None, object)  # what each state keeps
        place, level = path.x.copy(), sigma.copy()  # where that was found
        # Who got nowhere with what a screen kept.
        stuck = np.zeros(b, bool)
        while (active := np.flatnonzero(path.status < CERTIFIED)).size:
            path.status[active] = RUNNING
            new = active[[kept is None for kept in found[active]]]
            place[new], level[new] = path.x[new], _levels(path, new)
            hopeful = new[~stuck[new]]
            found[hopeful], tried = screen_states(placed, place[hopeful], level[hopeful], share)
            screens[hopeful] += tried
            rest = new[[kept is None for kept in found[new]]]
            if rest.size:
                self._step(placed, path, found, rest, level[rest])
                sums[rest] += 1
            going = active[[kept is not None for kept in found[active]] & (path.status[active] < CERTIFIED)]
            # What a screen kept is for the very place; what a sum kept is for places further on.
            on = going[np.isin(going, rest)]
            hopeless = on[~self._promising(placed, path, on, found[on], place[on], level[on])]
            found[hopeless] = None
            going = np.setdiff1d(going, hopeless)
            before = path.step[going].copy()
            with jax.enable_x64(True):
                for some, kept in grouped_shortlists(placed, place[going], level[going], found[going]):
                    self._run_on_shortlist(path, going[some], kept, placed.ball, share)
            lost = going[path.status[going] < CERTIFIED]
            here = path.step[lost] == before[np.searchsorted(going, lost)]
            stuck[:] = False
            stuck[lost] = here & ~np.isin(lost, rest)
            found[lost] = None
        return path, screens, sums

    def _promising(
        self,
        placed: PlacedPatterns,
        path: FlowState,
        states: np.ndarray,
        found: np.ndarray,
        place: np.ndarray,
        level: np.ndarray,
    ) -> np.ndarray:
        """Whether few were kept and the others look small beside the leading one: a look before they are weighed."""
        first = np.array([kept.indices[0] if len(kept.indices) else -1 for kept in found], int)
        x, sigma = path.x[states], _levels(path, states)
        y = placed.patterns(np.maximum(first, 0)).astype(float)
        lead = placed.log_weights(np.maximum(first, 0)) - np.sum((x - y) ** 2, axis=1) / (2 * sigma**2)
        lead = all_gather(np.where(first >= 0, lead, -np.inf)).max(axis=0, initial=-np.inf)
        rest, excluded_distance = (
            np.array([getattr(kept, name) for kept in found], float) for name in ("log_tail_mass", "excluded_distance")
        )
        rest = transported_tail(rest, excluded_distance, np.linalg.norm(x - place, axis=1), level, sigma, np)
        rest = np.logaddexp.reduce(all_gather(rest), axis=0)
        few = all_gather(np.array([len(kept.indices) for kept in found], int)).max(axis=0) <= max_candidates(placed)
        return few & (rest - lead <= np.log(self.tol / (2 * max(placed.statistics.radius, 1e-300))) + LEAD_MARGIN)

    def _step(
        self, placed: PlacedPatterns, path: FlowState, found: np.ndarray, states: np.ndarray, sigma: np.ndarray
    ) -> None:
        """One step with the denoiser of all patterns, and what they leave to go on with."""
        total = self._scan_blocks(placed, path.x[states], sigma)
        found[states] = total.found
        path.bound[states] = np.maximum(path.bound[states], total.bound)
        path.evaluations[states] += 1
        with jax.enable_x64(True):
            here, mean = pad_batch((_at(path, states), total.mean))
            _put(path, states, _after(here, mean, self.steps))
        ended = states[path.status[states] == ENDED]
        if ended.size:
            path.index[ended], path.share[ended] = _leader(placed, path, ended)

    def _scan_blocks(self, placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray) -> ScanResult:
        """The denoiser where a screen kept too much: of all patterns."""
        total = scan_to_tolerance(placed, x, sigma, self.tol)
        rest = ~(total.bound <= self.tol)
        if rest.any():
            found = posterior(placed, x[rest], sigma[rest], self.tol, 1)
            total.mean[rest], total.bound[rest], total.entropy[rest] = found.mean, found.bound, found.entropy
        return total

    def _run_on_shortlist(
        self, path: FlowState, states: np.ndarray, kept: Shortlist, known: EnclosingBall, share: float
    ) -> None:
        """Go on with what was kept, as far as it serves."""
        here = _at(path, states)
        kept, here = pad_batch((kept, here))
        tol, share = np.float64(self.tol), np.float64(share * MARGIN)
        while True:
            count, here = _assess(kept, here, known, tol, share)
            _put(path, states, here)
            running = np.flatnonzero(path.status[states] == RUNNING)
            if not running.size:
                return
            states = states[running]
            size = int(round_up(len(states), 4))
            some = np.concatenate([running, np.repeat(running[:1], size - len(running))])
            kept, here = jax.tree.map(lambda a, some=some: np.asarray(a)[some], (kept, here))
            width = int(round_up(np.asarray(count)[some].max(), 4, 16))
            if width < kept.index.shape[1]:
                kept = _fewer(kept, here, known, width)
            here = _advance(kept, here, known, tol, self.steps, STRIDE if width > SMALL else self.steps)


def _at(path: FlowState, states: np.ndarray) -> FlowState:
    return jax.tree.map(lambda array: array[states], path)


def _levels(path: FlowState, states: np.ndarray) -> np.ndarray:
    """Their noise levels, by NumPy."""
    here = _at(path, states)
    return here.sigma_at(here.step, np.exp)


def _put(path: FlowState, states: np.ndarray, part: FlowState) -> None:
    for array, new in zip(jax.tree.leaves(path), jax.tree.leaves(part), strict=True):
        array[states] = np.asarray(new)[: len(states)]


def _evaluate(kept: Shortlist, path: FlowState, known: EnclosingBall, tol: Any) -> tuple[ShortlistPosterior, FlowState]:
    """The denoiser at a state, and what follows from it: it is decided, or lost, or can go on."""
    seen = shortlist_posterior(kept, path.x, path.sigma, known)
    served = seen.bound <= tol
    decided = served & in_certified_basin(kept, seen, path.x, path.sigma, known)
    status = jnp.where(decided, CERTIFIED, jnp.where(served, RUNNING, INVALID))
    lead = kept.y[seen.lead].astype(path.x.dtype)
    return seen, eqx.tree_at(
        lambda p: (p.x, p.status, p.bound, p.evaluations, p.index, p.share),
        path,
        (
            jnp.where(decided, lead, path.x),
            status,
            jnp.where(served, jnp.maximum(path.bound, seen.bound), path.bound),
            path.evaluations + served,
            jnp.where(served, kept.index[seen.lead], path.index),
            jnp.where(served, _share(seen), path.share),
        ),
    )


def _share(seen: ShortlistPosterior) -> Scalar:
    """The responsibility of the leading pattern, at least."""
    return jax.nn.softmax(seen.logits)[seen.lead] * jax.nn.sigmoid(seen.log_mass - seen.log_tail_mass)


@eqx.filter_jit
def _after(path: FlowState, mean: Array, steps: int) -> FlowState:
    return jax.vmap(lambda path, mean: path.after(mean, steps))(path, mean)


@eqx.filter_jit
def _assess(kept: Shortlist, path: FlowState, known: EnclosingBall, tol: Any, share: Any) -> tuple[Array, FlowState]:
    """Who is decided where it is, and how many patterns the others need."""

    def one(kept: Shortlist, path: FlowState) -> tuple[Array, FlowState]:
        seen, now = _evaluate(kept, path, known, tol)
        # The next step asks again, and counts.
        now = eqx.tree_at(lambda p: p.evaluations, now, path.evaluations + (now.status == CERTIFIED))
        now = jax.tree.map(lambda new, old: jnp.where(path.status == RUNNING, new, old), now, path)
        return required_size(seen, share), now

    return jax.vmap(one)(kept, path)


@eqx.filter_jit
def _fewer(kept: Shortlist, path: FlowState, known: EnclosingBall, size: int) -> Shortlist:
    def one(kept: Shortlist, path: FlowState) -> Shortlist:
        return shortened(kept, path.x, path.sigma, shortlist_posterior(kept, path.x, path.sigma, known), size)

    return jax.vmap(one)(kept, path)


@eqx.filter_jit
def _advance(kept: Shortlist, path: FlowState, known: EnclosingBall, tol: Any, steps: int, most: int) -> FlowState:
    """At most `most` steps on what was kept."""

    def one(kept: Shortlist, path: FlowState) -> FlowState:
        end = path.step + most

        def go(path: FlowState) -> FlowState:
            seen, now = _evaluate(kept, path, known, tol)
            there = now.after(seen.mean, steps)
            return jax.tree.map(lambda new, old: jnp.where(now.status == RUNNING, new, old), there, now)

        path = jax.lax.while_loop(lambda p: (p.status == RUNNING) & (p.step < end), go, path)
        # Of a recall that went to the end: a fixed point if denoising once more moves it by less than σ/10 a unit.
        again = shortlist_posterior(kept, path.x, path.sigma, known)
        still = jnp.sqrt(jnp.mean((again.mean - path.x) ** 2)) <= path.sigma / 10
        ended = path.status == ENDED
        new = ((ended & still).astype(path.period.dtype), kept.index[again.lead], _share(again))
        old = (path.period, path.index, path.share)
        return eqx.tree_at(
            lambda p: (p.period, p.index, p.share),
            path,
            jax.tree.map(lambda new, old: jnp.where(ended, new, old), new, old),
        )

    return jax.vmap(one)(kept, path)


def _leader(placed: PlacedPatterns, path: FlowState, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest pattern of recalled states, and its responsibility, where a screen never named one."""
    found = posterior(placed, path.x[states], _levels(path, states), np.inf, 1)
    return found.index[:, 0], found.responsibilities[:, 0]

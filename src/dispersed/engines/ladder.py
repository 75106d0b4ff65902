r"""The ladder of methods by which states are answered, from the cheapest to the surest, each with a bound on its error.

1. *Screening*: one pass in single precision finds the few patterns that can matter, which are weighed in double
   precision, and bounds the others (`candidate_screening`, `shortlist`).
2. *Single precision*: all patterns are summed, dominant terms in double precision (`full_scan`).
3. *Double precision*: all patterns are summed (`full_scan`).
4. *Differences*: all patterns are summed by differences instead of products (`differences`).

A state takes the next rung where the bound exceeds the tolerance, or where it is not certain that the pattern named
first is the likeliest.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from dispersed.engines.candidate_screening import (
    LogitSample,
    States,
    allowed_tail,
    sample_logits,
    screen_states,
)
from dispersed.engines.collectives import all_gather
from dispersed.engines.differences import sum_by_differences
from dispersed.engines.full_scan import ScanResult, full_scan, weigh_candidates
from dispersed.engines.leading_patterns import leading_patterns
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.roundoff import gamma, mean_error
from dispersed.engines.shortlist import EnclosingBall, Shortlist, ShortlistPosterior, shortlist_posterior
from dispersed.engines.stacked_shortlists import enclosing_ball, grouped_shortlists, pad_batch
from dispersed.machine import jitted_soon

SCREENING, SINGLE, DOUBLE, DIFFERENCES = range(4)
"""The rungs of the ladder, in order."""

Guess = Callable[[], LogitSample]
"""The sample of logits for the states of a rung."""


class Answers(NamedTuple):
    """What is known of each of b states, in double precision and internal units."""

    mean: np.ndarray
    """D_σ(x), (b, d)."""
    bound: np.ndarray
    """An upper bound on ‖mean − D_σ(x)‖, (b,)."""
    log_mass: np.ndarray
    """Log Σ w_j exp(−‖x − y_j‖²/(2σ²)), (b,)."""
    entropy: np.ndarray
    """−Σ p log p, (b,)."""
    indices: np.ndarray
    """The likeliest patterns, the first one first, (b, k); −1 where fewer were weighed."""
    responsibilities: np.ndarray
    """Their responsibilities, (b, k)."""
    certain: np.ndarray
    """Whether the first one is the likeliest of all for certain, up to ties within round-off, (b,)."""
    candidates: np.ndarray
    """The `Candidates` that serve further along a flow, or None, (b,)."""
    rung: np.ndarray
    """The rung of the ladder that the answer comes from, (b,)."""
    weighed: np.ndarray
    """The number of patterns that were not excluded, (b,)."""

    @staticmethod
    def none(b: int, d: int, k: int) -> "Answers":
        """Nothing known of b states."""
        index, zeros = np.full((b, k), -1), np.zeros(b)
        no, rung = np.zeros(b, bool), np.full(b, DIFFERENCES)
        bound, candidates = np.full(b, np.inf), np.full(b, None, object)
        weighed = np.zeros(b, int)
        return Answers(
            np.zeros((b, d)), bound, zeros, zeros.copy(), index, np.zeros((b, k)), no, candidates, rung, weighed
        )

    def put(self, states: np.ndarray, other: "Answers") -> None:
        """Take over the answers of some states that say more than what was known."""
        better = (other.bound < self.bound[states]) | (other.certain & ~self.certain[states])
        for whole, part in zip(self, other, strict=True):
            whole[states[better]] = part[better]


def climb(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, tol: float, k: int, first: int = SCREENING
) -> Answers:
    """The answers for states x (b, d) at noise levels sigma (b,), by the first rung, from `first` on, that meets `tol`.

    The k likeliest patterns are named; for k = 0 none is, and only the bound decides.
    """
    b, d = x.shape
    answers = Answers.none(b, d, k)
    if not b:
        return answers
    states = States.of(placed, x, sigma)
    sample: list[LogitSample] = []

    def guess(some: np.ndarray) -> LogitSample:
        """The logits of a few patterns for some of the states, evaluated when they are first needed."""
        if not sample:
            sample.append(sample_logits(placed, states))
        return sample[0].only(some)

    left = np.arange(b)
    for rung in range(first, DIFFERENCES + 1):
        answers.put(left, _RUNGS[rung](placed, states.only(left), functools.partial(guess, left), tol, k))
        left = np.flatnonzero(~((answers.bound <= tol) & (answers.certain | (k == 0))))
        if not left.size:
            break
    return answers


def _by_screening(placed: PlacedPatterns, states: States, guess: Guess, tol: float, k: int) -> Answers:
    b, d = states.x.shape
    answers = Answers.none(b, d, k)
    found, _ = screen_states(placed, states, allowed_tail(placed, tol), guess)
    counts = all_gather(np.array([0 if one is None else len(one.indices) for one in found])).sum(axis=0)
    many = np.flatnonzero(counts > placed.options.by_differences)
    if many.size:
        here = states.only(many)
        answers.put(
            many, _from_scan(placed, here, weigh_candidates(placed, here, found[many]), k, SCREENING, counts[many])
        )
    few = np.flatnonzero(counts <= placed.options.by_differences)
    log_max = np.array([-np.inf if one is None else one.log_tail_max for one in found[few]])
    log_max = all_gather(log_max).max(axis=0, initial=-np.inf)
    with jax.enable_x64(True):
        for some, shortlists in grouped_shortlists(placed, states.only(few), found[few]):
            m, ball = len(some), enclosing_ball(placed)
            seen = jax.tree.map(lambda a, m=m: np.asarray(a)[:m], _posteriors(pad_batch(shortlists), ball))
            index, share, entropy = _likeliest(shortlists, seen, k)
            # Nothing that was excluded can exceed the leading pattern, if there is one.
            lead = seen.log_lead
            slack = gamma(d + 8, float) * 2 * np.abs(np.where(lead > -np.inf, lead, 0))
            certain = (lead > -np.inf) & (np.minimum(log_max[some], seen.log_tail_mass) <= lead + slack)
            part = Answers.none(m, d, k)
            rung = np.full(m, SCREENING)
            width = index.shape[1]
            part.indices[:, :width], part.responsibilities[:, :width] = index, share
            states_here = few[some]
            answers.put(
                states_here,
                part._replace(
                    mean=seen.mean,
                    bound=seen.bound,
                    log_mass=seen.log_mass,
                    entropy=entropy,
                    certain=certain,
                    candidates=found[states_here],
                    rung=rung,
                    weighed=counts[states_here],
                ),
            )
    return answers


def _by_scan(placed: PlacedPatterns, states: States, guess: Guess, k: int, dtype: type, some: np.ndarray) -> Answers:
    """The answers of a full scan for those states that are among `some`, in groups that share a pass."""
    b, d = states.x.shape
    answers = Answers.none(b, d, k)
    likely = np.flatnonzero(all_gather(some).all(axis=0))
    for start in range(0, len(likely), placed.options.states_per_pass):
        group = likely[start : start + placed.options.states_per_pass]
        here = states.only(group)
        total = full_scan(placed, here, dtype, guess().only(group), k)
        rung = SINGLE if dtype == np.float32 else DOUBLE
        answers.put(group, _from_scan(placed, here, total, k, rung, np.full(len(group), placed.total)))
    return answers


def _in_single(placed: PlacedPatterns, states: States, guess: Guess, tol: float, k: int) -> Answers:
    """A scan in single precision, for states where that is likely to meet the tolerance.

    A random energy model whose energies deviate by more than √(2 log n) condenses: a few of n patterns carry nearly all
    the weight (Derrida 1981). Where that is not so, single precision serves only if it does for every pattern.
    """
    options, known, n = placed.options, placed.statistics, placed.total
    off = states.logit_error(placed, np.float32)
    wrong = mean_error(off, options.chunk_patterns, np.float32, 2 * known.radius, known.radius)
    if n <= options.small_set:
        return Answers.none(len(states.x), states.x.shape[1], k)
    with np.errstate(invalid="ignore"):
        condensed = guess().deviation > options.condensation * np.sqrt(2 * np.log(n))
    likely = (wrong <= tol) | (all_gather(condensed).any(axis=0) & (options.condensed_rest * wrong <= tol))
    return _by_scan(placed, states, guess, k, np.float32, likely & np.isfinite(off))


def _in_double(placed: PlacedPatterns, states: States, guess: Guess, tol: float, k: int) -> Answers:
    """A scan in double precision, for states whose logits do not overflow there."""
    off = states.logit_error(placed, np.float64)
    # Where not even two terms can be compared it would be in vain.
    return _by_scan(placed, states, guess, k, np.float64, off < 1)


def _by_differences(placed: PlacedPatterns, states: States, guess: Guess, tol: float, k: int) -> Answers:
    b, d = states.x.shape
    found = sum_by_differences(placed, states.x, states.sigma, k)
    return Answers.none(b, d, k)._replace(
        mean=found.mean,
        bound=found.bound,
        log_mass=found.log_mass,
        entropy=found.entropy,
        indices=found.indices[:, :k],
        responsibilities=found.responsibilities[:, :k],
        certain=np.ones(b, bool),
        weighed=np.full(b, placed.total),
    )


_RUNGS: tuple[Callable[..., Answers], ...] = (_by_screening, _in_single, _in_double, _by_differences)


def _from_scan(
    placed: PlacedPatterns, states: States, total: ScanResult, k: int, rung: int, weighed: np.ndarray
) -> Answers:
    b = len(states.x)
    index, share, certain = leading_patterns(placed, states, total, k)
    return Answers(
        total.mean,
        total.bound,
        total.log_sum - states.half_square,
        total.entropy,
        index,
        share,
        certain,
        total.candidates,
        np.full(b, rung),
        weighed,
    )


@jitted_soon()
def _posteriors(shortlists: Shortlist, ball: EnclosingBall) -> ShortlistPosterior:
    """The posterior of every state at x₀."""

    def one(shortlist: Shortlist) -> ShortlistPosterior:
        return shortlist_posterior(shortlist, shortlist.x, shortlist.sigma, ball)

    return jax.vmap(one)(shortlists)


def _likeliest(shortlists: Shortlist, seen: ShortlistPosterior, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k likeliest patterns of every state, −1 where there are fewer, their responsibilities, and the entropy."""
    from scipy.special import entr, softmax  # slow to import

    m = len(seen.mean)
    p = softmax(seen.logits, axis=1)
    place = np.argsort(-seen.logits, axis=1, kind="stable")[:, :k]
    there = np.take_along_axis(shortlists.log_weights[:m], place, 1) > -np.inf
    index = np.where(there, np.take_along_axis(shortlists.index[:m], place, 1), -1)
    return index, np.where(there, np.take_along_axis(p, place, 1), 0), entr(p).sum(axis=1)

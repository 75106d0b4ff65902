r"""The exact posterior over any number of stored patterns, with a certificate.

    p(j | x) = softmax_j(log w_j − ‖x − y_j‖²/(2σ²)),    D_σ(x) = Σ_j p(j | x) y_j          (Eq. 28, 29)

Two ways lead there. Where few patterns matter, a screen in single precision finds all of them and bounds the others;
the few are weighed by direct differences in double precision. Where many do, every pattern is summed. Either way the
distance from the exact mean is bounded, round-off included, and `tol` is what the bound may be: a way whose bound
exceeds it is left for the next, from the screen to the sum in single precision, to that in double precision, and to
differences from all patterns that a sum cannot tell apart.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.candidate_screening import (
    SAMPLE_SIZE,
    STATES_PER_PASS,
    Candidates,
    sample_logits,
    screen,
    screening_depth,
)
from dispersed.engines.collectives import all_gather
from dispersed.engines.full_scan import ScanResult, leading_patterns, scan_to_tolerance, weigh_candidates
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.shortlist import EnclosingBall, Shortlist, ShortlistPosterior, shortlist_posterior
from dispersed.types import Array, Numbers

STACKED_NUMBERS = 1 << 25
"""Numbers of kept patterns that are held at once."""
CHEAP_STATES = 4
"""States up to which a screen that keeps too much has cost little."""
GROUP = 256
"""States whose kept patterns are weighed at once."""
BY_DIFFERENCES = 256
"""Kept patterns up to which they are weighed by differences at once, and not only where products lose too much."""

PRUNED, SCANNED = "pruned", "scan"


class PatternPosterior(eqx.Module):
    """The posterior over stored patterns of each state of a batch (...), as NumPy arrays in double precision.

    `mean` and `log_normaliser` belong to all patterns; `entropy` and `effective_patterns` to those that were not left
    out, whose posterior is off by at most the share that `bound` allows.
    """

    mean: Numbers
    """D_σ(x), (..., d)."""
    bound: Numbers
    """At least ‖mean − D_σ(x)‖, (...)."""
    log_normaliser: Numbers
    """log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), (...); log p_σ(x) is d log(σ√2π) less."""
    entropy: Numbers
    """−Σ p log p in nats, (...)."""
    index: Numbers
    """The likeliest patterns, the first one first, (..., k); −1 where fewer were not left out."""
    responsibilities: Numbers
    """Theirs, (..., k)."""
    path: Numbers
    """"pruned" or "scan", (...)."""
    patterns_weighed: Numbers
    """How many patterns were not left out, (...)."""

    @property
    def effective_patterns(self) -> Numbers:
        """Exp of the entropy: how many patterns share the state."""
        return np.exp(self.entropy)

    def __repr__(self) -> str:
        *batch, d = self.mean.shape
        shape = " × ".join(map(str, batch)) or "one"
        if not self.bound.size:
            return f"PatternPosterior({shape} states of {d} units)"
        pruned = float(np.mean(self.path == PRUNED))
        worst = float(self.bound.max())
        return (
            f"PatternPosterior({shape} states of {d} units, {pruned:.1%} pruned, within {worst:.2g} of the exact mean)"
        )


def allowed_tail(placed: PlacedPatterns, tol: float) -> float:
    """What may weigh nothing: a share of the posterior that moves the mean by less than a tenth of `tol`."""
    return min(tol / (20 * max(placed.statistics.radius, 1e-300)), 1e-2)


def max_candidates(placed: PlacedPatterns) -> int:
    """Beyond how many patterns it is cheaper to sum all."""
    return max(placed.shape[0] // 32, 64)


def screen_states(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, share: float, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What every state keeps, a `Found` each, and which states were screened: of some it is seen before that they will
    not do. None where it would be more than `most`, by default more than what is cheaper to sum.
    """
    n = placed.shape[0]
    most = max_candidates(placed) if most is None else most
    found = np.full(len(x), None, object)
    tried = np.ones(len(x), bool)
    guess = sample_logits(placed, x, sigma)
    if n > max(SAMPLE_SIZE, most):
        near = guess.near
        if len(x) <= CHEAP_STATES:
            # Whether a pattern stands out that was not seen yet is seen only by trying.
            near = np.minimum(near, guess.above(guess.best(n) - screening_depth(share, n)))
        tried = all_gather(near < most / n).all(axis=0)
        # One pass over all patterns for a few states costs more than to sum them along with the others.
        tried &= tried.mean() >= 0.5
    likely = np.flatnonzero(tried)
    for start in range(0, len(likely), STATES_PER_PASS):
        some = likely[start : start + STATES_PER_PASS]
        here = jax.tree.map(lambda a, some=some: a[some], guess)
        for i, kept in zip(some, screen(placed, x[some], sigma[some], share, most, here), strict=True):
            found[i] = kept
    # What is too much for one host is too much.
    missing = all_gather(np.array([kept is None for kept in found])).any(axis=0)
    found[missing] = None
    return found, tried


def grouped_shortlists(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, found: np.ndarray
) -> Iterator[tuple[np.ndarray, Shortlist]]:
    """States that keep about equally many patterns, and what they keep, stacked."""
    counts = all_gather(np.array([0 if kept is None else max(1, len(kept.indices)) for kept in found])).max(axis=0)
    sizes = np.where(counts > 0, round_up(counts, 4, 16), 0)
    for size in np.unique(sizes[sizes > 0]):
        states = np.flatnonzero(sizes == size)
        at_once = min(GROUP, max(1, STACKED_NUMBERS // (int(size) * placed.shape[1])))
        for start in range(0, len(states), at_once):
            some = states[start : start + at_once]
            yield some, _stack(placed, x[some], sigma[some], [found[i] for i in some], int(size))


def _stack(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, found: list[Candidates], size: int) -> Shortlist:
    index = np.zeros((len(found), size), np.int64)
    log_w = np.full((len(found), size), -np.inf)
    for i, kept in enumerate(found):
        k = len(kept.indices)
        index[i, :k], index[i, k:] = kept.indices, kept.indices[0] if k else 0
        log_w[i, :k] = placed.log_weights(kept.indices)
    rest = np.array([kept.log_tail_mass for kept in found])
    excluded_distance = np.array([kept.excluded_distance for kept in found])
    y = placed.patterns(index)
    return _join_hosts(Shortlist(index + placed.first, y, log_w, x, sigma, rest, excluded_distance))


def _join_hosts(kept: Shortlist) -> Shortlist:
    """What all hosts keep of the same states."""
    hosts = all_gather(kept)

    def beside(array: np.ndarray) -> np.ndarray:
        return np.concatenate(list(array), axis=1)

    rest, excluded_distance = np.logaddexp.reduce(hosts.log_tail_mass, axis=0), hosts.excluded_distance.min(axis=0)
    index, y, log_w = map(beside, (hosts.index, hosts.y, hosts.log_weights))
    return Shortlist(index, y, log_w, kept.x, kept.sigma, rest, excluded_distance)


def round_up(count: Any, factor: int, least: int = 1) -> Any:
    """The next of least, least·factor, least·factor², …: few sizes, so that few programs serve all."""
    steps = np.ceil(np.round(np.log(np.maximum(count, least) / least) / np.log(factor), 9))
    return (least * factor**steps).astype(int)


def pad_batch(tree: Any) -> Any:
    """The first axis filled up to a power of four with copies of the first entry, by NumPy."""

    def fill(array: np.ndarray) -> np.ndarray:
        size = int(round_up(len(array), 4))
        return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])

    return jax.tree.map(fill, tree)


@eqx.filter_jit
def _shortlist_posteriors(
    kept: Shortlist, ball: EnclosingBall, k: int
) -> tuple[ShortlistPosterior, Array, Array, Array]:
    """Of every state where it was screened: the posterior, the k likeliest, their shares and the entropy."""

    def one(kept: Shortlist) -> tuple[ShortlistPosterior, Array, Array, Array]:
        seen = shortlist_posterior(kept, kept.x, kept.sigma, ball)
        p = jax.nn.softmax(seen.logits)
        share, place = jax.lax.top_k(p, min(k, p.size))
        index = jnp.where(kept.log_weights[place] > -jnp.inf, kept.index[place], -1)
        return seen, index, share, jax.scipy.special.entr(p).sum()

    return jax.vmap(one)(kept)


def shortlist_posteriors(
    placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, found: np.ndarray, k: int
) -> Iterator[tuple]:
    """What states keep weighed by differences: which states, their views, the k likeliest, their shares, entropy."""
    with jax.enable_x64(True):
        for some, kept in grouped_shortlists(placed, x, sigma, found):
            views = _shortlist_posteriors(pad_batch(kept), placed.ball, k)
            yield some, *jax.tree.map(lambda a, m=len(some): np.asarray(a)[:m], views)


def posterior(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, tol: float, k: int) -> PatternPosterior:
    """The posterior of states x (b, d) at noise levels sigma (b,)."""
    b, d = x.shape
    n = placed.shape[0]
    k = min(k, n)
    mean, bound = np.zeros((b, d)), np.full(b, np.inf)
    log_mass, entropy, counts = np.zeros(b), np.zeros(b), np.full(b, n)
    index, share = np.full((b, k), -1), np.zeros((b, k))
    path = np.full(b, SCANNED, dtype=object)

    def take(states: np.ndarray, total: ScanResult, way: str, kept: Any) -> None:
        mean[states], bound[states], log_mass[states], entropy[states] = total[:4]
        index[states], share[states] = leading_patterns(placed, x[states], sigma[states], total, k)
        path[states], counts[states] = way, kept

    def prune(states: np.ndarray, most: int | None, few: int) -> None:
        found, _ = screen_states(placed, x[states], sigma[states], allowed_tail(placed, tol), most)
        kept = all_gather(np.array([0 if one is None else len(one.indices) for one in found])).sum(axis=0)
        many = kept > few
        if many.any():
            here = states[many]
            take(here, weigh_candidates(placed, x[here], sigma[here], found[many]), PRUNED, kept[many])
        here = states[~many]
        for some, seen, first, p, spread in shortlist_posteriors(placed, x[here], sigma[here], found[~many], k):
            to = here[some]
            mean[to], bound[to], log_mass[to], entropy[to] = seen.mean, seen.bound, seen.log_mass, spread
            index[to, : p.shape[1]], share[to, : p.shape[1]] = first, p
            path[to], counts[to] = PRUNED, kept[~many][some]

    prune(np.arange(b), None, BY_DIFFERENCES)
    left = np.flatnonzero(~(bound <= tol))
    if left.size:
        take(left, total := scan_to_tolerance(placed, x[left], sigma[left], tol, k), SCANNED, n)
        # Where expanded products lose too much, all that they cannot tell apart is weighed by differences.
        left = left[~(total.bound <= tol)]
        if left.size:
            prune(left, n, n)
    if placed.uniform:
        log_mass -= np.log(n)
    return PatternPosterior(mean, bound, log_mass, entropy, index, share, path, counts)

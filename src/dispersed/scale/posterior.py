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

from dispersed.scale.hosts import everywhere
from dispersed.scale.kept import Kept, View, World, view
from dispersed.scale.placed import Placed
from dispersed.scale.screen import SAMPLE, TOGETHER, Found, depth, sample, screen
from dispersed.scale.sums import Sum, leaders, summed_within, weighed
from dispersed.types import Array, Numbers

HELD = 1 << 25
"""Numbers of kept patterns that are held at once."""
ALONE = 4
"""States up to which a screen that keeps too much has cost little."""
GROUP = 256
"""States whose kept patterns are weighed at once."""
FEW = 256
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


def allowed_share(placed: Placed, tol: float) -> float:
    """What may weigh nothing: a share of the posterior that moves the mean by less than a tenth of `tol`."""
    return min(tol / (20 * max(placed.facts.radius, 1e-300)), 1e-2)


def limit(placed: Placed) -> int:
    """Beyond how many patterns it is cheaper to sum all."""
    return max(placed.shape[0] // 32, 64)


def screened(
    placed: Placed, x: np.ndarray, sigma: np.ndarray, share: float, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What every state keeps, a `Found` each, and which states were screened: of some it is seen before that they will
    not do. None where it would be more than `most`, by default more than what is cheaper to sum.
    """
    n = placed.shape[0]
    most = limit(placed) if most is None else most
    found = np.full(len(x), None, object)
    tried = np.ones(len(x), bool)
    guess = sample(placed, x, sigma)
    if n > max(SAMPLE, most):
        near = guess.near
        if len(x) <= ALONE:
            # Whether a pattern stands out that was not seen yet is seen only by trying.
            near = np.minimum(near, guess.above(guess.best(n) - depth(share, n)))
        tried = everywhere(near < most / n).all(axis=0)
        # One pass over all patterns for a few states costs more than to sum them along with the others.
        tried &= tried.mean() >= 0.5
    likely = np.flatnonzero(tried)
    for start in range(0, len(likely), TOGETHER):
        some = likely[start : start + TOGETHER]
        here = jax.tree.map(lambda a, some=some: a[some], guess)
        for i, kept in zip(some, screen(placed, x[some], sigma[some], share, most, here), strict=True):
            found[i] = kept
    # What is too much for one host is too much.
    missing = everywhere(np.array([kept is None for kept in found])).any(axis=0)
    found[missing] = None
    return found, tried


def kept_groups(
    placed: Placed, x: np.ndarray, sigma: np.ndarray, found: np.ndarray
) -> Iterator[tuple[np.ndarray, Kept]]:
    """States that keep about equally many patterns, and what they keep, stacked."""
    counts = everywhere(np.array([0 if kept is None else max(1, len(kept.indices)) for kept in found])).max(axis=0)
    sizes = np.where(counts > 0, rounded(counts, 4, 16), 0)
    for size in np.unique(sizes[sizes > 0]):
        states = np.flatnonzero(sizes == size)
        at_once = min(GROUP, max(1, HELD // (int(size) * placed.shape[1])))
        for start in range(0, len(states), at_once):
            some = states[start : start + at_once]
            yield some, _stacked(placed, x[some], sigma[some], [found[i] for i in some], int(size))


def _stacked(placed: Placed, x: np.ndarray, sigma: np.ndarray, found: list[Found], size: int) -> Kept:
    index = np.zeros((len(found), size), np.int64)
    log_w = np.full((len(found), size), -np.inf)
    for i, kept in enumerate(found):
        k = len(kept.indices)
        index[i, :k], index[i, k:] = kept.indices, kept.indices[0] if k else 0
        log_w[i, :k] = placed.log_weights(kept.indices)
    rest = np.array([kept.log_rest for kept in found])
    reach = np.array([kept.reach for kept in found])
    y = placed.patterns(index)
    return _joined(Kept(index + placed.first, y, log_w, x, sigma, rest, reach))


def _joined(kept: Kept) -> Kept:
    """What all hosts keep of the same states."""
    hosts = everywhere(kept)

    def beside(array: np.ndarray) -> np.ndarray:
        return np.concatenate(list(array), axis=1)

    rest, reach = np.logaddexp.reduce(hosts.log_rest, axis=0), hosts.reach.min(axis=0)
    index, y, log_w = map(beside, (hosts.index, hosts.y, hosts.log_weights))
    return Kept(index, y, log_w, kept.x, kept.sigma, rest, reach)


def rounded(count: Any, factor: int, least: int = 1) -> Any:
    """The next of least, least·factor, least·factor², …: few sizes, so that few programs serve all."""
    steps = np.ceil(np.round(np.log(np.maximum(count, least) / least) / np.log(factor), 9))
    return (least * factor**steps).astype(int)


def padded(tree: Any) -> Any:
    """The first axis filled up to a power of four with copies of the first entry, by NumPy."""

    def fill(array: np.ndarray) -> np.ndarray:
        size = int(rounded(len(array), 4))
        return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])

    return jax.tree.map(fill, tree)


@eqx.filter_jit
def _views(kept: Kept, world: World, k: int) -> tuple[View, Array, Array, Array]:
    """Of every state where it was screened: the posterior, the k likeliest, their shares and the entropy."""

    def one(kept: Kept) -> tuple[View, Array, Array, Array]:
        seen = view(kept, kept.x, kept.sigma, world)
        p = jax.nn.softmax(seen.logits)
        share, place = jax.lax.top_k(p, min(k, p.size))
        index = jnp.where(kept.log_weights[place] > -jnp.inf, kept.index[place], -1)
        return seen, index, share, jax.scipy.special.entr(p).sum()

    return jax.vmap(one)(kept)


def viewed(placed: Placed, x: np.ndarray, sigma: np.ndarray, found: np.ndarray, k: int) -> Iterator[tuple]:
    """What states keep weighed by differences: which states, their views, the k likeliest, their shares, entropy."""
    with jax.enable_x64(True):
        for some, kept in kept_groups(placed, x, sigma, found):
            views = _views(padded(kept), placed.world, k)
            yield some, *jax.tree.map(lambda a, m=len(some): np.asarray(a)[:m], views)


def posterior(placed: Placed, x: np.ndarray, sigma: np.ndarray, tol: float, k: int) -> PatternPosterior:
    """The posterior of states x (b, d) at noise levels sigma (b,)."""
    b, d = x.shape
    n = placed.shape[0]
    k = min(k, n)
    mean, bound = np.zeros((b, d)), np.full(b, np.inf)
    log_mass, entropy, counts = np.zeros(b), np.zeros(b), np.full(b, n)
    index, share = np.full((b, k), -1), np.zeros((b, k))
    path = np.full(b, SCANNED, dtype=object)

    def take(states: np.ndarray, total: Sum, way: str, kept: Any) -> None:
        mean[states], bound[states], log_mass[states], entropy[states] = total[:4]
        index[states], share[states] = leaders(placed, x[states], sigma[states], total, k)
        path[states], counts[states] = way, kept

    def prune(states: np.ndarray, most: int | None, few: int) -> None:
        found, _ = screened(placed, x[states], sigma[states], allowed_share(placed, tol), most)
        kept = everywhere(np.array([0 if one is None else len(one.indices) for one in found])).sum(axis=0)
        many = kept > few
        if many.any():
            here = states[many]
            take(here, weighed(placed, x[here], sigma[here], found[many]), PRUNED, kept[many])
        here = states[~many]
        for some, seen, first, p, spread in viewed(placed, x[here], sigma[here], found[~many], k):
            to = here[some]
            mean[to], bound[to], log_mass[to], entropy[to] = seen.mean, seen.bound, seen.log_mass, spread
            index[to, : p.shape[1]], share[to, : p.shape[1]] = first, p
            path[to], counts[to] = PRUNED, kept[~many][some]

    prune(np.arange(b), None, FEW)
    left = np.flatnonzero(~(bound <= tol))
    if left.size:
        take(left, total := summed_within(placed, x[left], sigma[left], tol, k), SCANNED, n)
        # Where expanded products lose too much, all that they cannot tell apart is weighed by differences.
        left = left[~(total.bound <= tol)]
        if left.size:
            prune(left, n, n)
    if placed.uniform:
        log_mass -= np.log(n)
    return PatternPosterior(mean, bound, log_mass, entropy, index, share, path, counts)


__all__ = [
    "PRUNED",
    "SCANNED",
    "PatternPosterior",
    "allowed_share",
    "kept_groups",
    "padded",
    "posterior",
    "rounded",
    "screened",
]

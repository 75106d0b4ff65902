r"""The exact posterior over any number of stored patterns, with a certificate.

    p(j | x) = softmax_j(log w_j − ‖x − y_j‖²/(2σ²)),    D_σ(x) = Σ_j p(j | x) y_j          (Eq. 28, 29)

Two ways lead there. Where few patterns matter, a screen in single precision finds all of them and bounds the others; the
few are weighed by direct differences in double precision. Where many do, every pattern is summed. Either way the distance
from the exact mean is bounded, round-off included, and `tol` is what the bound may be: a way whose bound exceeds it is left
for the next, from the screen to the sum in single precision and from there to that in double precision.
"""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.scale.evidence import Evidence, combine, evidence
from dispersed.scale.hosts import together
from dispersed.scale.kept import Kept, View, World, view
from dispersed.scale.placed import TILE, Placed
from dispersed.scale.roundoff import logit_error, mean_error
from dispersed.scale.screen import Found, probe, screen
from dispersed.types import Array

SCREENED = 1 << 24
"""Numbers that a screen holds at once."""
HELD = 1 << 25
"""Numbers of kept patterns that are held at once."""

PRUNED, SCANNED = "pruned", "scan"


class PatternPosterior(eqx.Module):
    """The posterior over stored patterns of each state of a batch (...), as NumPy arrays in double precision.

    `mean` and `log_normaliser` belong to all patterns; `entropy` and `effective_patterns` to those that were not left
    out, whose posterior is off by at most the share that `bound` allows.
    """

    mean: np.ndarray
    """D_σ(x), (..., d)."""
    bound: np.ndarray
    """At least ‖mean − D_σ(x)‖, (...)."""
    log_normaliser: np.ndarray
    """log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), (...); log p_σ(x) is d log(σ√2π) less."""
    entropy: np.ndarray
    """−Σ p log p in nats, (...)."""
    index: np.ndarray
    """The likeliest patterns, the first one first, (..., k)."""
    responsibilities: np.ndarray
    """Theirs, (..., k)."""
    path: np.ndarray
    """"pruned" or "scan", (...)."""
    patterns_weighed: np.ndarray
    """How many patterns were not left out, (...)."""

    @property
    def effective_patterns(self) -> np.ndarray:
        """Exp of the entropy: how many patterns share the state."""
        return np.exp(self.entropy)

    def __repr__(self) -> str:
        *batch, d = self.mean.shape
        shape = " × ".join(map(str, batch)) or "one"
        if not self.bound.size:
            return f"PatternPosterior({shape} states of {d} units)"
        pruned = float(np.mean(self.path == PRUNED))
        worst = float(self.bound.max())
        return f"PatternPosterior({shape} states of {d} units, {pruned:.1%} pruned, within {worst:.2g} of the exact mean)"


def world(placed: Placed) -> World:
    facts = placed.facts
    return World(*(jnp.asarray(value, float) for value in (facts.centre, facts.radius, facts.norm)))


def allowed_share(placed: Placed, tol: float) -> float:
    """What may weigh nothing: a share of the posterior that moves the mean by less than a tenth of `tol`."""
    return min(tol / (20 * max(placed.facts.radius, 1e-300)), 1e-2)


def limit(placed: Placed) -> int:
    """Beyond how many patterns it is cheaper to sum all."""
    return max(placed.shape[0] // 32, 64)


def screened(placed: Placed, x: np.ndarray, sigma: np.ndarray, share: float) -> list[Found | None]:
    """What every state keeps; None where it would be too much."""
    found: list[Found | None] = [None] * len(x)
    likely = np.flatnonzero(probe(placed, x, sigma)) if placed.shape[0] > 4 * limit(placed) else np.arange(len(x))
    size = max(1, SCREENED * TILE // len(placed.storage))
    for start in range(0, len(likely), size):
        some = likely[start : start + size]
        for i, kept in zip(some, screen(placed, x[some], sigma[some], share, limit(placed)), strict=True):
            found[i] = kept
    return found


def kept_groups(
    placed: Placed, x: np.ndarray, sigma: np.ndarray, found: list[Found | None]
) -> Iterator[tuple[np.ndarray, Kept]]:
    """States that keep about equally many patterns, and what they keep, stacked."""
    counts = np.array([0 if kept is None else len(kept.indices) for kept in found])
    sizes = np.where(counts > 0, 1 << np.ceil(np.log2(np.maximum(counts, 16))).astype(int), 0)
    for size in np.unique(sizes[sizes > 0]):
        states = np.flatnonzero(sizes == size)
        at_once = max(1, HELD // (int(size) * placed.shape[1]))
        for start in range(0, len(states), at_once):
            some = states[start : start + at_once]
            yield some, _stacked(placed, x[some], sigma[some], [found[i] for i in some], int(size))


def _stacked(placed: Placed, x: np.ndarray, sigma: np.ndarray, found: list[Found], size: int) -> Kept:
    index = np.zeros((len(found), size), np.int64)
    log_w = np.full((len(found), size), -np.inf)
    for i, kept in enumerate(found):
        k = len(kept.indices)
        index[i, :k], index[i, k:] = kept.indices, kept.indices[0]
        log_w[i, :k] = placed.log_weights(kept.indices)
    rest = np.array([kept.log_rest for kept in found])
    reach = np.array([kept.reach for kept in found])
    return Kept(*map(jnp.asarray, (index, placed.patterns(index), log_w, x, sigma, rest, reach)))


def padded(tree: eqx.Module, size: int) -> eqx.Module:
    """The first axis filled up to `size` with copies of its first entry: few programs serve all batches."""
    return jax.tree.map(lambda a: jnp.concatenate([a, jnp.broadcast_to(a[:1], (size - len(a), *a.shape[1:]))]), tree)


@eqx.filter_jit
def _views(kept: Kept, x: Array, sigma: Array, world: World, k: int) -> tuple[View, Array, Array, Array]:
    def one(kept: Kept, x: Array, sigma: Array) -> tuple[View, Array, Array, Array]:
        seen = view(kept, x, sigma, world)
        p = jax.nn.softmax(seen.logits)
        share, place = jax.lax.top_k(p, min(k, p.size))
        return seen, kept.index[place], share, jax.scipy.special.entr(p).sum()

    return jax.vmap(one)(kept, x, sigma)


@eqx.filter_jit
def _evidence(*arguments) -> Evidence:
    return evidence(*arguments)


def summed(placed: Placed, x: np.ndarray, sigma: np.ndarray, dtype: type) -> tuple[Evidence, np.ndarray]:
    """The evidence of all patterns, computed in `dtype` and held in double precision, and the bound on its mean."""
    facts = placed.facts
    beta = 1 / sigma**2
    moved = x - facts.centre.astype(float)
    arguments = [array.astype(dtype) for array in (moved, beta, facts.centre)]
    parts: dict[jax.Device, Evidence] = {}
    blocks = 0
    with jax.enable_x64(dtype == np.float64):
        for block in placed.blocks():
            blocks += 1
            device = next(iter(block.codes.devices()))
            here = _evidence(
                block.codes, block.scale, block.log_weights.astype(dtype), np.int32(block.count), *arguments, placed.encoding
            )
            parts[device] = here if device not in parts else _combine(parts[device], here)
    with jax.enable_x64(True):
        total: Evidence | None = None
        for part in parts.values():
            part = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, float)), part)
            total = part if total is None else combine(total, part)
        total = together(total, combine)
        mean = np.asarray(total.mean)
        d = x.shape[1]
        x_norm = np.linalg.norm(moved, axis=1)
        off = logit_error(d, dtype, beta, x_norm, facts.centre_norm, facts.norm, facts.widest)
        spread = facts.radius + np.linalg.norm(mean - facts.centre, axis=1)
        terms = min(placed.rows, 4096) + placed.rows // 4096 + blocks
        return total, mean_error(off, terms, dtype, spread, facts.norm)


_combine = jax.jit(combine)


def posterior(placed: Placed, x: np.ndarray, sigma: np.ndarray, tol: float, k: int) -> PatternPosterior:
    """The posterior of states x (b, d) at noise levels sigma (b,)."""
    b, d = x.shape
    n = placed.shape[0]
    k = min(k, n)
    mean, bound = np.zeros((b, d)), np.full(b, np.inf)
    log_mass, entropy, weighed = np.zeros(b), np.zeros(b), np.zeros(b, int)
    index, share = np.zeros((b, k), np.int64), np.zeros((b, k))
    path = np.full(b, SCANNED, dtype=object)
    found = screened(placed, x, sigma, allowed_share(placed, tol))
    with jax.enable_x64(True):
        for some, kept in kept_groups(placed, x, sigma, found):
            size = 1 << (len(some) - 1).bit_length()
            filled = padded(kept, size)
            seen, first, p, spread = _views(filled, filled.x, filled.sigma, world(placed), k)
            here = len(some)
            mean[some], bound[some] = np.asarray(seen.mean)[:here], np.asarray(seen.bound)[:here]
            log_mass[some], entropy[some] = np.asarray(seen.log_mass)[:here], np.asarray(spread)[:here]
            got = p.shape[1]
            index[some, :got], share[some, :got] = np.asarray(first)[:here], np.asarray(p)[:here]
            weighed[some] = [len(found[i].indices) for i in some]
            path[some] = PRUNED
    for dtype in (np.float32, np.float64):
        left = np.flatnonzero(~(bound <= tol))
        if not len(left) or (dtype == np.float32 and not _may_serve(placed, x[left], sigma[left], tol)):
            continue
        total, off = summed(placed, x[left], sigma[left], dtype)
        mean[left], bound[left], path[left], weighed[left] = np.asarray(total.mean), off, SCANNED, n
        common = np.sum(x[left] ** 2, axis=1) / (2 * sigma[left] ** 2)
        log_mass[left], entropy[left] = np.asarray(total.log_mass) - common, np.asarray(total.entropy)
        index[left], share[left] = 0, 0
    if placed.uniform:
        log_mass -= np.log(n)
    return PatternPosterior(mean, bound, log_mass, entropy, index, share, path, weighed)


def _may_serve(placed: Placed, x: np.ndarray, sigma: np.ndarray, tol: float) -> bool:
    """Whether single precision can meet the tolerance for any of these states."""
    facts = placed.facts
    moved = np.linalg.norm(x - facts.centre.astype(float), axis=1)
    off = logit_error(x.shape[1], np.float32, sigma**-2.0, moved, facts.centre_norm, facts.norm, facts.widest)
    return bool((mean_error(off, 4096, np.float32, facts.radius, facts.norm) <= tol).any())


__all__ = ["PRUNED", "SCANNED", "PatternPosterior", "allowed_share", "kept_groups", "posterior", "screened", "summed"]

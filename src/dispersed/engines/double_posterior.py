"""The certified posterior over patterns that single precision cannot hold, by NumPy in double precision.

Products decide where their round-off allows it, sums by differences elsewhere, as on the ladder of scanned patterns.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from dispersed.engines.certified_posterior import SCANNED, PatternPosterior, as_posterior, of_batch
from dispersed.engines.differences import sum_by_differences
from dispersed.engines.options import ScanOptions
from dispersed.engines.roundoff import gamma, logit_error, mean_error
from dispersed.posterior import Posterior
from dispersed.types import Float

AT_ONCE = 1 << 22
"""The number of logits that are in memory at once."""
BEST_EFFORT = 1e-12
"""The error of a mean, relative to the radius of the patterns, that is not undercut without an explicit tolerance."""
TIE = 1e-9
"""Round-off of logits, in nats, below which two patterns that it cannot order are as likely as each other."""


@dataclasses.dataclass(frozen=True)
class DoublePatterns:
    """Patterns (n, d) in double precision with their log weights (n,), on one host."""

    storage: Float[np.ndarray, "n d"]
    prior: Float[np.ndarray, " n"]
    options: ScanOptions = dataclasses.field(default_factory=ScanOptions)
    uniform = False
    first = 0

    @property
    def total(self) -> int:
        """The number of patterns."""
        return len(self.storage)

    def log_weights(self, indices: np.ndarray) -> np.ndarray:
        """Log weights of the shape of `indices`."""
        return self.prior[indices]

    def internal_patterns(self, indices: np.ndarray) -> np.ndarray:
        """Patterns (..., d) for `indices` (...)."""
        return self.storage[indices]

    def slices(self, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The index of the first, patterns and log weights, at most `size` at a time."""
        for start in range(0, self.total, size):
            yield start, self.storage[start : start + size], self.prior[start : start + size]

    @functools.cached_property
    def centred(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """The mean μ of the patterns, y − μ, ½‖y − μ‖², and a bound on ‖y − μ‖."""
        centre = self.storage.mean(axis=0)
        y = self.storage - centre
        half_squares = np.einsum("nd,nd->n", y, y) / 2
        slack = 1 + gamma(self.storage.shape[1] + 8, float)
        return centre, y, half_squares, float(np.sqrt(2 * half_squares.max())) * slack

    def evaluated(self, hook: str, x: Any, sigma: Any, settings: dict[str, Any]) -> Posterior:
        """The `Posterior` of states (..., d) at noise levels that broadcast against (...)."""
        tol, k = settings.get("tol"), min(settings.get("leading", 1), self.total)
        goal = BEST_EFFORT * self.centred[-1] if tol is None else tol
        found = of_batch(lambda x, sigma: self.posterior(x, sigma, goal, k), np.asarray(x), np.asarray(sigma), tol)
        return as_posterior(found, np.broadcast_to(np.asarray(sigma, float), found.bound.shape))

    def posterior(self, x: np.ndarray, sigma: np.ndarray, tol: float, k: int) -> PatternPosterior:
        """The posterior of states x (b, d) at noise levels sigma (b,) with the k likeliest patterns.

        `bound` may exceed `tol` where double precision cannot certify it.
        """
        size = max(1, AT_ONCE // self.total)
        parts = [self._by_products(x[i : i + size], sigma[i : i + size], k) for i in range(0, max(len(x), 1), size)]
        *found, certain = (np.concatenate(part) for part in zip(*parts, strict=True))
        hard = np.flatnonzero(~certain | ~(found[1] <= tol))
        if hard.size:
            exact = sum_by_differences(self, x[hard], sigma[hard], k)
            for whole, part in zip(found, exact, strict=True):
                whole[hard] = part
        mean, bound, log_mass, entropy, index, responsibilities = found
        path = np.full(len(x), SCANNED, object)
        weighed = np.full(len(x), self.total)
        return PatternPosterior(mean, bound, log_mass, entropy, index, responsibilities, path, weighed)

    def _by_products(self, x: np.ndarray, sigma: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
        """The fields of `Differences`, and whether the order of the two likeliest patterns is certain."""
        centre, y, half_squares, radius = self.centred
        (n, d), beta, off = y.shape, 1 / sigma / sigma, x - centre
        length, heaviest = np.linalg.norm(off, axis=1), np.abs(self.prior[np.isfinite(self.prior)]).max()
        error = logit_error(d, float, beta, length, radius, heaviest, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # whose round-off is infinite
            logits = beta[:, None] * (off @ y.T - half_squares) + self.prior
            top = logits.max(axis=1, keepdims=True)
            weight = np.exp(logits - top)
            mass = weight.sum(axis=1)
            step = weight @ y / mass[:, None]
            entropy = np.log(mass) - np.sum(np.where(weight > 0, weight * (logits - top), 0), axis=1) / mass
            log_mass = top[:, 0] + np.log(mass) - beta * length**2 / 2
        norm = np.linalg.norm(step, axis=1)
        bound = mean_error(error, n + 8, float, radius + norm, norm)
        bound = bound + gamma(8, float) * (np.linalg.norm(centre) + norm)
        most = min(max(k, 2), n)
        index = np.argpartition(-logits, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(logits, index, 1), axis=1, kind="stable")
        index = np.take_along_axis(index, order, 1)
        best = np.take_along_axis(logits, index, 1)
        certain = np.isfinite(error) & ((error < TIE) | (best[:, 0] - best[:, min(1, most - 1)] > 2 * error))
        p = np.exp(best - top) / mass[:, None]
        index = np.where(best > -np.inf, index, -1)
        return centre + step, bound, log_mass, np.maximum(entropy, 0), index[:, :k], p[:, :k], certain


__all__ = ["DoublePatterns"]

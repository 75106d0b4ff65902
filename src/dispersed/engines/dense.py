r"""Stored patterns in memory, and what follows from their posterior: the engine `Dense()`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.batching import any_of_batch
from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.engines.dense_logits import Products, log_odds, products
from dispersed.engines.dense_posterior import mean_and_leader, relative_logits
from dispersed.engines.engine import Engine, PatternSet
from dispersed.engines.evidence import evidence, misfit_logits
from dispersed.engines.spreads import Spreads, spreads, spreads_of
from dispersed.keys import categorical
from dispersed.precision import full_precision
from dispersed.storage import Storage
from dispersed.tracing import as_array, is_known, on_host
from dispersed.types import Array, Bool, Float, Int, Key, Patterns, Scalar, State
from dispersed.validation import log_prior, pattern_array

FAR = 0.25
"""The squared distance of the mean from the origin, relative to that of the patterns from the mean, beyond which a
centred copy of the patterns is stored."""
ALIKE = 14.0
"""The range of log weights up to which a probability of 1 to single precision, log odds of 15, says that a pattern is
the nearest."""
SAMPLE = 1024
"""Patterns from which it is guessed whether all of them lie far from the origin."""


class Dense(Engine):
    """Patterns in memory, weighed inside compiled programs: exact, differentiable, at the price of two products."""

    def hold(self, patterns: Any, weights: Any = None, log_weights: Any = None) -> "DensePatterns":
        y = pattern_array(patterns.rows(np.arange(len(patterns))) if isinstance(patterns, Storage) else patterns)
        prior = log_prior(weights, log_weights, len(y))
        log_w = np.full(len(y), -np.log(len(y))) if prior is None else prior
        return DensePatterns(y, as_array(log_w, y.dtype))


class DensePatterns(PatternSet):
    """Patterns (n, d) and their log weights as arrays of a program."""

    patterns: Patterns
    log_weights: Float[Array, " n"]
    products: Products | None = None
    norms: bool = eqx.field(static=True, default=True)
    """Whether logits hold −‖y_j‖²/(2σ²), as those of a Gaussian do, or are x·y_j/σ² alone, as in Eq. 5."""

    @property
    def shape(self) -> tuple[int, int]:
        n, d = self.patterns.shape
        return n, d

    @property
    def engine(self) -> Dense:
        return Dense()

    @property
    def where(self) -> str:
        return place(self.patterns)

    @property
    def resident(self) -> "DensePatterns":
        return self

    def first(self, count: int) -> tuple[Patterns, Float[Array, " k"]]:
        return self.patterns[:count], self.log_weights[:count]

    def closest(self, x: State) -> State:
        return self.patterns[jnp.argmin(jnp.sum((self.patterns - x) ** 2, axis=1))]

    def evaluated(self, hook: str, x: Any, sigma: Any, settings: dict[str, Any]) -> Any:
        if hook != "_posterior" or not is_known(self.patterns, self.log_weights):
            return None

        # In double precision and certified, by a scan of the same arrays.
        def scanned() -> Any:
            from dispersed.engines.scanned import Scanned

            log_w = np.asarray(self.log_weights)
            uniform = bool((log_w == log_w[0]).all())
            patterns = np.asarray(self.patterns)
            with np.errstate(over="ignore"):
                rounded = bool((patterns.astype(np.float32) != patterns).any())
            if rounded:
                from dispersed.engines.double_posterior import DoublePatterns

                return DoublePatterns(patterns, log_w)
            return Scanned().hold(patterns, log_weights=None if uniform else log_w)

        return self._once("scanned", scanned).evaluated(hook, x, sigma, settings)

    def misfit_logits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Float[Array, "b n"] | None:
        return misfit_logits(self.patterns, x, known, sigma)

    def prepared(self) -> "DensePatterns":
        """The same with its `products`, which are computed once for patterns whose values are known."""
        if self.products is not None or not is_known(self.patterns):
            return self

        def prepared() -> "DensePatterns":
            # The values are known even while a program is being traced, and what is kept must not belong to it. By
            # NumPy where they are on the host: no program needs to be compiled for it.
            numpy: Any = np if on_host(self.patterns) else jnp
            with jax.ensure_compile_time_eval():
                y = numpy.asarray(self.patterns)
                centre = numpy.mean(y, axis=0)
                spread = numpy.mean(numpy.sum((y[:SAMPLE] - centre) ** 2, axis=1))
                far = bool(numpy.sum(centre**2) > FAR * spread)
                known = products(y, self.norms, centre if far else None, numpy)
                if is_known(self.log_weights):
                    log_w = numpy.asarray(self.log_weights)
                    alike = bool(numpy.ptp(log_w) == 0)
                    mean = centre if alike else known.centre + numpy.exp(log_w) @ known.centred
                    known = dataclasses.replace(known, mean=numpy.asarray(mean, y.dtype))
                    if self.norms and alike:
                        square = 2 * numpy.mean(known.half_squares) - (0 if far else numpy.sum(centre**2))
                        spread = numpy.asarray(numpy.sqrt(numpy.maximum(square, 0)), y.dtype)
                        known = dataclasses.replace(known, spreads=Spreads(spread, spread))
                    elif self.norms:
                        found = spreads_of(y, log_w[None], numpy)
                        known = dataclasses.replace(known, spreads=Spreads(*(part[0] for part in found)))
                known = jax.tree.map(lambda part: self.patterns if part is y else as_array(part), known)
            return DensePatterns(self.patterns, self.log_weights, known, self.norms)

        return self._once("prepared", prepared)

    def logits(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """Log p(j | x) of every pattern less the largest."""
        return relative_logits(*self._arguments(x, sigma))

    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        weight = jnp.exp(self.logits(x, sigma))
        return weight / jnp.sum(weight)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        logits = self.logits(x, sigma)
        c = jnp.argmax(logits)
        return self.patterns[c], jax.nn.logsumexp(logits) + self.log_weights[c]

    def _arguments(self, x: State, sigma: Scalar) -> tuple[Any, ...]:
        known = self.products
        if known is None:
            known = products(self.patterns, self.norms)
        return self.patterns, self.log_weights, jax.lax.stop_gradient(known), x, sigma

    def denoise(self, x: State, sigma: Scalar) -> State:
        return mean_and_leader(*self._arguments(x, sigma))[0]

    def mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Int[Array, ""], Float[Array, ""]]:
        return mean_and_leader(*self._arguments(x, sigma))[:3]

    def mean_and_certainty(
        self, x: State, sigma: Scalar, wanted: Bool[Array, ""]
    ) -> tuple[State, Scalar, tuple[Int[Array, ""], Scalar]]:
        """D_σ(x), the probability of the pattern that it nearly is, where there is such, and the likeliest pattern if
        that is wanted of any state of the batch.
        """
        y, log_w, known, x, sigma = self._arguments(x, sigma)
        known = dataclasses.replace(known, index_wanted=any_of_batch(wanted))
        mean, index, p, _ = mean_and_leader(y, log_w, known, x, sigma)
        # A pattern that has all probability is the nearest one too, unless weights differ by more than that says.
        finite = jnp.isfinite(self.log_weights)
        least = jnp.min(jnp.where(finite, self.log_weights, jnp.inf))
        return mean, jnp.where(jnp.max(self.log_weights) - least < ALIKE, p, 0), (index, p)

    @full_precision
    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        r = self.responsibilities(x, sigma)
        centred = (self.patterns - self.denoise(x, sigma)) / sigma
        return (r[:, None] * centred).T @ centred

    def followed(
        self,
        x: State,
        levels: Float[Array, " k"],
        last: State | None = None,
        decided: tuple[Bool[Array, ""], State] | None = None,
    ) -> tuple[Float[Array, "k d"], Int[Array, " k"], Float[Array, " k"], Float[Array, " k"]]:
        """The posterior mean, the likeliest pattern, its probability and that of all others, of x, of the mean behind
        it and so on, and at last of another state where there is one.

        One compiled program evaluates all of them, but not x where `decided` says what the mean behind it is.
        """
        steps = jnp.arange(len(levels))
        before_last = steps == len(levels) - 2 if last is not None else jnp.zeros_like(steps, bool)
        is_decided, mean = (False, x) if decided is None else decided

        def each(x: State, now: Any) -> tuple[State, Any]:
            step, level, last_is_next = now
            given = is_decided & (step == 0)

            def known() -> tuple[State, Int[Array, ""], Scalar, Scalar]:
                return mean, jnp.zeros((), jnp.int32), jnp.ones_like(level), jnp.zeros_like(level)

            def evaluated() -> tuple[State, Int[Array, ""], Scalar, Scalar]:
                found = mean_and_leader(*self._arguments(x, level))
                return jax.tree.map(lambda known, new: jnp.where(given, known, new), known(), found)

            found = jax.lax.cond(any_of_batch(~given), evaluated, known)
            return found[0] if last is None else jnp.where(last_is_next, last, found[0]), found

        return jax.lax.scan(each, x, (steps, levels, before_last))[1]

    def log_odds(self, i: Int[Array, ""], j: Int[Array, ""], x: State, sigma: Scalar) -> Scalar:
        """Log p(i | x) − log p(j | x), by the difference of two patterns."""
        odds = log_odds(self.norms, *(part[k] for part in (self.patterns, self.log_weights) for k in (i, j)), x, sigma)
        return jnp.where(i == j, 0, odds)

    def pushing(self, x: State, sigma: Scalar) -> Callable[[State], State]:
        r = self.responsibilities(x, sigma)
        # Around the centre, which cancels, sums keep the digits that an offset would take.
        y = self.patterns if self.products is None else self.products.centred

        @full_precision
        def push(v: State) -> State:
            along = y @ v / sigma
            return (r * (along - r @ along)) @ y / sigma

        return push

    def pushed(self, v: State, x: State, sigma: Scalar) -> State:
        return self.pushing(x, sigma)(v)

    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.mean_and_nearest(x, sigma)[1:]

    def slope_bound(self, sigma: Scalar, p: Scalar) -> Scalar:
        return self.slope_beside(sigma, 1 - p + 4 * jnp.finfo(p.dtype).eps)

    def slope_beside(self, sigma: Scalar, others: Scalar) -> Scalar:
        """An upper bound on the largest slope of D_σ where all but the leading pattern have probability `others`."""
        # tr Cov[y | x] ≤ Σ_j p_j ‖y_j − c‖² ≤ (1 − p) (2 max‖y_j − μ‖)², with c the leading pattern.
        known = products(self.patterns, self.norms) if self.products is None else self.products
        return others * (2 * known.norm / sigma) ** 2

    def sample(self, key: Key[Array, ""]) -> State:
        return self.patterns[categorical(key, self.log_weights)]

    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        index = categorical(key, self.logits(x, sigma))
        return self.patterns[index], index

    @one_program
    @full_precision
    def start(self) -> tuple[State, Scalar]:
        weights = jnp.exp(self.log_weights)
        # By products with patterns taken from one of them, also where many sets of weights share the patterns.
        step = self.patterns - self.patterns[0]
        mean = weights @ step
        square = weights @ jnp.sum(step * step, axis=1) - mean @ mean
        return self.patterns[0] + mean, jnp.sqrt(jnp.maximum(square, 0))

    def prior_mean(self) -> State:
        known = self.products
        return self.start()[0] if known is None or known.mean is None else known.mean

    def spreads(self) -> Spreads:
        known = self.products
        return spreads(self.patterns, self.log_weights) if known is None or known.spreads is None else known.spreads

    def conditioned(self, observation: Observation) -> tuple["DensePatterns", Scalar]:
        log_weights, log_evidence = evidence(self.patterns, self.log_weights, observation)
        return self.reweighted(log_weights), log_evidence

    def reweighted(self, log_weights: Float[Array, " n"]) -> "DensePatterns":
        """The same patterns with other log weights, and all that does not depend on these."""
        known = self.products and dataclasses.replace(self.products, mean=None, spreads=None)
        return DensePatterns(self.patterns, log_weights, known, self.norms)

r"""Exact diffusion over a finite set of stored patterns (Eq. 12).

With prior weights w_j, normalised to one,

    p_σ(x) = Σ_j w_j N(x; y_j, σ²I)
    p(j | x) = softmax_j( log w_j − ‖x − y_j‖²/(2σ²) )                (Eq. 29)
    D_σ(x) = Σ_j p(j | x) y_j                                          (Eq. 28)

How these sums are done is the engine's part (`dispersed.engines`): in memory, inside compiled programs; block by block
over any number of patterns in any storage; or spread over devices.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import MOST, gallery
from dispersed.engines import DensePatterns, Engine, PatternSet, choose_engine, pattern_source
from dispersed.engines.unit_precisions import unit_precision_logits
from dispersed.memories.memory import Denoiser, Memory, components_posterior, gaussian_normaliser, likeliest
from dispersed.posterior import Posterior
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, is_known, positive_number

AT_ONCE = 1 << 24
"""The numbers that a batch of states may need at once for each array of logits: 64 MiB in single precision."""


class PatternMemory(Memory):
    """The exact memory of stored patterns: a diffusion model with the exact score (Eq. 12, 28, 29).

    **Arguments**

    - `patterns`: (n, d), finite; duplicates and unequal norms are welcome. An array of any precision and byte order, a
      list, a pandas frame, a PyTorch tensor, the path of a file, a `Storage` or a `PatternStore`.
    - `weights`: prior probabilities of the patterns, (n,), non-negative and not all zero; normalised here.
      Uniform by default. `log_weights`: their logarithms instead, for priors whose ratios overflow.
    - `engine`: how sums over the patterns are done: `Dense()`, `Scanned()` or `Sharded()`. Chosen by size, storage and
      devices by default; `repr` says which.

    All methods take states `x: (..., d)` and noise levels `sigma > 0`, a number or one per state. Half precision is
    promoted to single; double precision stays if `jax_enable_x64` is on; cue and patterns meet in the wider one.

    **Raises** `InputError` for an empty set, a wrong shape, non-finite entries, unusable weights.

    **Source**: Ambrogioni (2023), In search of dispersed memories, Sec. 3.1 and Supp. A. Eq. 28 as printed
    has the wrong sign and lacks θ_t; Eq. 29 lacks θ_t. In z = x/θ_t both read as above.
    """

    held: PatternSet

    def __init__(
        self,
        patterns: Any,
        weights: ArrayLike | None = None,
        *,
        log_weights: ArrayLike | None = None,
        engine: Engine | None = None,
    ) -> None:
        source = pattern_source(patterns)
        if engine is None:
            engine = choose_engine(source)
        elif not isinstance(engine, Engine):
            hint = "Dense(), Scanned() or Sharded() is accepted"
            raise InputError("engine", f"got {engine!r}", hint)
        self.held = engine.hold(source, weights, log_weights)

    def __repr__(self) -> str:
        n, d = self.held.shape
        return f"PatternMemory({n} patterns of {d} units, {self.held.where}, {self.held.engine})"

    def _repr_html_(self) -> str | None:
        """The first patterns as pictures, or in a table, for notebooks."""
        first = self.held.first(MOST)
        if not is_known(*first):
            return None
        patterns, log_weights = map(np.asarray, first)
        weights = [f"{weight:.3g}" for weight in np.exp(log_weights)]
        return gallery(repr(self), patterns, {"weight": weights}, self.held.shape[0])

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    @property
    def engine(self) -> Engine:
        """How sums over the patterns are done."""
        return self.held.engine

    @property
    def patterns(self) -> Float[Array, "n d"]:
        """The stored patterns (n, d), all of them in memory."""
        return self.held.patterns

    @property
    def log_weights(self) -> Float[Array, " n"]:
        """Logarithms of the prior probabilities, (n,)."""
        return self.held.log_weights

    @property
    def weights(self) -> Float[Array, " n"]:
        """Prior probabilities w_j of the patterns, (n,), summing to one."""
        return jnp.exp(self.log_weights)

    def _prepared(self) -> "PatternMemory":
        held = self.held.prepared()
        if held is self.held:
            return self
        return self._once("prepared", lambda: eqx.tree_at(lambda memory: memory.held, self, held))

    def _evaluated(self, hook: Any, x: Any, levels: tuple[Any, ...], settings: tuple[tuple[str, Any], ...]) -> Any:
        if levels and isinstance(hook, str) and is_known(x, *levels):
            found = self.held.evaluated(hook, x, levels[0], dict(settings))
            if found is not None:
                return found
        return super()._evaluated(hook, x, levels, settings)

    def _most_states(self, hook: Any) -> int | None:
        n, d = self.held.shape
        wide = not isinstance(hook, str) or hook in ("_jacobian", "_hessian", "_project")
        return max(1, AT_ONCE // (n * d if wide else n))

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        anchor, excess = self.held.anchored(x, sigma)
        residual = (x - anchor) / sigma
        return excess - residual @ residual / 2 - gaussian_normaliser(self.dimension, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """The leading pattern, and the log-sum of all relative to it."""
        return self.held.anchored(x, sigma)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return self.held.denoise(x, sigma)

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return self.held.responsibilities(x, sigma)

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return self.held.jacobian(x, sigma)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.held.nearest(x, sigma)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        if self.held.resident is None:
            return super()._posterior_draw(key, x, sigma)
        index = jax.random.categorical(key, self.held.resident.logits(x, sigma))
        return self.held.resident.patterns[index], index

    def _mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Any, Any]:
        return self.held.mean_and_nearest(x, sigma)

    def _posterior(self, x: State, sigma: Scalar, leading: int, tol: float | None = None) -> Posterior:
        if tol is not None:
            accepted = "Dense() and Scanned() patterns outside of programs take one"
            raise InputError("tol", f"got one where {self.held.engine} computes inside of a program", accepted)
        p = self._responsibilities(x, sigma)
        return components_posterior(self._denoise(x, sigma), self._log_density(x, sigma), p, leading)

    def posterior(self, x: ArrayLike, sigma: ArrayLike, *, leading: int = 8, tol: float | None = None) -> Posterior:
        """The posterior over the patterns behind each state: mean, log density, the `leading` likeliest patterns, their
        probabilities, the entropy, and a `bound` on ‖mean − D_σ(x)‖.

        With `tol` the bound is at most that, or `InputError` says what double precision certifies. Outside of programs
        the answer for `Dense()` and `Scanned()` patterns comes from a certified scan in double precision; inside of
        `jax.jit`, and for `Sharded()` ones, it comes from the engine's own sums, without a bound.
        """
        leading = at_least("leading", leading, 1)
        if tol is None:
            return self._mapped("_posterior", x, sigma, leading=leading)
        return self._mapped("_posterior", x, sigma, leading=leading, tol=positive_number("tol", tol))

    def _sample(self, key: Key[Array, ""]) -> State:
        return self.held.sample(key)

    def _project(self, x: State) -> State:
        return self.held.closest(x)

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple[Denoiser, State, Scalar]:
        """The memory given the entries `known` of one state x alone, and its first guess at noise σ."""
        if self.held.resident is None:
            source: Denoiser = ObservedStored(self.held, x, known)
        else:
            source = Observed(self.held.resident, x, known)
        return source, source._denoise(x, sigma), sigma

    def _given(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> "ConditionedPatterns":
        return ConditionedPatterns(self._resident(), x, known, sigma)

    def _evidence(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> Scalar:
        return self._given(x, known, sigma).log_evidence()

    def _resident(self) -> DensePatterns:
        if self.held.resident is None:
            given = f"got a mask for random dynamics and patterns {self.held.where}"
            raise InputError("known", given, "deterministic dynamics complete from these")
        return self.held.resident

    def prior_start(self) -> tuple[State, Scalar]:
        """The prior mean, at ten times the patterns' root-mean-square distance from it.

        Their responsibilities differ there from the prior by at most a few parts in a thousand.
        """
        mean, spread = self.held.start()
        return mean, 10 * spread


class Observed(Denoiser):
    r"""Stored patterns given the observed entries of one state, with noise σ on them, which stay as they are.

        p(j | x) ∝ w_j exp(−Σ_{i known} (x_i − y_ji)²/(2σ²)),    D = x where known, Σ_j p(j | x) y_j elsewhere

    As σ falls the evidence sharpens, and recall ends at the pattern that fits the known entries best.
    """

    held: DensePatterns
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        precision = jnp.where(self.known, 1 / sigma / sigma, 0)
        y, log_w = self.held.patterns, self.held.log_weights
        return jax.nn.softmax(unit_precision_logits(y, log_w, self.x, precision))

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return jnp.where(self.known, self.x, self._responsibilities(x, sigma) @ self.held.patterns)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return likeliest(self._responsibilities(x, sigma))


class ObservedStored(Denoiser):
    """The same for patterns that are not in memory: a scan on the host for every evaluation."""

    held: PatternSet
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return jnp.where(self.known, self.x, self.held.observed(self.x, sigma, self.known)[0])

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.held.observed(self.x, sigma, self.known)[1:]


class ConditionedPatterns(Memory):
    r"""Stored patterns after some entries of a state were observed with noise τ: again a memory of patterns.

    Observed entries are evidence, and stay as they were given,

        w'_j ∝ w_j exp(−Σ_{i known} (x_i − y_ji)²/(2τ²)),    y'_ji = x_i  for known i,

    so every dynamics applies to it unchanged, and sampling from it is sampling from the posterior. Patterns that agree
    on the other entries are told from each other by the evidence.
    """

    held: DensePatterns
    x: State
    known: Bool[Array, " d"]
    noise: Scalar

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    @property
    def log_weights(self) -> Float[Array, " n"]:
        """Logarithms of the posterior weights w', (n,)."""
        return jax.nn.log_softmax(self._logits(self.x, jnp.asarray(jnp.inf, self.x.dtype)))

    @property
    def weights(self) -> Float[Array, " n"]:
        """The posterior weights w', (n,), summing to one."""
        return jnp.exp(self.log_weights)

    @property
    def patterns(self) -> Float[Array, "n d"]:
        """The patterns with the observed entries in place of their own, (n, d)."""
        return jnp.where(self.known, self.x, self.held.patterns)

    def _logits(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        noise = jnp.where(self.known, self.noise, sigma)
        point = jnp.where(self.known, self.x, x)
        return unit_precision_logits(self.held.patterns, self.held.log_weights, point, 1 / noise / noise)

    def _anchor(self, logits: Float[Array, " n"]) -> tuple[State, Scalar]:
        """The leading pattern, and log Σ_j exp(ℓ_j − ℓ_c) + log w_c − its misfit in the observed entries."""
        c = jnp.argmax(logits)
        pattern = self.held.patterns[c]
        off = jnp.where(self.known, self.x - pattern, 0) / self.noise
        return pattern, jax.nn.logsumexp(logits) + self.held.log_weights[c] - off @ off / 2

    def log_evidence(self) -> Scalar:
        """Log p_τ(x_known), the log density of the observed entries."""
        everything_else = jnp.asarray(jnp.inf, self.x.dtype)
        fit = self._anchor(self._logits(self.x, everything_else))[1]
        return fit - gaussian_normaliser(self.known.sum(), self.noise)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """The leading pattern, the observed entries in place of its own, and its excess."""
        pattern, fit = self._anchor(self._logits(x, sigma))
        whole = self._anchor(self._logits(self.x, jnp.asarray(jnp.inf, self.x.dtype)))[1]
        return jnp.where(self.known, self.x, pattern), fit - whole

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        anchor, excess = self.anchored(x, sigma)
        residual = (x - anchor) / sigma
        return excess - residual @ residual / 2 - gaussian_normaliser(self.dimension, sigma)

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return jax.nn.softmax(self._logits(x, sigma))

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return jnp.where(self.known, self.x, self._responsibilities(x, sigma) @ self.held.patterns)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return likeliest(self._responsibilities(x, sigma))

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        index = jax.random.categorical(key, self._logits(x, sigma))
        return jnp.where(self.known, self.x, self.held.patterns[index]), index

    def _posterior(self, x: State, sigma: Scalar, leading: int) -> Posterior:
        p = self._responsibilities(x, sigma)
        return components_posterior(self._denoise(x, sigma), self._log_density(x, sigma), p, leading)

    def _sample(self, key: Key[Array, ""]) -> State:
        index = jax.random.categorical(key, self.log_weights)
        return jnp.where(self.known, self.x, self.held.patterns[index])

    def prior_start(self) -> tuple[State, Scalar]:
        """The mean by the posterior weights, at ten times the root-mean-square distance from it."""
        weights = self.weights
        mean = weights @ self.held.patterns
        # Σ w (y − m)² unit by unit: no array of the size of the patterns for every state.
        squares = weights @ self.held.patterns**2 - mean**2
        spread = jnp.sqrt(jnp.sum(jnp.where(self.known, 0, jnp.maximum(squares, 0))))
        return jnp.where(self.known, self.x, mean), 10 * spread

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
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import MOST, gallery
from dispersed.engines import Engine, PatternSet, choose_engine, pattern_source
from dispersed.engines.engine import LAST_LEVEL, Misfits, with_prepared
from dispersed.memories.associative_memory import without_derivatives
from dispersed.memories.components import components_posterior
from dispersed.memories.denoiser import Denoiser, Foreseen, Leader, Standing
from dispersed.memories.memory import Memory, gaussian_normaliser
from dispersed.posterior import Posterior
from dispersed.precision import full_precision
from dispersed.tracing import in_program, is_known
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number

AT_ONCE = 1 << 24
"""The numbers that a batch of states may need at once for each array of logits: 64 MiB in single precision."""


class PatternMemory(Memory):
    """The exact memory of stored patterns (Eq. 12): a diffusion model whose score is exact (Eq. 28).

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
        return with_prepared(self)

    def _evaluated(self, hook: Any, x: Any, levels: tuple[Any, ...], settings: tuple[tuple[str, Any], ...]) -> Any:
        if levels and isinstance(hook, str) and not in_program(x, *levels):
            found = self.held.evaluated(hook, x, levels[0], dict(settings))
            if found is not None:
                return found
        return super()._evaluated(hook, x, levels, settings)

    def _most_states(self, hook: Any) -> int | None:
        n, d = self.held.shape
        wide = not isinstance(hook, str) or hook in ("_jacobian", "_hessian", "_project")
        return max(1, AT_ONCE // (n * d if wide else n))

    @full_precision
    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        anchor, excess = self.held.anchored(x, sigma)
        residual = (x - anchor) / sigma
        return excess - residual @ residual / 2 - gaussian_normaliser(self.dimension, sigma)

    def _misfits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Misfits | None:
        return self.held.misfits(x, known, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """The leading pattern, and the log-sum of all relative to it."""
        return self.held.anchored(x, sigma)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return self.held.denoise(x, sigma)

    def _mean_and_certainty(self, x: State, sigma: Scalar, wanted: Bool[Array, ""]) -> tuple[State, Scalar, Leader]:
        if self.held.resident is None:
            return super()._mean_and_certainty(x, sigma, wanted)
        mean, p, leader = self.held.resident.mean_and_certainty(x, sigma, wanted)
        return mean, p, Leader(*leader)

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return self.held.responsibilities(x, sigma)

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return self.held.jacobian(x, sigma)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.held.nearest(x, sigma)

    def _probability(self, x: State, sigma: Scalar, index: Int[Array, ""]) -> Scalar:
        return self.held.responsibilities(x, sigma)[index]

    def _weight(self, index: Int[Array, ""]) -> Scalar:
        return jnp.exp(self.held.log_weights[index])

    def _slope_bound(self, x: State, sigma: Scalar, p: Scalar | None) -> Scalar:
        return super()._slope_bound(x, sigma, p) if p is None else self.held.slope_bound(sigma, p)

    def _pushed(self, v: State, x: State, sigma: Scalar) -> State:
        return self.held.pushed(v, x, sigma)

    def _last_step(
        self, z: State, sigma: Scalar, cue: State, level: Scalar, foreseen: Foreseen | None = None
    ) -> tuple[State, Standing]:
        patterns: Any = self.held.resident
        if patterns is None:
            return super()._last_step(z, sigma, cue, level)
        behind_cue = None if foreseen is None else foreseen.behind_cue
        decided = None if foreseen is None else (foreseen.decided, foreseen.mean)
        # The evaluations by one program: of z, of the mean behind it, and of the cue unless it was, or is z.
        if behind_cue is None and (cue is not z or level is not sigma):
            found, of_cue = patterns.followed(z, jnp.stack([sigma, sigma, level]), cue, decided), 2
        else:
            found, of_cue = patterns.followed(z, jnp.stack([sigma, sigma]), None, decided), 0
        leader = Leader(*(part[of_cue] for part in found[1:3])) if behind_cue is None else behind_cue
        x, (means, _, p, _) = found[0][0], found
        if foreseen is not None:
            # That mean is the pattern up to round-off; what lies behind it is the pattern itself, if no other is near.
            x = jnp.where(foreseen.decided & (p[1] == 1), means[1], x)
        return x, self._standing_by(x, sigma, cue, level, [part[1] for part in found], leader)

    def _standing(self, x: State, sigma: Scalar, cue: State, level: Scalar, index: Any = None) -> Standing:
        if self.held.resident is None:
            return super()._standing(x, sigma, cue, level, index)
        found = self.held.resident.followed(x, jnp.stack([sigma, level]), cue)
        behind_cue = Leader(*(part[1] for part in found[1:3]))
        return self._standing_by(x, sigma, cue, level, [part[0] for part in found], behind_cue, index)

    def _standing_by(
        self, x: State, sigma: Scalar, cue: State, level: Scalar, found: Any, behind_cue: Leader, index: Any = None
    ) -> Standing:
        """From what was found behind x and behind the cue."""
        mean, leader, p, others = found
        index = leader if index is None else index
        patterns: Any = self.held.resident
        odds = patterns.log_odds(index, behind_cue.index, cue, level)
        of_cue = behind_cue.probability * jnp.exp(jnp.minimum(odds, 0))
        patterns, x, sigma = without_derivatives((patterns, x, sigma))
        # Of others so rare only the order of magnitude is known, by products in single precision.
        bound = patterns.slope_beside(sigma, jnp.sqrt(without_derivatives(others)))
        return Standing(mean, index, p, of_cue, lambda: patterns.pushing(x, sigma), bound)

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Any]:
        return self.held.draw(key, x, sigma)

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

    def _conditioned(self, observation: Observation) -> tuple["PatternMemory", Scalar]:
        """The same patterns with the weights w'_j ∝ w_j exp(−‖v − A y_j‖²/(2τ²))."""
        held, log_evidence = self.held.conditioned(observation)
        return eqx.tree_at(lambda memory: memory.held, self, held), log_evidence

    def _after(self, observation: Observation) -> Memory:
        memory = self._prepared()
        outside = memory.held.conditioned_outside(observation)
        if outside is None:
            return _conditioned_in_program(memory, observation)
        held, log_evidence = outside
        return self._with_evidence(eqx.tree_at(lambda m: m.held, memory, held), log_evidence)

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple[Denoiser, State, Scalar]:
        """The memory given the entries `known` of one state x alone, and its first guess at noise σ."""
        source = ObservedPatterns(self.held, Observation(x, known, sigma=sigma).of(self.dimension))
        return source, source._denoise(x, sigma), sigma

    def _prior_spread(self) -> Scalar:
        return self.held.spreads().counted

    def _extent(self) -> Scalar:
        # A twentieth of it is the last level; that of patterns follows their distances, whatever their dimension.
        return 20 * LAST_LEVEL * self.held.spreads().weighted

    def _prior_mean(self) -> State:
        return self.held.prior_mean()

    def prior_start(self) -> tuple[State, Scalar]:
        """The prior mean, at ten times the patterns' root-mean-square distance from it.

        Their responsibilities differ there from the prior by at most a few parts in a thousand. Of a single pattern
        nothing is to be known at any level: it is then that of its norm, or 1.
        """
        return _widest(*self.held.start())


@one_program
def _widest(mean: State, spread: Scalar) -> tuple[State, Scalar]:
    norm = jnp.sqrt(jnp.sum(jnp.square(mean)))
    return mean, jnp.where(spread > 0, 10 * spread, jnp.where(norm > 0, norm, 1))


@eqx.filter_jit
def _conditioned_in_program(memory: PatternMemory, observation: Observation) -> Memory:
    return Memory._after(memory, observation)


class ObservedPatterns(Denoiser):
    r"""Stored patterns given a measurement alone, whose noise is that of the level.

        p(j | v) ∝ w_j exp(−‖v − A y_j‖²/(2σ²)),    D = Σ_j p(j | v) y_j; observed entries as they were given

    As σ falls the evidence sharpens, and recall ends at the pattern that fits the measurement best.
    """

    ends_by_the_level = True
    held: PatternSet
    observation: Observation

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    def _prior_spread(self) -> Scalar:
        return self.held.spreads().counted

    def _mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Any, Any]:
        mean, index, probability = self.held.observed(self.observation.at(sigma))
        mean = mean.astype(x.dtype)
        if self.observation.mask is not None:
            mean = jnp.where(self.observation.mask, self.observation.value, mean)
        return mean, index, probability

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return self._mean_and_nearest(x, sigma)[0]

    def _mean_and_certainty(self, x: State, sigma: Scalar, wanted: Bool[Array, ""]) -> tuple[State, Scalar, Leader]:
        # The state does not enter: a recall may stop at once, since its last step alone says where it ends.
        mean, _, leader = super()._mean_and_certainty(x, sigma, wanted)
        return mean, jnp.ones_like(sigma), leader

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self._mean_and_nearest(x, sigma)[1:]

r"""Exact diffusion over a finite set of stored patterns (Eq. 12).

With prior weights w_j, normalised to one,

    p_σ(x) = Σ_j w_j N(x; y_j, σ²I)
    p(j | x) = softmax_j( log w_j − ‖x − y_j‖²/(2σ²) )                (Eq. 29)
    D_σ(x) = Σ_j p(j | x) y_j                                          (Eq. 28)

**Numerics.** Only differences of logits matter, and ‖x−y_i‖² − ‖x−y_j‖² computed from expanded dot products
carries an error of about 1e-7·‖x‖‖y‖/σ² in single precision: more than a nat where memories live. Logits are
therefore taken relative to a leading pattern c, by differences that are small where it matters:

    ‖x−c‖² − ‖x−y_j‖² = (y_j − c)·(2(x − c) − (y_j − c))

which is exactly zero for duplicates, exact at near-ties and unharmed by far cues. The dot product serves
only to find c, for which any near-leader will do.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories.batching import per_state
from dispersed.memories.memory import Denoiser, Memory, gaussian_normaliser
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, log_weight_array, pattern_array, weight_array


class PatternMemory(Memory):
    """The exact memory of stored patterns: a diffusion model with the exact score (Eq. 12, 28, 29).

    **Arguments**

    - `patterns`: (n, d), finite; duplicates and unequal norms are welcome.
    - `weights`: prior probabilities of the patterns, (n,), non-negative and not all zero; normalised here.
      Uniform by default.
    - `log_weights`: their logarithms instead, for priors whose ratios overflow.

    All methods take states `x: (..., d)` and noise levels `sigma > 0`, a number or one per state.
    Float32 unless the patterns are float64 (with `jax_enable_x64`).

    **Raises** `InputError` for an empty set, a wrong shape, non-finite entries, unusable weights.

    **Source**: Ambrogioni (2023), In search of dispersed memories, Sec. 3.1 and Supp. A. Eq. 28 as printed
    has the wrong sign and lacks θ_t; Eq. 29 lacks θ_t. In z = x/θ_t both read as above.
    """

    patterns: Patterns
    log_weights: Float[Array, " n"]

    def __init__(
        self, patterns: ArrayLike, weights: ArrayLike | None = None, *, log_weights: ArrayLike | None = None
    ) -> None:
        self.patterns = pattern_array(patterns)
        n, dtype = self.patterns.shape[0], self.patterns.dtype
        if weights is not None:
            if log_weights is not None:
                raise InputError("weights, log_weights", "got both", "give the prior as at most one of them")
            log_weights = jnp.log(weight_array(weights, n))
        elif log_weights is None:
            log_weights = jnp.zeros(n)
        self.log_weights = jax.nn.log_softmax(log_weight_array(log_weights, n)).astype(dtype)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        return f"PatternMemory({n} patterns of {d} units, {self.patterns.dtype})"

    @property
    def dimension(self) -> int:
        return self.patterns.shape[-1]

    @property
    def weights(self) -> Float[Array, " n"]:
        """Prior probabilities w_j of the patterns, (n,), summing to one."""
        return jnp.exp(self.log_weights)

    def _logits(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, " n"]]:
        """A leading pattern c and log p(j | x) − log p(c | x) for every j."""
        # Without the barrier XLA fuses one evaluation into the next and takes twice the time.
        y, log_w, x = jax.lax.optimization_barrier((self.patterns, self.log_weights, x))
        largest = np.finfo(y.dtype).max
        # Cues so far away that products would overflow count as merely very far in that direction.
        reach = np.sqrt(largest / self.dimension) / 4
        x = jnp.clip(x, -reach, reach)
        rough = y @ x + sigma**2 * log_w - jnp.sum(y * y, axis=1) / 2
        c = jnp.argmax(rough)
        step = y - y[c]
        gap = jnp.sum(step * (2 * (x - y[c]) - step), axis=1) / 2
        # Beyond the clip everything has lost, and the difference of two such logits must not be inf − inf.
        precision = jnp.minimum(1 / sigma / sigma, largest)
        logits = jnp.clip(gap * precision, -largest / 4, largest / 4) + log_w - log_w[c]
        # Responsibilities below the normal range are zero: denormal numbers cost ten times the time.
        negligible = np.log(np.finfo(y.dtype).tiny) + 10
        return c, jnp.where(logits < negligible, -largest / 4, logits)

    @per_state
    def log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x) = log Σ_j w_j N(x; y_j, σ²I), in nats (Eq. 12)."""
        c, logits = self._logits(x, sigma)
        residual = (x - self.patterns[c]) / sigma
        normaliser = self.dimension * (jnp.log(sigma) + np.log(2 * np.pi) / 2)
        return jax.nn.logsumexp(logits) + self.log_weights[c] - residual @ residual / 2 - normaliser

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """The leading pattern, and the log-sum of all relative to it."""
        c, logits = self._logits(x, sigma)
        return self.patterns[c], jax.nn.logsumexp(logits) + self.log_weights[c]

    @per_state
    def project(self, x: State) -> State:
        """The stored pattern nearest to x."""
        return self.patterns[jnp.argmin(jnp.sum((self.patterns - x) ** 2, axis=1))]

    @per_state
    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """p(j | x) = softmax_j(log w_j − ‖x − y_j‖²/(2σ²)), (..., n) (Eq. 29)."""
        return jax.nn.softmax(self._logits(x, sigma)[1])

    @per_state
    def denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_j p(j | x) y_j (Eq. 28)."""
        return self.responsibilities(x, sigma) @ self.patterns

    @per_state
    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """∂D_σ/∂x = Cov[y | x]/σ², (..., d, d)."""
        r = self.responsibilities(x, sigma)
        centred = (self.patterns - r @ self.patterns) / sigma
        return (r[:, None] * centred).T @ centred

    @per_state
    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern nearest to x and its responsibility p(j | x) at σ."""
        index = jnp.argmin(jnp.sum((self.patterns - x) ** 2, axis=1))
        return index, self.responsibilities(x, sigma)[index]

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["Observed", State, Scalar]:
        """The memory asked through the entries `known` of one state x alone, and its first guess at noise σ."""
        seen = PatternMemory(jnp.where(known, self.patterns, x), log_weights=self.log_weights)
        source = Observed(self.patterns, seen, x, known)
        return source, source.denoise(x, sigma), sigma

    def given(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> "PatternMemory":
        r"""The memory after the entries `known` of one state were observed with noise σ.

        Conditioning a pattern memory gives a pattern memory: observed entries are evidence,

            w_j ← w_j exp(−Σ_{i known} (x_i − y_ji)²/(2σ²)),    y_ji ← x_i  for known i,

        so every dynamics applies to it unchanged, and leaves the known entries as they were given.
        Sampling from it is sampling from the posterior.
        """
        seen = PatternMemory(jnp.where(known, self.patterns, x), log_weights=self.log_weights)
        return PatternMemory(jnp.where(known, x, self.patterns), log_weights=seen._logits(x, sigma)[1])

    def evidence(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> Scalar:
        """Log p_σ(x_known), the log density of the known entries of one state."""
        seen = PatternMemory(jnp.where(known, self.patterns, x), log_weights=self.log_weights)
        # The others match exactly, and only their normaliser is to be taken off.
        return seen.log_density(x, sigma) + gaussian_normaliser((~known).sum(), sigma)

    def uninformed(self) -> tuple[State, Scalar]:
        """A state that says nothing of which memory it came from, and its noise level.

        The prior mean, at ten times the patterns' root-mean-square distance from it: their responsibilities
        differ there from the prior by at most a few parts in a thousand.
        """
        mean = self.weights @ self.patterns
        spread = jnp.sqrt(self.weights @ jnp.sum((self.patterns - mean) ** 2, axis=1))
        return mean, 10 * spread


class Observed(Denoiser):
    r"""Stored patterns asked through the known entries of one state, which stay as they are.

        p(j | x) ∝ w_j exp(−Σ_{i known} (x_i − y_ji)²/(2σ²)),    D = x where known, Σ_j p(j | x) y_j elsewhere

    As σ falls the evidence sharpens, and recall ends at the pattern that fits the known entries best.
    """

    patterns: Patterns
    seen: PatternMemory
    """The patterns with x in place of their unknown entries: what is unknown then weighs nothing."""
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.patterns.shape[-1]

    @per_state
    def denoise(self, x: State, sigma: Scalar) -> State:
        """D of the held state; the unknown entries of `x` are not looked at."""
        guess = self.seen.responsibilities(self.x, sigma) @ self.patterns
        return jnp.where(self.known, self.x, guess)

    @per_state
    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """The pattern nearest to the held state in its known entries, and its responsibility."""
        return self.seen.nearest(self.x, sigma)

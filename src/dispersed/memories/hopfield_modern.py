"""The continuous modern Hopfield network (Eq. 5)."""

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import value
from dispersed.engines import Dense, DensePatterns
from dispersed.engines.dense_logits import not_too_far
from dispersed.engines.engine import with_prepared
from dispersed.memories.network import Network
from dispersed.memories.patterns import PatternMemory
from dispersed.precision import full_precision
from dispersed.tracing import as_array
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import InputError, pattern_array, positive


class ModernHopfield(Network):
    r"""The modern Hopfield network of continuous units (Eq. 5), recall x ← Y softmax(β Yᵀx).

        E(x) = −β⁻¹ log Σ_j exp(β xᵀy_j) + ‖x‖²/2,    x ← Σ_j softmax_j(β xᵀy_j) y_j = x − ∇E(x).

    It is the exact diffusion memory held at σ = 1/√β, with prior weights w_j ∝ exp(β‖y_j‖²/2): for
    patterns of equal norm the weights are uniform and the two energies differ by a constant (Eq. 14).
    An update costs two matrix products; where round-off could decide between patterns, overlaps are summed in
    double precision.

    **Arguments**: `patterns`, (n, d), finite; `beta` > 0, the inverse temperature, one number.

    **Raises** `InputError` for an empty set, a wrong shape, non-finite entries, or another `beta`.

    **Source**: Ramsauer et al. (2021), Hopfield networks is all you need.
    """

    held: DensePatterns
    beta: Float[Array, ""]

    def __init__(self, patterns: ArrayLike, beta: ArrayLike) -> None:
        y = pattern_array(patterns)
        self.held = DensePatterns(y, as_array(np.zeros(len(y), y.dtype)), norms=False)
        level = positive("beta", beta)
        if level.shape:
            raise InputError("beta", f"got shape {level.shape}", "one number is accepted")
        self.beta = level.astype(y.dtype)

    def __repr__(self) -> str:
        n, d = self.held.shape
        return f"ModernHopfield({n} patterns of {d} units, beta={value(self.beta)}, {self.held.where})"

    @property
    def dimension(self) -> int:
        return self.held.shape[1]

    @property
    def patterns(self) -> Patterns:
        """The stored patterns (n, d)."""
        return self.held.patterns

    @property
    def memory(self) -> PatternMemory:
        """The exact diffusion memory whose energy at σ = 1/√β is this network's up to a constant (Eq. 13).

        Expanding ‖x − y_j‖² gives β xᵀy_j and norms of the patterns, for which the prior weights make up. Eq. 13 as
        printed has half the exponent and twice the confinement.
        """
        prior = self.beta * jnp.sum(self.patterns**2, axis=1) / 2
        return PatternMemory(self.patterns, log_weights=prior, engine=Dense())

    def _prepared(self) -> "ModernHopfield":
        return with_prepared(self)

    def _sigma(self) -> Scalar:
        return jax.lax.rsqrt(self.beta)

    @full_precision
    def _energy(self, x: State) -> Scalar:
        """E(x) = −β⁻¹ log Σ_j exp(β xᵀy_j) + ‖x‖²/2 (Eq. 5)."""
        largest = float(np.finfo(x.dtype).max)
        x = not_too_far(x)
        leading, log_sum = self.held.anchored(x, self._sigma())
        return jnp.clip(x @ x / 2 - x @ leading - log_sum / self.beta, -largest, largest)

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The weights of the patterns in the update, softmax_j(β xᵀy_j), (..., n)."""
        return self._mapped("_responsibilities", x)

    def _responsibilities(self, x: State) -> Float[Array, " n"]:
        """softmax_j(β xᵀy_j), (n,)."""
        return self.held.responsibilities(x, self._sigma())

    def _length(self, x: State) -> Scalar:
        return jnp.max(jnp.abs(self.patterns))

    def _update(self, x: State) -> State:
        """Σ_j softmax_j(β xᵀy_j) y_j."""
        return self.held.denoise(x, self._sigma())

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern with the largest weight, the first of several, and that weight."""
        return self.held.nearest(x, self._sigma())

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        return super()._slope_bound(x, p) if p is None else self.held.slope_bound(self._sigma(), p)

    def _pushed(self, v: State, x: State) -> State:
        return self.held.pushed(v, x, self._sigma())

"""The continuous modern Hopfield network (Eq. 5)."""

import jax
import jax.numpy as jnp

from dispersed.display import place, value
from dispersed.engines import Dense
from dispersed.memories.network import Network
from dispersed.memories.patterns import PatternMemory
from dispersed.types import Array, ArrayLike, Float, Int, Patterns, Scalar, State
from dispersed.validation import pattern_array, positive


class ModernHopfield(Network):
    r"""Continuous units with the energy and update of Eq. 5,

        E(x) = −β⁻¹ log Σ_j exp(β xᵀy_j) + ‖x‖²/2,    x ← Σ_j softmax_j(β xᵀy_j) y_j = x − ∇E(x).

    It is the exact diffusion memory held at σ = 1/√β, with prior weights w_j ∝ exp(β‖y_j‖²/2): for
    patterns of equal norm the weights are uniform and the two energies differ by a constant (Eq. 14).

    **Arguments**: `patterns`, (n, d), finite; `beta` > 0, the inverse temperature.

    **Source**: Ramsauer et al. (2021), Hopfield networks is all you need.
    """

    patterns: Patterns
    beta: Float[Array, ""]

    def __init__(self, patterns: ArrayLike, beta: ArrayLike) -> None:
        self.patterns = pattern_array(patterns)
        self.beta = positive("beta", beta).astype(self.patterns.dtype)

    def __repr__(self) -> str:
        n, d = self.patterns.shape
        return f"ModernHopfield({n} patterns of {d} units, beta={value(self.beta)}, {place(self.patterns)})"

    @property
    def dimension(self) -> int:
        return self.patterns.shape[-1]

    @property
    def memory(self) -> PatternMemory:
        """The exact diffusion memory whose energy at σ = 1/√β is this network's, up to a constant."""
        prior = self.beta * jnp.sum(self.patterns**2, axis=1) / 2
        return PatternMemory(self.patterns, log_weights=prior, engine=Dense())

    def _logits(self, x: State) -> tuple[Int[Array, ""], Float[Array, " n"]]:
        """A leading pattern c and β xᵀ(y_j − c) for every j."""
        c = jnp.argmax(self.patterns @ x)
        return c, self.beta * jnp.sum((self.patterns - self.patterns[c]) * x, axis=1)

    def _energy(self, x: State) -> Scalar:
        """E(x) = −β⁻¹ log Σ_j exp(β xᵀy_j) + ‖x‖²/2 (Eq. 5)."""
        c, logits = self._logits(x)
        return x @ x / 2 - x @ self.patterns[c] - jax.nn.logsumexp(logits) / self.beta

    def responsibilities(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The weights of the patterns in the update, softmax_j(β xᵀy_j), (..., n)."""
        return self._mapped("_responsibilities", x)

    def _responsibilities(self, x: State) -> Float[Array, " n"]:
        """softmax_j(β xᵀy_j), (..., n)."""
        return jax.nn.softmax(self._logits(x)[1])

    def _update(self, x: State) -> State:
        """X ← Σ_j softmax_j(β xᵀy_j) y_j."""
        return self._responsibilities(x) @ self.patterns

    def _nearest(self, x: State) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern nearest to x and its responsibility."""
        index = jnp.argmin(jnp.sum((self.patterns - x) ** 2, axis=1))
        return index, self._responsibilities(x)[index]

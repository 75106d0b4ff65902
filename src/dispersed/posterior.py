"""What a noisy state says of the memory behind it."""

import equinox as eqx
import jax.numpy as jnp

from dispersed.display import one_line
from dispersed.types import Array, Float, Int, Numbers


class Posterior(eqx.Module):
    """The posterior over memories y given each noisy state x of a batch (...).

    Fields that a kind of memory does not have are None: only memories of patterns or components have an index.
    """

    __repr__ = one_line

    mean: Float[Numbers, "... d"]
    """The denoiser D_σ(x) = E[y | x]."""
    log_density: Float[Numbers, "..."] | None = None
    """The log density log p_σ(x) in nats, which is the log evidence of the memory for x."""
    index: Int[Numbers, "... k"] | None = None
    """The likeliest patterns or components, the most probable one first; −1 where there are fewer."""
    responsibilities: Float[Numbers, "... k"] | None = None
    """The probabilities p(index | x)."""
    entropy: Float[Numbers, "..."] | None = None
    """The entropy −Σ_j p(j | x) log p(j | x) in nats."""
    bound: Float[Numbers, "..."] | None = None
    """An upper bound of ‖mean − D_σ(x)‖, round-off included, where one was computed."""
    patterns_weighed: Int[Numbers, "..."] | None = None
    """The number of patterns that were not excluded as negligible, where a scan excludes any."""

    @property
    def effective_number(self) -> Float[Numbers, "..."] | None:
        """The exponential of the entropy: how many patterns or components share the state."""
        return None if self.entropy is None else jnp.exp(self.entropy)


def entropy(p: Float[Array, "... n"]) -> Float[Array, "..."]:
    """−Σ_j p_j log p_j in nats. What has no probability has no slope, where that of −p log p is infinite."""
    return jnp.sum(p * -jnp.log(jnp.where(p > 0, p, 1)), axis=-1)


__all__ = ["Posterior", "entropy"]

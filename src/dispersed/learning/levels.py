r"""Which noise levels a network is trained on, and how much each of them counts.

A distribution of levels is given by its quantile function, u ∈ (0, 1) ↦ σ: one formula, from which stratified
draws, held-out levels and grids follow. A weighting is a function λ(σ) in the loss ½ E λ(σ)‖D_σ(y+σε) − y‖².
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from dispersed.compiling import one_program
from dispersed.processes import VP, Process
from dispersed.types import Array, Float, Numbers
from dispersed.validation import InputError, positive_number

TINY = 1e-37
"""The lowest level of a distribution that goes down to 0, and one over the highest; a number in single precision."""


class Levels(eqx.Module):
    """A distribution of noise levels σ > 0. Subclasses write `quantile`."""

    @abc.abstractmethod
    def quantile(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """The level below which the fraction u lies."""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest level that training may draw."""
        low, high = map(float, np.asarray(quantiles(self, np.array([0.0, 1.0]))))
        return max(low, TINY), min(high, 1 / TINY)


@one_program
def quantiles(levels: Levels, u: Float[Numbers, " k"]) -> Float[Array, " k"]:
    """`levels.quantile` as one program."""
    return levels.quantile(jnp.asarray(u, float))


class LogUniform(Levels):
    """log σ uniform from log `low` to log `high`: every octave of noise counts alike."""

    low: float
    high: float

    def __init__(self, low: float = 0.02, high: float = 2.0) -> None:
        self.low, self.high = _ordered(low, high)

    def quantile(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.low ** (1 - u) * self.high**u  # their ratio may overflow


class LogNormal(Levels):
    """ln σ ~ N(mean, std²). Karras et al. (2022) use −1.2 and 1.2 for patterns of rms ½."""

    mean: float = -1.2
    std: float = 1.2

    def quantile(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        inside = jnp.finfo(u.dtype).eps
        return jnp.exp(self.mean + self.std * ndtri(jnp.clip(u, inside, 1 - inside)))


class UniformTime(Levels):
    """t uniform in (low, high) of a process, as in Song et al. (2021), whom the paper follows."""

    process: Process
    low: float
    high: float

    def __init__(self, process: Process | None = None, low: float = 1e-3, high: float = 1.5) -> None:
        self.process = VP() if process is None else process
        self.low, self.high = _ordered(low, high)

    def quantile(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.process.in_precision(u.dtype).sigma(self.low + (self.high - self.low) * u)


def _ordered(low: float, high: float) -> tuple[float, float]:
    low, high = positive_number("low", low), positive_number("high", high)
    if not low < high:
        raise InputError("low, high", f"got {low:g} and {high:g}", "low < high is accepted")
    return low, high


def unit_noise(sigma: Float[Array, "..."]) -> Float[Array, "..."]:
    """λ = 1/σ²: the loss is the squared error of the unit noise ε, Song et al. (2021)."""
    return sigma**-2


def total_noise(sigma: Float[Array, "..."]) -> Float[Array, "..."]:
    """λ = 1: the loss is the squared error of the total noise δ = z − y, Eq. 9 as printed."""
    return jnp.ones_like(sigma)


class UnitOutput(eqx.Module):
    """λ = 1/c_out² = (σ²+s²)/(σs)²: a preconditioned network's own output counts alike at every level."""

    spread: float = 1.0

    def __call__(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        return sigma**-2 + self.spread**-2

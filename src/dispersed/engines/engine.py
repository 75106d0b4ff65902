"""What an engine is: how sums over stored patterns are done, below the memory and invisible to the dynamics."""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.derived import Deriving
from dispersed.engines.spreads import Spreads
from dispersed.precision import full_precision
from dispersed.types import Array, Bool, Float, Int, Key, Scalar, State

LAST_LEVEL = 0.02
"""The last noise level of a recall, where it is not given and the cue is no clearer, in units of the root-mean-square
distance of the patterns from their mean. With it nearly all recalls from noise came to an end, for four sets in 4 to
3,072 dimensions, and as many at the pattern of the exact flow as with lower ones."""


@one_program
def likeliest(log_weights: Float[Array, " n"]) -> tuple[Int[Array, ""], Scalar]:
    """The first pattern of the largest weight, and that weight."""
    index = jnp.argmax(log_weights)
    return index, jnp.exp(log_weights[index])


class Misfits(NamedTuple):
    """How far each cue of a batch lies from every pattern, in units of a noise level σ of its own."""

    excess: Float[Array, "b n"]
    """(min_k ‖x − y_k‖² − ‖x − y_j‖²)/2σ², over the entries that were observed."""
    nearest: Int[Array, " b"]
    """The pattern of the least distance."""
    least: Float[np.ndarray, " b"]
    """Half its square, in units of σ²."""
    log_weights: Float[Array, " n"]
    """Logarithms of the prior probabilities."""


class PatternSet(Deriving):
    """Stored patterns and their prior weights, held by an engine. Methods are of one state `(d,)` and one level."""

    if TYPE_CHECKING:  # fields of some classes, which a property here would be the default values of

        @property
        def patterns(self) -> Float[Array, "n d"]:
            """The patterns (n, d), all of them in memory."""

        @property
        def log_weights(self) -> Float[Array, " n"]:
            """Logarithms of their prior probabilities, (n,)."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """How many patterns of how many units, (n, d)."""

    @property
    @abc.abstractmethod
    def engine(self) -> "Engine":
        """The engine that holds them."""

    @property
    @abc.abstractmethod
    def where(self) -> str:
        """How and where the patterns are held, for people."""

    @property
    def resident(self) -> Any:
        """The same patterns as arrays of a program, `DensePatterns`, where they are in memory as numbers; else None."""
        return None

    @abc.abstractmethod
    def first(self, count: int) -> tuple[Any, Any]:
        """The first patterns (k, d) and their log weights (k,)."""

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Some patterns by their indices, (..., d), outside of programs."""
        return np.asarray(self.patterns)[indices]

    @abc.abstractmethod
    def closest(self, x: State) -> State:
        """The pattern nearest to x."""

    @abc.abstractmethod
    def denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_j p(j | x) y_j (Eq. 28)."""

    @abc.abstractmethod
    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """A pattern c near x, and log Σ_j w_j exp((‖x − c‖² − ‖x − y_j‖²)/(2σ²))."""

    @abc.abstractmethod
    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """p(j | x) of every pattern (Eq. 29)."""

    @abc.abstractmethod
    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """The pattern with the largest p(j | x), the first one if several are alike, and that probability."""

    def mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Int[Array, ""], Float[Array, ""]]:
        """D_σ(x), and what `nearest` returns, from one evaluation of all patterns."""
        return self.denoise(x, sigma), *self.nearest(x, sigma)

    def slope_bound(self, sigma: Scalar, p: Scalar) -> Scalar:
        """An upper bound on the largest slope of D_σ where the leading pattern has probability p."""
        return jnp.asarray(jnp.inf, p.dtype)

    @abc.abstractmethod
    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """Cov[y | x]/σ²."""

    @full_precision
    def pushed(self, v: State, x: State, sigma: Scalar) -> State:
        """Cov[y | x] v/σ²."""
        return self.jacobian(x, sigma) @ v

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""]) -> State:
        """One pattern, drawn by its prior weight."""

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        """One pattern, drawn by its probability p(j | x), and its index."""

    @abc.abstractmethod
    def start(self) -> tuple[State, Scalar]:
        """The mean of the patterns by their weights, and the root-mean-square distance from it."""

    def prior_mean(self) -> State:
        """The mean of the patterns by their weights."""
        return self.start()[0]

    @abc.abstractmethod
    def spreads(self) -> Spreads:
        """The root-mean-square distances of the patterns from their mean, by which noise levels are placed."""

    @abc.abstractmethod
    def conditioned(self, observation: Observation) -> tuple["PatternSet", Scalar]:
        """The same patterns with the weights that they have after a measurement, and its log evidence log p(v)."""

    def conditioned_outside(self, observation: Observation) -> tuple["PatternSet", Scalar] | None:
        """The same from values that are known, where the engine works outside of programs; else None."""
        return None

    def observed(self, observation: Observation) -> tuple[State, Int[Array, ""], Scalar]:
        """The mean, the likeliest pattern and its probability after a measurement."""
        held, _ = self.conditioned(observation)
        return held.start()[0], *likeliest(held.log_weights)

    def misfits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Misfits | None:
        """How far known cues lie from all patterns, from which their density at every level follows; None where the
        engine does not keep a number for each.
        """
        excess = self.misfit_logits(x, known, sigma)
        if excess is None:
            return None
        nearest = jnp.argmax(excess, axis=1)
        # Of the nearest one the distance itself, which a product has lost where it is small.
        off = np.asarray(x, float) - self.rows(np.asarray(nearest))
        off = off if known is None else np.where(np.asarray(known), off, 0)
        least = np.square(off / np.asarray(sigma, float)[:, None]).sum(axis=1) / 2
        return Misfits(excess, nearest, least, self.log_weights)

    def misfit_logits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Float[Array, "b n"] | None:
        """−‖x − y_j‖²/2σ² over the observed entries of each cue, less the largest; or None."""
        return None

    def prepared(self) -> "PatternSet":
        """The same with whatever programs would otherwise compute anew."""
        return self

    def evaluated(self, hook: str, x: Any, sigma: Any, settings: dict[str, Any]) -> Any:
        """What a public method returns for states (..., d) where the engine works outside of programs; else None."""
        return None


def with_prepared(holder: Any) -> Any:
    """A memory or network whose `held` patterns are prepared, which is itself where nothing was to be done."""
    held = holder.held.prepared()
    if held is holder.held:
        return holder
    return holder._once("prepared", lambda: eqx.tree_at(lambda one: one.held, holder, held))


class Engine(eqx.Module):
    """How the sums of a `PatternMemory` are done: `Dense()`, `Scanned()` or `Sharded()`."""

    @abc.abstractmethod
    def hold(self, patterns: Any, weights: Any = None, log_weights: Any = None) -> PatternSet:
        """Patterns, an array or a `Storage`, with their prior weights, in the hands of this engine."""

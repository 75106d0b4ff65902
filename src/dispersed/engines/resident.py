"""Scanned patterns that are in memory as numbers, as programs see them."""

from typing import Any

import equinox as eqx
import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.dense import DensePatterns
from dispersed.engines.scanned import ScannedPatterns
from dispersed.engines.spreads import Spreads
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, Bool, Float, Int, Key, Scalar, State


class ResidentPatterns(ScannedPatterns):
    """Scanned patterns that are in memory as numbers: programs weigh them as `Dense()` does, in the same array."""

    handle: Int[Array, ""]
    size: tuple[int, int] = eqx.field(static=True)
    name: str = eqx.field(static=True)
    dense: DensePatterns

    @property
    def resident(self) -> DensePatterns:
        return self.dense

    def conditioned(self, observation: Observation) -> tuple[DensePatterns, Scalar]:
        return self.dense.conditioned(observation)

    def _reweighted(self, handle: Int[Array, ""], log_weights: np.ndarray) -> "ResidentPatterns":
        own = as_array(log_weights, self.dense.log_weights.dtype)
        return ResidentPatterns(handle, self.size, self.name, self.dense.reweighted(own))

    @property
    def patterns(self) -> Float[Array, "n d"]:
        return self.dense.patterns

    @property
    def log_weights(self) -> Float[Array, " n"]:
        return self.dense.log_weights

    def first(self, count: int) -> tuple[Any, Any]:
        return self.dense.first(count)

    def denoise(self, x: State, sigma: Scalar) -> State:
        return self.dense.denoise(x, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        return self.dense.anchored(x, sigma)

    def misfit_logits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Float[Array, "b n"] | None:
        return self.dense.misfit_logits(x, known, sigma)

    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.dense.nearest(x, sigma)

    def mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Int[Array, ""], Float[Array, ""]]:
        return self.dense.mean_and_nearest(x, sigma)

    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return self.dense.responsibilities(x, sigma)

    def slope_bound(self, sigma: Scalar, p: Scalar) -> Scalar:
        return self.dense.slope_bound(sigma, p)

    def pushed(self, v: State, x: State, sigma: Scalar) -> State:
        return self.dense.pushed(v, x, sigma)

    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return self.dense.jacobian(x, sigma)

    def closest(self, x: State) -> State:
        return self.dense.closest(x)

    def sample(self, key: Key[Array, ""]) -> State:
        return self.dense.sample(key)

    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        return self.dense.draw(key, x, sigma)

    def start(self) -> tuple[State, Scalar]:
        return self.dense.start()

    def prior_mean(self) -> State:
        return self.dense.prior_mean()

    def spreads(self) -> Spreads:
        return super().spreads() if is_known(self.handle) else self.dense.spreads()

    def prepared(self) -> "ResidentPatterns":
        dense = self.dense.prepared()
        return self if dense is self.dense else eqx.tree_at(lambda held: held.dense, self, dense)

"""Memories at one noise level, which are networks (Eq. 14)."""

from dispersed.display import value
from dispersed.memories.denoiser import Denoiser
from dispersed.memories.memory import Memory
from dispersed.memories.network import Network
from dispersed.types import Array, Float, Int, Scalar, State
from dispersed.validation import InputError


class Held(Network):
    """A memory at one noise level is a network, x ← D_σ(x) = x − ∇E_σ(x) (Eq. 14).

    For patterns of equal norm it is the modern Hopfield network with β = 1/σ².
    """

    memory: Denoiser
    sigma: Float[Array, ""]

    def __repr__(self) -> str:
        return f"Held({self.memory}, sigma={value(self.sigma)})"

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    @property
    def _without_origin(self) -> bool:
        return True

    def _prepared(self) -> "Held":
        return Held(self.memory._prepared(), self.sigma)

    def _energy(self, x: State) -> Scalar:
        if not isinstance(self.memory, Memory):
            raise InputError("memory", f"a {type(self.memory).__name__} has no density", "a Memory has an energy")
        return self.memory._energy(x, self.sigma.astype(x.dtype))

    def _update(self, x: State) -> State:
        return self.memory._denoise(x, self.sigma.astype(x.dtype))

    def _nearest(self, x: State) -> tuple[Int[Array, ""] | None, Float[Array, ""] | None]:
        return self.memory._nearest(x, self.sigma.astype(x.dtype))

    def _slope_bound(self, x: State, p: Scalar | None) -> Scalar:
        if not isinstance(self.memory, Memory):
            return super()._slope_bound(x, p)
        return self.memory._slope_bound(x, self.sigma.astype(x.dtype), p)

    def _pushed(self, v: State, x: State) -> State:
        if not isinstance(self.memory, Memory):
            return super()._pushed(v, x)
        return self.memory._pushed(v, x, self.sigma.astype(x.dtype))

    def _length(self, x: State) -> Scalar:
        return self.sigma.astype(x.dtype)

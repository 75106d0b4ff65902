r"""Networks of any parametrisation as memories.

Whatever a network says of a noisy state, the denoiser D_σ(z) follows. With α = 1/√(1+σ²), s = ασ and x = αz,

    "noise"     ε̂                       D = z − σε̂
    "pattern"   ŷ                       D = ŷ
    "v"         v̂ = αε − sy             D = αx − sv̂
    "score"     ∇ log p of its input    D = z + σ² ∇_z log p,    ∇_z = α∇_x
    "edm"       F of c_in z, ln(σ)/4    D = c_skip z + c_out F

(Salimans & Ho 2022; Karras et al. 2022, Table 1). A network is fed z and σ, or x and α, or x and the index t of one of
the discrete levels ᾱ_t = α² that it was trained at.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dispersed.memories import LearnedMemory
from dispersed.memories.learned import COORDINATES
from dispersed.types import Array, ArrayLike, Float, Scalar, State
from dispersed.validation import InputError, at_least, double_array, positive_number

PARAMETRISATIONS = {
    "noise": "noise",
    "epsilon": "noise",
    "pattern": "pattern",
    "sample": "pattern",
    "x0": "pattern",
    "v": "v",
    "v_prediction": "v",
    "score": "score",
    "edm": "edm",
}
"""What a network may estimate, by the names in use."""


class ParametrisedNetwork(eqx.Module):
    """A network of any parametrisation as a function of a VE state z: (d,) and σ that returns ŷ = D_σ(z)."""

    network: Callable[..., Any]
    estimates: str
    coordinates: str
    log_sigmas: Float[Array, " levels"] | None
    """The logarithms of the discrete levels of σ, increasing."""
    spread: float
    """σ_data of the preconditioning."""

    def __call__(self, z: State, sigma: Scalar) -> State:
        if self.estimates == "edm":
            total = jnp.hypot(sigma, self.spread)
            inner = self.network(z / total, jnp.log(sigma) / 4)
            return (self.spread / total) ** 2 * z + sigma * (self.spread / total) * inner
        alpha = 1 / jnp.hypot(1.0, sigma)
        x, level = (alpha * z, alpha) if self.coordinates == "VP" else (z, sigma)
        if self.log_sigmas is not None:
            index = jnp.arange(self.log_sigmas.size, dtype=z.dtype)
            level = jnp.interp(jnp.log(sigma), self.log_sigmas.astype(z.dtype), index)
        estimate = self.network(x, level)
        if self.estimates == "noise":
            return z - sigma * estimate
        if self.estimates == "v":
            return alpha * (alpha * z - sigma * estimate)
        if self.estimates == "score":
            return z + sigma**2 * (alpha if self.coordinates == "VP" else 1) * estimate
        return estimate


def from_jax(
    function: Callable[..., Any],
    shape: int | Sequence[int],
    parametrisation: str = "noise",
    *,
    coordinates: str = "VE",
    alphas_cumprod: ArrayLike | None = None,
    sigma_data: float = 0.5,
    levels: tuple[float | int, float | int] | None = None,
) -> LearnedMemory:
    """A network of JAX, equinox or flax as a memory, whatever it estimates.

    **Arguments**

    - `function`: `function(x, level)` of one state of shape `shape`, that returns one.
    - `shape`: the shape of one state, such as (3, 32, 32), or the number of units d. States of the memory are flat.
    - `parametrisation`: "noise" ("epsilon"), "pattern" ("x0", "sample"), "v" ("v_prediction"), "score", or "edm", the
      inner network of the preconditioning of Karras et al. (2022).
    - `coordinates`: "VE", the network is fed z = y + σε and σ; or "VP", αz and α.
    - `alphas_cumprod`: the discrete levels ᾱ_t, decreasing from t = 0, of a network that is fed αz and t. Between two
      levels t is interpolated in log σ; evaluations below the first and above the last one warn.
    - `sigma_data`: the spread of the data that "edm" assumes.
    - `levels`: the lowest and the highest σ that the network was trained at, as of `LearnedMemory`; by default the ends
      of `alphas_cumprod`, if given.

    **Raises** `InputError` for other names, and for levels that do not decrease between 1 and 0.
    """
    shape = state_shape(shape)
    model = parametrised(
        lambda x, level: function(x.reshape(shape), level).reshape(-1),
        parametrisation,
        coordinates,
        alphas_cumprod,
        sigma_data,
    )
    return network_memory(model, shape, levels)


def state_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one state, which a number of units is too."""
    lengths = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not lengths:
        raise InputError("shape", "got ()", "the shape of one state is accepted")
    return tuple(at_least("shape", length, 1) for length in lengths)


def network_memory(
    model: ParametrisedNetwork, shape: tuple[int, ...], levels: tuple[float | int, float | int] | None
) -> LearnedMemory:
    """The memory of a network, which knows the levels that it was trained at."""
    if levels is None and model.log_sigmas is not None:
        low, high = np.exp(np.asarray(model.log_sigmas, float)[[0, -1]])
        levels = (float(low), float(high))
    return LearnedMemory(model, int(np.prod(shape)), "pattern", "VE", levels=levels)


def parametrised(
    network: Callable[..., Any],
    parametrisation: str,
    coordinates: str,
    alphas_cumprod: Any,
    sigma_data: float,
) -> ParametrisedNetwork:
    """A network whose estimates, coordinates and levels have names that are known; raises `InputError` for others."""
    if parametrisation not in PARAMETRISATIONS:
        accepted = f"{', '.join(map(repr, PARAMETRISATIONS))} are accepted"
        raise InputError("parametrisation", f"got {parametrisation!r}", accepted)
    if coordinates not in COORDINATES:
        raise InputError("coordinates", f"got {coordinates!r}", "'VP' or 'VE' is accepted")
    estimates, log_sigmas = PARAMETRISATIONS[parametrisation], None
    if alphas_cumprod is not None:
        if estimates == "edm":
            raise InputError("alphas_cumprod", "got some for 'edm'", "that is fed ln(σ)/4: none are accepted")
        log_sigmas, coordinates = _log_sigmas(alphas_cumprod), "VP"
    spread = positive_number("sigma_data", sigma_data)
    return ParametrisedNetwork(network, estimates, coordinates, log_sigmas, spread)


def _log_sigmas(alphas_cumprod: Any) -> Float[Array, " levels"]:
    levels = double_array("alphas_cumprod", alphas_cumprod)
    accepted = "levels that decrease between 1 and 0, (T,), are accepted"
    if levels.ndim != 1 or not levels.size:
        raise InputError("alphas_cumprod", f"got shape {levels.shape}", accepted)
    # Training to pure noise ends at 0, which is no level of finite σ.
    finite = levels[:-1] if levels[-1] == 0 else levels
    if not (finite.size and finite[0] < 1 and finite[-1] > 0 and (np.diff(finite) < 0).all()):
        raise InputError("alphas_cumprod", f"got levels from {levels[0]:g} to {levels[-1]:g}", accepted)
    return jnp.asarray(np.log((1 - finite) / finite) / 2)

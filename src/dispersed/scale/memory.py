"""Any number of stored patterns, wherever they lie, as one exact memory."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories import Memory
from dispersed.memories.batching import per_state
from dispersed.memories.memory import gaussian_normaliser
from dispersed.scale.placed import Placed
from dispersed.scale.posterior import PatternPosterior, posterior
from dispersed.storage import InMemory, Storage
from dispersed.types import Array, ArrayLike, Float, Int, Scalar, State
from dispersed.validation import InputError, at_least, check_finite, log_weight_array, positive, positive_number, weight_array


class StoredMemory(Memory):
    r"""The exact memory of any number of patterns in any storage (Eq. 12, 28, 29).

    What `PatternMemory` is for a few thousand patterns, this is for millions: the same distribution, never more of it in
    memory at once than a block, and a posterior that says how exact it is.

    **Arguments**

    - `patterns`: (n, d), an array or a `dispersed.storage.Storage`: `open_patterns(path)`, `PatternStore(…).storage`,
      `InMemory(patterns, Bits())`, …
    - `weights`: prior probabilities, (n,); uniform by default. `log_weights`: their logarithms instead.
    - `devices`: that hold the blocks, in turn; all local ones by default.
    - `tol`: what ‖D − D_σ(x)‖ may be in the methods below.

    `posterior` is the contract; `denoise`, `log_density` and `nearest` are its mean, normaliser and first index. Every
    dynamics recalls from it; `CertifiedFlow` in about the time of one evaluation.

    **Raises** `InputError` for an empty storage or unusable weights.
    """

    placed: Placed = eqx.field(static=True)
    tol: float = eqx.field(static=True)

    def __init__(
        self,
        patterns: Any,
        weights: ArrayLike | None = None,
        *,
        log_weights: ArrayLike | None = None,
        devices: list[jax.Device] | None = None,
        tol: float = 1e-4,
    ) -> None:
        storage = patterns if isinstance(patterns, Storage) else InMemory(np.asarray(patterns))
        n = len(storage)
        if not n:
            raise InputError("patterns", f"got {storage}", "at least one pattern is accepted")
        if weights is not None and log_weights is not None:
            raise InputError("weights, log_weights", "got both", "give the prior as at most one of them")
        prior = None
        if weights is not None:
            with np.errstate(divide="ignore"):
                prior = np.log(np.asarray(weight_array(weights, n), float))
        elif log_weights is not None:
            prior = np.asarray(log_weight_array(log_weights, n), float)
        if prior is not None:
            top = prior.max()
            prior = (prior - top - np.log(np.exp(prior - top).sum())).astype(np.float32)
        self.placed = Placed(storage, prior, jax.local_devices() if devices is None else list(devices))
        self.tol = positive_number("tol", tol)

    def __repr__(self) -> str:
        n, d = self.placed.shape
        return f"StoredMemory({n} patterns of {d} units in {self.placed.storage})"

    @property
    def dimension(self) -> int:
        return self.placed.shape[1]

    def posterior(
        self, x: ArrayLike, sigma: ArrayLike, *, tol: float | None = None, leading: int = 8
    ) -> PatternPosterior:
        r"""p(j | x) over all patterns for states x (..., d), its mean within `tol` of the exact D_σ(x).

        `sigma` > 0 broadcasts against the batch. `leading` is how many of the likeliest patterns are named. Computed on
        the host, in double precision where that matters; not inside `jax.jit`, where `denoise` serves.

        **Raises** `InputError` if `tol` is below what double precision can certify.
        """
        tol = self.tol if tol is None else positive_number("tol", tol)
        x = np.asarray(x, float)
        if x.ndim == 0 or x.shape[-1] != self.dimension:
            raise InputError("x", f"got shape {x.shape}", f"states of {self.dimension} units, (..., {self.dimension})")
        check_finite("x", x)
        batch = x.shape[:-1]
        try:
            positive("sigma", sigma)
            levels = np.broadcast_to(np.asarray(sigma, float), batch).reshape(-1)
        except ValueError:
            raise InputError(
                "sigma", f"got shape {np.shape(sigma)}", f"one that broadcasts against the batch {batch} is accepted"
            ) from None
        found = posterior(self.placed, x.reshape(-1, x.shape[-1]), levels, tol, at_least("leading", leading, 1))
        if found.bound.size and found.bound.max() > tol:
            worst = f"asked for {tol:g}, double precision certifies {found.bound.max():.3g} here"
            raise InputError("tol", worst, "a larger tol is accepted")
        return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), found)

    def denoise(self, x, sigma):
        raise NotImplementedError

    def log_density(self, x, sigma):
        raise NotImplementedError

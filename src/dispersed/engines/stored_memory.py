"""Any number of stored patterns, wherever they lie, as one exact memory."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.certified_posterior import PatternPosterior, posterior
from dispersed.engines.collectives import all_gather
from dispersed.engines.host_callback import Answer, ask
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.memories import Denoiser, Memory
from dispersed.memories.memory import gaussian_normaliser
from dispersed.storage import InMemory, Storage
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Scalar, State
from dispersed.validation import InputError, at_least, check_finite, log_prior, positive, positive_number


class StoredMemory(Memory):
    r"""The exact memory of any number of patterns in any storage (Eq. 12, 28, 29).

    What `PatternMemory` is for a few thousand patterns, this is for millions: the same distribution, never more of it
    in memory at once than a block, and a posterior that says how exact it is.

    **Arguments**

    - `patterns`: (n, d), an array or a `dispersed.storage.Storage`: `open_patterns(path)`, `PatternStore(…).storage`,
      `InMemory(patterns, Bits())`, …
    - `weights`: prior probabilities, (n,); uniform by default. `log_weights`: their logarithms instead.
      With several hosts (`jax.distributed`) each gives its own patterns and weights, of any positive scale that all
      share.
    - `devices`: that hold the blocks, in turn; all local ones by default.
    - `tol`: what ‖D − D_σ(x)‖ may be in the methods below.

    `posterior` is the contract; `denoise`, `log_density` and `nearest` are its mean, normaliser and first index. Every
    dynamics recalls from it; `CertifiedFlow` at the price of a few looks at all patterns.

    **Raises** `InputError` for an empty storage or unusable weights.
    """

    placed: PlacedPatterns = eqx.field(static=True)
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
        prior = log_prior(weights, log_weights, n)
        if prior is not None:
            # Hosts give weights of one scale: what the prior was divided by here is put back.
            given = np.log(np.max(np.asarray(weights, float))) if log_weights is None else np.max(log_weights)
            prior = np.asarray(prior, float) + (given - np.max(prior))
            top = all_gather(prior.max()).max()
            prior = prior - top - np.log(all_gather(np.exp(prior - top).sum()).sum())
        self.placed = PlacedPatterns(storage, prior, jax.local_devices() if devices is None else list(devices))
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
        return jax.tree.map(lambda array: array.reshape((*batch, *array.shape[1:])), found)

    def _ask(self, x: State, sigma: Scalar, known: Bool[Array, " d"] | None = None) -> Answer:
        """What all patterns say of one state, from inside a compiled program; a batch is one pass over them."""
        if jax.process_count() > 1:
            raise InputError(
                "memory",
                "a StoredMemory over several hosts inside a program",
                "CertifiedFlow and posterior serve there",
            )
        shape = jax.ShapeDtypeStruct((), x.dtype)
        like = Answer(
            jax.ShapeDtypeStruct(x.shape, x.dtype), shape, jax.ShapeDtypeStruct((), jnp.asarray(0).dtype), shape
        )

        def call(x: Any, sigma: Any, known: Any = None) -> Answer:
            batch, d = x.shape[:-1], x.shape[-1]
            mask = None if known is None else np.asarray(known).reshape(-1, d)
            answer = ask(self.placed, np.asarray(x).reshape(-1, d), np.asarray(sigma).reshape(-1), mask)
            return Answer(
                *(
                    part.reshape(*batch, *part.shape[1:]).astype(wanted.dtype)
                    for part, wanted in zip(answer, like, strict=True)
                )
            )

        arguments = (x, sigma) if known is None else (x, sigma, known)
        return jax.pure_callback(call, like, *arguments, vmap_method="broadcast_all")

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x) = log Σ_j w_j N(x; y_j, σ²I), in nats (Eq. 12)."""
        return _log_mass(self, x, sigma) - gaussian_normaliser(self.dimension, sigma)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_j p(j | x) y_j (Eq. 28)."""
        return self._ask(x, sigma).mean

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern nearest to x and its responsibility p(j | x) at σ."""
        answer = self._ask(x, sigma)
        return answer.nearest, answer.responsibility

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """Not of a stored memory: raises `InputError`."""
        raise InputError("memory", "a StoredMemory has no jacobian", "a PatternMemory of the leading patterns has one")

    def observing(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> tuple["StoredObserved", State, Scalar]:
        """The memory asked through the entries `known` of one state x alone, and its first guess at noise σ."""
        source = StoredObserved(self, x, known)
        return source, source._denoise(x, sigma), sigma

    def _given(self, x: State, known: Bool[Array, " d"], sigma: Scalar) -> Denoiser:
        """Raises `InputError`: the posterior given some entries weighs every pattern anew for every cue."""
        raise InputError(
            "known", "got a mask for a StoredMemory and a random dynamics", "deterministic dynamics complete from it"
        )

    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, and ten times the root-mean-square distance from it: it says nothing of where it came from."""
        return jnp.asarray(self.placed.statistics.centre), jnp.asarray(10 * self.placed.statistics.spread, jnp.float32)


class StoredObserved(Denoiser):
    """Stored patterns asked through the known entries of one state, which stay as they are."""

    memory: StoredMemory
    x: State
    known: Bool[Array, " d"]

    @property
    def dimension(self) -> int:
        return self.memory.dimension

    def _denoise(self, x: State, sigma: Scalar) -> State:
        return jnp.where(self.known, self.x, self.memory._ask(self.x, sigma, self.known).mean)

    def _nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Index of the pattern that agrees best with the known entries, and its responsibility."""
        answer = self.memory._ask(self.x, sigma, self.known)
        return answer.nearest, answer.responsibility


@eqx.filter_custom_jvp
def _log_mass(memory: StoredMemory, x: State, sigma: Scalar) -> Scalar:
    return memory._ask(x, sigma).log_mass


@_log_mass.def_jvp
def _log_mass_jvp(primals, tangents):
    """∂/∂x log Σ w exp(−‖x − y‖²/(2σ²)) = (D − x)/σ²; σ is not differentiated."""
    memory, x, sigma = primals
    _, dx, dsigma = tangents
    if dsigma is not None:
        raise InputError("sigma", "a StoredMemory is not differentiated in σ", "gradients in x are")
    answer = memory._ask(x, sigma)
    slope = jnp.zeros(()) if dx is None else (answer.mean - x) @ dx / sigma**2
    return answer.log_mass, slope.astype(answer.log_mass.dtype)

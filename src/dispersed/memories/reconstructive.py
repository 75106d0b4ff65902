r"""Reconstructive memories (Eq. 25): a core is stored, the rest is filled in from what is generally so.

What is stored of an event y_n is a core ξ_n = f(y_n) of fewer numbers than units. Two readings:

**As printed**, the energy adds cores and semantic memory inside one logarithm (with the sign of its second
exponent mended, and −1/β, ‖ξ‖²/2 and ‖x‖²/2 put back as in Eq. 5)

    E_σ(x) = −σ² log( Σ_n e^{β f(x)ᵀξ_n − β‖ξ_n‖²/2} + ∫ e^{β xᵀy − β‖y‖²/2} φ(y) dy ) + ‖x‖²/2.

A sum is an *or*: near a core the semantic term is negligible and ‖x‖²/2 alone acts on the other degrees of
freedom, which shrink to 0. For f(x) = Ax with orthonormal rows it is exactly a mixture of the points Aᵀξ_n
with φ. That is `SumOfCores`.

**As the text means it**, "the other degrees of freedom are left free to evolve under the dynamics determined
by the corpus of semantic memory", the memory is the semantic density conditioned on the core, an *and*:

    φ_n(y) = φ(y | f(y) = ξ_n),    φ = Σ_n w_n φ_n.

For linear cores and Gaussian mixtures it has a closed form at every σ. For nonlinear ones each Gaussian's part of
the level set f(y) = ξ_n is replaced by its tangent at its most probable point. That is `ReconstructiveMemory`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import one_line, place
from dispersed.keys import categorical
from dispersed.memories.associative_memory import in_precision
from dispersed.memories.components import Components, compare
from dispersed.memories.gaussian import GaussianMemory, eigen, measured, shrunk, svd_of_observation, unexplained
from dispersed.memories.memory import Memory, gaussian_normaliser
from dispersed.memories.mixture import Mixture
from dispersed.precision import full_precision
from dispersed.tracing import as_array
from dispersed.types import Array, ArrayLike, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, check_finite, check_map, log_prior, non_negative_number, real_array


class ReconstructiveMemory(Components):
    r"""A reconstructive memory (Eq. 25): only a core ξ_n = f(y_n) of each event is stored, the rest is semantic memory.

    With φ = Σ_k π_k N(m_k, Σ_k) and f(y) = Ay, each φ(y | Ay + τε = ξ_n) is again a Gaussian mixture, whose
    covariances do not depend on n:

        m_nk = m_k + Σ_k Aᵀ S_k⁻¹ (ξ_n − A m_k),   C_k = Σ_k − Σ_k Aᵀ S_k⁻¹ A Σ_k,   S_k = A Σ_k Aᵀ + τ²I,
        π_nk ∝ π_k N(ξ_n; A m_k, S_k).

    With τ = 0, recalled states carry the stored core exactly.

    A nonlinear f is linearised for every core and Gaussian about the mode y* of N(y; m_k, Σ_k) N(ξ_n; f(y), τ²I),
    which Gauss–Newton steps find; then the above holds with A = ∂f(y*) and ξ_n − f(y*) + A y* in place of ξ_n
    (Laplace's method). This is an approximation: states recalled far from y* leave the level set by half the
    curvature of f times the square of that distance. More and smaller Gaussians in the semantic memory reduce it:
    for N(0, diag(0.3², 1)) and f = y₁ + c y₂² known to 0.1, the total variation to the true conditional density is
    0.04 at c = 0.02, 0.08 at 0.04 and 0.29 at 0.3, and 0.05 there with 15 narrow Gaussians in place of the one.

    **Arguments**

    - `semantic`: a `GaussianMemory` or a `Mixture` of them.
    - `encoder`: A, (w, d), with independent rows, w ≤ d; or f, a JAX function of a state (d,) to its core (w,).
    - `cores`: the stored ξ_n, (n, w).
    - `weights`: prior probabilities of the events, (n,); uniform by default.
    - `noise`: τ ≥ 0, the precision with which the core is stored; above 0 for a function.

    **Raises** `InputError` for cores of another width than the encoder's, an encoder whose rows depend on each
    other or that is no function of the state, and cores that the semantic memory rules out (τ = 0 and no variance
    along a row of A).

    **Source**: the steps are those of the iterated extended Kalman filter (Bell & Cathey 1993).
    """

    means: Float[Array, "n k d"]
    directions: Float[Array, "*n k v d"]
    """Of every Gaussian's covariance; with an axis of events in front if they depend on the event."""
    variances: Float[Array, "*n k v"]
    log_weights: Float[Array, "n k"]

    @full_precision
    def __init__(
        self,
        semantic: GaussianMemory | Mixture,
        encoder: ArrayLike | Callable[[State], Float[Array, " w"]],
        cores: ArrayLike,
        weights: ArrayLike | None = None,
        noise: float = 0.0,
    ) -> None:
        _check_semantic(semantic)
        tau = jnp.asarray(non_negative_number("noise", noise))
        stored = _core_array(cores)
        n, w = stored.shape
        semantic = in_precision(semantic, jnp.promote_types(semantic._dtype, stored.dtype))
        prior = log_prior(weights, None, n, "core")
        events = as_array(np.full(n, -np.log(n)) if prior is None else prior)
        if callable(encoder):
            _check_encoder(encoder, semantic.dimension, w)
            if noise == 0:
                given = "got 0 for a core that is a function"
                raise InputError("noise", given, "a nonlinear core is stored with a noise > 0")
            found, evidence = _of_function(semantic, encoder, stored, tau, events)
            check_finite("encoder, cores", evidence)
        else:
            matrix = _matrix(encoder, stored, semantic.dimension)
            semantic = in_precision(semantic, jnp.promote_types(semantic._dtype, matrix.dtype))
            found, scales = _of_matrix(semantic, matrix, stored, tau, events)
            reachable = np.asarray(scales)
            least = 1e-5 * np.abs(reachable).max(initial=0)
            if noise == 0 and (reachable.shape[1] < w or (reachable <= least).any()):
                given = "got a core that some Gaussian of the semantic memory leaves no freedom"
                raise InputError("encoder", given, "noise > 0 is accepted then")
        self.means, self.directions, self.variances, self.log_weights = found

    def __repr__(self) -> str:
        n, k, d = self.means.shape
        return f"ReconstructiveMemory({n} cores, {k} Gaussians of {d} units, {place(self.means)})"

    @property
    def dimension(self) -> int:
        return self.means.shape[-1]

    def event(self, index: ArrayLike) -> "ReconstructiveMemory":
        """The memory of one event alone: what recall makes of it if there is no doubt which event is meant."""
        which = jnp.asarray(index)[None]
        shared = self.directions.ndim == 3
        spread = (self.directions, self.variances) if shared else (self.directions[which], self.variances[which])
        return self._with(self.means[which], *spread, jax.nn.log_softmax(self.log_weights[which], axis=1))

    def _with(self, *parts: Array) -> "ReconstructiveMemory":
        return eqx.tree_at(lambda m: (m.means, m.directions, m.variances, m.log_weights), self, parts)

    @property
    def _axes(self) -> str:
        """The axes of `directions`, for `einsum`."""
        return "nkvd"[-self.directions.ndim :]

    def _parts(self, x: State, sigma: Scalar) -> tuple[Float[Array, "nk d"], Float[Array, " nk"]]:
        """Posterior mean D and weighted excess of every Gaussian of every core; see `GaussianMemory`."""
        shared = self.directions.ndim == 3

        def of_part(means: Array, directions: Array, variances: Array) -> tuple[Array, Array]:
            axes = (None, None, 0, None) if shared else (0, 0, 0, None)
            moved, excess = jax.vmap(shrunk, axes)(directions, variances, x - means, sigma)
            return means + moved, excess

        axes = (1, 0, 0) if shared else (1, 1, 1)
        anchors, excess = jax.vmap(of_part, axes, 1)(self.means, self.directions, self.variances)
        return anchors.reshape(-1, x.size), (excess + self.log_weights).ravel()

    @full_precision
    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_nk p(n, k | x) D_σ^nk(x)."""
        anchors, excess = self._parts(x, sigma)
        return jax.nn.softmax(compare(x, sigma, anchors, excess)[1]) @ anchors

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """p(n | x) of every core, (..., n)."""
        n, k, _ = self.means.shape
        return jax.nn.softmax(compare(x, sigma, *self._parts(x, sigma))[1]).reshape(n, k).sum(1)

    def _weight(self, index: Int[Array, ""]) -> Scalar:
        return jnp.exp(self.log_weights[index]).sum()

    @full_precision
    def _sample(self, key: Key[Array, ""]) -> State:
        which, key = jax.random.split(key)
        k = self.means.shape[1]
        event, part = jnp.divmod(categorical(which, self.log_weights.ravel()), k)
        directions, variances = self._spread(event, part)
        noise = jax.random.normal(key, variances.shape, self.means.dtype)
        return self.means[event, part] + (jnp.sqrt(jnp.maximum(variances, 0)) * noise) @ directions

    @full_precision
    def _project(self, x: State) -> State:
        """The nearest state with one of the stored cores that the semantic memory allows."""
        u = jnp.einsum(f"{self._axes},nkd->nkv", self.directions, x - self.means)
        points = self.means + jnp.einsum(f"nkv,{self._axes}->nkd", jnp.where(self._free, u, 0), self.directions)
        points = points.reshape(-1, x.size)
        return points[jnp.argmin(jnp.sum((points - x) ** 2, axis=1))]

    @property
    def _free(self) -> Array:
        """Directions along which the semantic memory leaves freedom, told from round-off."""
        return self.variances > 1e3 * jnp.finfo(self.variances.dtype).eps ** 2 * self.variances.max()

    @full_precision
    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it."""
        weights = jnp.exp(self.log_weights)
        mean = jnp.einsum("nk,nkd->d", weights, self.means)
        squares = jnp.sum((self.means - mean) ** 2, axis=-1) + self.variances.sum(-1)
        return mean, 10 * jnp.sqrt(jnp.sum(weights * squares))

    @one_program
    def _conditioned(self, observation: Observation) -> tuple["ReconstructiveMemory", Scalar]:
        """The memory after a measurement: again one of cores."""

        @full_precision
        def condition(directions: Array, variances: Array, means: Array) -> tuple[Array, ...]:
            """One covariance and the means (r, d) that share it."""
            factor = directions.T * jnp.sqrt(variances)
            images, offset, noise = measured(observation, factor.T, means)
            gain, reduction, left, scale = svd_of_observation(images, noise)
            seen = offset @ left
            rest = unexplained(offset, left) / noise
            fit = -jnp.sum(seen**2 / scale + jnp.log(scale / noise**2), axis=1) / 2 - jnp.sum(rest**2, axis=1) / 2
            return means + seen @ gain.T @ factor.T, *eigen(factor @ reduction), fit

        if self.directions.ndim == 3:
            shared = jax.vmap(condition, (0, 0, 1), (1, 0, 0, 1))
            means, directions, variances, fit = shared(self.directions, self.variances, self.means)
        else:
            own = jax.vmap(jax.vmap(condition))
            means, directions, variances, fit = own(self.directions, self.variances, self.means[:, :, None])
            means, fit = means[:, :, 0], fit[:, :, 0]
        joint = self.log_weights + fit
        total = jax.nn.logsumexp(joint)
        conditioned = self._with(means, directions, variances, joint - total)
        return conditioned, total - observation.normaliser

    @full_precision
    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        which, key = jax.random.split(key)
        anchors, excess = self._parts(x, sigma)
        drawn = categorical(which, compare(x, sigma, anchors, excess)[1])
        event, part = jnp.divmod(drawn, self.means.shape[1])
        directions, variances = self._spread(event, part)
        share = variances / (variances + sigma**2)
        noise = sigma * jnp.sqrt(share) * jax.random.normal(key, share.shape, x.dtype)
        return anchors[drawn] + noise @ directions, event

    def _spread(self, event: Array, part: Array) -> tuple[Float[Array, "v d"], Float[Array, " v"]]:
        """Directions and variances of one Gaussian of one event."""
        if self.directions.ndim == 3:
            return self.directions[part], self.variances[part]
        return self.directions[event, part], self.variances[event, part]


@one_program
@full_precision
def _of_function(
    semantic: GaussianMemory | Mixture,
    encoder: Callable[[State], Float[Array, " w"]],
    cores: Float[Array, "n w"],
    tau: Scalar,
    log_w: Float[Array, " n"],
) -> tuple[list[Array], Float[Array, "n k"]]:
    """Means, directions and variances of every Gaussian given each core, log w_n π_nk, and the evidence of the core."""
    gaussians, log_parts = _gaussians(semantic)
    cores, tau = cores.astype(log_parts.dtype), tau.astype(log_parts.dtype)

    def tangent(part: GaussianMemory, core: Array) -> tuple[Array, ...]:
        matrix, core = linearised(encoder, part, core, tau)
        means, directions, variances, fit = _condition(part, matrix, core[None], tau)
        return means[0], directions, variances, fit[0]

    *found, evidence = jax.vmap(jax.vmap(tangent, (0, None)), (None, 0))(gaussians, cores)
    return [*found, _joint(log_w, log_parts, evidence)], evidence


@one_program
@full_precision
def _of_matrix(
    semantic: GaussianMemory | Mixture,
    matrix: Float[Array, "w d"],
    cores: Float[Array, "n w"],
    tau: Scalar,
    log_w: Float[Array, " n"],
) -> tuple[list[Array], Float[Array, "k v"]]:
    """The same of linear cores, and in place of the evidence the singular values of A in each Gaussian's units."""
    gaussians, log_parts = _gaussians(semantic)
    matrix, cores, tau = (part.astype(log_parts.dtype) for part in (matrix, cores, tau))

    def given_cores(part: GaussianMemory) -> tuple[Array, ...]:
        return _condition(part, matrix, cores, tau)

    *found, evidence = jax.vmap(given_cores, out_axes=(1, 0, 0, 1))(gaussians)
    reachable = jnp.linalg.svd(jax.vmap(lambda part: matrix @ part.factor)(gaussians), compute_uv=False)
    return [*found, _joint(log_w, log_parts, evidence)], reachable


def _joint(
    log_w: Float[Array, " n"], log_parts: Float[Array, " k"], evidence: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    return jax.nn.log_softmax(log_parts[None] + evidence, axis=1) + log_w.astype(evidence.dtype)[:, None]


@full_precision
def _condition(
    part: GaussianMemory, matrix: Float[Array, "w d"], cores: Float[Array, "n w"], tau: Scalar
) -> tuple[Array, ...]:
    """A Gaussian given each of the cores: means, directions and variances, and log evidence up to a constant."""
    factor = part.factor
    gain, reduction, left, scale = svd_of_observation(matrix @ factor, tau)
    offset = cores - matrix @ part.mean
    seen = offset @ left
    means = part.mean + seen @ gain.T @ factor.T
    evidence = -jnp.sum(seen**2 / scale + jnp.log(scale), axis=1) / 2
    missed = jnp.sum((unexplained(offset, left) / jnp.maximum(tau, 1e-12)) ** 2, axis=1)
    return means, *eigen(factor @ reduction), evidence - missed / 2


@full_precision
def linearised(
    encoder: Callable[[State], Float[Array, " w"]], part: GaussianMemory, core: Float[Array, " w"], tau: Scalar
) -> tuple[Float[Array, "w d"], Float[Array, " w"]]:
    """A = ∂f(y*) and ξ − f(y*) + A y* at the mode y* = m + F u* of ½‖u‖² + ‖f(m + F u) − ξ‖²/2τ²."""
    factor = part.factor

    @full_precision
    def misfit(u: Array) -> Scalar:
        return u @ u / 2 + jnp.sum(((encoder(part.mean + factor @ u) - core) / tau) ** 2) / 2

    @full_precision
    def step(u: Array, _: object) -> tuple[Array, None]:
        y = part.mean + factor @ u
        slope = jax.jacfwd(encoder)(y) @ factor
        gain, _, left, _ = svd_of_observation(slope, tau)
        whole = gain @ (left.T @ (core - encoder(y) + slope @ u)) - u
        # Full steps may overshoot where f bends; the best of a few shorter ones never climbs.
        lengths = 0.5 ** jnp.arange(8.0, dtype=u.dtype)
        tried = u + lengths[:, None] * whole[None]
        values = jnp.append(jax.vmap(misfit)(tried), misfit(u))
        values = jnp.where(jnp.isnan(values), jnp.inf, values)
        return jnp.concatenate([tried, u[None]])[jnp.argmin(values)], None

    u, _ = jax.lax.scan(step, jnp.zeros(factor.shape[1], factor.dtype), length=30)
    y = part.mean + factor @ u
    matrix = jax.jacfwd(encoder)(y)
    return matrix, core - encoder(y) + matrix @ y


class SumOfCores(Memory):
    r"""Eq. 25 as printed, its sign mended: cores *or* semantic memory, inside one logarithm.

    The measure behind it is not normalised: each of the n cores counts 1, and so does the semantic memory;
    for a nonlinear f it may have no finite integral. Energies and denoisers do not depend on that.

    **Arguments**

    - `semantic`: any memory with a density.
    - `encoder`: f, a JAX function of a state (d,) to its core (w,), the same for every event.
    - `cores`: the stored ξ_n, (n, w).

    **Raises** `InputError` where f is not a function of the state with the width of the cores, w < d.
    """

    semantic: Memory
    encoder: Callable[[State], Float[Array, " w"]]
    cores: Float[Array, "n w"]

    def __init__(self, semantic: Memory, encoder: Callable[[State], Float[Array, " w"]], cores: ArrayLike) -> None:
        self.cores = _core_array(cores)
        d, w = semantic.dimension, self.cores.shape[1]
        _check_encoder(encoder, d, w)
        if w >= d:
            raise InputError("encoder", f"maps {d} units to cores of {w} numbers", "fewer than the units are accepted")
        self.semantic, self.encoder = semantic, encoder

    __repr__ = one_line

    @property
    def dimension(self) -> int:
        return self.semantic.dimension

    @property
    def _proper(self) -> bool:
        return False

    @full_precision
    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """−E_σ(x)/σ², in nats, with the normaliser of the Gaussian noise (Eq. 25)."""
        core = self.encoder(x)
        misfit = jnp.sum((core - self.cores) ** 2, axis=1) + x @ x - core @ core
        cores = jax.nn.logsumexp(-misfit / 2 / sigma / sigma)
        return jnp.logaddexp(cores - gaussian_normaliser(self.dimension, sigma), self.semantic._log_density(x, sigma))


def _gaussians(semantic: GaussianMemory | Mixture) -> tuple[GaussianMemory, Float[Array, " k"]]:
    """The Gaussians of a semantic memory, stacked, and their log weights."""
    if isinstance(semantic, GaussianMemory) or semantic.alone[0]:
        only: Any = semantic if isinstance(semantic, GaussianMemory) else semantic.groups[0]
        return jax.tree.map(lambda leaf: leaf[None], only), jnp.zeros(1, only.mean.dtype)
    gaussians = jax.tree.map(lambda leaf: leaf[semantic.order], semantic.groups[0])
    return gaussians, semantic.log_weights.astype(gaussians.mean.dtype)


def _check_semantic(semantic: GaussianMemory | Mixture) -> None:
    if isinstance(semantic, GaussianMemory):
        return
    if isinstance(semantic, Mixture) and len(semantic.groups) == 1 and isinstance(semantic.groups[0], GaussianMemory):
        return
    accepted = "a GaussianMemory or a Mixture of Gaussians of one rank is accepted"
    raise InputError("semantic", f"got {semantic!r}", accepted)


def _core_array(cores: ArrayLike) -> Float[Array, "n w"]:
    array = real_array("cores", cores)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError("cores", f"got shape {array.shape}", "at least one core of at least one number, (n, w)")
    check_finite("cores", array)
    return array


def _check_encoder(encoder: Callable[[State], Float[Array, " w"]], d: int, w: int) -> None:
    accepted = "a function of the state is accepted"
    check_map("encoder", encoder, d, w, jnp.result_type(float), f"cores of {w} numbers", accepted)


def _matrix(encoder: ArrayLike, stored: Float[Array, "n w"], d: int) -> Float[Array, "w d"]:
    matrix, w = real_array("encoder", encoder), stored.shape[1]
    if matrix.shape != (w, d):
        given = f"got shape {matrix.shape} for cores of {w} numbers and states of {d} units"
        raise InputError("encoder", given, f"a matrix ({w}, {d}) is accepted")
    check_finite("encoder", matrix)
    values = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    if w > d or values[-1] <= 10 * d * np.finfo(values.dtype).eps * values[0]:
        raise InputError("encoder", "got rows that depend on each other", "independent rows are accepted")
    return matrix

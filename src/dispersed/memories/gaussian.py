r"""Gaussian blobs, with covariance of any rank (Eq. 23, 24)."""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.memories.extended import Extended
from dispersed.precision import full_precision
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, check_finite, in_widest, real_array, vector


class GaussianMemory(Extended):
    r"""One Gaussian density, N(mean, Σ) with Σ = Σ_k λ_k v_k v_kᵀ of rank k ≤ d.

        p_σ(x) = N(x; mean, Σ + σ²I),    D_σ(x) = mean + Σ_k λ_k/(λ_k+σ²) v_k v_kᵀ (x − mean)

    in O(kd); no d×d matrix is formed. A `Mixture` of Gaussians is a semantic memory with exact smoothing.

    **Arguments**

    - `mean`: (d,).
    - `factor`: (d, k) with Σ = factor factorᵀ; zero columns, or none, make a point memory. Use
      `from_covariance` if you have Σ itself.

    **Raises** `InputError` for wrong shapes and non-finite entries.

    **Source**: the conditional is that of probabilistic PCA, Tipping & Bishop (1999).
    """

    log_concave = True
    mean: State
    directions: Float[Array, "k d"]
    variances: Float[Array, " k"]

    def __init__(self, mean: ArrayLike, factor: ArrayLike) -> None:
        centre = vector("mean", mean)
        d = centre.shape[0]
        factor = real_array("factor", factor)
        if factor.ndim != 2 or factor.shape[0] != d:
            raise InputError("factor", f"got shape {factor.shape}", f"the mean has {d} units: ({d}, k) is accepted")
        check_finite("factor", factor)
        self.mean, matrix = in_widest(centre, factor)
        self.directions, self.variances = eigen(matrix)

    @classmethod
    def from_covariance(cls, mean: ArrayLike, covariance: ArrayLike, rank: int | None = None) -> "GaussianMemory":
        """The Gaussian of a covariance matrix (d, d): symmetric, no negative eigenvalues; singular is fine.

        `rank` keeps only that many of the largest eigenvalues.
        """
        given_matrix = real_array("covariance", covariance)
        d = vector("mean", mean).shape[0]
        if given_matrix.shape != (d, d):
            given = f"got shape {given_matrix.shape}"
            raise InputError("covariance", given, f"the mean has {d} units: ({d}, {d}) is accepted")
        check_finite("covariance", given_matrix)
        matrix = np.asarray(given_matrix)
        scale = max(float(np.abs(matrix).max()), float(np.finfo(matrix.dtype).tiny))
        slack = 10 * d * float(np.finfo(matrix.dtype).eps) * scale
        if np.abs(matrix - matrix.T).max() > slack:
            given = f"got a matrix that differs from its transpose by {np.abs(matrix - matrix.T).max():.3g}"
            raise InputError("covariance", given, "a symmetric matrix is accepted")
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        if values[0] < -slack:
            raise InputError(
                "covariance", f"got an eigenvalue of {values[0]:.3g}", "no negative eigenvalue is accepted"
            )
        if rank is not None and not (isinstance(rank, int) and 0 <= rank <= d):
            raise InputError("rank", f"got {rank!r}", f"whole numbers from 0 to {d} are accepted")
        kept = d if rank is None else rank
        return cls(mean, (vectors * np.sqrt(np.maximum(values, 0)))[:, d - kept :])

    def __repr__(self) -> str:
        return f"GaussianMemory(rank {self.variances.shape[-1]} in {self.dimension} units, {place(self.mean)})"

    @property
    def dimension(self) -> int:
        return self.mean.shape[-1]

    @property
    @one_program
    def factor(self) -> Float[Array, "d k"]:
        """A matrix with factor factorᵀ = Σ."""
        varied = self.variances > 0  # the slope of √ at 0 is infinite
        return self.directions.T * jnp.where(varied, jnp.sqrt(jnp.where(varied, self.variances, 1)), 0)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        # The anchor is D_σ(x): then neither λ ≪ σ² nor λ ≫ σ² leaves large terms to cancel.
        moved, excess = shrunk(self.directions, self.variances, x - self.mean, sigma)
        return self.mean + moved, excess

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = mean + Σ_k λ_k/(λ_k+σ²) v_k v_kᵀ (x − mean)."""
        return self.mean + resolved(self.directions, self.variances, x - self.mean, sigma, 1)

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """∂D_σ/∂x = Σ_k λ_k/(λ_k+σ²) v_k v_kᵀ, the same everywhere."""
        units = jnp.eye(self.dimension, dtype=x.dtype)
        return jax.vmap(lambda unit: resolved(self.directions, self.variances, unit, sigma, 1))(units)

    @full_precision
    def _sample(self, key: Key[Array, ""]) -> State:
        return self.mean + self.factor @ jax.random.normal(key, self.variances.shape, self.mean.dtype)

    @full_precision
    def _project(self, x: State) -> State:
        """The nearest point of the affine subspace that the Gaussian fills."""
        return self.mean + (jnp.where(self.variances > 0, self.directions @ (x - self.mean), 0)) @ self.directions

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it."""
        return self.mean, 10 * jnp.sqrt(self.variances.sum())

    @full_precision
    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        share = self.variances / (self.variances + sigma**2)
        noise = sigma * jnp.sqrt(share) * jax.random.normal(key, share.shape, x.dtype)
        return self._denoise(x, sigma) + noise @ self.directions, None

    @one_program
    def _conditioned(self, observation: Observation) -> tuple["GaussianMemory", Scalar]:
        """The Gaussian after a measurement: again one, of the same rank."""
        images, offset, noise = measured(observation, self.factor.T, self.mean)
        conditional, fit = self.observed(images, offset, noise)
        return conditional, fit - observation.normaliser

    @full_precision
    def observed(
        self, core_factor: Float[Array, "w k"], offset: Float[Array, " w"], noise: Scalar
    ) -> tuple["GaussianMemory", Scalar]:
        """The Gaussian given A y + τε, and the log density of that observation + w log(τ√2π), τ = `noise` > 0.

        `core_factor` = A factor and `offset` = observation − A mean, so that A itself is never needed.
        """
        after = after_observation(core_factor, offset, noise)
        return self._with(self.mean + self.factor @ after.mean, *eigen(self.factor @ after.root)), after.fit

    def _with(self, mean: State, directions: Array, variances: Array) -> "GaussianMemory":
        return eqx.tree_at(lambda m: (m.mean, m.directions, m.variances), self, (mean, directions, variances))


def measured(
    observation: Observation, directions: Float[Array, "k d"], mean: Float[Array, "*n d"]
) -> tuple[Float[Array, "m k"], Float[Array, "*n m"], Scalar]:
    """The images A v_k of directions, v − A mean, and the one noise that both are observed with.

    Where entries have levels of their own all are divided by them, and the noise is 1.
    """
    off = observation.value - observation.images(mean)
    images = observation.whitened(directions)
    if observation.sigma.ndim:
        off, noise = off / observation.sigma, jnp.ones((), off.dtype)
    else:
        noise = observation.sigma
        images = observation.at(jnp.ones_like(noise)).whitened(directions)
    return images, off if observation.mask is None else jnp.where(observation.mask, off, 0), noise


@full_precision
def svd_of_observation(core_factor: Float[Array, "w k"], noise: Scalar) -> tuple[Array, Array, Array, Array]:
    """Gain W s/(s²+τ²), reduction of the factor, U, and s²+τ² of A factor = U s Wᵀ seen with noise τ."""
    left, s, right = jnp.linalg.svd(core_factor, full_matrices=False)
    floor = s.max(initial=0) * max(core_factor.shape) * jnp.finfo(s.dtype).eps
    s = jnp.where(s > floor, s, 0)
    scale = s**2 + noise**2
    safe = jnp.where(scale > 0, scale, 1)
    gain = right.T * (s / safe)
    kept = jnp.where(scale > 0, jnp.abs(noise) / jnp.sqrt(safe), 1)
    if right.shape[0] == right.shape[1]:  # what is far below round-off of 1 is not lost
        return gain, (right.T * kept) @ right, left, safe
    reduction = jnp.eye(core_factor.shape[1], dtype=s.dtype) - (right.T * (1 - kept)) @ right
    return gain, reduction, left, safe


@full_precision
def unexplained(offset: Float[Array, "*n w"], left: Float[Array, "w k"]) -> Float[Array, "*n w"]:
    """The part of offsets outside of the span of orthonormal columns, without what is round-off of those within it."""
    if left.shape[0] == left.shape[1]:
        return jnp.zeros_like(offset)
    rest = offset - (offset @ left) @ left.T
    again = rest - (rest @ left) @ left.T
    # What a second projection takes half of was round-off of the first (Kahan), which sharp noise would measure.
    outside = jnp.abs(again).max(axis=-1, initial=0) > jnp.abs(rest).max(axis=-1, initial=0) / 2
    return jnp.where(outside[..., None], again, 0)


class AfterObservation(NamedTuple):
    r"""What B u + τε = `offset` says of u ~ N(0, I), with N = (BBᵀ + τ²I)⁻¹."""

    mean: Float[Array, " k"]
    """K `offset`."""
    root: Float[Array, "k k"]
    """R with R Rᵀ = (I + BᵀB/τ²)⁻¹, the covariance."""
    fit: Scalar
    """log p(offset) + w log(τ√2π)."""
    gain: Float[Array, "k w"]
    """K = BᵀN."""
    missed: Float[Array, " w"]
    """N `offset`."""
    precision: Float[Array, "w w"]
    """N."""
    narrowed: Float[Array, "w k"]
    """B R."""


@jax.custom_jvp
@full_precision
def after_observation(images: Float[Array, "w k"], offset: Float[Array, " w"], noise: Scalar) -> AfterObservation:
    """The Gaussian u given B u + τε, with B = `images` and τ = `noise`, without loss however sharp the noise is."""
    gain, reduction, left, scale = svd_of_observation(images, noise)
    seen = left.T @ offset
    rest = unexplained(offset, left) / noise
    fit = -jnp.sum(seen**2 / scale + jnp.log(scale / noise**2)) / 2 - rest @ rest / 2
    precision = (left / scale) @ left.T
    if left.shape[0] > left.shape[1]:
        precision += (jnp.eye(len(left), dtype=left.dtype) - left @ left.T) / noise / noise
    missed = left @ (seen / scale) + rest / noise
    narrowed = (left * (noise * jnp.sqrt(scale))) @ gain.T
    return AfterObservation(gain @ seen, reduction, fit, gain @ left.T, missed, precision, narrowed)


@after_observation.defjvp
@full_precision
def _after_observation_jvp(primals: Any, tangents: Any) -> Any:
    """Without the derivatives of singular vectors, which there are none of where singular values are equal.

    The covariance R Rᵀ changes by as much as with dR = K (B dτ/τ − dB) R, which is bounded however sharp the noise is.
    """
    images, _, noise = primals
    dimages, doffset, dnoise = tangents
    mean, root, _, gain, missed, precision, narrowed = found = after_observation(*primals)
    unit, shift = dnoise / noise, noise**2 * missed
    off, pull, turned = dimages @ mean - doffset, dimages.T @ missed, precision @ dimages @ gain
    dmean = root @ (root.T @ pull) - gain @ (off + 2 * unit * shift)
    dfit = missed @ off + unit * (missed @ shift) - jnp.sum(gain.T * (dimages - unit * images))
    droot = gain @ (unit * narrowed - dimages @ root)
    dgain = root @ (root.T @ dimages.T) @ precision - gain @ dimages @ gain - 2 * unit * noise**2 * gain @ precision
    dmissed = -precision @ (off + 2 * unit * shift) - gain.T @ pull
    dprecision = -turned - turned.T - 2 * unit * noise**2 * precision @ precision
    dnarrowed = noise**2 * precision @ (dimages @ root) + unit * images @ (gain @ narrowed)
    return found, AfterObservation(dmean, droot, dfit, dgain, dmissed, dprecision, dnarrowed)


def shrunk(
    directions: Float[Array, "k d"], variances: Float[Array, " k"], off: State, sigma: Scalar
) -> tuple[State, Scalar]:
    """C K r of C = Σ λ_k v_k v_kᵀ, K = (C + σ²I)⁻¹ and r = `off`, and the excess there (`Extended`)."""
    excess = -(resolved_form(directions, variances, off, sigma, 2) + log_determinant(variances, sigma)) / 2
    return resolved(directions, variances, off, sigma, 1), excess


# Powers of K come with powers of σ that make them pure numbers, and so do the slopes: σ⁻⁴ is beyond single precision
# where σ is 1e-10, and compilers divide once by a product where a program divides twice.


@partial(jax.custom_jvp, nondiff_argnums=(4,))
@full_precision
def resolved(
    directions: Float[Array, "k d"], variances: Float[Array, " k"], z: State, sigma: Scalar, power: int
) -> State:
    """C Kᵖ z σ²ᵖ⁻²."""
    share, left = _shares(variances, sigma)
    # Along directions without variance there is nothing, however far z lies.
    return jnp.where(share > 0, share * left ** (power - 1) * (directions @ z), 0) @ directions


@partial(jax.custom_jvp, nondiff_argnums=(4,))
@full_precision
def resolved_form(
    directions: Float[Array, "k d"], variances: Float[Array, " k"], z: State, sigma: Scalar, power: int
) -> Scalar:
    """zᵀ C Kᵖ z σ²ᵖ⁻⁴, for p ≥ 2."""
    share, left = _shares(variances, sigma)
    levels = directions @ z / jnp.sqrt(variances + sigma**2)
    return jnp.sum(jnp.where(share > 0, share * left ** (power - 2) * levels**2, 0))


@jax.custom_jvp
def log_determinant(variances: Float[Array, " k"], sigma: Scalar) -> Scalar:
    """Log det(I + C/σ²)."""
    return jnp.sum(jnp.logaddexp(0, jnp.log(variances) - 2 * jnp.log(sigma)))


def _log_determinant_jvp(primals: Any, tangents: Any) -> Any:
    share, _ = _shares(*primals)
    wider, finer = _relative_changes(primals, tangents)
    return log_determinant(*primals), jnp.sum(wider - 2 * share * finer)


@jax.custom_jvp
def _shares(variances: Float[Array, " k"], sigma: Scalar) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """λ/(λ+σ²) and σ²/(λ+σ²)."""
    width = variances + sigma**2
    return variances / width, sigma**2 / width


def _shares_jvp(primals: Any, tangents: Any) -> Any:
    share, left = _shares(*primals)
    wider, finer = _relative_changes(primals, tangents)
    slope = left * wider - 2 * share * left * finer
    return (share, left), (slope, -slope)


def _relative_changes(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """dλ/(λ+σ²) and dσ/σ."""
    (variances, sigma), (dvariances, dsigma) = primals, tangents
    # No derivatives of a width that nothing is divided by: they may overflow.
    wider = jnp.zeros_like(variances) if isinstance(dvariances, SymbolicZero) else dvariances / (variances + sigma**2)
    return wider, jnp.zeros_like(sigma) if isinstance(dsigma, SymbolicZero) else dsigma / sigma


log_determinant.defjvp(_log_determinant_jvp, symbolic_zeros=True)
_shares.defjvp(_shares_jvp, symbolic_zeros=True)


def _resolved_jvp(power: Any, primals: Any, tangents: Any) -> Any:
    """Of C itself: its eigenvectors have no derivatives where eigenvalues are equal, but functions of C have."""
    directions, variances, _, sigma = primals
    dz, dsigma = _filled(primals[2:], tangents[2:])
    found = resolved(*primals, power)
    slope = resolved(directions, variances, dz, sigma, power)
    slope += ((2 * power - 2) * found - 2 * power * resolved(*primals, power + 1)) * (dsigma / sigma)
    for sign, left, changed in _changes(power, primals, tangents):
        slope += sign * _inverse(primals, changed, left) / sigma
    return found, slope


@full_precision
def _resolved_form_jvp(power: Any, primals: Any, tangents: Any) -> Any:
    """The same of the quadratic form."""
    z, sigma = primals[2:]
    dz, dsigma = _filled(primals[2:], tangents[2:])
    found = resolved_form(*primals, power)
    slope = 2 * (resolved(*primals, power) / sigma) @ (dz / sigma)
    slope += ((2 * power - 4) * found - 2 * power * resolved_form(*primals, power + 1)) * (dsigma / sigma)
    for sign, left, changed in _changes(power, primals, tangents):
        slope += sign * (_inverse(primals, z / sigma, left) @ (changed / sigma)) / sigma
    return found, slope


resolved.defjvp(_resolved_jvp, symbolic_zeros=True)
resolved_form.defjvp(_resolved_form_jvp, symbolic_zeros=True)


def _changes(power: int, primals: Any, tangents: Any) -> list[tuple[int, int, State]]:
    """The terms ±1, i and dC K̃ʲ z/σ of σ d(C K̃ᵖ) z/σ² = Σ ± K̃ⁱ dC K̃ʲ z/σ, with K̃ = σ²K.

    C Kᵖ is Kᵖ⁻¹ − σ²Kᵖ, and dK = −K dC K.
    """
    directions, variances, z, sigma = primals
    if all(isinstance(change, SymbolicZero) for change in tangents[:2]):
        return []
    dv, dl = _filled(primals[:2], tangents[:2])

    @full_precision
    def changed(right: int) -> State:
        y = _inverse(primals, z / sigma, right)
        u = directions @ y
        return (dl * u + variances * (dv @ y)) @ directions + (variances * u) @ dv

    found = [(-1, i, changed(power - i)) for i in range(1, power)]
    return found + [(1, i, changed(power + 1 - i)) for i in range(1, power + 1)]


@full_precision
def _inverse(primals: Any, y: State, power: int) -> State:
    """(σ²K)ᵖ y."""
    directions, variances, _, sigma = primals
    for _ in range(power):
        u = directions @ y
        y = (y - u @ directions) + (_shares(variances, sigma)[1] * u) @ directions
    return y


def _filled(values: Any, changes: Any) -> list[Array]:
    return [
        jnp.zeros_like(value) if isinstance(change, SymbolicZero) else change
        for value, change in zip(values, changes, strict=True)
    ]


def eigen(factor: Float[Array, "d k"]) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    """Orthonormal directions (k, d) and variances (k,), k ≤ d, of factor factorᵀ."""
    if is_known(factor):  # without compiling anything
        known_vectors, known_values, _ = np.linalg.svd(np.asarray(factor), full_matrices=False)
        return as_array(known_vectors.T), as_array(known_values**2)
    return _eigen(factor)


@jax.custom_jvp
def _eigen(factor: Float[Array, "d k"]) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    vectors, values, _ = jnp.linalg.svd(factor, full_matrices=False)
    return vectors.T, values**2


@_eigen.defjvp
@full_precision
def _eigen_jvp(primals: Any, tangents: Any) -> Any:
    """A change of directions and variances that changes Σ λ_k v_k v_kᵀ as factor factorᵀ changes.

    With dv_k = dF Fᵀ v_k/λ_k it does, whether or not eigenvalues are equal; what lies along v_k is a change of λ_k.
    """
    (factor,), (change,) = primals, tangents
    directions, variances = _eigen(factor)
    varied = variances > 0
    moved = (directions @ factor) @ change.T / jnp.where(varied, variances, 1)[:, None]
    moved = jnp.where(varied[:, None], moved, 0)
    along = jnp.sum(moved * directions, axis=1)
    return (directions, variances), (moved - along[:, None] * directions, 2 * variances * along)

r"""Gaussian blobs, with covariance of any rank (Eq. 23, 24)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.memories.extended import Extended
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, check_finite, is_known, real_array, vector


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
        self.mean = vector("mean", mean)
        d = self.mean.shape[0]
        factor = real_array("factor", factor)
        if factor.ndim != 2 or factor.shape[0] != d:
            raise InputError("factor", f"got shape {factor.shape}", f"the mean has {d} units: ({d}, k) is accepted")
        check_finite("factor", factor)
        self.directions, self.variances = eigen(factor.astype(self.mean.dtype))

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
    def factor(self) -> Float[Array, "d k"]:
        """A matrix with factor factorᵀ = Σ."""
        return self.directions.T * jnp.sqrt(self.variances)

    def _coordinates(self, x: State, sigma: Scalar) -> tuple[Array, Array]:
        """v_kᵀ(x − mean) and the share λ_k/(λ_k+σ²) of it that is signal."""
        return self.directions @ (x - self.mean), self.variances / (self.variances + sigma**2)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        # The anchor is D_σ(x): then neither λ ≪ σ² nor λ ≫ σ² leaves large terms to cancel.
        u, share = self._coordinates(x, sigma)
        # Along directions without variance nothing shrinks, however far u lies.
        shrunk = jnp.where(share > 0, share * (u * (u / (self.variances + sigma**2))), 0)
        excess = -jnp.sum(shrunk + jnp.log1p(self.variances / sigma / sigma)) / 2
        return self.mean + (share * u) @ self.directions, excess

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = mean + Σ_k λ_k/(λ_k+σ²) v_k v_kᵀ (x − mean)."""
        u, share = self._coordinates(x, sigma)
        return self.mean + (share * u) @ self.directions

    def _jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        """∂D_σ/∂x = Σ_k λ_k/(λ_k+σ²) v_k v_kᵀ, the same everywhere."""
        _, share = self._coordinates(x, sigma)
        return (self.directions.T * share) @ self.directions

    def _sample(self, key: Key[Array, ""]) -> State:
        noise = jax.random.normal(key, self.variances.shape, self.mean.dtype)
        return self.mean + (jnp.sqrt(self.variances) * noise) @ self.directions

    def _project(self, x: State) -> State:
        """The nearest point of the affine subspace that the Gaussian fills."""
        return self.mean + (jnp.where(self.variances > 0, self.directions @ (x - self.mean), 0)) @ self.directions

    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it."""
        return self.mean, 10 * jnp.sqrt(self.variances.sum())

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        _, share = self._coordinates(x, sigma)
        noise = sigma * jnp.sqrt(share) * jax.random.normal(key, share.shape, x.dtype)
        return self._denoise(x, sigma) + noise @ self.directions, None

    def _conditioned(self, observation: Observation) -> tuple["GaussianMemory", Scalar]:
        """The Gaussian after a measurement: again one, of the same rank."""
        images, offset, noise = measured(observation, self.factor.T, self.mean)
        conditional, fit = self.observed(images, offset, noise)
        return conditional, fit - observation.normaliser

    def observed(
        self, core_factor: Float[Array, "w k"], offset: Float[Array, " w"], noise: Scalar
    ) -> tuple["GaussianMemory", Scalar]:
        r"""The Gaussian given A y + τε, and the log density of that observation + w log(τ√2π), τ = `noise` > 0.

        `core_factor` = A factor and `offset` = observation − A mean, so that A itself is never needed. With
        the singular values s of A factor = U s Wᵀ the posterior is N(mean + factor W s/(s²+τ²) Uᵀ offset, …)
        with factor W √(τ²/(τ²+s²)).
        """
        gain, reduction, left, scale = svd_of_observation(core_factor, noise)
        seen = left.T @ offset
        rest = offset - left @ seen
        mean = self.mean + self.factor @ (gain @ seen)
        log_evidence = -jnp.sum(seen**2 / scale + jnp.log(scale / noise**2)) / 2 - (rest / noise) @ (rest / noise) / 2
        return self._with(mean, *eigen(self.factor @ reduction)), log_evidence

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


def svd_of_observation(core_factor: Float[Array, "w k"], noise: Scalar) -> tuple[Array, Array, Array, Array]:
    """Gain W s/(s²+τ²), reduction of the factor, U, and s²+τ² of A factor = U s Wᵀ seen with noise τ."""
    left, s, right = jnp.linalg.svd(core_factor, full_matrices=False)
    floor = s.max(initial=0) * max(core_factor.shape) * jnp.finfo(s.dtype).eps
    s = jnp.where(s > floor, s, 0)
    scale = s**2 + noise**2
    safe = jnp.where(scale > 0, scale, 1)
    gain = right.T * (s / safe)
    kept = jnp.where(scale > 0, jnp.abs(noise) / jnp.sqrt(safe), 1)
    reduction = jnp.eye(core_factor.shape[1], dtype=s.dtype) - (right.T * (1 - kept)) @ right
    return gain, reduction, left, safe


def eigen(factor: Float[Array, "d k"]) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    """Orthonormal directions (k, d) and variances (k,), k ≤ d, of factor factorᵀ."""
    if is_known(factor):  # without compiling anything
        known_vectors, known_values, _ = np.linalg.svd(np.asarray(factor), full_matrices=False)
        return jnp.asarray(known_vectors.T), jnp.asarray(known_values**2)
    vectors, values, _ = jnp.linalg.svd(factor, full_matrices=False)
    return vectors.T, values**2

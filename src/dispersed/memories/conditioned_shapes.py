r"""Shapes of which some entries were seen: completion of segments, boxes, subspaces and spheres (Eq. 23).

The entries `known` of a state were observed with noise τ, x_i = y_i + τε_i, and are kept as they are given. What
remains of a memory φ is a density of the others,

    φ'(y_U) = ∫ φ(y) N(x_K; y_K, τ²I) dy_K / p_τ(x_K),
    p'_σ(z) = N(z_K; x_K, σ²I) ∫ φ(y) N(x_K; y_K, τ²I) N(z_U; y_U, σ²I) dy / p_τ(x_K).

That is the memory felt through unequal noise: τ in the known entries, σ in the others. For orthonormal directions v_k
of a shape, Σ_known v_ki v_li and Σ_unknown v_ki v_li add up to the identity, so that one rotation makes both of them
diagonal, and coordinates along the rotated directions are independent again: each has a precision
λ/τ² + (1−λ)/σ², where λ is the share of its direction that is seen.
"""

import abc
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.memories.bingham import sphere_integral
from dispersed.memories.extended import Extended, spread_of_uniform
from dispersed.memories.interval import interval
from dispersed.memories.memory import gaussian_normaliser
from dispersed.types import Array, Bool, Float, Scalar, State


class Seen(Extended):
    """A shape after some entries of a state were observed; see the module. Made by `given`."""

    x: State
    """The observed state; its entries that are not known are not looked at."""
    known: Bool[Array, " d"]
    noise: Scalar
    """τ, the noise of each known entry."""
    fit: Scalar
    """How well the shape fits them: log p_τ(x_K) less the normaliser of the noise."""

    @property
    def dimension(self) -> int:
        return self.x.shape[-1]

    @abc.abstractmethod
    def felt(self, z: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        """A point y of the shape, an excess and the mean, under noise τ in x_K and 1/`sharpness` in z_U.

        log ∫ φ(y) exp(−‖x_K − y_K‖²/2τ² − ‖z_U − y_U‖²/2σ²) dy = excess − the exponent at the point y.
        """

    def explained(self, z: State, sharpness: Scalar) -> tuple[State, Scalar]:
        """The point y, and its excess less what it misses of the known entries."""
        y, excess, _ = self.felt(z, sharpness)
        missed = jnp.where(self.known, self.x - y, 0) / self.noise
        return y, excess - missed @ missed / 2

    def log_evidence(self) -> Scalar:
        """Log p_τ(x_K), the density of the known entries."""
        return self.fit - gaussian_normaliser(self.known.sum(), self.noise)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        y, fit = self.explained(x, 1 / sigma)
        return jnp.where(self.known, self.x, y), fit - self.fit

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x): the known entries, and the posterior mean of the others."""
        return jnp.where(self.known, self.x, self.felt(x, 1 / sigma)[2])

    def _split(self, directions: Array, z: State, origin: State, sharpness: Scalar) -> tuple[Array, Array]:
        """Precision of the coordinates along `directions`, and precision × their best value."""
        precise, sharp = 1 / self.noise**2, sharpness**2
        seen, free = jnp.where(self.known, directions, 0), jnp.where(self.known, 0, directions)
        precision = jnp.sum(seen**2, axis=1) * precise + jnp.sum(free**2, axis=1) * sharp
        return precision, seen @ (self.x - origin) * precise + free @ (z - origin) * sharp


Kind = TypeVar("Kind", bound=Seen)


def fitted(seen: Kind) -> Kind:
    """The same with its `fit` computed: felt through infinite noise in the other entries."""
    return eqx.tree_at(lambda shape: shape.fit, seen, seen.explained(seen.x, jnp.zeros_like(seen.noise))[1])


class SeenFlat(Seen):
    """A piece of an affine subspace of which some entries were seen: truncated Gaussians along its directions."""

    origin: State
    directions: Float[Array, "k d"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]

    def _coordinates(self, z: State, sharpness: Scalar) -> tuple[Array, Array]:
        """Centre and standard deviation of the coordinates, were there no limits."""
        precision, weighted = self._split(self.directions, z, self.origin, sharpness)
        # A direction that nothing is seen of keeps all its width.
        floor = jnp.finfo(z.dtype).eps ** 2 / self.noise**2
        precision = jnp.maximum(precision, floor)
        return weighted / precision, 1 / jnp.sqrt(precision)

    def felt(self, z: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        centre, spread = self._coordinates(z, sharpness)
        nearest, excess, mean = jax.vmap(interval)(centre, self.low, self.high, spread)
        return self.origin + nearest @ self.directions, excess.sum(), self.origin + mean @ self.directions

    def _project(self, x: State) -> State:
        """The nearest point of the piece's image in the unknown entries."""
        free = jnp.where(self.known, 0, self.directions)
        length = jnp.sum(free**2, axis=1)
        u = free @ (x - self.origin) / jnp.where(length > 0, length, 1)
        u = jnp.clip(jnp.where(length > 0, u, 0), self.low, self.high)
        return jnp.where(self.known, self.x, self.origin + u @ free)

    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it; unbounded directions do not count."""
        centre, spread = self._coordinates(self.x, jnp.zeros_like(self.noise))
        middle, uniform = spread_of_uniform(self.low, self.high)
        informed = spread < jnp.finfo(centre.dtype).eps ** -0.5 * self.noise
        mean = jnp.where(informed, jax.vmap(interval)(centre, self.low, self.high, spread)[2], middle)
        # A truncated Gaussian is no wider than the Gaussian, nor than its interval.
        bounded = jnp.isfinite(self.low) & jnp.isfinite(self.high)
        narrower = jnp.where(bounded, jnp.minimum(uniform, spread**2), spread**2)
        variance = jnp.where(informed, narrower, uniform)
        free = jnp.where(self.known, 0, self.directions)
        start = jnp.where(self.known, self.x, self.origin + mean @ free)
        return start, 10 * jnp.sqrt(variance @ jnp.sum(free**2, axis=1))


class SeenSphere(Seen):
    """A sphere of which some entries were seen: a Fisher–Bingham density, integrated exactly (`bingham`)."""

    centre: State
    radius: Scalar
    directions: Float[Array, "m d"]

    def felt(self, z: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        precision, weighted = self._split(self.directions, z, self.centre, sharpness)
        e, excess, mean = sphere_integral(self.radius**2 * precision / 2, self.radius * weighted)
        state = [self.centre + self.radius * u @ self.directions for u in (e, mean)]
        return state[0], excess, state[1]

    def prior_start(self) -> tuple[State, Scalar]:
        """The centre, at ten radii."""
        return jnp.where(self.known, self.x, self.centre), 10 * self.radius


def told_apart(directions: Float[Array, "k d"], known: Bool[Array, " d"]) -> Float[Array, "k d"]:
    """The same directions rotated so that they are orthogonal in the known and in the unknown entries alike."""
    seen = jnp.where(known, directions, 0)
    return jnp.linalg.eigh(seen @ seen.T)[1].T @ directions

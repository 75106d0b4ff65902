r"""Shapes after linear measurements: segments, boxes, subspaces and spheres, conditioned exactly (Eq. 23).

A point of a shape is y = o + Σ_k u_k v_k with orthonormal directions v_k, and φ is a density of the coordinates u. A
measurement v = A y + τε and a state x = y + σε' say of them, each by the squares

    ‖v − A y‖²/2τ² + ‖x − y‖²/2σ² = ½ Σ_kl u_k u_l (v_kᵀAᵀA v_l/τ² + δ_kl/σ²) − Σ_k u_k h_k + a constant.

Where the images A v_k are orthogonal, coordinates that were independent stay so: each is observed under noise of its
own, with the precision ‖A v_k‖²/τ² + 1/σ². The directions of a sphere and of a subspace without limits can be rotated
until that holds; one direction alone always does, and a mask leaves the edges of a box orthogonal.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.memories.bingham import sphere_integral
from dispersed.memories.extended import Extended, spread_of_uniform
from dispersed.memories.interval import interval
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, Bool, Float, Key, Scalar, State
from dispersed.validation import InputError

WIDEST = 12.0
"""The standard deviations from the mode of a truncated Gaussian within which it is drawn."""
HALVINGS = 48
ROUNDOFF = 30
"""Units of round-off below which a sum is none beside its terms."""


class ConditionedShape(Extended):
    """A shape after linear measurements; see the module. Made by `condition`."""

    shape: eqx.AbstractVar[Extended]
    """The shape itself."""
    directions: eqx.AbstractVar[Float[Array, "k d"] | None]
    """The directions v_k; None for the unit vectors."""
    observations: eqx.AbstractVar[tuple[Observation, ...]]
    fit: eqx.AbstractVar[Scalar]
    """log ∫ φ(y) exp(−½ Σ ‖(v − A y)/τ‖²) dy over all observations."""

    @property
    def dimension(self) -> int:
        return self.shape.dimension

    @property
    @abc.abstractmethod
    def _origin(self) -> State:
        """The point with coordinates u = 0."""

    @abc.abstractmethod
    def _weighed(self, x: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        """A point y of the shape, an excess and the mean, under the observations and noise 1/`sharpness` in x.

        log ∫ φ(y) exp(−½ Σ ‖(v − A y)/τ‖² − ‖x − y‖²/2σ²) dy = excess − the exponent at the point y.
        """

    @abc.abstractmethod
    def _rotated(self, observations: tuple[Observation, ...]) -> "ConditionedShape":
        """The same shape after these observations, in directions in which it has a closed form, without its fit."""

    @full_precision
    def _explained(self, x: State, sharpness: Scalar) -> tuple[State, Scalar]:
        """The point y, and its excess less what it misses of the observations."""
        y, excess, _ = self._weighed(x, sharpness)
        missed = [observation.residual(y) for observation in self.observations]
        return y, excess - sum(off @ off for off in missed) / 2

    def _check(self, observation: Observation) -> None:
        """Raise `InputError` unless the shape has a closed form after this observation."""
        return

    def _conditioned(self, observation: Observation) -> tuple["ConditionedShape", Scalar]:
        self._check(observation)
        return self._measured(observation)

    @one_program
    def _measured(self, observation: Observation) -> tuple["ConditionedShape", Scalar]:
        after = self._rotated((*self.observations, observation))
        nothing = jnp.zeros_like(self._origin)
        fit = after._explained(nothing, jnp.zeros((), nothing.dtype))[1]
        found = eqx.tree_at(lambda shape: shape.fit, after, fit)
        return found, fit - self.fit - observation.normaliser

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        y, fit = self._explained(x, 1 / sigma)
        return y, fit - self.fit

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x), the posterior mean."""
        return self._weighed(x, 1 / sigma)[2]

    def _project(self, x: State) -> State:
        """The nearest point of the shape: what was measured has noise, and excludes none."""
        return self.shape._project(x)

    @full_precision
    def _state(self, u: Float[Array, " k"]) -> State:
        return self._origin + (u if self.directions is None else u @ self.directions)

    @full_precision
    def _normal(self, x: State, sharpness: Scalar, unit: Scalar) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
        """Precision of the coordinates, and precision × their best value, with lengths in a unit.

        In units of their own, squares of precisions are within the range of single precision.
        """
        off = sharpness * (x - self._origin)
        sharpness = sharpness * unit
        precision = sharpness**2 * jnp.ones_like(off if self.directions is None else self.directions[:, 0])
        weighted = sharpness * (off if self.directions is None else self.directions @ off)
        for observation in self.observations:
            residual, images = observation.residual(self._origin), self._seen(observation, unit)
            precision = precision + jnp.sum(jnp.atleast_2d(images**2), axis=0)
            weighted = weighted + (residual @ images if images.ndim == 2 else residual * images)
        return precision, weighted

    def _seen(self, observation: Observation, unit: Array) -> Float[Array, "*m k"]:
        """The images A v_k/τ of the directions in a unit; of a mask and the unit vectors the diagonal of them."""
        if self.directions is None and observation.matrix is None:
            return unit * observation.sharpness
        units = jnp.eye(self.dimension, dtype=self._origin.dtype) if self.directions is None else self.directions
        return unit * _beyond_roundoff(observation, units)

    def _finest(self) -> Scalar:
        """The largest 1/τ of the observations; where nothing was observed, the least one whose square is a number."""
        none = jnp.sqrt(jnp.finfo(self._origin.dtype).tiny)
        return jnp.max(jnp.stack([none, *(jnp.max(observation.sharpness) for observation in self.observations)]))


class ConditionedFlat(ConditionedShape):
    """A piece of an affine subspace after linear measurements: truncated Gaussians along its directions."""

    shape: Extended
    origin: State
    directions: Float[Array, "k d"] | None
    low: Float[Array, " k"]
    high: Float[Array, " k"]
    observations: tuple[Observation, ...]
    fit: Scalar
    limited: bool = eqx.field(static=True)
    """Whether the directions are the only ones in which the limits are such."""

    @classmethod
    def of(
        cls, shape: Extended, origin: State, directions: Any, low: Array, high: Array, limited: bool
    ) -> "ConditionedFlat":
        """The shape before any observation."""
        return cls(
            shape=shape,
            origin=origin,
            directions=directions,
            low=low,
            high=high,
            observations=(),
            fit=jnp.zeros((), origin.dtype),
            limited=limited,
        )

    @property
    def _origin(self) -> State:
        return self.origin

    def _rotated(self, observations: tuple[Observation, ...]) -> "ConditionedFlat":
        directions = self.directions
        if directions is not None and len(directions) > 1 and not self.limited:
            directions = simultaneously_diagonalised(directions, observations)
        return dataclasses.replace(self, directions=directions, observations=observations)

    def _check(self, observation: Observation) -> None:
        """Raise `InputError` unless the images of limited directions are known to be orthogonal."""
        if not self.limited or (self.directions is not None and len(self.directions) < 2):
            return
        if self.directions is None and observation.matrix is None:
            return
        name = type(self.shape).__name__
        free = "a Box with a mask, a Segment, a Sphere, a subspace without limits or a manifold has a closed form"
        if not is_known(observation.value, observation.mask, observation.matrix, observation.sigma, self.directions):
            given = f"got one of a {name} with limits in several directions, which is smoothed or in a program"
            raise InputError("observation", given, free)
        images = np.asarray(self._images(observation), float)
        gram = images.T @ images
        off = np.abs(gram - np.diag(np.diag(gram))).max(initial=0)
        if off > 1e-5 * np.diag(gram).max(initial=0):
            given = f"got one of a {name} with limits in several directions whose images are not orthogonal"
            raise InputError("observation", given, free)

    @one_program
    @full_precision
    def _images(self, observation: Observation) -> Float[Array, "m k"]:
        """The images of the directions, in units of the noise."""
        units = jnp.eye(self.dimension, dtype=self.origin.dtype) if self.directions is None else self.directions
        return observation.whitened(units)

    def _coordinates(self, x: State, sharpness: Scalar) -> tuple[Array, Array]:
        """Centre and standard deviation of the coordinates, were there no limits."""
        unit = 1 / jax.lax.stop_gradient(jnp.maximum(sharpness, self._finest()))
        precision, weighted = self._normal(x, sharpness, unit)
        # A direction that nothing is known of keeps all its width.
        precision = jnp.maximum(precision, jnp.finfo(precision.dtype).tiny)
        return unit * (weighted / precision), unit / jnp.sqrt(precision)

    def _uninformed(self, spread: Float[Array, " k"]) -> Bool[Array, " k"]:
        """Whether the observations say no more than round-off of coordinates that are as wide after them."""
        return ROUNDOFF * jnp.finfo(self.origin.dtype).eps * self._finest() * spread >= 1

    def _weighed(self, x: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        centre, spread = self._coordinates(x, sharpness)
        nearest, excess, mean = jax.vmap(interval)(centre, self.low, self.high, spread)
        # A density of one a unit of length, which is not normalised, stays where nothing at all is known.
        unbounded = ~(jnp.isfinite(self.low) & jnp.isfinite(self.high))
        unknown = unbounded & (sharpness == 0) & self._uninformed(spread)
        return self._state(nearest), jnp.where(unknown, 0, excess).sum(), self._state(mean)

    @full_precision
    def _explained(self, x: State, sharpness: Scalar) -> tuple[State, Scalar]:
        y, fit = super()._explained(x, sharpness)
        # The point is rounded, which sharp noise makes much of. Along coordinates within their limits nothing is missed
        # at the best point, and a Newton step from the rounded one says what it lacks.
        centre, spread = self._coordinates(x, sharpness)
        off = sharpness * (x - y)
        lack = spread * sharpness * (off if self.directions is None else self.directions @ off)
        for observation in self.observations:
            missed, images = observation.residual(y), self._seen(observation, spread)
            lack = lack + (missed @ images if images.ndim == 2 else missed * images)
        inside = (self.low < centre) & (centre < self.high)
        return y, fit + jnp.sum(jnp.where(inside, lack, 0) ** 2) / 2

    def _drawn(self, key: Key[Array, ""], x: State, sharpness: Scalar) -> State:
        """One state from the posterior, each coordinate by the inverse of its distribution function."""
        centre, spread = self._coordinates(x, sharpness)
        uniform = jax.random.uniform(key, centre.shape, centre.dtype)
        return self._state(jax.vmap(truncated_normal)(uniform, centre, spread, self.low, self.high))

    def _sample(self, key: Key[Array, ""]) -> State:
        return self._drawn(key, self.origin, jnp.zeros((), self.origin.dtype))

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, None]:
        return self._drawn(key, x, 1 / sigma), None

    @property
    def _proper(self) -> bool:
        """Whether the shape is; observations may make more of them proper, which their values alone tell."""
        return self.shape._proper

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it; unbounded directions do not count."""
        centre, spread = self._coordinates(self.origin, jnp.zeros((), self.origin.dtype))
        middle, uniform = spread_of_uniform(self.low, self.high)
        informed = ~self._uninformed(spread)
        mean = jnp.where(informed, jax.vmap(interval)(centre, self.low, self.high, spread)[2], middle)
        # A truncated Gaussian is no wider than the Gaussian, nor than its interval.
        bounded = jnp.isfinite(self.low) & jnp.isfinite(self.high)
        narrower = jnp.where(bounded, jnp.minimum(uniform, spread**2), spread**2)
        variance = jnp.where(informed, narrower, uniform)
        return self._state(mean), 10 * jnp.sqrt(variance.sum())


class ConditionedSphere(ConditionedShape):
    """A sphere after linear measurements: a Fisher–Bingham density, integrated exactly (`bingham`)."""

    shape: Extended
    centre: State
    radius: Scalar
    directions: Float[Array, "m d"] | None
    observations: tuple[Observation, ...]
    fit: Scalar

    @property
    def _origin(self) -> State:
        return self.centre

    def _rotated(self, observations: tuple[Observation, ...]) -> "ConditionedSphere":
        directions = self.directions
        if directions is not None or any(observation.matrix is not None for observation in observations):
            units = jnp.eye(self.dimension, dtype=self.centre.dtype) if directions is None else directions
            directions = simultaneously_diagonalised(units, observations)
        return dataclasses.replace(self, directions=directions, observations=observations)

    def _weighed(self, x: State, sharpness: Scalar) -> tuple[State, Scalar, State]:
        precision, weighted = self._normal(x, sharpness, self.radius)
        e, excess, mean = sphere_integral(precision / 2, weighted)
        return self._state(self.radius * e), excess, self._state(self.radius * mean)

    def prior_start(self) -> tuple[State, Scalar]:
        """The centre, at ten radii."""
        return self.centre, 10 * self.radius


def _beyond_roundoff(observation: Observation, directions: Float[Array, "k d"]) -> Float[Array, "m k"]:
    """A v_k/τ of directions v_k, 0 where its terms cancel: sharp noise would make a measurement of the round-off."""
    images = observation.whitened(directions)
    if observation.matrix is None:
        return images
    terms = eqx.tree_at(lambda seen: seen.operator, observation, jnp.abs(observation.matrix)).whitened(
        jnp.abs(directions)
    )
    return jnp.where(jnp.abs(images) > ROUNDOFF * jnp.finfo(images.dtype).eps * terms, images, 0)


@full_precision
def simultaneously_diagonalised(
    directions: Float[Array, "k d"], observations: tuple[Observation, ...]
) -> Float[Array, "k d"]:
    """The same directions rotated so that their images by all observations together are orthogonal."""
    gram = jnp.zeros((), directions.dtype)
    for observation in observations:
        # One level of one observation is a factor, and would only add to what is differentiated.
        alone = len(observations) == 1 and observation.sigma.ndim == 0
        images = (observation.at(jnp.ones_like(observation.sigma)) if alone else observation).whitened(directions)
        gram = gram + images.T @ images
    rotated = jnp.linalg.eigh(gram)[1].T @ directions
    # What is round-off of a direction would be measured where the noise is sharp.
    return jnp.where(jnp.abs(rotated) > 4 * len(rotated) * jnp.finfo(rotated.dtype).eps, rotated, 0)


def truncated_normal(uniform: Scalar, centre: Scalar, spread: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """The `uniform` quantile of N(centre, spread²) within [low, high], by bisection of the logarithm of its mass."""
    mode = jnp.clip(centre, low, high)
    low, high = jnp.maximum(low, mode - WIDEST * spread), jnp.minimum(high, mode + WIDEST * spread)

    def log_mass(to: Scalar) -> Scalar:
        """Log of ∫ exp(−(u − centre)²/2 spread²) from `low` to there, + (mode − centre)²/2 spread²."""
        nearest, excess, _ = interval(centre, low, to, spread)
        fall = (nearest - mode) * (nearest + mode - 2 * centre) / 2 / spread / spread
        width = to - low
        return jnp.where(width > 0, excess - fall + jnp.log(jnp.where(width > 0, width, 1)), -jnp.inf)

    goal = jnp.log(uniform) + log_mass(high)

    def halve(ends: tuple[Scalar, Scalar], _: None) -> tuple[tuple[Scalar, Scalar], None]:
        middle = (ends[0] + ends[1]) / 2
        beyond = log_mass(middle) >= goal
        return (jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])), None

    (a, b), _ = jax.lax.scan(halve, (low, high), length=HALVINGS)
    return (a + b) / 2


__all__ = ["ConditionedFlat", "ConditionedShape", "ConditionedSphere", "simultaneously_diagonalised"]

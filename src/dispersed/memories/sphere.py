r"""Round memories: spheres and circles of any dimension, embedded in any space (Eq. 23)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.memories.bessel import log_mean_exponential, mean_cosine
from dispersed.memories.conditioned_shapes import ConditionedShape, ConditionedSphere
from dispersed.memories.extended import Extended
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import InputError, check_finite, in_widest, orthonormal_rows, real_array, vector


class Sphere(Extended):
    r"""All states at one distance from a centre: y = c + r e, e uniform on the unit sphere of m dimensions.

    With ρ the length of x − c within the sphere's own m dimensions, ν = m/2 − 1 and κ = ρr/σ²,

        p_σ(x) ∝ exp(−(‖x−c‖² + r²)/2σ²) Γ(ν+1) (2/κ)^ν I_ν(κ),
        D_σ(x) = c + r (I_{ν+1}(κ)/I_ν(κ)) (x−c)/ρ                    (within those dimensions; c outside them)

    **Arguments**

    - `centre`: (d,).
    - `radius` ≥ 0; 0 makes a point memory.
    - `directions`: (m, d), linearly independent: the sphere lies in the subspace that they span. By default
      all of space. Two directions make a circle, one a pair of points.

    **Raises** `InputError` for a negative radius and dependent directions.
    """

    centre: State
    radius: Scalar
    directions: Float[Array, "m d"] | None

    def __init__(self, centre: ArrayLike, radius: ArrayLike, directions: ArrayLike | None = None) -> None:
        self.centre, self.directions = vector("centre", centre), None
        radius = real_array("radius", radius)
        check_finite("radius", radius)
        if radius.shape != () or (is_known(radius) and bool(radius < 0)):
            given = f"got shape {radius.shape}" if radius.shape else f"got {float(radius):g}"
            raise InputError("radius", given, "one number from 0 is accepted")
        if directions is not None:
            self.centre, rows = in_widest(self.centre, real_array("directions", directions))
            self.directions = orthonormal_rows("directions", rows, self.centre.shape[0])
        self.radius = radius.astype(self.centre.dtype)

    def __repr__(self) -> str:
        return f"Sphere({self._m}-dimensional in {self.dimension} units, {place(self.centre)})"

    @property
    def dimension(self) -> int:
        return self.centre.shape[-1]

    @property
    def _m(self) -> int:
        return self.dimension if self.directions is None else self.directions.shape[0]

    @property
    def volume(self) -> Scalar | float:
        """The area 2π^{m/2} r^{m−1}/Γ(m/2); a float, in double precision, where the radius is known."""
        known = is_known(self.radius)
        numpy: Any = np if known else jnp
        m, r = self._m, float(self.radius) if known else self.radius
        with np.errstate(divide="ignore", over="ignore", under="ignore"):
            logarithm = (m - 1) * numpy.log(r) if m > 1 else 0
            area = 2 * numpy.exp(m / 2 * math.log(math.pi) - math.lgamma(m / 2) + logarithm)
        return float(area) if known else area

    @full_precision
    def _polar(self, x: State) -> tuple[State, Scalar]:
        """The part v of x − c within the sphere's own dimensions, as a state, and its length ρ."""
        v = x - self.centre
        if self.directions is not None:
            v = (self.directions @ v) @ self.directions
        square = v @ v
        # The slope of √ is infinite at the centre, where by symmetry nothing depends on the direction.
        return v, jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    @property
    def _order(self) -> float:
        return self._m / 2 - 1

    def _kappa(self, rho: Scalar, sigma: Scalar) -> Scalar:
        return jnp.minimum(rho / sigma * (self.radius / sigma), 1e30)

    def _closest(self, v: State, rho: Scalar) -> State:
        # At the centre all points are equally near; any of them will do.
        some = jnp.zeros_like(v).at[0].set(1) if self.directions is None else self.directions[0]
        return self.centre + self.radius * jnp.where(rho > 0, v / jnp.where(rho > 0, rho, 1), some)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        v, rho = self._polar(x)
        return self._closest(v, rho), log_mean_exponential(self._order, self._kappa(rho, sigma))

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = c + r (I_{ν+1}(κ)/I_ν(κ)) v/ρ."""
        v, rho = self._polar(x)
        # Beyond ε^{−3/2} what the mean cosine lacks to 1 is nothing, and its slopes would leave the range of numbers.
        kappa = jnp.minimum(self._kappa(rho, sigma), float(jnp.finfo(x.dtype).eps) ** -1.5)
        h, c = mean_cosine(self._order, kappa)
        near = kappa < 1
        inner = h * (self.radius / sigma) ** 2
        outer = self.radius * (1 - c / jnp.where(near, 1, kappa)) / jnp.where(near, 1, rho)
        return self.centre + jnp.where(near, inner, outer) * v

    @full_precision
    def _sample(self, key: Key[Array, ""]) -> State:
        e = jax.random.normal(key, (self._m,), self.centre.dtype)
        e = self.radius * e / jnp.linalg.norm(e)
        return self.centre + (e if self.directions is None else e @ self.directions)

    def _project(self, x: State) -> State:
        """The nearest point of the sphere; some point of it for the centre."""
        return self._closest(*self._polar(x))

    def _conditioned(self, observation: Observation) -> tuple[ConditionedShape, Scalar]:
        """The sphere after a measurement: exact, by one contour."""
        nothing = jnp.zeros((), self.centre.dtype)
        whole = ConditionedSphere(
            shape=self,
            centre=self.centre,
            radius=self.radius,
            directions=self.directions,
            observations=(),
            fit=nothing,
        )
        return whole._conditioned(observation)

    def prior_start(self) -> tuple[State, Scalar]:
        """The centre, at ten radii."""
        return self.centre, 10 * self.radius

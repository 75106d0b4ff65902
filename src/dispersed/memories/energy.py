r"""Networks from an energy alone: gradient descent whose step is as long as the curvature allows, and never ascends.

With g = ∇E(x) and H = ∇²E(x) the update is x − ηg, where η is 1 over the largest curvature of E at x, from a few
products with H, halved until Armijo's rule E(x − ηg) ≤ E(x) − η‖g‖²/10 holds. Where E is so flat that round-off hides a
descent, the slope at the end of the step decides, (∇E(x − ηg))·g ≥ −0.8‖g‖² (Hager & Zhang 2005). An energy of other
units, cE(x/b), so has the same states as minima and takes as many updates.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.display import value
from dispersed.memories.network import Clamped, Network
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Patterns, Scalar, State
from dispersed.validation import InputError, at_least, one_number, pattern_array, positive, random_key

HALVINGS = 60
"""The most halvings of a step; without a descent then the state stays."""
PRODUCTS = 6
"""Products with the Hessian for each of two estimates of its eigenvalues."""


class DescentNetwork(Network):
    """A network whose update is x − η∇E(x), with a step η > 0 that does not raise its energy."""

    def _update(self, x: State) -> State:
        step = self._step(x)
        # A slope that is no number leads nowhere.
        return x - step * jnp.where(step > 0, jax.grad(self._energy)(x), 0)

    def _pushed(self, v: State, x: State) -> State:
        # A plateau of infinite energy, or below all numbers, holds no attractor.
        outside = jnp.abs(self._energy(x)) >= jnp.finfo(x.dtype).max
        return jnp.where(outside, 2 * v, v - self._step(x) * self._curved(v, x))

    def _curved(self, v: State, x: State) -> State:
        """∇²E(x) v."""
        return jax.jvp(jax.grad(self._energy), (x,), (v,))[1]

    @full_precision
    def _step(self, x: State) -> Scalar:
        """η, of which no derivative is taken: at a fixed point the update does not depend on it."""
        network, x = jax.lax.stop_gradient(eqx.filter(self, eqx.is_inexact_array)), jax.lax.stop_gradient(x)
        network = eqx.combine(network, self)
        energy, slope = jax.value_and_grad(network._energy)(x)
        square = slope @ slope
        slack = 4 * jnp.finfo(x.dtype).eps * jnp.abs(energy)

        @full_precision
        def falls(step: Scalar) -> Bool[Array, ""]:
            new, there = jax.value_and_grad(network._energy)(x - step * slope)
            flat = (new <= energy + slack) & (there @ slope >= -0.8 * square)
            return (new <= energy - step * square / 10) | flat

        def unfinished(carry: tuple[Scalar, Int[Array, ""], Bool[Array, ""]]) -> Bool[Array, ""]:
            return ~carry[2] & (carry[1] < HALVINGS)

        def halve(
            carry: tuple[Scalar, Int[Array, ""], Bool[Array, ""]],
        ) -> tuple[Scalar, Int[Array, ""], Bool[Array, ""]]:
            step, count, _ = carry
            return step / 2, count + 1, falls(step / 2)

        first = 1 / _curvature(lambda v: network._curved(v, x), x)
        step, _, found = jax.lax.while_loop(unfinished, halve, (first, jnp.int32(0), falls(first)))
        return jax.lax.stop_gradient(jnp.where(found, step, 0))


def _curvature(push: Callable[[State], State], x: State) -> Scalar:
    """About the largest eigenvalue of a Hessian, or a part of its norm if all are far below that; 1 of a zero one."""
    start = jax.random.normal(jax.random.key(0), x.shape, x.dtype)

    def norm(shift: Scalar) -> Scalar:
        def power(_: Any, carry: tuple[State, Scalar]) -> tuple[State, Scalar]:
            v, size = carry
            unit = v / size
            w = push(unit) + shift * unit
            size = _norm(w)
            positive = size > 0
            return jnp.where(positive, w, v), jnp.where(positive, size, 1)

        w, size = jax.lax.fori_loop(0, PRODUCTS, power, (start, _norm(start)))
        return jnp.where(_norm(push(w / size)) + shift > 0, size, 0)

    whole = norm(jnp.zeros((), x.dtype))
    largest = jnp.maximum(norm(whole) - whole, whole / 16)
    return jnp.where(jnp.isfinite(largest) & (largest > 0), largest, 1)


def _norm(v: State) -> Scalar:
    """‖v‖, also where squares of its entries are beyond the range of the precision."""
    largest = jnp.max(jnp.abs(v))
    return largest * jnp.linalg.norm(v / jnp.where(largest > 0, largest, 1))


class EnergyNetwork(DescentNetwork):
    r"""A network from any energy: E(x) of one state is all that is written.

    **Arguments**

    - `energy`: a function of one state (d,) that returns one number, in operations of JAX. What it needs besides,
      patterns and temperatures, is bound by `functools.partial`, whose arrays and numbers stay arguments of compiled
      programs and can be differentiated by; a module of equinox does as well. Programs are compiled anew for another
      function object.
    - `dimension`: d ≥ 1.

    Recall descends E by gradient steps: their length follows from the curvature of E, and no step raises the energy. An
    update costs about a dozen products with the Hessian; a `Network` with a closed form is cheaper, and may jump.
    Clamped units (`known=`) are constants of the energy. Matrix products in it are in full precision on every device,
    unless they ask for another one.

    **Raises** `InputError` for an energy that is not one number.

    >>> import dispersed, jax.numpy as jnp
    >>> double_well = dispersed.EnergyNetwork(lambda x: jnp.sum((x**2 - 1) ** 2), dimension=2)
    >>> dispersed.recall(double_well, [0.2, -3.0]).x.round(4)
    Array([ 1., -1.], dtype=float32)
    """

    function: Callable[[State], Scalar]
    units: int = eqx.field(static=True)

    def __init__(self, energy: Any, dimension: int) -> None:
        if not callable(energy):
            raise InputError("energy", f"got {energy!r}", "a function of one state is accepted")
        self.units = at_least("dimension", dimension, 1)
        self.function = _with_arrays(energy)
        try:
            found = eqx.filter_eval_shape(self.function, jax.ShapeDtypeStruct((self.units,), jnp.float32))
        except (TypeError, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise InputError("energy", f"got a function that raises {first!r}", "JAX must evaluate it") from error
        if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
            given = f"got a function that returns {eqx.tree_pformat(found)}"
            raise InputError("energy", given, "one real number for one state is accepted")

    def __repr__(self) -> str:
        function = self.function.func if isinstance(self.function, functools.partial) else self.function
        return f"EnergyNetwork({value(function)}, {self.units} units)"

    @property
    def dimension(self) -> int:
        return self.units

    @full_precision
    def _energy(self, x: State) -> Scalar:
        largest = jnp.finfo(x.dtype).max
        energy = jnp.asarray(self.function(x)).astype(x.dtype)
        return jnp.clip(jnp.where(jnp.isnan(energy), largest, energy), -largest, largest)

    def _clamped(self, x: State, known: Bool[Array, " d"]) -> Clamped:
        return Clamped(EnergyNetwork(jax.tree_util.Partial(_fixed, self.function, x, known), self.units), x, known)


def _fixed(energy: Callable[[State], Scalar], x: State, known: Bool[Array, " d"], z: State) -> Scalar:
    """The energy with some units held."""
    return energy(jnp.where(known, x.astype(z.dtype), z))


def _with_arrays(energy: Callable[[State], Any]) -> Callable[[State], Any]:
    """The same function, the arrays and real numbers that are bound to it as leaves of a pytree."""
    if not isinstance(energy, functools.partial):
        return energy

    def leaf(bound: Any) -> Any:
        real = isinstance(bound, float | np.floating | np.ndarray)
        return jnp.asarray(bound) if real else bound

    arguments, keywords = jax.tree.map(leaf, (energy.args, energy.keywords))
    return jax.tree_util.Partial(energy.func, *arguments, **keywords)


class RandomFeatureHopfield(DescentNetwork):
    r"""A dense memory whose patterns are summed into a fixed number of random features.

    The energy −β⁻¹ log Σ_j exp(−β‖x − y_j‖²/2) of the exact memory at σ = 1/√β, with its kernel as an average over m
    frequencies ω ~ N(0, βI),

        Σ_j k(x, y_j) ≈ K(x) = m⁻¹ Σ_ω Σ_j cos ω·(x − y_j),    E(x) = −β⁻¹ log K(x).

    The sums over patterns are taken once: 2m numbers stay, however many patterns there were, and more are added by
    adding to them. Each term lies in ±n, so that |K − Σk| ≤ n√(2 ln(2/δ)/m) with probability 1 − δ (Hoeffding):
    patterns exceed the noise where m ≫ n². `energy_error` estimates the error of a state's energy from the features
    themselves. Where K(x) ≤ 0 the energy counts as the largest finite number, and states stay there.

    **Arguments**: `patterns`, (n, d), finite; `beta` > 0, one number; `features`, m ≥ 2; `key`, of the frequencies.

    **Raises** `InputError` for arguments outside these domains.

    **Source**: Hoover et al. (2024), Dense associative memory through the lens of random features.
    """

    frequencies: Float[Array, "m d"]
    cosines: Float[Array, " m"]
    sines: Float[Array, " m"]
    centre: State
    beta: Float[Array, ""]
    count: int = eqx.field(static=True)

    def __init__(self, patterns: ArrayLike, beta: ArrayLike, features: int, key: Key[Array, ""]) -> None:
        y = pattern_array(patterns)
        random_key(key)
        self.beta = one_number("beta", positive("beta", beta)).astype(y.dtype)
        m = at_least("features", features, 2)
        self.frequencies, self.centre, self.cosines, self.sines = _features(y, self.beta, key, m)
        self.count = len(y)

    def __repr__(self) -> str:
        m, d = self.frequencies.shape
        return f"RandomFeatureHopfield({self.count} patterns of {d} units in {m} features, beta={value(self.beta)})"

    @property
    def dimension(self) -> int:
        return self.frequencies.shape[1]

    @property
    def _without_origin(self) -> bool:
        return True

    @full_precision
    def _terms(self, x: State) -> Float[Array, " m"]:
        """Σ_j cos ω·(x − y_j) of every frequency ω."""
        phase = self.frequencies @ (x - self.centre)
        return jnp.cos(phase) * self.cosines + jnp.sin(phase) * self.sines

    def _length(self, x: State) -> Scalar:
        return jax.lax.rsqrt(self.beta)

    def _energy(self, x: State) -> Scalar:
        largest = jnp.finfo(x.dtype).max
        kernel = jnp.mean(self._terms(x))
        some = kernel > 0
        return jnp.where(some, jnp.clip(-jnp.log(jnp.where(some, kernel, 1)) / self.beta, -largest, largest), largest)

    def energy_error(self, x: ArrayLike) -> Float[Array, "..."]:
        """The standard error of the energy of each state, from the spread of the features; `x`: (..., d)."""
        return self._mapped("_energy_error", x)

    def _energy_error(self, x: State) -> Scalar:
        terms = self._terms(x)
        kernel = jnp.mean(terms)
        error = jnp.std(terms, ddof=1) / terms.size**0.5
        largest = jnp.finfo(x.dtype).max
        return jnp.where(
            kernel > 0, jnp.minimum(error / jnp.where(kernel > 0, kernel, 1) / self.beta, largest), largest
        )


@functools.partial(jax.jit, static_argnums=3)
@full_precision
def _features(y: Patterns, beta: Scalar, key: Key[Array, ""], count: int) -> tuple[Array, State, Array, Array]:
    """Frequencies ω, the centre of the patterns, and Σ_j cos ω·(y_j − centre) and the sines of every frequency."""
    frequencies = jnp.sqrt(beta) * jax.random.normal(key, (count, y.shape[1]), y.dtype)
    # Phases are differences from the centre: an offset would take their digits.
    centre = jnp.mean(y, axis=0)

    @full_precision
    def add(sums: tuple[Array, Array], pattern: State) -> tuple[tuple[Array, Array], None]:
        phase = frequencies @ (pattern - centre)
        return (sums[0] + jnp.cos(phase), sums[1] + jnp.sin(phase)), None

    zero = jnp.zeros(count, y.dtype)
    cosines, sines = jax.lax.scan(add, (zero, zero), y)[0]
    return frequencies, centre, cosines, sines


__all__ = ["DescentNetwork", "EnergyNetwork", "RandomFeatureHopfield"]

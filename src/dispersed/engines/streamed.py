"""Scanned patterns that no program can hold, as programs see them: sums by scans on the host, and their derivatives."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines import host_callback
from dispersed.engines.handles import placed_by
from dispersed.engines.host_evidence import after_measurement, misfit_logits
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.scanned import ScannedPatterns
from dispersed.engines.spreads import Spreads
from dispersed.precision import full_precision
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError

MOST_DISTANCES = 1 << 24
"""Patterns of which a number for each is kept for one cue."""


class StreamedPatterns(ScannedPatterns):
    """Scanned patterns that are encoded, on a disk or on several hosts: programs call scans on the host."""

    handle: Int[Array, ""]
    size: tuple[int, int] = eqx.field(static=True)
    name: str = eqx.field(static=True)
    observations: tuple[Observation, ...] = ()
    """Measurements that were made inside of a program, and that every scan weighs anew."""

    @property
    def outside(self) -> bool:
        return super().outside and not self.observations

    @property
    def placed(self) -> PlacedPatterns:
        """The patterns where scans find them, with the weights after all measurements."""

        def weighed() -> PlacedPatterns:
            placed = placed_by(self.handle).patterns
            for observation in self.observations:
                placed = placed.reweighted(after_measurement(placed, observation)[0])
            return placed

        return self._once("placed", weighed)

    def conditioned(self, observation: Observation) -> "tuple[StreamedPatterns, Scalar]":
        held = self._after(observation)
        return held, _log_total(held) - _log_total(self) - observation.normaliser.astype(jnp.float32)

    def _after(self, observation: Observation) -> "StreamedPatterns":
        return StreamedPatterns(self.handle, self.size, self.name, (*self.observations, observation))

    def _reweighted(self, handle: Int[Array, ""], log_weights: np.ndarray) -> "StreamedPatterns":
        return StreamedPatterns(handle, self.size, self.name)

    @property
    def patterns(self) -> Float[Array, "n d"]:
        storage = self.placed.storage
        return jnp.asarray(storage.rows(np.arange(len(storage))))

    @property
    def log_weights(self) -> Float[Array, " n"]:
        if self.observations:
            return jnp.log(self.responsibilities(*self._prior()))
        prior = self.placed.prior
        return jnp.asarray(np.full(self.size[0], -math.log(self.size[0])) if prior is None else prior, jnp.float32)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.placed.patterns(indices.reshape(-1)).reshape(*indices.shape, self.shape[1])

    def first(self, count: int) -> tuple[Any, Any]:
        index = np.arange(min(count, len(self.placed.storage)))
        shift = -math.log(self.size[0]) if self.placed.uniform else 0.0
        return self.placed.patterns(index), self.placed.log_weights(index) + shift

    def _on_host(self, function: Any, like: Any, *arguments: Any) -> Any:
        """`function(placed, *arguments)` on the host, from inside a program: of one state or a batch (b, …) at once.

        `like` is the shape and precision of the result for one state.
        """
        if jax.process_count() > 1:
            given = "patterns over several hosts inside a program"
            raise InputError("memory", given, "CertifiedFlow and the methods of the memory serve outside of programs")

        def call(handle: Any, *batched: Any) -> Any:
            batch = np.shape(handle)

            def flat(part: Any, of_one: Any) -> np.ndarray:
                return np.broadcast_to(part, (*batch, *np.shape(of_one))).reshape(-1, *np.shape(of_one))

            placed = placed_by(np.ravel(handle)[0]).patterns
            answer = function(
                placed, *(jax.tree.map(flat, part, one) for part, one in zip(batched, shapes, strict=True))
            )

            def shaped(part: Any, wanted: Any) -> np.ndarray:
                with np.errstate(over="ignore"):  # what single precision cannot hold is infinite
                    return np.asarray(part).reshape((*batch, *wanted.shape)).astype(wanted.dtype)

            return jax.tree.map(shaped, answer, like)

        shapes = jax.tree.map(lambda part: jax.ShapeDtypeStruct(np.shape(part), jnp.result_type(part)), arguments)
        return jax.pure_callback(call, like, self.handle, *arguments, vmap_method="broadcast_all")

    def _scan(self, x: State, sigma: Scalar) -> host_callback.Answer:
        """The sums over all patterns for one state, from inside a program; a batch is one scan on the host."""
        number = jax.ShapeDtypeStruct((), x.dtype)
        index = jax.ShapeDtypeStruct((), jnp.asarray(0).dtype)
        like = host_callback.Answer(jax.ShapeDtypeStruct(x.shape, x.dtype), number, number, index, number)
        return self._on_host(host_callback.sums, like, self.observations, x, sigma)

    def _prior(self) -> tuple[State, Scalar]:
        """A state and the noise level at which weights alone count."""
        return jnp.zeros(self.size[1], jnp.float32), jnp.asarray(jnp.inf, jnp.float32)

    def denoise(self, x: State, sigma: Scalar) -> State:
        return _mean(self, x, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        return x, _log_mass(self, x, sigma) - (_log_total(self) if self.observations else 0)

    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        answer = self._scan(x, sigma)
        return answer.nearest, answer.responsibility

    def mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Int[Array, ""], Float[Array, ""]]:
        # It judges a recall that has ended, and is not differentiated.
        answer = self._scan(jax.lax.stop_gradient(x), jax.lax.stop_gradient(sigma))
        return answer.mean, answer.nearest, answer.responsibility

    def observed(self, observation: Observation) -> tuple[State, Int[Array, ""], Scalar]:
        held = self._after(observation)
        answer = held._scan(*self._prior())
        return answer.mean, answer.nearest, answer.responsibility

    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        like = jax.ShapeDtypeStruct(self.size[:1], x.dtype)
        return self._on_host(host_callback.responsibilities, like, self.observations, x, sigma)

    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        like = jax.ShapeDtypeStruct((x.size, x.size), x.dtype)
        return self._on_host(host_callback.jacobian, like, self.observations, x, sigma)

    def pushed(self, v: State, x: State, sigma: Scalar) -> State:
        return self._on_host(
            host_callback.pushed, jax.ShapeDtypeStruct(x.shape, x.dtype), self.observations, v, x, sigma
        )

    def closest(self, x: State) -> State:
        return self._on_host(host_callback.closest, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    def sample(self, key: Key[Array, ""]) -> State:
        return self.draw(key, *self._prior())[0]

    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        like = jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((), jnp.asarray(0).dtype)
        return self._on_host(
            host_callback.draw, like, self.observations, jax.random.bits(key, (2,), jnp.uint32), x, sigma
        )

    def start(self) -> tuple[State, Scalar]:
        if is_known(self.handle) and not self.observations:
            mean, spread = host_callback.start(self.placed, (), 1)
            return jnp.asarray(mean[0], jnp.float32), jnp.asarray(spread[0], jnp.float32)
        like = jax.ShapeDtypeStruct(self.size[1:], jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
        # Of what has an axis for states, there is always something.
        return self._on_host(_starts, like, self.observations, self._prior()[1])

    def misfit_logits(
        self, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
    ) -> Float[Array, "b n"] | None:
        if not self.outside or jax.process_count() > 1 or self.size[0] > MOST_DISTANCES:
            return None
        observed = None if known is None else np.asarray(known)
        logits = misfit_logits(self.placed, np.asarray(x, float), observed, np.asarray(sigma, float))
        return as_array(np.maximum(logits, -float(jnp.finfo(x.dtype).max) / 4), x.dtype)

    def spreads(self) -> Spreads:
        # Of the prior: what was measured inside of a program is weighed by scans alone.
        if self.outside:
            return super().spreads()
        level = self._prior()[1]
        like = jax.ShapeDtypeStruct((), level.dtype)
        return Spreads(*self._on_host(_spreads, (like, like), level))


def _spreads(placed: PlacedPatterns, levels: np.ndarray) -> Any:
    return tuple(np.full(len(levels), spread) for spread in placed.spreads)


def _starts(placed: PlacedPatterns, observations: Any, levels: np.ndarray) -> Any:
    return host_callback.start(placed, observations, len(levels))


@eqx.filter_custom_jvp
def _log_mass(held: StreamedPatterns, x: State, sigma: Scalar) -> Scalar:
    """Log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), times exp(−½‖(v − A y_j)/τ‖²) for what was measured."""
    return held._scan(x, sigma).log_mass


@_log_mass.def_jvp
@full_precision
def _log_mass_jvp(primals: Any, tangents: Any) -> Any:
    """The gradient (D − x)/σ² in x, E‖x − y‖²/σ³ in σ, and that of what was measured."""
    held, x, sigma = primals
    measured, dx, dsigma = tangents
    answer = held._scan(x, sigma)
    slope = jnp.zeros_like(answer.log_mass)
    if dx is not None:
        slope += ((answer.mean - x) / sigma / sigma) @ dx
    if dsigma is not None:
        slope += answer.square / sigma / sigma * (dsigma / sigma)
    return answer.log_mass, slope + _measured_slope(held, measured, x, sigma, answer.mean)


@eqx.filter_custom_jvp
def _mean(held: StreamedPatterns, x: State, sigma: Scalar) -> State:
    """D_σ(x)."""
    return held._scan(x, sigma).mean


@_mean.def_jvp
@full_precision
def _mean_jvp(primals: Any, tangents: Any) -> Any:
    """The derivative Cov[y | x] (dx/σ² + Aᵀ dv/τ²); σ is not differentiated."""
    held, x, sigma = primals
    measured, dx, dsigma = tangents
    if dsigma is not None:
        given = f"a derivative of the denoiser in σ of patterns {held.where}"
        raise InputError("sigma", given, "Dense() serves patterns that fit into memory as numbers")
    direction = jnp.zeros_like(x) if dx is None else dx
    for observation, tangent in _moved(held, measured):
        if tangent.sigma is not None:
            given = f"a derivative of the denoiser in the noise of a measurement of patterns {held.where}"
            raise InputError("observation", given, "Dense() serves patterns that fit into memory as numbers")
        if tangent.value is None:
            continue
        pulled = observation.precision * tangent.value
        pulled = pulled if observation.matrix is None else pulled @ observation.matrix
        direction += (sigma**2 * pulled).astype(x.dtype)
    return _mean(held, x, sigma), held.jacobian(x, sigma) @ direction


@eqx.filter_custom_jvp
def _log_total(held: StreamedPatterns) -> Scalar:
    """Log Σ_j w_j exp(−½ Σ ‖(v − A y_j)/τ‖²), over all measurements made inside of a program."""
    return held._scan(*held._prior()).log_mass if held.observations else jnp.zeros((), jnp.float32)


@_log_total.def_jvp
def _log_total_jvp(primals: Any, tangents: Any) -> Any:
    (held,), (measured,) = primals, tangents
    x, sigma = held._prior()
    slope = _measured_slope(held, measured, x, sigma, held.start()[0])
    total = _log_total(held)
    return total, slope.astype(total.dtype)


@full_precision
def _measured_slope(held: StreamedPatterns, measured: Any, x: State, sigma: Scalar, mean: State) -> Scalar:
    """The change of a log mass with a measured v and its noise τ: −(v − A D)/τ² dv + E(v − A y)²/τ³ dτ."""
    slope = jnp.zeros((), mean.dtype)
    for number, (observation, tangent) in enumerate(_moved(held, measured)):
        if tangent.value is not None:
            slope -= (observation.residual(mean) / observation.sigma) @ tangent.value
        if tangent.sigma is not None:
            like = jax.ShapeDtypeStruct(observation.value.shape, mean.dtype)
            squares = functools.partial(host_callback.squares, number=number)
            found = held._on_host(squares, like, held.observations, x, sigma)
            slope += jnp.sum(found * (tangent.sigma / observation.sigma))
    return slope.astype(mean.dtype)


def _moved(held: StreamedPatterns, measured: Any) -> list[tuple[Observation, Any]]:
    """All measurements with their tangents, where any of them is differentiated."""
    pairs = list(zip(held.observations, () if measured is None else measured.observations, strict=False))
    if any(tangent.operator is not None for _, tangent in pairs):
        given = f"a derivative in the operator of a measurement of patterns {held.where}"
        raise InputError("observation", given, "Dense() serves patterns that fit into memory as numbers")
    return pairs

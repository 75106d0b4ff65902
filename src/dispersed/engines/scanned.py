"""Any number of stored patterns in any storage, scanned block by block with a proof of how exact the sums are."""

import abc
import functools
import itertools
import math
import weakref
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines import host_callback, host_evidence
from dispersed.engines.certified_posterior import PatternPosterior, posterior
from dispersed.engines.collectives import all_gather
from dispersed.engines.dense import DensePatterns
from dispersed.engines.engine import Engine, PatternSet
from dispersed.engines.options import ScanOptions
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.posterior import Posterior
from dispersed.precision import full_precision
from dispersed.storage import Float32, InMemory, Storage
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, as_array, is_known, log_prior, on_host, positive_number

TOL = 1e-5
"""The default error of a mean, relative to the root-mean-square distance of the patterns from theirs."""
BEST_EFFORT = 1e-6
"""The error of a mean that methods without an explicit tolerance do not try to undercut, relative to the radius of the
patterns: results in single precision are rounded to no less.
"""


class Scanned(Engine):
    """Patterns scanned in blocks, most of which are left out, with a certificate for every answer.

    **Arguments**

    - `tol`: what ‖D − D_σ(x)‖ may be, in the units of the patterns; by default 1e-5 of their root-mean-square distance
      from their mean.
    - `devices`: the devices that hold the blocks, in turn; all local ones by default.
    - `options`: how scans spend time and memory (`ScanOptions`); they never decide whether a bound holds.

    Public methods work outside of programs, in double precision where that matters. Inside `jax.jit` patterns that are
    in memory as numbers are weighed as by `Dense()`, all others by scans on the host. With several hosts
    (`jax.distributed`) each gives its own patterns and weights, of any positive scale that all of them share.
    """

    tol: float | None = eqx.field(static=True)
    devices: tuple[Any, ...] | None = eqx.field(static=True)
    options: ScanOptions = eqx.field(static=True)

    def __init__(self, tol: float | None = None, devices: Any = None, options: ScanOptions = ScanOptions()) -> None:
        self.tol = None if tol is None else positive_number("tol", tol)
        self.devices = None if devices is None else tuple(devices)
        if not isinstance(options, ScanOptions):
            raise InputError("options", f"got {options!r}", "ScanOptions(...) is accepted")
        self.options = options

    def __repr__(self) -> str:
        tol = [] if self.tol is None else [f"tol={self.tol:g}"]
        devices = [] if self.devices is None else [f"{len(self.devices)} devices"]
        return f"Scanned({', '.join(tol + devices)})"

    def hold(self, patterns: Any, weights: Any = None, log_weights: Any = None) -> "ScannedPatterns":
        if not isinstance(patterns, Storage):
            if not is_known(patterns):
                given = "got the patterns of a program that is being traced"
                raise InputError("engine", given, "Dense() serves inside programs")
            patterns = InMemory(np.asarray(patterns))
        n = len(patterns)
        if not n:
            raise InputError("patterns", f"got {patterns}", "at least one pattern is accepted")
        prior = log_prior(weights, log_weights, n)
        if prior is None:
            return scanned_patterns(self, patterns, None)
        if not is_known(prior):
            raise InputError("weights", "got those of a program that is being traced", "Dense() serves inside programs")
        # Hosts give weights of one scale: what the prior was divided by here is put back.
        given = np.log(np.max(np.asarray(weights, float))) if log_weights is None else np.max(np.asarray(log_weights))
        prior = np.asarray(prior, float) + (given - np.max(prior))
        top = all_gather(prior.max()).max()
        prior = prior - top - np.log(all_gather(np.exp(prior - top).sum()).sum())
        return scanned_patterns(self, patterns, prior)


class _Placed(NamedTuple):
    """What a handle stands for."""

    engine: Scanned
    patterns: PlacedPatterns


_placed: dict[int, _Placed] = {}
"""Patterns by the number in their handle, as long as that array exists. Programs hold the number and never the
patterns, so that a memory that is dropped is freed, and patterns of the same shapes share a program."""
_numbers = itertools.count()


def _handle(placed: _Placed) -> Int[Array, ""]:
    number = next(_numbers)
    with jax.ensure_compile_time_eval():
        handle = as_array(np.asarray(number, np.int32))
    _placed[number] = placed
    weakref.finalize(handle, _placed.pop, number, None)
    return handle


def _of(handle: Any) -> _Placed:
    try:
        return _placed[int(handle)]
    except KeyError:
        raise InputError("memory", "the memory that held these patterns is gone", "keep it while it is used") from None


def scanned_patterns(engine: Scanned, storage: Storage, prior: np.ndarray | None) -> "ScannedPatterns":
    """The patterns of a storage, placed for scans; `prior` are their normalised log weights, None if all are alike."""
    n = len(storage)
    in_memory = isinstance(storage, InMemory) and storage.encoding.name == Float32.name
    if not in_memory or jax.process_count() > 1:
        return StreamedPatterns(*_place(engine, storage, prior))
    codes = storage.parts()[0][0]
    y = jax.device_put(codes)
    if on_host(y) and np.shares_memory(np.asarray(y), codes):
        # Of an aligned array JAX makes no copy; the user may change it. `array` makes two for a while.
        y = as_array(codes)
    log_w = np.full(n, -math.log(n)) if prior is None else prior
    dense = DensePatterns(y, as_array(log_w, y.dtype))
    if on_host(y):
        # Blocks, and what is read on the host, are views of the array that programs read.
        storage = InMemory(np.asarray(y))
    return ResidentPatterns(*_place(engine, storage, prior), dense)


def _place(engine: Scanned, storage: Storage, prior: np.ndarray | None) -> tuple[Int[Array, ""], tuple[int, int], str]:
    """A handle of the patterns, how many there are of how many units, and how they are held."""
    devices = jax.local_devices() if engine.devices is None else list(engine.devices)
    placed = PlacedPatterns(storage, prior, devices, engine.options)
    name = storage.encoding.name + ("" if isinstance(storage, InMemory) else f", {storage.where}")
    return _handle(_Placed(engine, placed)), placed.shape, name


def _after_measurement(placed: PlacedPatterns, observation: Observation) -> tuple[np.ndarray, float]:
    """The log weights of this host's patterns after a measurement, and log E exp(−½‖(v − A y)/τ‖²)."""
    logits = host_evidence.logits(placed, observation)
    if placed.uniform:
        logits -= math.log(placed.total)
    top = all_gather(logits.max()).max()
    total = top + np.log(all_gather(np.exp(logits - top).sum()).sum())
    return logits - total, float(total)


class ScannedPatterns(PatternSet):
    """Patterns placed for scans outside of programs; what travels through programs is their number."""

    handle: eqx.AbstractVar[Int[Array, ""]]
    size: eqx.AbstractVar[tuple[int, int]]
    name: eqx.AbstractVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        engine, placed = _of(self.handle).engine, self.placed
        return scanned_patterns, (engine, placed.storage, placed.prior)

    @property
    def shape(self) -> tuple[int, int]:
        return self.size

    @property
    def engine(self) -> Scanned:
        return _of(self.handle).engine if is_known(self.handle) else Scanned()

    @property
    def placed(self) -> PlacedPatterns:
        """The patterns where scans find them."""
        return _of(self.handle).patterns

    @property
    def where(self) -> str:
        return self.name

    def conditioned_outside(self, observation: Observation) -> "tuple[ScannedPatterns, Scalar] | None":
        if not (self.outside and is_known(*jax.tree.leaves(observation))):
            return None
        engine, placed = _of(self.handle)
        log_weights, total = _after_measurement(placed, observation)
        handle = _handle(_Placed(engine, placed.reweighted(log_weights)))
        log_evidence = total - float(observation.normaliser)
        return self._reweighted(handle, log_weights), jnp.asarray(log_evidence, observation.value.dtype)

    @abc.abstractmethod
    def _reweighted(self, handle: Int[Array, ""], log_weights: np.ndarray) -> "ScannedPatterns":
        """The same patterns under another number, with other log weights."""

    @property
    def outside(self) -> bool:
        """Whether these are the patterns as they were placed, with nothing that is being traced."""
        return is_known(self.handle)

    def evaluated(self, hook: str, x: Any, sigma: Any, settings: dict[str, Any]) -> Any:
        if hook not in _ANSWERS or not self.outside:
            return None
        batch, dtype = np.broadcast_shapes(x.shape[:-1], np.shape(sigma)), x.dtype
        tol, k = settings.get("tol"), settings.get("leading", 1)
        found = self.posterior(np.broadcast_to(x, (*batch, x.shape[-1])), np.broadcast_to(sigma, batch), tol, k)
        answer = _ANSWERS[hook](found, np.asarray(x, float), np.asarray(sigma, float), self.size[1])
        if hook == "_posterior":
            return answer

        def narrowed(part: Any) -> Array:
            if part.dtype.kind != "f":
                return as_array(part, int)
            limit = float(jnp.finfo(dtype).max)
            return as_array(np.clip(part, -limit, limit), dtype)

        return jax.tree.map(narrowed, answer)

    def posterior(self, x: np.ndarray, sigma: np.ndarray, tol: float | None, leading: int) -> PatternPosterior:
        """The certified posterior of states (..., d) at noise levels (...)."""
        placed = self.placed
        batch, d = x.shape[:-1], x.shape[-1]
        goal = max(self.tol, BEST_EFFORT * placed.radius) if tol is None else tol
        found = posterior(
            placed, np.asarray(x, float).reshape(-1, d), np.asarray(sigma, float).reshape(-1), goal, leading
        )
        if tol is not None and not (found.bound <= tol).all():
            worst = f"got {tol:g} where double precision certifies {found.bound.max():.3g}"
            raise InputError("tol", worst, "a larger tol is accepted")
        return jax.tree.map(lambda array: array.reshape((*batch, *array.shape[1:])), found)

    def deviation(self) -> Scalar:
        return jnp.asarray(_deviations(self.placed, np.zeros(1))[0], jnp.float32)

    @property
    def tol(self) -> float:
        """What ‖D − D_σ(x)‖ may be where a call does not say, in the units of the patterns."""
        engine, placed = _of(self.handle)
        if engine.tol is not None:
            return engine.tol
        return TOL * (placed.spread or placed.radius or 1.0)

    def probability(self, x: np.ndarray, sigma: np.ndarray, index: np.ndarray) -> np.ndarray:
        """p(index | x) of one pattern for each of the states (b, d) at noise levels (b,), outside of programs."""
        # To name the leading patterns would take most of the time.
        found = self.posterior(x, sigma, None, 0)
        # The pattern is weighed by itself: on the host that has it.
        first = int(all_gather(len(self.placed.storage))[: jax.process_index()].sum())
        own = index - first
        here = (own >= 0) & (own < len(self.placed.storage))
        row = np.where(here, own, 0)
        log_w = self.placed.log_weights(row) - (math.log(self.size[0]) if self.placed.uniform else 0)
        off = (x - self.placed.patterns(row)) / sigma[:, None]
        logit = all_gather(np.where(here, log_w - np.sum(off**2, axis=1) / 2, -np.inf)).max(axis=0)
        return np.exp(np.minimum(logit - found.log_normaliser, 0))


class ResidentPatterns(ScannedPatterns):
    """Scanned patterns that are in memory as numbers: programs weigh them as `Dense()` does, in the same array."""

    handle: Int[Array, ""]
    size: tuple[int, int] = eqx.field(static=True)
    name: str = eqx.field(static=True)
    dense: DensePatterns

    @property
    def resident(self) -> DensePatterns:
        return self.dense

    def conditioned(self, observation: Observation) -> tuple[DensePatterns, Scalar]:
        return self.dense.conditioned(observation)

    def _reweighted(self, handle: Int[Array, ""], log_weights: np.ndarray) -> "ResidentPatterns":
        own = as_array(log_weights, self.dense.log_weights.dtype)
        dense = eqx.tree_at(lambda patterns: patterns.log_weights, self.dense, own)
        return ResidentPatterns(handle, self.size, self.name, dense)

    @property
    def patterns(self) -> Float[Array, "n d"]:
        return self.dense.patterns

    @property
    def log_weights(self) -> Float[Array, " n"]:
        return self.dense.log_weights

    def first(self, count: int) -> tuple[Any, Any]:
        return self.dense.first(count)

    def denoise(self, x: State, sigma: Scalar) -> State:
        return self.dense.denoise(x, sigma)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        return self.dense.anchored(x, sigma)

    def mean_and_certainty(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        return self.dense.mean_and_certainty(x, sigma)

    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.dense.nearest(x, sigma)

    def mean_and_nearest(self, x: State, sigma: Scalar) -> tuple[State, Int[Array, ""], Float[Array, ""]]:
        return self.dense.mean_and_nearest(x, sigma)

    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return self.dense.responsibilities(x, sigma)

    def slope_bound(self, sigma: Scalar, p: Scalar) -> Scalar:
        return self.dense.slope_bound(sigma, p)

    def pushed(self, v: State, x: State, sigma: Scalar) -> State:
        return self.dense.pushed(v, x, sigma)

    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        return self.dense.jacobian(x, sigma)

    def closest(self, x: State) -> State:
        return self.dense.closest(x)

    def sample(self, key: Key[Array, ""]) -> State:
        return self.dense.sample(key)

    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        return self.dense.draw(key, x, sigma)

    def start(self) -> tuple[State, Scalar]:
        return self.dense.start()

    def deviation(self) -> Scalar:
        return super().deviation() if is_known(self.handle) else self.dense.deviation()

    def prepared(self) -> "ResidentPatterns":
        dense = self.dense.prepared()
        return self if dense is self.dense else eqx.tree_at(lambda held: held.dense, self, dense)


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
            placed = _of(self.handle).patterns
            for observation in self.observations:
                placed = placed.reweighted(_after_measurement(placed, observation)[0])
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

            placed = _of(np.ravel(handle)[0]).patterns
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

    def deviation(self) -> Scalar:
        if is_known(self.handle):
            return super().deviation()
        level = self._prior()[1]
        return self._on_host(_deviations, jax.ShapeDtypeStruct((), level.dtype), level)


def _deviations(placed: PlacedPatterns, levels: np.ndarray) -> np.ndarray:
    return np.full(len(levels), placed.spread / math.sqrt(placed.shape[1]))


def _starts(placed: PlacedPatterns, observations: Any, levels: np.ndarray) -> Any:
    return host_callback.start(placed, observations, len(levels))


def _log_density(found: PatternPosterior, d: int, sigma: np.ndarray) -> Any:
    return found.log_normaliser - d * (np.log(sigma) + math.log(2 * math.pi) / 2)


_ANSWERS: dict[str, Any] = {
    "_denoise": lambda found, x, sigma, d: found.mean,
    "_score": lambda found, x, sigma, d: (found.mean - x) / sigma[..., None] ** 2,
    "_log_density": lambda found, x, sigma, d: _log_density(found, d, sigma),
    "_energy": lambda found, x, sigma, d: -(sigma**2) * _log_density(found, d, sigma),
    "_nearest": lambda found, x, sigma, d: (found.index[..., 0], found.responsibilities[..., 0]),
    "_posterior": lambda found, x, sigma, d: Posterior(
        found.mean,
        _log_density(found, d, sigma),
        found.index,
        found.responsibilities,
        found.entropy,
        found.bound,
        found.patterns_weighed,
    ),
}
"""What the public methods return of a certified posterior, by the name of their hook."""


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

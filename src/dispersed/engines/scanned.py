"""Any number of stored patterns in any storage, scanned block by block with a proof of how exact the sums are."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.conditioning import Observation
from dispersed.engines.certified_posterior import PatternPosterior, as_posterior, log_density, of_batch, posterior
from dispersed.engines.collectives import all_gather
from dispersed.engines.dense import DensePatterns
from dispersed.engines.engine import Engine, PatternSet
from dispersed.engines.handles import Placed, new_handle, placed_by
from dispersed.engines.host_evidence import after_measurement
from dispersed.engines.options import ScanOptions
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.spreads import Spreads
from dispersed.storage import Float32, InMemory, Storage
from dispersed.tracing import as_array, in_program, is_known, on_host
from dispersed.types import Array, Int, Scalar
from dispersed.validation import InputError, log_prior, positive_number

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


def scanned_patterns(engine: Scanned, storage: Storage, prior: np.ndarray | None) -> "ScannedPatterns":
    """The patterns of a storage, placed for scans; `prior` are their normalised log weights, None if all are alike."""
    from dispersed.engines.resident import ResidentPatterns  # both are made of what is below
    from dispersed.engines.streamed import StreamedPatterns

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
    return new_handle(Placed(engine, placed)), placed.shape, name


class ScannedPatterns(PatternSet):
    """Patterns placed for scans outside of programs; what travels through programs is their number."""

    handle: eqx.AbstractVar[Int[Array, ""]]
    size: eqx.AbstractVar[tuple[int, int]]
    name: eqx.AbstractVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        engine, placed = placed_by(self.handle).engine, self.placed
        return scanned_patterns, (engine, placed.storage, placed.prior)

    @property
    def shape(self) -> tuple[int, int]:
        return self.size

    @property
    def engine(self) -> Scanned:
        return placed_by(self.handle).engine if is_known(self.handle) else Scanned()

    @property
    def placed(self) -> PlacedPatterns:
        """The patterns where scans find them."""
        return placed_by(self.handle).patterns

    @property
    def where(self) -> str:
        return self.name

    def conditioned_outside(self, observation: Observation) -> "tuple[ScannedPatterns, Scalar] | None":
        if not self.outside or in_program(*jax.tree.leaves(observation)):
            return None
        engine, placed = placed_by(self.handle)
        log_weights, total = after_measurement(placed, observation)
        handle = new_handle(Placed(engine, placed.reweighted(log_weights)))
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
        dtype = x.dtype
        x, sigma = np.asarray(x), np.asarray(sigma)
        found = self.posterior(x, sigma, settings.get("tol"), settings.get("leading", 1))
        answer = _ANSWERS[hook](found, x.astype(float), np.broadcast_to(sigma.astype(float), found.bound.shape))
        if hook == "_posterior":
            return answer

        def narrowed(part: Any) -> Array:
            if part.dtype.kind != "f":
                return as_array(part, int)
            limit = float(jnp.finfo(dtype).max)
            return as_array(np.clip(part, -limit, limit), dtype)

        return jax.tree.map(narrowed, answer)

    def posterior(self, x: np.ndarray, sigma: np.ndarray, tol: float | None, leading: int) -> PatternPosterior:
        """The certified posterior of states (..., d) at noise levels that broadcast against (...)."""
        placed = self.placed
        goal = max(self.tol, BEST_EFFORT * placed.radius) if tol is None else tol
        return of_batch(lambda x, sigma: posterior(placed, x, sigma, goal, leading), x, sigma, tol)

    def spreads(self) -> Spreads:
        return Spreads(*(jnp.asarray(spread, jnp.float32) for spread in self.placed.spreads))

    @property
    def tol(self) -> float:
        """What ‖D − D_σ(x)‖ may be where a call does not say, in the units of the patterns."""
        engine, placed = placed_by(self.handle)
        if engine.tol is not None:
            return engine.tol
        return TOL * (placed.spread or float(np.linalg.norm(placed.mean)) or 1.0)


_ANSWERS: dict[str, Any] = {
    "_denoise": lambda found, x, sigma: found.mean,
    "_score": lambda found, x, sigma: (found.mean - x) / sigma[..., None] ** 2,
    "_log_density": lambda found, x, sigma: log_density(found, sigma),
    "_energy": lambda found, x, sigma: -(sigma**2) * log_density(found, sigma),
    "_nearest": lambda found, x, sigma: (found.index[..., 0], found.responsibilities[..., 0]),
    "_posterior": lambda found, x, sigma: as_posterior(found, sigma),
}
"""What the public methods return of a certified posterior, by the name of their hook."""

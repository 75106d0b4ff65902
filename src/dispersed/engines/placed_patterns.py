"""Stored patterns where a scan finds them: in the memory of the devices, or streamed through it from a disk."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.collectives import all_gather
from dispersed.engines.dataset_statistics import (
    DatasetStatistics,
    block_extents,
    block_moments,
    with_extents,
    without_extents,
)
from dispersed.engines.distinct_rows import distinct_rows
from dispersed.engines.online_softmax import FEW_PATTERNS, EncodedRows
from dispersed.engines.options import ScanOptions
from dispersed.engines.roundoff import gamma, merged_terms
from dispersed.engines.spreads import Spreads, counts, spread_of
from dispersed.machine import cores, on_cores
from dispersed.storage import Encoding, InMemory, Int8, Storage
from dispersed.tracing import as_array
from dispersed.types import Array, Numbers
from dispersed.validation import InputError

T = TypeVar("T")

EXTREME = 1e75
"""The ratio between the largest entry of all patterns and that of a state, or a noise level, beyond which double
precision runs out of exponents."""


class Block(NamedTuple):
    """Patterns on one device, filled up to the number of rows that all blocks have."""

    start: int
    """The index of the first among the patterns of this host."""
    rows: EncodedRows
    """The patterns, with half squared norms if they stay in memory."""


class QuantizedCopy(NamedTuple):
    """Patterns in memory once more, in one byte a unit instead of four."""

    blocks: list[Block]
    """The same patterns, block by block."""
    error: float
    """An upper bound on ‖y − ŷ‖, ŷ being what is left of a pattern y, in internal units."""


class DistinctPatterns(NamedTuple):
    """Patterns of which many are equal, each of them once."""

    placed: "PlacedPatterns"
    """The distinct patterns, with the sums of the prior weights of equal ones."""
    indices: np.ndarray
    """The index of the first of the equal patterns that weigh most, (m,)."""
    fraction: np.ndarray
    """Its prior weight beside that of all patterns equal to it, (m,)."""


class PlacedPatterns:
    """Patterns of a storage with their log weights, ready to be scanned in blocks.

    Patterns in memory are handed to the devices once, in equal parts; those on a disk block after block, each time.
    States, noise levels and results of scans are in *internal units*: those of the patterns times a power of two,
    `statistics.factor`, which makes the largest entry an ordinary number and is 1 if it is one already.

    **Arguments**

    - `storage`: the patterns (n, d) of this host.
    - `log_weights`: normalised logarithms of prior weights (n,), −∞ for none; None if all weigh alike.
    - `devices`: the devices that hold the blocks, in turn.
    - `options`: how scans spend time and memory.

    **Raises** `InputError` for a NaN or an infinite entry, and says where it is.
    """

    def __init__(
        self,
        storage: Storage,
        log_weights: np.ndarray | None = None,
        devices: list[jax.Device] | None = None,
        options: ScanOptions = ScanOptions(),
    ) -> None:
        self.storage, self.options = storage, options
        self.devices = jax.local_devices() if devices is None else devices
        self._log_weights = log_weights
        n = len(storage)
        self.present = n if log_weights is None else int(np.sum(log_weights > -np.inf))
        """The number of this host's patterns that have any weight."""
        sizes = all_gather(np.asarray(n))
        self.first = int(sizes[: jax.process_index()].sum())
        """The index of this host's first pattern among those of all hosts."""
        self.total = int(sizes.sum())
        self._workers = cores("cpu") if {device.platform for device in self.devices} == {"cpu"} else 1
        resident = isinstance(storage, InMemory)
        most = options.block_patterns
        if not resident:
            most = max(1, min(most, options.streamed_block_bytes // storage.encoding.row_bytes(storage.shape[1])))
        at_once = len(self.devices) * self._workers
        # As many blocks for every worker: in memory so many that the padding of the last one is small.
        passes = -(-storage.nbytes // (options.resident_block_bytes * at_once)) if resident else 1
        self.height = options.rows(min(most, -(-n // (at_once * max(passes, 1)))))
        """The number of rows of a block, padding included."""
        self._resident: list[Block] | None = None
        self._factor: Any = None
        self._centre: Any = None
        if resident:
            self._resident = list(self._blocks())
        self.statistics = self._first_pass()
        # Few patterns always have both, so that all such sets have their programs in common.
        few = self.total <= FEW_PATTERNS
        if self.statistics.exponent or few:
            self._factor = np.asarray(self.statistics.factor, np.float32)
        if self.statistics.centre.any() or few:
            self._centre = self.statistics.centre.astype(np.float32)
        if self._resident is not None:
            self._resident = [
                Block(start, dataclasses.replace(rows, factor=self._factor, centre=self._centre))
                for start, rows in self._resident
            ]
        self.statistics = self._second_pass()

    def reweighted(self, log_weights: np.ndarray) -> "PlacedPatterns":
        """The same patterns with other log weights: blocks and statistics are shared, and nothing is read anew."""
        other = copy.copy(self)
        for derived in ("quantized", "distinct", "prior_moments"):
            other.__dict__.pop(derived, None)
        other._log_weights = log_weights
        other.present = int(np.sum(log_weights > -np.inf))
        other.statistics = self.statistics._replace(max_log_weight=_widest(log_weights))

        def with_own(blocks: list[Block]) -> list[Block]:
            return [
                Block(start, dataclasses.replace(rows, log_weights=other._prior(start, rows.count, rows.codes.device)))
                for start, rows in blocks
            ]

        if self._resident is not None:
            other._resident = with_own(self._resident)
        short = self.__dict__.get("quantized")
        if short is not None:
            other.__dict__["quantized"] = QuantizedCopy(with_own(short.blocks), short.error)
        return other

    @property
    def encoding(self) -> Encoding:
        """How the patterns are written down."""
        return self.storage.encoding

    @property
    def shape(self) -> tuple[int, int]:
        """The number of patterns of all hosts, and of units."""
        return self.total, self.storage.shape[1]

    @property
    def uniform(self) -> bool:
        """Whether all patterns weigh alike; log weights are then 0 rather than −log n."""
        return self._log_weights is None

    @property
    def prior(self) -> np.ndarray | None:
        """Normalised logarithms of the prior weights (n,); None if all weigh alike."""
        return self._log_weights

    def internal(self, x: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States (b, d) and noise levels (b,) in internal units.

        Raises `InputError` for what is not finite, for σ ≤ 0, and beyond what double precision can square.
        """
        factor = self.statistics.factor
        x, sigma = np.asarray(x, float) * factor, np.asarray(sigma, float) * factor
        largest = np.abs(x).max(initial=0)
        if not largest < EXTREME:
            given = f"got an entry of {largest / factor:.3g}"
            raise InputError(
                "x", given, f"finite numbers up to {EXTREME / factor:.3g} are accepted beside these patterns"
            )
        if not ((sigma > 1 / EXTREME) & (sigma < EXTREME)).all():
            wrong = sigma[~((sigma > 1 / EXTREME) & (sigma < EXTREME))][0] / factor
            accepted = f"noise levels from {1 / EXTREME / factor:.3g} to {EXTREME / factor:.3g} are accepted"
            raise InputError("sigma", f"got {wrong:.3g}", f"{accepted} beside these patterns")
        return x, sigma

    def blocks(self) -> Iterator[Block]:
        """All blocks of this host, in order."""
        return iter(self._resident) if self._resident is not None else self._blocks()

    def terms(self, states: int) -> int:
        """The number of terms that a sum over this host's patterns counts, in the sense of γ_n, for so many states."""
        size = self.chunk(states)
        # Two more for the rounding of y − c and of its product with a weight.
        return merged_terms(size + 2, -(-self.height // size) + -(-len(self.storage) // self.height))

    def chunk(self, states: int) -> int:
        """The number of patterns that a scan for so many states evaluates at once."""
        return self.options.chunk(self.height, states, self.shape[1])

    @functools.cached_property
    def quantized(self) -> QuantizedCopy | None:
        """A copy for passes that take as long as it takes to read the patterns; None where it would be no faster."""
        n, d = self.shape
        small = self._resident is None or n <= self.options.block_patterns
        # The scale of an int8 code is a normal number: patterns that need another unit are left as they are.
        if small or self.statistics.exponent or self.encoding.row_bytes(d) <= Int8().row_bytes(d):
            return None

        def shortened(block: Block) -> tuple[Block, Array]:
            rows = block.rows
            y = np.asarray(rows.encoding.decode(rows.codes, rows.scale, d))
            codes, scale = (jax.device_put(array, rows.codes.device) for array in Int8().encode(y))
            short = dataclasses.replace(rows, codes=codes, scale=scale, encoding=Int8())
            return Block(block.start, short), _largest_difference(rows, short, d, self.chunk(1))

        blocks, errors = zip(*self.map_blocks(shortened), strict=True)
        rounding = 1 + gamma(d + 8, np.float32)
        error = np.sqrt(max(map(float, errors)) + d * np.finfo(np.float32).tiny)
        return QuantizedCopy(list(blocks), float(rounding * error))

    @functools.cached_property
    def prior_moments(self) -> tuple[np.ndarray, Spreads]:
        """The mean of the patterns of all hosts by their weights, (d,), and their spreads, in internal units."""
        if self.uniform:
            return self.statistics.mean, Spreads(self.statistics.spread, self.statistics.spread)
        n, d = self.shape
        # From a pattern of most weight: others may be so far away that squares would hide the distances among these.
        leader = np.argmax(np.asarray(self._log_weights), keepdims=True)
        top, there = all_gather((self.log_weights(leader)[0], self.internal_patterns(leader)[0].astype(float)))
        origin = there[top.argmax()]
        mass, total, square = np.zeros(2), np.zeros((2, d)), np.zeros(2)
        for _, y, log_w in self.slices(max(1, self.options.difference_units // d)):
            kinds = np.stack([counts(log_w, n), np.exp(log_w)])
            some = kinds.any(axis=0)
            kinds, step = kinds[:, some], y[some] - origin
            mass, total, square = (
                mass + kinds.sum(axis=1),
                total + kinds @ step,
                square + kinds @ np.sum(step * step, axis=1),
            )
        mass, total, square = (part.sum(axis=0) for part in all_gather((mass, total, square)))
        mean = total / mass[:, None]
        return origin + mean[1], Spreads(*map(float, spread_of(mean, square / mass, np)))

    @property
    def prior_mean(self) -> np.ndarray:
        """The mean of the patterns of all hosts by their weights, in internal units, (d,)."""
        return self.prior_moments[0]

    @property
    def spreads(self) -> Spreads:
        """The spreads of the patterns of all hosts, in the units of the patterns."""
        return Spreads(*(spread / self.statistics.factor for spread in self.prior_moments[1]))

    @functools.cached_property
    def distinct(self) -> DistinctPatterns | None:
        """Each of the patterns once; None if none of them occurs often, if they are few, or not all in this memory."""
        n, d = self.shape
        if n <= self.options.by_differences or self._resident is None or jax.process_count() > 1:
            return None
        [(codes, scale)] = self.storage.parts()
        log_w = np.full(n, -np.log(n)) if self._log_weights is None else self._log_weights
        found = distinct_rows(codes, scale, log_w, self.height)
        if found is None:
            return None
        first, log_mass, fraction = found
        held = InMemory.of_codes(codes[first], None if scale is None else scale[first], self.encoding, d)
        placed = PlacedPatterns(held, log_mass, self.devices, self.options)
        return DistinctPatterns(placed, first, fraction)

    def map_blocks(self, evaluate: Callable[[Any], T], items: Iterable[Any] | None = None) -> Iterator[T]:
        """`evaluate` of every block, or of every item, in their order; a CPU works on as many at once as it has cores,
        and takes no more of them than that before the results of those before were taken.
        """
        workers = self._workers if len(self.storage) > self.height else 1  # one block needs no thread
        return on_cores(workers, evaluate, self.blocks() if items is None else items)

    def _blocks(self) -> Iterator[Block]:
        # Blocks go round the devices, so that all of them work from the first blocks on.
        for number, (start, codes, scale) in enumerate(self.storage.blocks(self.height)):
            device = self.devices[number % len(self.devices)]
            yield Block(start, self._rows(start, codes, scale, device))

    def _rows(self, start: int, codes: np.ndarray, scale: np.ndarray | None, device: jax.Device) -> EncodedRows:
        def put(array: np.ndarray) -> Array:
            return jax.device_put(_padded(array, self.height), device)

        prior = self._prior(start, len(codes), device)
        count = as_array(np.asarray(len(codes), np.int32))
        scales = None if scale is None else put(scale)
        return EncodedRows(put(codes), scales, self._factor, self._centre, None, prior, count, self.encoding)

    def _prior(self, start: int, count: Any, device: jax.Device) -> Array:
        """The log weights of the rows of a block, in single precision."""
        prior = np.zeros(()) if self._log_weights is None else self._log_weights[start : start + int(count)]
        with np.errstate(over="ignore"):
            return jax.device_put(_padded(prior.astype(np.float32), self.height), device)

    def rows_in_double(self, block: Block) -> EncodedRows:
        """The rows of a block with their log weights in double precision."""
        if self._log_weights is None:
            return block.rows
        prior = _padded(self._log_weights[block.start : block.start + int(block.rows.count)], self.height)
        return eqx.tree_at(lambda rows: rows.log_weights, block.rows, prior)

    def log_weights(self, indices: np.ndarray) -> np.ndarray:
        """Log weights of this host's patterns, of the shape of `indices`."""
        if self._log_weights is None:
            return np.zeros(indices.shape)
        return self._log_weights[indices]

    def patterns(self, indices: np.ndarray) -> np.ndarray:
        """Patterns of this host as they are stored, (..., d) for `indices` (...), in single precision."""
        return self.storage.rows(indices.reshape(-1)).reshape(*indices.shape, self.shape[1])

    def internal_patterns(self, indices: np.ndarray) -> np.ndarray:
        """The same in internal units."""
        y = self.patterns(indices)
        return y * self._factor if self.statistics.exponent else y

    @property
    def mean(self) -> np.ndarray:
        """The mean of all patterns, each with the same weight, in their own units, (d,)."""
        return self.statistics.mean / self.statistics.factor

    @property
    def spread(self) -> float:
        """The root-mean-square distance from the mean, in the units of the patterns."""
        return self.statistics.spread / self.statistics.factor

    @property
    def radius(self) -> float:
        """An upper bound on the distance of any pattern from a point among them, in the units of the patterns."""
        return self.statistics.radius / self.statistics.factor

    def slices(self, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """All patterns of this host by NumPy in internal units, at most `size` at a time: the index of the first, the
        patterns in double precision, and their log weights.
        """
        for start, codes, scale in self.storage.blocks(size):
            y = np.asarray(self.encoding.decode(codes, scale, self.shape[1]), float) * self.statistics.factor
            yield start, y, self.log_weights(np.arange(start, start + len(y)))

    def _first_pass(self) -> DatasetStatistics:
        n, d = self.shape
        size = self.chunk(1)
        with jax.enable_x64(True):
            found = self.map_blocks(lambda block: (block.start, block_moments(block.rows, d, size)))
            parts = [(start, jax.tree.map(np.asarray, moments)) for start, moments in found]
        for start, (*_, row, unit) in parts:
            if row >= 0:
                place = f"entry ({self.first + start + int(row)}, {int(unit)}) is NaN or infinite"
                raise InputError("patterns", f"{place} in {self.storage}", "only finite numbers are accepted")
        largest, total, square = (
            all_gather(np.stack([moments[i] for _, moments in parts]).sum(axis=0) if i else _most(parts))
            for i in range(3)
        )
        widest = 0.0 if self._log_weights is None else _widest(self._log_weights)
        return without_extents(n, float(largest.max()), total.sum(axis=0), float(square.sum()), widest)

    def _second_pass(self) -> DatasetStatistics:
        n, d = self.shape
        size = self.chunk(1)
        with jax.enable_x64(True):
            parts = list(self.map_blocks(lambda block: block_extents(block.rows, d, size)))
            largest, total = (np.array([float(part[i]) for part in parts]) for i in range(2))
            if self._resident is not None:
                self._resident = [
                    Block(start, dataclasses.replace(rows, half_norms=half))
                    for (start, rows), (_, _, half) in zip(self._resident, parts, strict=True)
                ]
        most = float(all_gather(largest.max()).max())
        return with_extents(self.statistics, n, most, float(all_gather(total.sum()).sum()))


def _widest(log_weights: np.ndarray) -> float:
    """The largest absolute value of a finite log weight, of all hosts."""
    finite = log_weights[log_weights > -np.inf]
    return float(all_gather(np.abs(finite).max(initial=0)).max())


def _most(parts: list[tuple[int, tuple[np.ndarray, ...]]]) -> np.ndarray:
    return np.asarray(max(moments[0] for _, moments in parts))


def _padded(array: Numbers, rows: int) -> Numbers:
    if array.ndim == 0 or len(array) == rows:
        return array
    padded = np.zeros((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


@eqx.filter_jit
def _largest_difference(rows: EncodedRows, short: EncodedRows, d: int, size: int) -> Array:
    """The largest ‖y − ŷ‖²."""

    def evaluate(start: Array) -> Array:
        def part(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        here, there = (
            each.encoding.decode(part(each.codes), None if each.scale is None else part(each.scale), d)
            for each in (rows, short)
        )
        return jnp.max(jnp.sum((here - there) ** 2, axis=1))

    return jnp.max(jax.lax.map(evaluate, jnp.arange(0, rows.codes.shape[0], size)))

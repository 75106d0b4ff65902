"""Stored patterns where a scan finds them: in the memory of the devices, or streamed through it from a disk."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.collectives import all_gather
from dispersed.engines.online_softmax import CHUNK, EncodedRows, chunk_size, half_squared_norms, padded_rows
from dispersed.engines.roundoff import joined_terms
from dispersed.engines.shortlist import EnclosingBall
from dispersed.machine import cores, on_cores
from dispersed.storage import Encoding, InMemory, Int8, Storage
from dispersed.types import Array, Numbers

T = TypeVar("T")

BLOCK = 32 * CHUNK
"""Patterns that one call of a compiled scan goes through."""


STREAMED = 1 << 25
"""Bytes of a block that comes from a disk, about."""


class Block(NamedTuple):
    """Patterns on one device, filled up to the height that all blocks have."""

    start: int
    """Index of the first."""
    rows: EncodedRows
    """With heights in double precision, but only of patterns in memory, where they are worth keeping."""


class QuantizedCopy(NamedTuple):
    """Patterns in memory once more, in one byte a unit instead of four."""

    blocks: list[Block]
    error: float
    """At least max‖y − ŷ‖, ŷ being what is left of a pattern y."""


class DatasetStatistics(NamedTuple):
    """What bounds need to know of all patterns, from one pass over them."""

    centre: np.ndarray
    """Their mean μ, rounded to float32, (d,)."""
    centre_norm: float
    radius: float
    """At least max‖y − μ‖."""
    spread: float
    """The root mean square of ‖y − μ‖, of all patterns alike."""
    norm: float
    """At least max‖y‖."""
    max_log_weight: float
    """The largest absolute value of a finite log weight."""


class PlacedPatterns:
    """Patterns of a storage with their log weights, ready to be scanned in blocks.

    Patterns in memory are handed to the devices once, in equal shares; those on a disk block after block, each time.
    """

    def __init__(self, storage: Storage, log_weights: np.ndarray | None, devices: list[jax.Device]) -> None:
        self.storage = storage
        self.devices = devices
        self._log_weights = log_weights
        n = len(storage)
        self.present = n if log_weights is None else int(np.sum(log_weights > -np.inf))
        """How many of this host's patterns have any weight."""
        sizes = all_gather(np.asarray(n))
        self.first = int(sizes[: jax.process_index()].sum())
        """Where this host's patterns begin among those of all hosts."""
        self.total = int(sizes.sum())
        self._workers = cores("cpu") if {device.platform for device in devices} == {"cpu"} else 1
        held = isinstance(storage, InMemory)
        most = BLOCK if held else min(BLOCK, STREAMED // storage.encoding.row_bytes(storage.shape[1]))
        self.height = padded_rows(min(most, -(-n // (len(devices) * self._workers))))
        self._kept: list[Block] | None = None
        if held:
            self._kept = list(self._blocks())
        self.statistics = self._statistics()
        if self._kept is not None:
            with jax.enable_x64(True):
                centre = jnp.asarray(self.statistics.centre, float)
                self._kept = [
                    Block(start, dataclasses.replace(rows, height=_half_squared_norms(rows, centre)))
                    for start, rows in self._kept
                ]

    @functools.cached_property
    def ball(self) -> EnclosingBall:
        """What proofs need of the facts."""
        return EnclosingBall(
            *(np.asarray(v, float) for v in (self.statistics.centre, self.statistics.radius, self.statistics.norm))
        )

    @property
    def encoding(self) -> Encoding:
        return self.storage.encoding

    @property
    def shape(self) -> tuple[int, int]:
        """All patterns, of all hosts, and units."""
        return self.total, self.storage.shape[1]

    @property
    def uniform(self) -> bool:
        """Whether all patterns weigh alike; log weights are then 0 rather than −log n."""
        return self._log_weights is None

    def blocks(self) -> Iterator[Block]:
        return iter(self._kept) if self._kept is not None else self._blocks()

    def terms(self, states: int) -> int:
        """As how many terms a sum over this host's patterns counts, for so many states at once."""
        size = chunk_size(self.height, states, self.shape[1])
        return joined_terms(size, -(-self.height // size) + -(-len(self.storage) // self.height))

    @functools.cached_property
    def quantized(self) -> QuantizedCopy | None:
        """For passes that take as long as it takes to read the patterns; None where that would be no faster."""
        n, d = self.shape
        if self._kept is None or n <= BLOCK or self.encoding.row_bytes(d) <= Int8().row_bytes(d):
            return None

        def shortened(block: Block) -> tuple[Block, Array]:
            rows = block.rows
            y = np.asarray(rows.encoding.decode(rows.codes, rows.scale, d))
            codes, scale = (jax.device_put(array, rows.codes.device) for array in Int8().encode(y))
            short = EncodedRows(codes, scale, rows.height, rows.log_weights, rows.count, Int8())
            return Block(block.start, short), _difference(rows, short, d)

        blocks, errors = zip(*self.each(shortened), strict=True)
        rounding = 1 + (d + 8) * np.finfo(np.float32).eps
        return QuantizedCopy(list(blocks), float(rounding * np.sqrt(max(map(float, errors)))))

    def each(self, ask: Callable[[Any], T], items: Iterable[Any] | None = None) -> Iterator[T]:
        """What `ask` says of every block, or of every item, in their order; a CPU works on as many at once as it has
        cores, and takes no more of them than that before the answers to those before were taken.
        """
        return on_cores(self._workers, ask, self.blocks() if items is None else items)

    def _blocks(self) -> Iterator[Block]:
        # Blocks go round the devices, so that all of them work from the first blocks on.
        for number, (start, codes, scale) in enumerate(self.storage.blocks(self.height)):
            device = self.devices[number % len(self.devices)]
            yield Block(start, self._rows(start, codes, scale, self.encoding, device))

    def _rows(
        self, start: int, codes: np.ndarray, scale: np.ndarray | None, encoding: Encoding, device: jax.Device
    ) -> EncodedRows:
        def put(array: np.ndarray) -> Array:
            return jax.device_put(_padded(array, self.height), device)

        prior = np.zeros(()) if self._log_weights is None else self._log_weights[start : start + len(codes)]
        count = jnp.asarray(len(codes), jnp.int32)
        return EncodedRows(
            put(codes), None if scale is None else put(scale), None, put(prior.astype(np.float32)), count, encoding
        )

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
        """Patterns of this host decoded, (..., d) for `indices` (...)."""
        return self.storage.rows(indices.reshape(-1)).reshape(*indices.shape, self.shape[1])

    def _statistics(self) -> DatasetStatistics:
        n, d = self.shape
        total = sum(np.asarray(part, float) for part in self.each(lambda block: _sum(block.rows, d)))
        centre = (all_gather(total).sum(axis=0) / n).astype(np.float32)
        extents = np.array(list(self.each(lambda block: _extent(block.rows, centre))), float)
        rounding = 1 + (d + 8) * np.finfo(np.float32).eps
        radius, norm = np.sqrt(all_gather(extents[:, :2].max(axis=0)).max(axis=0)) * rounding
        spread = np.sqrt(all_gather(extents[:, 2].sum()).sum() / n)
        prior = np.zeros(1) if self._log_weights is None else self._log_weights
        finite = prior[prior > -np.inf]
        max_log_weight = all_gather(np.abs(finite).max(initial=0)).max()
        length = float(np.linalg.norm(centre.astype(float)))
        return DatasetStatistics(centre, length, float(radius), float(spread), float(norm), float(max_log_weight))


def _padded(array: Numbers, rows: int) -> Numbers:
    if array.ndim == 0 or len(array) == rows:
        return array
    pad_batch = np.zeros((rows, *array.shape[1:]), array.dtype)
    pad_batch[: len(array)] = array
    return pad_batch


@eqx.filter_jit
def _half_squared_norms(rows: EncodedRows, centre: Array) -> Array:
    return half_squared_norms(rows.encoding.decode(rows.codes, rows.scale, len(centre)).astype(centre.dtype), centre)


@eqx.filter_jit
def _difference(rows: EncodedRows, short: EncodedRows, d: int) -> Array:
    """The largest ‖y − ŷ‖²."""
    here, there = (part.encoding.decode(part.codes, part.scale, d) for part in (rows, short))
    return jnp.max(jnp.sum((here - there) ** 2, axis=1))


@eqx.filter_jit
def _sum(rows: EncodedRows, d: int) -> Array:
    y = rows.encoding.decode(rows.codes, rows.scale, d)
    return jnp.sum(jnp.where(jnp.arange(len(y))[:, None] < rows.count, y, 0), axis=0)


@eqx.filter_jit
def _extent(rows: EncodedRows, centre: Array) -> Array:
    """The largest ‖y − μ‖² and ‖y‖², and the sum of the first."""
    y = rows.encoding.decode(rows.codes, rows.scale, len(centre))
    inside = jnp.arange(len(y)) < rows.count
    squares = jnp.where(inside, jnp.stack([jnp.sum((y - centre) ** 2, axis=1), jnp.sum(y * y, axis=1)]), 0)
    return jnp.append(jnp.max(squares, axis=1), jnp.sum(squares[0]))

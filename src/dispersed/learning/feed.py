"""Patterns that reach a training batch by batch, from the host: data of any size, wherever they lie.

What a step sees is decided by the key and the number of the step, so a training that was interrupted goes on with the
same batches.
"""

import abc
import itertools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines import pattern_source
from dispersed.learning.checkpoint import fingerprint
from dispersed.learning.state import Fed
from dispersed.storage import Storage
from dispersed.types import Float, Key
from dispersed.validation import InputError, check_finite, host_array, pattern_array

PROBED = 64
"""Patterns that a training is judged by, where it does not see all of them in every step."""
NAMED = 1024
"""Patterns that a checkpoint knows the data by."""

Batch = tuple[Float[np.ndarray, "b d"], Float[np.ndarray, " b"]]
"""Patterns, and their weights in the loss."""


class Feed(abc.ABC):
    """A source of batches of one size."""

    @abc.abstractmethod
    def batches(self, first: int, count: int) -> list[Batch]:
        """The batches of the steps from `first` on."""

    @abc.abstractmethod
    def some(self) -> Batch:
        """Patterns that the training is judged by; their weights sum to one."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What distinguishes this data from other data."""

    @property
    def all(self) -> tuple[Any, Any] | None:
        """All patterns and their weights, if they are known."""
        return None


def fed(feeds: list[Feed], first: int, count: int, most: int) -> Fed:
    """The batches of all members for `count` ≤ `most` steps, in arrays of always the same shape."""
    members = [feed.batches(first, count) for feed in feeds]
    padded = [[*own, *[own[-1]] * (most - count)] for own in members]
    patterns, weights = (np.stack([[batch[part] for batch in own] for own in padded]) for part in (0, 1))
    return Fed(jnp.asarray(patterns), jnp.asarray(weights), jnp.full(len(feeds), first))


class Shuffled(Feed):
    """Patterns (n, d) of an array, a file or a store, in a new order in every epoch.

    Patterns of weight zero are left out; the others weigh as they should in the mean over an epoch.
    """

    def __init__(self, source: np.ndarray | Storage, weights: np.ndarray | None, size: int, key: Key[Any, ""]) -> None:
        n = source.shape[0]
        prior = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        self.source, self.size = source, size
        self.chosen = np.flatnonzero(prior)
        self.prior = prior[self.chosen]
        self.seed = [int(word) for word in np.asarray(jax.random.key_data(key)).reshape(-1)]
        self._epoch: tuple[int, np.ndarray] = (-1, self.chosen)

    def _order(self, epoch: int) -> np.ndarray:
        if self._epoch[0] != epoch:
            self._epoch = epoch, np.random.default_rng([*self.seed, epoch]).permutation(len(self.chosen))
        return self._epoch[1]

    def _rows(self, indices: np.ndarray) -> Float[np.ndarray, "k d"]:
        if isinstance(self.source, Storage):
            return self.source.rows(indices)
        rows = host_array("patterns", np.asarray(self.source[indices]))
        check_finite("patterns", rows)
        return np.asarray(rows)

    def batches(self, first: int, count: int) -> list[Batch]:
        n, b = len(self.chosen), self.size
        epoch, place = np.divmod(np.arange(first * b, (first + count) * b), n)
        picked = np.concatenate([self._order(e)[place[epoch == e]] for e in range(epoch[0], epoch[-1] + 1)])
        rows = self._rows(self.chosen[picked])
        weights = (self.prior[picked] * n / b).astype(rows.dtype)
        return [(rows[i * b : (i + 1) * b], weights[i * b : (i + 1) * b]) for i in range(count)]

    def some(self) -> Batch:
        # As many for every member of an ensemble, whose sets may have been filled up: some of few then come twice.
        picked = np.linspace(0, len(self.chosen) - 1, min(PROBED, self.source.shape[0])).round().astype(int)
        rows = self._rows(self.chosen[picked])
        weights = self.prior[picked] / self.prior[picked].sum()
        return rows, weights.astype(rows.dtype)

    @property
    def name(self) -> str:
        picked = np.unique(np.linspace(0, len(self.chosen) - 1, NAMED).astype(int))
        return f"{self.source.shape} {fingerprint(self._rows(self.chosen[picked]), self.prior)}"

    @property
    def all(self) -> tuple[Any, Any]:
        return self.source, self.prior if len(self.chosen) == self.source.shape[0] else None


class Iterated(Feed):
    """The batches of an iterable, one a step, which is begun again when it ends. Later ones may be smaller."""

    def __init__(self, batches: Iterable[Any], dimension: int) -> None:
        self.source, self.dimension = batches, dimension
        self.iterator = iter(batches)
        self.position = 0
        self.first: Float[np.ndarray, "b d"] | None = None
        self.first = self._next()
        self.iterator = itertools.chain([self.first], self.iterator)
        self.position = 0

    def _next(self) -> Float[np.ndarray, "b d"]:
        found = next(self.iterator, None)
        if found is None:
            self.iterator = iter(self.source)
            found = next(self.iterator, None)
        if found is None:
            given = f"got batches for {self.position} steps"
            raise InputError("patterns", given, "batches for every step, or an iterable that can be begun again")
        batch = np.asarray(pattern_array(found))
        if batch.shape[1] != self.dimension:
            given = f"got a batch of shape {batch.shape}"
            raise InputError("patterns", given, f"the network has {self.dimension} units")
        if self.first is not None and len(batch) > len(self.first):
            given = f"got a batch of {len(batch)} after one of {len(self.first)}"
            raise InputError("patterns", given, "no later batch may be larger than the first one")
        self.position += 1
        return batch

    def batches(self, first: int, count: int) -> list[Batch]:
        while self.position < first:
            self._next()
        return [self._weighted(self._next()) for _ in range(count)]

    def _weighted(self, batch: Float[np.ndarray, "k d"]) -> Batch:
        assert self.first is not None
        weights = np.zeros(len(self.first), batch.dtype)
        weights[: len(batch)] = 1 / len(batch)
        return np.concatenate([batch, self.first[len(batch) :]]), weights

    def some(self) -> Batch:
        assert self.first is not None
        rows = self.first[:PROBED]
        return rows, np.full(len(rows), 1 / len(rows), rows.dtype)

    @property
    def name(self) -> str:
        assert self.first is not None
        return f"batches that begin with {fingerprint(self.first)}"


def is_stream(patterns: Any) -> bool:
    """Whether these are batches, one after the other, and no array of patterns."""
    array = isinstance(patterns, list | tuple | str) or hasattr(patterns, "__array__") or hasattr(patterns, "shape")
    return hasattr(patterns, "__iter__") and not array


def pattern_rows(patterns: Any, dimension: int) -> np.ndarray | Storage:
    """Patterns (n, d) that stay where they lie: an array, a memory map, a file, a `Storage` or a `PatternStore`."""
    mapped = isinstance(patterns, np.ndarray) and patterns.dtype.kind in "biuf"
    source = patterns if mapped else pattern_source(patterns)
    if not isinstance(source, Storage):
        source = np.asarray(source) if mapped else np.asarray(pattern_array(source))
    if len(source.shape) != 2 or 0 in source.shape:
        raise InputError("patterns", f"got shape {source.shape}", "patterns (n, d) are accepted")
    if source.shape[1] != dimension:
        raise InputError("patterns", f"got shape {source.shape}", f"the network has {dimension} units")
    return source

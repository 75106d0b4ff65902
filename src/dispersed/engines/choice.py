"""Which engine serves which patterns, if the user does not say."""

import contextlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.dense import Dense
from dispersed.engines.engine import Engine
from dispersed.engines.scanned import Scanned
from dispersed.storage import Float32, InMemory, PatternStore, Storage, open_patterns
from dispersed.tracing import is_known
from dispersed.types import Array
from dispersed.validation import host_array

MANY = 32_768
"""Patterns from which on, on a CPU, a scan in blocks that leaves most of them out is faster than products with all."""
COPIES = 4
"""The number of copies of the patterns that an accelerator must have room for to multiply with all of them, which is
then faster however many they are: the patterns, a centred copy where they lie far from the origin, and a program's."""


def pattern_source(patterns: Any) -> np.ndarray | Array | Storage:
    """Patterns as given to a memory: an array, where it is, or a `Storage`, to which paths and stores are opened."""
    if isinstance(patterns, str | Path):
        return PatternStore.open(patterns).storage if Path(patterns).is_dir() else open_patterns(patterns)
    if isinstance(patterns, PatternStore):
        return patterns.storage
    return patterns if isinstance(patterns, Storage) else host_array("patterns", patterns)


def choose_engine(source: np.ndarray | Array | Storage) -> Engine:
    """`Scanned()` for many patterns, for those that are encoded or on a disk, and for several hosts; else `Dense()`.

    Many are 32,768 on a CPU, and more than fit with all that is made of them on another device. Patterns in double
    precision, and those whose values are not known because a program is being traced, are `Dense`.
    """
    if jax.process_count() > 1:
        return Scanned()
    if isinstance(source, Storage):
        encoded = not isinstance(source, InMemory) or source.encoding.name != Float32.name
        return Scanned() if encoded or _are_many(*source.shape) else Dense()
    if not is_known(source) or source.ndim != 2 or jnp.result_type(source.dtype) == jnp.float64:
        return Dense()
    return Scanned() if _are_many(*source.shape) else Dense()


def _are_many(n: int, d: int) -> bool:
    return n >= MANY and 4 * n * d * COPIES > _room()


def _room() -> int:
    """Bytes that an accelerator has for arrays; 0 for a CPU, and where that is not known."""
    device = jax.local_devices()[0]
    stats = None
    with contextlib.suppress(RuntimeError, NotImplementedError):  # of devices that keep no account of it
        stats = None if device.platform == "cpu" else device.memory_stats()
    return (stats or {}).get("bytes_limit", 0)

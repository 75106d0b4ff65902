"""Which engine serves which patterns, if the user does not say."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.dense import Dense
from dispersed.engines.engine import Engine
from dispersed.engines.scanned import Scanned
from dispersed.storage import Float32, InMemory, PatternStore, Storage, open_patterns
from dispersed.types import Array
from dispersed.validation import host_array, is_known

MANY = 32_768
"""Patterns from which on a scan in blocks that leaves most of them out is faster than products with all of them."""


def pattern_source(patterns: Any) -> np.ndarray | Array | Storage:
    """Patterns as given to a memory: an array, where it is, or a `Storage`, to which paths and stores are opened."""
    if isinstance(patterns, str | Path):
        return PatternStore.open(patterns).storage if Path(patterns).is_dir() else open_patterns(patterns)
    if isinstance(patterns, PatternStore):
        return patterns.storage
    return patterns if isinstance(patterns, Storage) else host_array("patterns", patterns)


def choose_engine(source: np.ndarray | Array | Storage) -> Engine:
    """`Scanned()` for many patterns, for those that are encoded or on a disk, and for several hosts; else `Dense()`.

    Patterns in double precision, and those whose values are not known because a program is being traced, are `Dense`.
    """
    if isinstance(source, Storage):
        encoded = not isinstance(source, InMemory) or source.encoding.name != Float32.name
        return Scanned() if encoded or len(source) >= MANY or jax.process_count() > 1 else Dense()
    if not is_known(source) or jnp.result_type(source.dtype) == jnp.float64:
        return Scanned() if jax.process_count() > 1 else Dense()
    return Scanned() if jax.process_count() > 1 or (source.ndim == 2 and len(source) >= MANY) else Dense()

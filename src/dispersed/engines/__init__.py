"""Engines: how the exact sums over stored patterns are done, in memory, by certified scans, or over devices."""

import importlib
from typing import Any

from dispersed.engines.choice import choose_engine, pattern_source
from dispersed.engines.dense import Dense, DensePatterns
from dispersed.engines.engine import Engine, PatternSet

_LAZY = {
    "PatternPosterior": "certified_posterior",
    "Scanned": "scanned",
    "ScannedPatterns": "scanned",
    "ShardedMemory": "sharded_memory",
    "StoredMemory": "stored_memory",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"dispersed.engines.{_LAZY[name]}"), name)

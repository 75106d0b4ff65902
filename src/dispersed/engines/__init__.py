"""Engines: how the exact sums over stored patterns are done, in memory, by certified scans, or over devices."""

from dispersed.engines.choice import choose_engine, pattern_source
from dispersed.engines.dense import Dense, DensePatterns
from dispersed.engines.engine import Engine, PatternSet
from dispersed.engines.options import ScanOptions
from dispersed.engines.scanned import Scanned, ScannedPatterns
from dispersed.engines.sharded import Sharded, ShardedPatterns

__all__ = [
    "Dense",
    "DensePatterns",
    "Engine",
    "PatternSet",
    "ScanOptions",
    "Scanned",
    "ScannedPatterns",
    "Sharded",
    "ShardedPatterns",
    "choose_engine",
    "pattern_source",
]

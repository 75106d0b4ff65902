"""Scale: the exact memory of any number of patterns, at the price of a scan, with a proof of how exact it is."""

from dispersed.scale.memory import StoredMemory
from dispersed.scale.posterior import PatternPosterior
from dispersed.scale.sharded import ShardedMemory

__all__ = ["PatternPosterior", "ShardedMemory", "StoredMemory"]

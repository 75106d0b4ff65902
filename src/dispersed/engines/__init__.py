"""Engines: the exact sums over any number of patterns, at the price of a scan, each with a proof of how exact it is."""

import lazy_loader

# The memories at the top of this package import memories, which may import engines.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "certified_posterior": ["PatternPosterior"],
        "sharded_memory": ["ShardedMemory"],
        "stored_memory": ["StoredMemory"],
    },
)

"""Where patterns live and how their numbers are written down: the axis below every memory of patterns."""

from dispersed.storage.batches import Batch, Origin
from dispersed.storage.encoding import ENCODINGS, Bits, Encoding, Float16, Float32, Int8, encoding_named
from dispersed.storage.mapped import Mapped
from dispersed.storage.pattern_file import open_patterns, save_patterns
from dispersed.storage.storage import InMemory, Storage
from dispersed.storage.store import Damage, PatternStore, Prepared

__all__ = [
    "ENCODINGS",
    "Batch",
    "Bits",
    "Damage",
    "Encoding",
    "Float16",
    "Float32",
    "InMemory",
    "Int8",
    "Mapped",
    "Origin",
    "PatternStore",
    "Prepared",
    "Storage",
    "encoding_named",
    "open_patterns",
    "save_patterns",
]

"""Reading files of the user: patterns and cues of every kind, and labels."""

from dispersed.reading.adding import add_files
from dispersed.reading.labels import Table, read_labels
from dispersed.reading.reader import open_source, read_states
from dispersed.reading.source import Source

__all__ = ["Source", "Table", "add_files", "open_source", "read_labels", "read_states"]

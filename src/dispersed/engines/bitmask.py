"""Patterns selected by a scan, one bit each, as it hands them to the host."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dispersed.engines.options import TILE


class SelectedTiles(NamedTuple):
    """Tiles with selected patterns, (t,) each."""

    state: np.ndarray
    """The state that they were selected for."""
    first: np.ndarray
    """The index of the first pattern of the tile."""
    bits: np.ndarray
    """The bitmask of the selected patterns."""

    def only(self, some: np.ndarray) -> "SelectedTiles":
        """Some of the tiles, by index or mask."""
        return SelectedTiles(*(part[some] for part in self))

    @staticmethod
    def concatenated(parts: Iterable["SelectedTiles"]) -> "SelectedTiles":
        """All tiles of several sets, in order."""
        return SelectedTiles(*map(np.concatenate, zip(*parts, strict=True)))

    @property
    def counts(self) -> np.ndarray:
        """How many patterns of each tile are selected."""
        return np.bitwise_count(self.bits)

    def patterns(self) -> tuple[np.ndarray, np.ndarray]:
        """All selected patterns, tile after tile: the state of each, and its index."""
        bits = np.unpackbits(self.bits.astype("<u4", copy=False).view(np.uint8), bitorder="little")
        tile, bit = np.divmod(np.flatnonzero(bits), TILE)
        return self.state[tile], self.first[tile] + bit


def selected_tiles(
    bitmask: np.ndarray, b: int, starts: np.ndarray
) -> tuple[SelectedTiles, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The tiles of a bitmask (chunks, states, tiles) in which anything is selected for the first b states, and where
    they are in it. `starts` are the indices of the first pattern of every chunk.
    """
    chunk, state, tile = np.unravel_index(np.flatnonzero(bitmask.reshape(-1) != 0), bitmask.shape)  # few
    mine = state < b
    chunk, state, tile = chunk[mine], state[mine], tile[mine]
    return SelectedTiles(state, starts[chunk] + tile * TILE, bitmask[chunk, state, tile]), (chunk, state, tile)


def chunk_starts(start: int, bitmask: np.ndarray) -> np.ndarray:
    """The index of the first pattern of every chunk of a block that begins at `start`."""
    chunks, _, tiles = bitmask.shape
    return start + TILE * tiles * np.arange(chunks)

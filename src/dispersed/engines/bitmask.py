"""Marked patterns, one bit each, as a scan hands them to the host (`dispersed.engines.online_softmax.scan`)."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dispersed.engines.online_softmax import TILE


class MaskedTiles(NamedTuple):
    """Tiles with marked patterns, (w,) each: whose they are, the index of their first pattern, and their marks."""

    owner: np.ndarray
    first: np.ndarray
    marks: np.ndarray

    def only(self, some: np.ndarray) -> "Words":
        """Some of them."""
        return MaskedTiles(*(part[some] for part in self))

    @staticmethod
    def joined(parts: Iterable["Words"]) -> "Words":
        return MaskedTiles(*map(np.concatenate, zip(*parts, strict=True)))

    @property
    def counts(self) -> np.ndarray:
        """How many patterns each marks."""
        return np.bitwise_count(self.marks)

    def patterns(self) -> tuple[np.ndarray, np.ndarray]:
        """All that are marked, word after word: whose, and which."""
        bits = np.unpackbits(self.marks.astype("<u4", copy=False).view(np.uint8), bitorder="little")
        word, bit = np.divmod(np.flatnonzero(bits), TILE)
        return self.owner[word], self.first[word] + bit


def words(marks: np.ndarray, b: int, starts: np.ndarray) -> tuple[MaskedTiles, tuple[np.ndarray, ...]]:
    """The tiles of marks (chunks, states, tiles) with any marks of the first b states, and where they are there.

    `starts` are the indices of the first pattern of every chunk.
    """
    chunk, state, tile = np.unravel_index(np.flatnonzero(marks.reshape(-1) != 0), marks.shape)  # few
    mine = state < b
    chunk, state, tile = chunk[mine], state[mine], tile[mine]
    return MaskedTiles(state, starts[chunk] + tile * TILE, marks[chunk, state, tile]), (chunk, state, tile)


def chunk_starts(start: int, marks: np.ndarray) -> np.ndarray:
    """Where the chunks of a block begin that begins at `start`."""
    chunks, _, tiles = marks.shape
    return start + TILE * tiles * np.arange(chunks)

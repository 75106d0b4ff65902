"""The cells of one memory over numbers of patterns, measured when they are first needed and kept in a file."""

from typing import Any

import equinox as eqx
import numpy as np

from dispersed.capacities.cell import Cell, Recaller, Trial, cell_of, measure_cell, recaller_of
from dispersed.capacities.cell_file import CellFile, Values
from dispersed.capacities.corruption import Corruption, Custom, Occlusion
from dispersed.capacities.ensembles import Rademacher, described
from dispersed.dynamics import Dynamics
from dispersed.validation import InputError


def more_sets(least: int, sets: int) -> int:
    """The least number of pattern sets, from `least` on, at which a cell that begins with `sets` of them can stop.

    Four an octave, so that at any requested precision cells are measured in the same blocks.
    """
    k = 0
    while sets * round(2 ** (k / 4)) < least:
        k += 1
    return sets * round(2 ** (k / 4))


class Grid:
    """The cells of one memory at one dimension. Each has `sets` pattern sets or more, which are added in blocks."""

    def __init__(
        self, trial: Trial, sets: int, most: int, kept: CellFile | None = None, name: str | None = None
    ) -> None:
        from dispersed import __version__

        self.trial, self.sets, self.most = trial, sets, most
        """`most` is the largest number of patterns to try."""
        self._kept = kept
        self._counts: dict[int, dict[str, np.ndarray]] = {}
        self._recallers: dict[int, Recaller] = {}
        self._settings: dict[str, Any] = {
            "version": __version__,
            "family": name,
            "dimension": trial.dimension,
            "dynamics": _told(trial.dynamics),
            "corruption": _told(trial.corruption),
            "max_cues": trial.max_cues,
            "seed": trial.seed,
        }
        if not isinstance(trial.ensemble, Rademacher):
            self._settings["ensemble"] = described(trial.ensemble)
        if trial.measure[1] is not None:
            self._settings["measure"] = described(trial.measure[1])

    def cell(self, n: int, sets: int | None = None) -> Cell:
        """The cell of `n` patterns with its first `sets` pattern sets, a number of `more_sets`; measured if need be."""
        sets = sets or self.sets
        there = self._counts.get(n)
        if there is None:
            there = self._block(n, range(self.sets))
        while (begun := min(len(row) for row in there.values())) < sets:
            block = self._block(n, range(begun, more_sets(begun + 1, self.sets)))
            there = {name: np.concatenate([row, block[name]]) for name, row in there.items()}
        self._counts[n] = there
        return cell_of(self.trial, n, {name: row[:sets] for name, row in there.items()})

    def tried(self, most: int | None = None) -> list[int]:
        """The numbers of patterns that were measured, ascending, up to the most that are of interest."""
        return sorted(n for n in self._counts if most is None or n <= most)

    def measured(self) -> list[Cell]:
        """All cells with all their sets, ascending."""
        return [cell_of(self.trial, n, self._counts[n]) for n in self.tried()]

    def _block(self, n: int, sets: range) -> dict[str, np.ndarray]:
        """The counts of a range of pattern sets."""

        def compute() -> Values:
            if not self._recallers:
                self.trial.check()
            if n not in self._recallers:
                self._recallers[n] = recaller_of(self.trial, n, self.sets)
            return {**measure_cell(self.trial, n, sets, self._recallers[n])}

        settings = {**self._settings, "sets": len(sets), "n_patterns": n}
        if sets.start:
            settings["first"] = sets.start
        values = compute() if self._kept is None else self._kept.get(settings, compute)
        counts = {kind: np.asarray(row) for kind, row in values.items()}
        kinds = "i" if self.trial.measure[1] is None else "if"
        whole = all(row.shape == (len(sets),) and row.dtype.kind in kinds for row in counts.values())
        if counts.keys() != set(self.trial.counted()) or not whole:
            given = f"the cell of {n} patterns in {self._kept!r} holds other numbers than those of {len(sets)} sets"
            raise InputError("cells", given, "a file written by capacity is accepted")
        return counts


def _told(part: Any) -> str:
    """A dynamics or a corruption in a file of cells."""
    plain = isinstance(part, Dynamics | Corruption | None) and not isinstance(part, Custom | Occlusion)
    return eqx.tree_pformat(part, short_arrays=False) if plain else described(part)

"""The search for a crossing, with as many pattern sets as its interval needs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dispersed import CellFile, ClassicalHopfield, PatternMemory, capacity, capacity_map
from dispersed.capacities import Flip
from dispersed.capacities.cell import Cell
from dispersed.capacities.estimate import grouped
from dispersed.capacities.grid import Grid, more_sets
from dispersed.capacities.search import ladder, search
from tests.capacities.test_ensembles import first


class KnownGrid(Grid):
    """Cells of skewed errors around a known curve: the sets of a number of patterns share effects with all others."""

    def __init__(self, rng, true_capacity):
        self.sets, self.most = 20, 256
        self.trial = SimpleNamespace(measure=("hamming", None), seed=0)
        self._rng, self._true = rng, true_capacity
        self._own = rng.exponential(1.0, 4000)
        self._errors = {}

    def cell(self, n, sets=None):
        if n not in self._errors:
            curve = 0.03 * (n - 1) / (self._true - 1)
            self._errors[n] = curve * (0.5 * self._own + 0.5 * self._rng.exponential(1.0, self._own.size))
        self.used = sets or self.sets
        return Cell(10, n, n, {"hamming": self._errors[n][: self.used]})

    def tried(self, most=None):
        return sorted(self._errors)


def test_adaptive_intervals_are_as_narrow_as_asked_and_cover():
    rng = np.random.default_rng(4)
    found, trials = [], 30
    for _ in range(trials):
        grid = KnownGrid(rng, 12.0)
        value, low, high = search(grid, 0.03, "mean", precision=0.1)
        assert (high - low) / 2 / value <= 0.1
        found.append((value, low, high, grid.used))
    values, low, high, sets = np.array(found).T
    covered = np.sum((low <= 12) & (high >= 12))
    # Binomial(30, 0.95) is at least this with probability 0.997.
    assert covered >= 25
    # Stopping leans to neither side: the mean is the true one, the curve being straight between the rungs.
    assert abs(values.mean() / 12 - 1) < 0.02
    assert 60 < np.median(sets) < 1000


def test_groups_have_the_mean_and_the_spread_of_sets(rng):
    errors = rng.exponential(1.0, (3, 4321))
    groups = grouped(errors)
    assert 1000 <= groups.shape[1] < 1100
    np.testing.assert_allclose(groups.mean(axis=1), errors.mean(axis=1))
    spread = [part.std(axis=1) / np.sqrt(part.shape[1]) for part in (errors, groups)]
    np.testing.assert_allclose(*spread, rtol=0.1)
    np.testing.assert_array_equal(grouped(errors[:, :1500]), errors[:, :1500])


def test_precision_adds_sets_where_the_error_crosses_and_resumes(tmp_path):
    how = {"dynamics": first, "sets": 20, "seed": 1, "max_patterns": 64, "name": "nearest"}
    path = tmp_path / "cells.jsonl"
    rough = capacity(PatternMemory, 6, **how, cells=CellFile(path))
    begun = path.read_bytes()
    capacity(PatternMemory, 6, **how, precision=0.4, cells=CellFile(path))
    assert path.read_bytes().startswith(begun)
    fine = capacity(PatternMemory, 6, **how, precision=0.2, cells=CellFile(path))
    assert (fine.ci_high - fine.ci_low) / 2 / fine.capacity <= 0.2 < (rough.ci_high - rough.ci_low) / 2 / rough.capacity
    around = [cell for cell in fine.cells if fine.ci_low <= cell.n_patterns <= fine.ci_high]
    assert {cell.sets for cell in around} == {fine.sets}

    def fails(patterns):
        raise AssertionError("these cells are in the file")

    lines = path.read_bytes().splitlines(keepends=True)
    # What coarser runs had measured was not measured again: from any precision, cells grow by the same blocks.
    settings = [json.loads(line)["record"]["settings"] for line in lines]
    blocks = {(each["n_patterns"], each.get("first", 0)): each["sets"] for each in settings}
    assert len(blocks) == len(settings)
    again = capacity(fails, 6, **how, precision=0.2, cells=CellFile(path))
    assert (again.capacity, again.ci_low, again.rows()) == (fine.capacity, fine.ci_low, fine.rows())
    # Killed anywhere, it goes on to the same result.
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(lines[: len(lines) * 2 // 3]))
    resumed = capacity(PatternMemory, 6, **how, precision=0.2, cells=CellFile(cut))
    assert (resumed.capacity, resumed.rows()) == (fine.capacity, fine.rows())
    assert sorted(cut.read_bytes().splitlines()) == sorted(path.read_bytes().splitlines())


def test_precision_beyond_the_limit_is_a_bound():
    found = capacity(PatternMemory, 10, first, sets=10, alpha=0.99, max_patterns=3, precision=0.05)
    assert found.beyond
    assert found.capacity == 3


def test_a_map_is_the_capacities_one_by_one():
    found = capacity_map(ClassicalHopfield, [4], alphas=[0.7, 0.9], thresholds=[0.05, 0.2], sets=8, max_patterns=8)
    assert repr(found).startswith("CapacityMap(2 noise levels, 2 thresholds, 1 dimensions, capacities ")
    assert len(found.rows()) == 4
    for row in found.rows():
        alone = capacity(
            ClassicalHopfield, row["dimension"], alpha=row["alpha"], threshold=row["threshold"], sets=8, max_patterns=8
        )
        if row["threshold"] == 0.05:  # what is measured first knows of no other threshold
            assert (row["capacity"], row["ci_low"], row["ci_high"]) == (alone.capacity, alone.ci_low, alone.ci_high)
        assert row["capacity"] == pytest.approx(alone.capacity, rel=0.3)
    assert {row["alpha"] for row in found.error_rows()} == {0.7, 0.9}


@pytest.mark.parametrize("argument", ["dimensions", "alphas", "thresholds"])
def test_maps_take_lists(argument):
    with pytest.raises(ValueError, match=f"{argument}: got "):
        capacity_map(**{"family": ClassicalHopfield, "dimensions": [4], argument: []})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": [4, 0]}, "dimensions: got 0"),
        ({"alphas": [0.5, 2.0]}, "alpha: got 2"),
        ({"thresholds": np.array([0.1, 1.0])}, "threshold: got .*1.0"),
        ({"alpha": 0.5}, r"alphas: got one alpha; a list is accepted, alphas=\[0.5\]"),
    ],
)
def test_no_map_is_begun_that_cannot_be_finished(arguments, message):
    def family(patterns):
        raise AssertionError("measured")

    with pytest.raises(ValueError, match=message):
        capacity_map(**{"family": family, "dimensions": [4]} | arguments)


def test_a_corruption_with_a_level_of_its_own_takes_no_others():
    with pytest.raises(ValueError, match="alphas: got 2 levels for Flip"):
        capacity_map(ClassicalHopfield, [4], alphas=[0.5, 0.6], corruption=Flip(0.1))


def test_ladders_end_at_the_most():
    assert ladder(1) == [1]
    assert ladder(20) == [1, 2, 3, 4, 6, 8, 11, 16, 20]


def test_cells_grow_by_the_same_blocks():
    stops = [more_sets(least, 10) for least in range(1, 500)]
    assert sorted(set(stops)) == [10, 20, 30, 40, 50, 60, 70, 80, 100, 110, 130, 160, 190, 230, 270, 320, 380, 450, 540]
    assert all(stop >= least for least, stop in enumerate(stops, 1))

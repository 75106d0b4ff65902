"""`dispersed.capacity`: the search, its answers where they are known, and bad input."""

import functools

import numpy as np
import pytest

import dispersed
from dispersed import CellFile, ClassicalHopfield, InputError, OneStep, PatternMemory, capacity, theory
from dispersed.capacities.estimate import estimate
from dispersed.capacities.search import ladder


def test_search_brackets_the_crossing_finely():
    found = capacity(PatternMemory, 11, OneStep(), sets=40, also=(64,))
    counts = [row["n_patterns"] for row in found.rows()]
    means = [row["hamming_mean"] for row in found.rows()]
    assert counts == sorted(counts)
    assert 64 in counts
    rungs = ladder(4096)
    below = max(n for n in counts if n <= found.ci_low)
    above = min(n for n in counts if n >= found.ci_high)
    assert [n for n in counts if below <= n <= above] == [n for n in rungs if below <= n <= above]
    assert means[counts.index(below)] < 0.03 < means[counts.index(above)]
    assert found.ci_low <= found.capacity <= found.ci_high
    assert not found.beyond
    # The answer is the interpolation of its own grid wherever that grid is monotone.
    if (np.diff(means) >= 0).all():
        assert found.capacity == pytest.approx(np.interp(0.03, [0, *means], [0, *counts]))


@functools.cache
def of_five_units(**how):
    return capacity(PatternMemory, 5, OneStep(), sets=20, max_patterns=8, **how)


def test_grid_keeps_four_errors_apart_and_whole_patterns_are_harder():
    found = of_five_units()
    row = found.rows()[-1]
    assert row["pattern_mean"] > row["hamming_mean"] > 0
    assert {"hamming_median", "pattern_median", "sets", "cues"} <= set(row)
    assert of_five_units(measure="pattern").capacity < found.capacity


def test_exact_memory_never_loses_its_only_pattern_and_cleaner_cues_hold_more():
    found, cleaner, masked = of_five_units(), of_five_units(alpha=0.85), of_five_units(mask_rate=0.1)
    assert found.rows()[0]["n_patterns"] == 1
    assert found.rows()[0]["hamming_mean"] == 0
    assert cleaner.capacity > found.capacity
    assert masked.capacity > found.capacity


def test_a_capacity_beyond_the_limit_is_a_bound():
    found = capacity(PatternMemory, 10, OneStep(), sets=10, alpha=0.99, max_patterns=12)
    assert found.beyond
    assert found.capacity == found.ci_high == 12
    assert "≥" in repr(found)


def test_less_than_one_pattern():
    """Five units without self-coupling do not hold even one pattern at this noise."""
    found = capacity(ClassicalHopfield, 3, sets=60)
    assert 0 < found.capacity < 1


def test_same_seed_same_answer_other_seed_other_sets():
    first, second, other = (capacity(ClassicalHopfield, 5, sets=12, seed=seed) for seed in (0, 0, 1))
    assert first.rows() == second.rows()
    assert (first.capacity, first.ci_low) == (second.capacity, second.ci_low)
    assert first.rows() != other.rows()


def test_capacities_of_version_0_1_0():
    """Numbers that were published stay what they were, to the last bit; their intervals are those of 30 sets."""
    how = {"sets": 30, "max_patterns": 64}
    for found, published in (
        (capacity(PatternMemory, 7, OneStep(), **how), (3.5846153846153848, 1.9, 4.544605116796441)),
        (
            capacity(PatternMemory, 6, OneStep(), mask_rate=0.4, **how),
            (2.85, 2.1471698113207545, 4.371428571428571),
        ),
        (capacity(ClassicalHopfield, 6, **how), (1.432, 1.2842105263157895, 1.830769230769231)),
    ):
        assert (found.capacity, found.ci_low, found.ci_high) == published


def test_closed_forms():
    hundred, ten = np.array([100]), np.array([10])
    assert theory.classical_capacity(hundred) == pytest.approx(100 / (2 * np.log(100)))
    assert theory.polynomial_capacity(ten, 3) == pytest.approx(100 / (6 * np.log(10)))
    assert theory.polynomial_capacity(ten, 4) == pytest.approx(1000 / (30 * np.log(10)))
    np.testing.assert_allclose(theory.exponential_capacity(np.array([10, 24])), [32, 4096])


def test_union_bound_holds_for_nearest_pattern_recall():
    """Against brute force: cues decoded to the nearest of N patterns, N at the bound."""
    d, alpha, threshold = 10, 0.68, 0.03
    bound = float(theory.nearest_pattern(np.array([d]), alpha, threshold)[0])
    rng = np.random.default_rng(0)
    n, trials = int(bound), 20000
    patterns = rng.choice([-1.0, 1.0], (trials, n, d))
    cues = patterns[:, 0] + np.sqrt(1 - alpha**2) / alpha * rng.normal(size=(trials, d))
    nearest = (patterns @ cues[:, :, None])[..., 0].argmax(axis=1)
    errors = (patterns[np.arange(trials), nearest] != patterns[:, 0]).mean(axis=1)
    share = (n - 1) / (bound - 1)  # the bound on the error at the whole number n
    assert errors.mean() < share * threshold + 3 * errors.std() / np.sqrt(trials)
    assert errors.mean() > 0.8 * share * threshold, "with so few patterns the bound is nearly tight"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dimension": 0}, "dimension"),
        ({"dimension": 4, "alpha": 0.0}, "alpha"),
        ({"dimension": 4, "alpha": float("nan")}, "alpha"),
        ({"dimension": 4, "mask_rate": 1.0}, "mask_rate"),
        ({"dimension": 4, "threshold": 0.0}, "threshold"),
        ({"dimension": 4, "measure": "both"}, "measure"),
        ({"dimension": 4, "statistic": "mode"}, "statistic"),
        ({"dimension": 4, "sets": 1}, "sets"),
        ({"dimension": 4, "max_patterns": 0}, "max_patterns"),
        ({"dimension": 4, "seed": -1}, "seed"),
        ({"dimension": 4, "also": (0,)}, "also"),
    ],
)
def test_bad_input_is_one_line(arguments, named):
    with pytest.raises(InputError) as caught:
        capacity(**{"family": PatternMemory, **arguments})
    message = str(caught.value)
    assert message.startswith(f"{named}: got ")
    assert "\n" not in message


def test_kept_cells_need_a_name(tmp_path):
    with pytest.raises(InputError, match="name: got None"):
        dispersed.capacity(PatternMemory, 4, cells=CellFile(tmp_path / "cells.jsonl"))


@pytest.mark.parametrize(("sets", "least"), [(5, 0.86), (20, 0.925)])
def test_intervals_of_few_sets_hold_the_capacity(sets, least):
    """By percentiles that suit many sets 84 and 91.5 % did; the nominal 95 % are out of reach of five."""
    rng = np.random.default_rng(0)
    n_patterns = np.array([1, 2, 4, 8, 16, 32])
    held = 0
    for repeat in range(400):
        errors = 0.002 * n_patterns[:, None] * rng.gamma(2, 0.5, sets)
        found = estimate(n_patterns, errors, 0.03, seed=repeat)
        held += found.low <= 15 <= found.high
    assert held / 400 >= least

"""Learned against exact, as an experiment: what its rows hold and how they hang together."""

import json

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dispersed.paper.learned import measure as experiment
from dispersed.paper.learned.plot import plot_learned


@pytest.mark.slow
def test_rows_by_level_pattern_and_attractor():
    sets, n, levels = 2, experiment.PATTERNS, experiment.LEVELS
    gaps, ends = json.loads(json.dumps(experiment.learned(sets, steps=64, width=8), allow_nan=False))
    assert [row["steps"] for row in gaps[:: len(levels)]] == [1, 8, 64] * 2
    for name in experiment.NETWORKS:
        last = [row for row in gaps if (row["network"], row["steps"]) == (name, 64)]
        mine = [row for row in ends if row["network"] == name]
        whole, *others = mine
        patterns = [row for row in others if row["part"] == "pattern"]
        attractors = [row for row in others if row["part"] == "attractor"]
        assert whole["part"] == "network"
        assert len(patterns) == sets * n * len(levels)
        # Levels average what patterns say: squares within a set, then sets.
        for row in last:
            own = np.array([[r["gap"], r["basin"], r["set"]] for r in patterns if r["sigma"] == row["sigma"]])
            rms = [np.sqrt(np.mean(own[own[:, 2] == r, 0] ** 2)) for r in range(sets)]
            np.testing.assert_allclose([row["gap"], row["basin"]], [np.mean(rms), own[:, 1].mean()], rtol=1e-5)
        assert all(row["basin"] is None for row in gaps if row["steps"] < 64)
        for r in range(sets):
            np.testing.assert_allclose(sum(row["fraction"] for row in attractors if row["set"] == r), 1, rtol=1e-5)
        lost = sum(row["fraction"] for row in attractors if row["pattern"] is None) / sets
        np.testing.assert_allclose(whole["spurious"], lost, rtol=1e-5)
        assert whole["stored"] == len({(r["set"], r["pattern"]) for r in attractors if r["pattern"] is not None}) / sets
    plt.close("all")
    plot_learned(gaps)
    plt.close("all")

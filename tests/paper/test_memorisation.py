"""From memorisation to generalisation, as an experiment: resumption, times, the fit, and the picture."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dispersed.paper.memorisation import measure as experiment
from dispersed.paper.memorisation.plot import plot_memorisation
from tests.paper.recorded import recorded


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """Lengths that were finished are read, a training is taken up at its checkpoint, and nothing else changes."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    settings = {"sizes": (4, 8), "steps": 128, "width": 8, "samples": 20}
    rows, halves, pictures = experiment.memorisation(whole, **settings)
    assert len(rows) == 4 * (2 + 7)
    for row in rows:
        assert row["memorised"] + row["spurious"] + row["generalised"] == pytest.approx(1)
    exact = [row["memorised"] for row in rows if row["memory"] == "exact"]
    assert min(exact) == 1
    assert {row["memory"] for row in halves} == {"network", "exact", "local"}
    assert pictures["network, 8, 1"].shape == (8, 64)

    measured, count = experiment._measured, []

    def stopped(*arguments, **more):
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt
        return measured(*arguments, **more)

    monkeypatch.setattr(experiment, "_measured", stopped)
    with pytest.raises(KeyboardInterrupt):
        experiment.memorisation(resumed, **settings)
    again, halves_again, _ = experiment.memorisation(resumed, **settings)
    assert len(count) == 5 + 3
    assert again == rows
    assert halves_again == halves
    assert [path.name for path in resumed.iterdir()] == ["memorisation.jsonl"]


def rows_of(fractions):
    return [{"steps": 2**k, "memorised": value} for k, value in enumerate(fractions)]


def test_the_time_to_memorise_lies_between_two_lengths():
    assert experiment.time_to_memorise(rows_of([0.0, 0.0, 1.0])) == pytest.approx(2**1.5)
    assert experiment.time_to_memorise(rows_of([0.0, 0.4, 0.6])) == pytest.approx(2**1.5)
    assert experiment.time_to_memorise(rows_of([0.0, 0.5, 0.6])) == pytest.approx(2.0)
    assert experiment.time_to_memorise(rows_of([0.6, 0.7])) is None
    assert experiment.time_to_memorise(rows_of([0.1, 0.4])) is None


def test_the_exponent_is_that_of_the_times():
    def halves(exponent, sizes):
        rng = np.random.default_rng(0)
        times = {n: 100 * n**exponent * np.exp(0.05 * rng.standard_normal(2)) for n in sizes}
        return [{"memory": "network", "n": n, "time_0": times[n][0], "time_1": times[n][1]} for n in sizes]

    fit = experiment.fitted(
        [*halves(1.0, (8, 16, 32, 64)), {"memory": "network", "n": 128, "time_0": None, "time_1": None}]
    )
    assert fit.low < 1 < fit.high
    assert fit.high - fit.low < 0.3
    assert fit.n == [8, 8, 16, 16, 32, 32, 64, 64]
    assert experiment.fitted(halves(0.5, (8, 16, 32, 64))).high < 1
    assert experiment.fitted(halves(1.0, (8, 16))).exponent is None


def test_the_picture_shows_what_the_rows_say():
    tables = recorded("memorisation")
    sizes = sorted({row["n"] for row in tables["memorisation"]})
    pictures = {f"network, {n}, {half}": np.zeros((8, 64)) for n in sizes for half in (0, 1)}
    axes = plot_memorisation(tables["memorisation"], tables["memorisation_halves"], pictures)
    memorised = axes[0, 0].lines[0]
    own = experiment.last(tables["memorisation"], "network")
    expected = [np.mean([row["memorised"] for row in own if row["n"] == n]) for n in sizes]
    np.testing.assert_array_equal(memorised.get_xdata(), sizes)
    np.testing.assert_allclose(memorised.get_ydata(), expected)
    assert len(axes[0, 1].lines) == len(sizes) + 1
    plt.close("all")

"""Figures 2 and 3 at a small scale: what their rows hold, and that learned capacities follow the protocol."""

import dataclasses
import json
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from dispersed import CellFile, InputError
from dispersed.capacities.methods import methods
from dispersed.cli import reproduce
from dispersed.cli.main import app
from dispersed.cli.numbers import numbers, whole_numbers
from dispersed.learning import Recipe, UniformTime
from dispersed.paper.capacity.measure import capacities, theories
from dispersed.paper.capacity.plot import plot_capacity, plot_figure3
from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.figure2 import measure as figure2
from dispersed.paper.figure2.plot import plot_figure2
from dispersed.paper.figure3 import learned as learned_capacity
from dispersed.paper.figure3 import measure as figure3

EXACT = {"method", "dimension", "capacity", "ci_low", "ci_high", "smoothed", "smoothed_low", "smoothed_high"}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(figure3, "QUICK", figure3.Scale((3, 4), 8, (4,), 2, None))
    monkeypatch.setattr(figure3, "N_PATTERNS", (2,))
    monkeypatch.setattr(learned_capacity, "RECIPE", Recipe(steps=60, draws=8, levels=UniformTime()))


@pytest.mark.slow
def test_figure3_rows(small, tmp_path, monkeypatch):
    cells = CellFile(tmp_path / "cells.jsonl")
    exact, errors = figure3.exact_capacities(quick=True, cells=cells)
    learned, trainings = figure3.learned_dots(exact, quick=True, cells=cells)
    rows = json.loads(json.dumps(exact + learned, allow_nan=False))
    assert [(row["method"], row["dimension"]) for row in rows] == [
        *((method, d) for method in figure3.METHODS for d in (3, 4)),
        ("learned", 4),
    ]
    for row in rows:
        assert set(row) == EXACT | {"beyond", "sets"}
        assert row["ci_low"] <= row["capacity"] <= row["ci_high"]
    kernel = np.exp(-1 / (2 * 1.5**2))
    first, second = (row["capacity"] for row in rows[:2])
    assert rows[0]["smoothed"] == pytest.approx((first + kernel * second) / (1 + kernel))
    # The modern Hopfield network sees the same cues, and does much the same with them.
    assert rows[2]["capacity"] == pytest.approx(rows[0]["capacity"], rel=0.15)
    for d in (3, 4):
        measured = {row["n_patterns"] for row in errors if (row["method"], row["dimension"]) == ("diffusion", d)}
        assert 2 in measured

    check_trainings(trainings, rows)
    monkeypatch.setattr(learned_capacity, "train", None)  # finished trainings are found in the file
    again, _ = figure3.learned_dots(exact, quick=True, cells=CellFile(tmp_path / "cells.jsonl"))
    assert again == learned

    agreement = figure3.euler_agreement(exact, sets=4)
    assert agreement[-1]["same"] > 0.99
    axes = plot_figure3(rows, errors, {}, theories(figure3.compared(), 0.68, 0.03))
    assert [axis.get_yscale() for axis in axes] == ["linear", "log"]
    plt.close(axes[0].figure)


def check_trainings(trainings, rows):
    """Each repeat goes down from the exact capacity + 4 one by one to the first pass, or to nothing."""
    start = round(rows[1]["capacity"]) + 4
    held = []
    for repeat in (0, 1):
        mine = [row for row in trainings if row["repeat"] == repeat]
        assert [row["n_patterns"] for row in mine] == list(range(start, start - len(mine), -1))
        assert not any(row["passed"] for row in mine[:-1])
        for row in mine:
            assert row["trained"] == (row["best"] <= 0.03 + 2 * row["best_se"])
            assert row["passed"] == (row["trained"] and row["error"] <= 0.03)
        held.append(mine[-1]["n_patterns"] if mine[-1]["passed"] else 0)
    assert rows[-1]["capacity"] == np.mean(held)


@pytest.mark.slow
def test_a_trained_network_nearly_reaches_the_exact_error(monkeypatch):
    monkeypatch.setattr(learned_capacity, "RECIPE", Recipe(steps=300, draws=8, levels=UniformTime()))
    patterns = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (6, 4)), dtype=jnp.float32)
    values = learned_capacity.train_and_test(patterns, 4, 0.68, 0.5, [0])
    (error,), (exact,), (best, spread) = values["error"], values["exact"], values["best"]
    assert exact < 0.2
    assert abs(error - exact) < 0.04
    assert abs(best - exact) < 0.04
    assert 0 < spread < 0.05
    # Only the first n patterns count, and what no recall could pass is not trained.
    assert learned_capacity.train_and_test(patterns.at[4:].mul(-1), 4, 0.68, 0.5, [0])["exact"] == [exact]
    assert learned_capacity.train_and_test(patterns, 4, 0.68, best - 3 * spread, [0])["error"] == []


@pytest.mark.slow
def test_figure2_trajectories_end_at_the_patterns(monkeypatch):
    for name, value in {"STEPS": 200, "WIDTH": 32, "CUES": 3}.items():
        monkeypatch.setattr(figure2, name, value)
    summary, trajectories = figure2.figure2(training_steps=40)
    assert [row["method"] for row in summary] == ["diffusion", "diffusion_sde", "modern_hopfield", "learned"]
    by = {row["method"]: row for row in summary}
    assert by["diffusion"]["same_as_hopfield"] > 0.95
    assert by["modern_hopfield"]["rms_to_hopfield"] == 0
    paths = {name: [row for row in trajectories if row["method"] == name] for name in by}
    states = {name: np.array([[row[f"unit_{i}"] for i in range(1, 6)] for row in path]) for name, path in paths.items()}
    assert len(states["modern_hopfield"]) == 5
    for name, x in states.items():
        np.testing.assert_allclose(x[0], states["diffusion"][0], atol=1e-6, err_msg=f"{name} starts at the cue")
    for name in ("diffusion", "diffusion_sde"):
        np.testing.assert_allclose(np.abs(states[name][-1]), 1, atol=0.05)
        times = [row["t"] for row in paths[name]]
        assert times[0] == pytest.approx(-2 * np.log(0.68))
        assert times[-1] == 0
        assert (np.diff(times) < 0).all()
    axes = plot_figure2(trajectories)
    assert len(axes[0].lines) > 2 * 5
    plt.close(axes[0].figure)


def test_capacity_plot_and_theories():
    chosen = {name: methods()[name] for name in ("classical", "classical_null_diagonal")}
    rows, errors = capacities(chosen, [4, 6], sets=8, max_patterns=4)
    curves = theories(chosen, 0.68, 0.03)
    axes = plot_capacity(rows, errors, {}, curves, "hamming_mean", 0.03)
    drawn = {line.get_label() for line in axes[1].lines}
    assert {"theory: d/(4 ln d)", "theory: d/(2 ln d)"} <= drawn
    plt.close(axes[0].figure)
    # Of any methods no two have one colour, and each the same in both panels.
    many = [row | {"method": name} for row in rows[:2] for name in methods(degree=4)]
    cells = [row | {"method": name} for row in errors for name in methods(degree=4)]
    axes = plot_capacity(many, cells, {}, {}, "hamming_mean", 0.03)
    left, right = ({to_hex(line.get_color()) for line in axis.lines} for axis in axes)
    assert len(right) == len(methods())
    assert left - {to_hex("0.5"), to_hex("0.4")} <= right
    plt.close(axes[0].figure)
    # One dimension has bars, since a band would have no width.
    one = [row for row in rows if row["dimension"] == 6]
    axes = plot_capacity(one, errors, {}, {}, "hamming_mean", 0.03)
    assert "bars" in axes[1].get_ylabel()
    bars = [path.vertices[:, 1] for lines in axes[1].collections for path in lines.get_paths()]
    assert sorted(map(list, bars)) == sorted([row["ci_low"], row["ci_high"]] for row in one)
    axes[0].figure.canvas.draw()
    assert all(tick == round(tick) for tick in axes[1].get_xticks())
    plt.close(axes[0].figure)
    assert set(theories({"diffusion": methods()["diffusion"]}, 0.68, 0.03)["diffusion"])


@pytest.mark.parametrize("text", ["", "four", "4:", "8:4", "0", "4,-1"])
def test_unusable_dimensions(text):
    with pytest.raises(InputError, match=r"^dimensions: got "):
        whole_numbers("dimensions", text, 1000)


def test_dimensions_read():
    assert whole_numbers("dimensions", "4:7", 1000) == [4, 5, 6, 7]
    assert whole_numbers("dimensions", "12,8,8", 1000) == [8, 12]


def test_bad_options_are_one_line_on_the_command_line(tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = ["--method", "classical", "--threshold", "2", "--out", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", "from dispersed.cli.main import main; main()", "capacity", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert result.stderr.strip() == "dispersed: threshold: got 2.0; numbers between 0 and 1 are accepted"


def run_capacity(folder, **options):
    """The command in this process, as it is typed."""
    options = {"method": "classical", "sets": 6, "max_patterns": 4, "out": folder} | options
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["dispersed", "capacity", *flags])
        app(standalone_mode=False)
    return json.loads((folder / "capacity.json").read_text()), json.loads((folder / "capacity.about.json").read_text())


def test_lists_make_a_heat_map(tmp_path, capsys):
    rows, about = run_capacity(tmp_path, dimensions="4,6", alpha="0.7,0.9", threshold="0.05,0.2")
    assert [(row["dimension"], row["alpha"], row["threshold"]) for row in rows[:4]] == [
        *((4, 0.7, 0.05), (4, 0.7, 0.2)),
        *((6, 0.7, 0.05), (6, 0.7, 0.2)),
    ]
    assert "at 8 settings" in about["verdicts"][0]["sentence"]
    assert "--alpha 0.7,0.9 --threshold 0.05,0.2" in about["command"]
    assert (tmp_path / "capacity.png").stat().st_size > 10_000


def test_ensembles_and_flips_on_the_command_line(tmp_path, capsys):
    np.save(tmp_path / "patterns.npy", np.random.default_rng(0).standard_normal((3, 5)))
    _, about = run_capacity(tmp_path, method="diffusion", ensemble="sparse:0.3", flip_rate=0.1, precision=0.9)
    assert about["command"].endswith("--ensemble sparse:0.3 --flip-rate 0.1 --precision 0.9")
    rows, _ = run_capacity(tmp_path, method="diffusion", ensemble=str(tmp_path / "patterns.npy"), measure="nearest")
    assert (rows[0]["dimension"], rows[0]["sets"]) == (5, 6)
    assert rows[0]["capacity"] <= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": "cauchy"}, "ensemble: got 'cauchy'"),
        ({"ensemble": "sparse:x"}, "ensemble: got 'sparse:x'"),
        ({"ensemble": "sparse:2"}, "activity: got 2.0"),
        ({"ensemble": "sparse:0.5"}, "ensemble: 'sparse:0.5': got entries such as 0"),
        ({"ensemble": "gaussian", "method": "diffusion"}, "measure: got 'hamming'"),
        ({"mask_rate": 0.1, "flip_rate": 0.1}, "mask-rate, flip-rate: got both"),
        ({"flip_rate": 0.7}, "flip_rate: got 0.7"),
        ({"flip_rate": 0.1, "alpha": "0.5,0.6"}, "alpha: got '0.5,0.6' with --flip-rate"),
        ({"alpha": "high"}, "alpha: got 'high'"),
        ({"threshold": "0.1,1.5"}, "threshold: got 1.5"),
        ({"precision": 0.0}, "precision: got 0.0"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, message):
    with pytest.raises(InputError) as caught:
        run_capacity(tmp_path, **options)
    assert str(caught.value).startswith(message)


def test_numbers_read():
    assert numbers("alpha", "0.9,0.5,0.5") == [0.5, 0.9]


def test_figure3_takes_settings(tmp_path):
    given = {}

    def find(folder, **settings):
        given.update(settings)
        raise KeyboardInterrupt

    command = reproduce._command(dataclasses.replace(EXPERIMENTS["figure3"], find=find))
    with pytest.raises(KeyboardInterrupt):
        command(dimensions="8,12", alpha=0.8, threshold=0.01, out=tmp_path, quick=True)
    assert given == {"quick": True, "seed": 0, "dimensions": [8, 12], "alpha": 0.8, "threshold": 0.01}
    assert (
        EXPERIMENTS["figure3"]
        .command(0, True, {"dimensions": [8, 12], "alpha": 0.8})
        .endswith("figure3 --quick --dimensions 8,12 --alpha 0.8 --seed 0")
    )
    with pytest.raises(InputError, match="threshold: got 2"):
        command(threshold=2.0, out=tmp_path)

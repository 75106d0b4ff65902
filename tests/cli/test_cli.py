"""The commands as a user runs them."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

from dispersed.cli.main import main


def dispersed_process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "dispersed.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        timeout=300,
        check=False,
    )


def dispersed(*arguments, cwd="."):
    """The same without the seconds that a process of its own takes to import everything."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["dispersed", *map(str, arguments)])
        patch.setenv("COLUMNS", "120")
        patch.chdir(cwd)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(arguments, code or 0, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    patterns = np.sign(rng.standard_normal((30, 48)))
    np.save(folder / "patterns.npy", patterns)
    np.save(folder / "cues.npy", patterns[::-1] + 0.5 * rng.standard_normal(patterns.shape))
    holes = patterns.copy()
    holes[:, ::3] = np.nan
    np.save(folder / "holes.npy", holes)
    return folder


def test_help_names_the_commands():
    shown = dispersed_process("--help")
    assert shown.returncode == 0
    for word in ("recall", "reproduce", "dispersed reproduce all"):
        assert word in shown.stdout
    assert dispersed_process("--version").stdout.startswith("dispersed 0.")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["recal"], "Did you mean 'recall'?"),
        (["reproduce", "tabel1"], "Did you mean 'table1'?"),
        (["recall", "a", "b", "--aplha", "1"], "(Possible options: --alpha)"),
        (["recall", "a", "b", "--dynamics", "floe"], "'flow'"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(arguments, nearest):
    run = dispersed(*arguments)
    assert run.returncode == 2
    assert nearest in run.stderr


def test_recall_writes_what_it_found(data, tmp_path):
    run = dispersed("recall", data / "patterns.npy", data / "cues.npy", "--alpha", 0.9, "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "recall.json").read_text())
    assert [row["index"] for row in rows] == list(range(29, -1, -1))
    assert all(row["converged"] and row["responsibility"] > 0.99 for row in rows)
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), np.load(data / "patterns.npy")[::-1], atol=1e-3)
    assert (tmp_path / "recall.csv").read_text().startswith("cue,index,responsibility")
    assert run.stderr == ""


@pytest.mark.parametrize("dynamics", ["flow", "sde", "iteration", "one-step"])
def test_recall_by_every_dynamics(data, tmp_path, dynamics):
    arguments = ["recall", data / "patterns.npy", data / "cues.npy", "--alpha", 0.9, "--out", tmp_path]
    steps = [] if dynamics == "one-step" else ["--steps", 25]
    run = dispersed(*arguments, "--dynamics", dynamics, *steps)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "recall.json").read_text())
    assert [row["index"] for row in rows] == list(range(29, -1, -1))


def test_missing_entries_are_completed(data, tmp_path):
    run = dispersed("recall", data / "patterns.npy", data / "holes.npy", "--missing", "nan", "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), np.load(data / "patterns.npy"), atol=1e-3)


def spoilt(data):
    p, c = data / "patterns.npy", data / "cues.npy"
    (data / "words.csv").write_text("a,b\nc,d\n")
    np.save(data / "narrow.npy", np.zeros((2, 3)))
    (data / "blocked").write_text("")
    return {
        "alpha above one": (["recall", p, c, "--alpha", 1.5], "alpha"),
        "alpha zero": (["recall", p, c, "--alpha", 0], "alpha"),
        "no such file": (["recall", data / "none.npy", c], "patterns"),
        "words": (["recall", p, data / "words.csv"], "cues"),
        "other dimension": (["recall", p, data / "narrow.npy"], "cues"),
        "holes without --missing": (["recall", p, data / "holes.npy"], "cue"),
        "no folder": (["recall", p, c, "--out", data / "blocked"], "out"),
        "steps": (["recall", p, c, "--steps", 0], "steps"),
        "steps of one step": (["recall", p, c, "--steps", 3, "--dynamics", "one-step"], "steps"),
        "repeats": (["reproduce", "table1", "--repeats", 1], "repeats"),
        "seed": (["reproduce", "table1", "--seed", -1], "seed"),
        "table into a file": (["reproduce", "table1", "--out", data / "blocked"], "out"),
        "report of nothing": (["report", "--out", data], "out"),
        "seed of all": (["reproduce", "all", "--seed", -1], "seed"),
    }


def test_bad_input_ends_a_process_with_one_line(data):
    run = dispersed_process("recall", data / "none.npy", data / "cues.npy")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("dispersed: patterns")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("case", range(14))
def test_bad_input_is_one_line_and_nothing_is_left(data, tmp_path, case):
    name, (arguments, argument) = list(spoilt(data).items())[case]
    run = dispersed(*arguments, cwd=tmp_path)
    assert run.returncode != 0, name
    assert run.stdout == "", name
    assert "Traceback" not in run.stderr, name
    assert run.stderr.startswith(f"dispersed: {argument}"), (name, run.stderr)
    assert run.stderr.count("\n") == 1, (name, run.stderr)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [], name


def test_table1_leaves_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr("dispersed.experiments.table1.N_PATTERNS", (10,))
    run = dispersed("reproduce", "table1", "--repeats", 12, "--seed", 1, "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    written = {f"table1.{kind}" for kind in ("about.json", "csv", "json", "md", "png")}
    assert {path.name for path in tmp_path.iterdir()} == written
    assert len(json.loads((tmp_path / "table1.json").read_text())) == 12
    assert "published values agree" in run.stdout
    assert run.stderr == ""
    page = dispersed("report", "--out", tmp_path)
    assert page.stdout == f"{tmp_path / 'report.html'}\n"
    assert "1 of 13 experiments" in (tmp_path / "report.html").read_text()

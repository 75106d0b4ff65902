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
from dispersed.paper.catalogue import EXPERIMENTS


def dispersed_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dispersed", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
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
    return folder


def test_help_names_the_commands():
    shown = dispersed_process("--help")
    assert shown.returncode == 0
    for word in ("recall", "reproduce", "dispersed reproduce all"):
        assert word in shown.stdout
    assert dispersed_process("--version").stdout.startswith("dispersed 0.")


@pytest.mark.parametrize(("method", "options"), [("sparse", []), ("classical", ["--ensemble", "sparse:0.2"])])
def test_an_ensemble_that_a_memory_cannot_store_is_named_with_others(tmp_path, method, options):
    run = dispersed("capacity", "--method", method, "--sets", 2, *options, "--out", tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert run.stderr.startswith("dispersed: ensemble: ")
    assert "sparse:ACTIVITY 0 and 1" in run.stderr


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["recal"],
        ["recall"],
        ["recall", "a", "b", "--seed", "9" * 5000],
        ["recall", "a", "b", "--alpha", "x" * 5000],
        ["recall", "a", "b", "--out", "a\0b"],
        ["capacity"],
        ["--\x1b[31m\n"],
        ["store", "create", "s", "--dimension", "-"],
    ],
    ids=range(8),
)
def test_misspelt_commands_are_one_line_of_bounded_length(arguments):
    run = dispersed(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("dispersed: ")
    assert run.stderr.count("\n") == 1
    assert run.stderr.rstrip("\n").isprintable()
    assert len(run.stderr) < 1200


@pytest.mark.parametrize("command", [["report"], ["reproduce", "table1"], ["reproduce", "all"]], ids=" ".join)
def test_names_that_no_file_can_have_are_one_line(command):
    run = dispersed(*command, "--out", "x" * 300)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert "File name too long" in run.stderr
    assert len(run.stderr) < 1200


def test_memory_that_is_not_there_is_one_line(monkeypatch):
    def full(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("dispersed.cli.recalling.recall_files", full)
    run = dispersed("recall", "a", "b")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "dispersed: there is not enough memory for this; smaller sizes are needed\n"


RANGES = {
    "dimensions": ["1:99999999999", "9" * 5000, "0", "-3:4", "", "1:2:3", "1e3", "1001"],
    "degree": [1, 65, 100_000, 10**20],
    "seed": [-1, 2**32, 10**20],
    "sets": [1, 10**20],
    "max-patterns": [0, 10**20],
    "beta": [0, -1, "nan", "inf"],
    "alpha": [0, 1.1, "nan", "inf", "1e-300"],
    "threshold": [0, 1, "nan"],
    "mask-rate": [0, 1, "nan"],
}


@pytest.mark.parametrize("option", RANGES)
def test_numbers_of_capacity_have_their_ranges(tmp_path, option):
    for value in RANGES[option]:
        run = dispersed("capacity", "--method", "diffusion", f"--{option}={value}", cwd=tmp_path)
        assert (run.returncode, run.stdout) == (1, ""), value
        assert run.stderr.startswith(f"dispersed: {option.replace('-r', '_r')}: "), (value, run.stderr)
        assert run.stderr.count("\n") == 1
        assert len(run.stderr) < 1200


@pytest.mark.parametrize("command", [["table1"], ["figure1"], ["all"]], ids=" ".join)
@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_seeds_that_equal_others_are_refused(tmp_path, command, seed):
    run = dispersed("reproduce", *command, "--seed", seed, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("dispersed: seed: ")


def spoilt(data):
    p, c = data / "patterns.npy", data / "cues.npy"
    (data / "blocked").write_text("")
    return {
        "recall into a file": (["recall", p, c, "--out", data / "blocked"], "out"),
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


@pytest.mark.parametrize("case", range(6))
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


def test_terminals_that_have_ascii_alone_get_question_marks(data, tmp_path):
    shown = dispersed_process("recall", "--help", PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "y + ??" in shown.stdout
    arguments = ["recall", data / "patterns.npy", data / "cues.npy", "--out", tmp_path]
    run = dispersed_process(*arguments, PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert "Noise, estimated: ? is" in run.stdout


def test_table1_leaves_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr("dispersed.paper.table1.measure.N_PATTERNS", (10,))
    run = dispersed("reproduce", "table1", "--repeats", 12, "--seed", 1, "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    written = {f"table1.{kind}" for kind in ("about.json", "csv", "json", "md", "png")}
    assert {path.name for path in tmp_path.iterdir()} == written
    assert len(json.loads((tmp_path / "table1.json").read_text())) == 12
    assert "published values agree" in run.stdout
    assert run.stderr == ""
    page = dispersed("report", "--out", tmp_path)
    assert page.stdout == f"{tmp_path / 'report.html'}\n"
    assert f"1 of {len(EXPERIMENTS)} experiments" in (tmp_path / "report.html").read_text()

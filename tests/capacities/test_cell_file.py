"""Finished cells on disk: found again under the same settings, robust to damage, and to being killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dispersed import CellFile, ClassicalHopfield, InputError, capacity

SETTINGS = {"family": "classical Hopfield, null diagonal", "dimension": 4, "alpha": 0.68}


def never():
    raise AssertionError("this cell is in the file and must not be computed again")


def test_cells_are_found_again_under_their_settings_alone(tmp_path):
    path = tmp_path / "cells.jsonl"
    first = CellFile(path)
    values = {"errors": [0.1, 1 / 3, 2], "n": [1]}
    assert first.get(SETTINGS, lambda: values) == values
    again = CellFile(path)
    assert again.get(dict(reversed(SETTINGS.items())), never) == values
    for change in ({"alpha": 0.7}, {"dimension": 5}, {"seed": 0}):
        other = {"errors": [0.0]}
        assert again.get({**SETTINGS, **change}, lambda other=other: other) == other
    assert len(CellFile(path)) == 4


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_cut_last_line_costs_one_cell(tmp_path, cut):
    path = tmp_path / "cells.jsonl"
    cells = CellFile(path)
    for d in (4, 5):
        cells.get({"d": d}, lambda d=d: {"errors": [d / 7]})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:cut])
    resumed = CellFile(path)
    assert resumed.get({"d": 4}, never) == {"errors": [4 / 7]}
    # The newline alone may be missing: the cell is whole then.
    second = resumed.get({"d": 5}, (lambda: {"errors": [5 / 7]}) if cut != -1 else never)
    assert second == {"errors": [5 / 7]}
    resumed.get({"d": 6}, lambda: {"errors": [6 / 7]})
    whole = CellFile(path)
    for d in (4, 5, 6):
        assert whole.get({"d": d}, never) == {"errors": [d / 7]}


def test_an_altered_line_is_passed_over(tmp_path):
    path = tmp_path / "cells.jsonl"
    CellFile(path).get({"d": 4}, lambda: {"errors": [0.125]})
    path.write_text(path.read_text().replace("0.125", "0.525") + "not json\n[1, 2]\n")
    altered = CellFile(path)
    assert altered.damaged == 3
    assert altered.get({"d": 4}, lambda: {"errors": [0.25]}) == {"errors": [0.25]}


def test_a_failed_cell_leaves_nothing(tmp_path):
    cells = CellFile(tmp_path / "cells.jsonl")
    with pytest.raises(ZeroDivisionError):
        cells.get({"d": 4}, lambda: {"errors": [1 / 0]})
    assert cells.get({"d": 4}, lambda: {"errors": [1.0]}) == {"errors": [1.0]}


def test_unreadable_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^cells: .*cannot be read"):
        CellFile(tmp_path)


def test_kept_cells_give_the_capacity_without_computing(tmp_path):
    arguments = {"dimension": 4, "sets": 8, "name": "classical", "cells": CellFile(tmp_path / "cells.jsonl")}
    first = capacity(ClassicalHopfield, **arguments)

    def fails(patterns):
        never()

    arguments["cells"] = CellFile(tmp_path / "cells.jsonl")
    second = capacity(fails, **arguments)
    assert first.rows() == second.rows()
    assert (first.capacity, first.ci_low, first.ci_high) == (second.capacity, second.ci_low, second.ci_high)
    with pytest.raises(AssertionError):
        capacity(fails, **{**arguments, "seed": 1})


def test_a_killed_run_resumes_to_the_same_results(tmp_path):
    """The command line killed by SIGKILL between cells goes on from its file and ends where it would have."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def command(out):
        options = ["--method", "classical", "--dimensions", "4:7", "--sets", "10", "--out", str(out)]
        return [sys.executable, "-c", "from dispersed.cli.main import main; main()", "capacity", *options]

    out, straight = tmp_path / "killed", tmp_path / "straight"
    cells = out / "cells" / "capacity.jsonl"
    process = subprocess.Popen(command(out), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not (cells.exists() and cells.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "capacity.json").exists()
    kept = cells.read_bytes()
    for folder in (out, straight):
        subprocess.run(command(folder), env=environment, check=True, capture_output=True, timeout=300)
    for name in ("capacity.json", "capacity_errors.json", "capacity.csv"):
        assert (out / name).read_bytes() == (straight / name).read_bytes()
    # What the killed run had finished was not computed again: every cell is in the file once.
    assert cells.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    settings = [json.dumps(json.loads(line)["cell"]["settings"]) for line in cells.read_text().splitlines() if line]
    assert len(settings) == len(set(settings)) == len((straight / "cells/capacity.jsonl").read_text().splitlines())

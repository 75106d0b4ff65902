"""Finished cells on disk: found again under the same settings, robust to damage, and to being killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dispersed import CellFile, ClassicalHopfield, InputError, capacity
from dispersed.storage.journal import journal_line

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
    assert (len(resumed), resumed.damaged) == (1, 1)
    assert resumed.get({"d": 5}, lambda: {"errors": [5 / 7]}) == {"errors": [5 / 7]}
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


def test_crafted_cells_are_passed_over(tmp_path):
    """Their checksums are right, what they hold is not."""
    wrong = [{}, {"settings": {"d": 4}}, {"settings": [], "values": {}}, {"settings": {"d": 4}, "values": 1}]
    wrong += [{"settings": {"d": 4}, "values": {"errors": row}} for row in (None, 1, "1", [None], ["1"], [True], [[1]])]
    path = tmp_path / "cells.jsonl"
    path.write_bytes(b"".join(journal_line(record) for record in wrong) + b"[" * 100_000 + b"\n")
    crafted = CellFile(path)
    assert (crafted.damaged, len(crafted)) == (len(wrong) + 1, 0)
    assert crafted.get({"d": 4}, lambda: {"errors": [0.25]}) == {"errors": [0.25]}
    assert len(CellFile(path)) == 1


def test_every_flipped_byte_and_truncation_costs_no_more_than_the_cell(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    path, cells = tmp_path / "cells.jsonl", {d: {"errors": [d / 7]} for d in (4, 5, 6)}
    for d, values in cells.items():
        CellFile(path).get({"d": d}, lambda values=values: values)
    whole = path.read_bytes()
    altered = [whole[:length] for length in range(len(whole))]
    for place in range(len(whole)):
        altered.append(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
    for content in altered:
        path.write_bytes(content)
        found = CellFile(path)
        assert found.damaged or whole.startswith(content)
        for d, values in cells.items():
            assert found.get({"d": d}, lambda values=values: values) == values
        assert len(CellFile(path)) == 3


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
    settings = [json.loads(line)["record"]["settings"] for line in (tmp_path / "cells.jsonl").read_bytes().splitlines()]

    def fails(patterns):
        never()

    arguments["cells"] = CellFile(tmp_path / "cells.jsonl")
    second = capacity(fails, **arguments)
    assert first.rows() == second.rows()
    assert (first.capacity, first.ci_low, first.ci_high) == (second.capacity, second.ci_low, second.ci_high)
    with pytest.raises(AssertionError):
        capacity(fails, **{**arguments, "seed": 1})
    for values in ({"half_errors": [0] * 8}, {"half_errors": [0] * 8, "wrong_cues": [0.5] * 8}):
        path = tmp_path / "crafted.jsonl"
        path.write_bytes(b"".join(journal_line({"settings": each, "values": values}) for each in settings))
        with pytest.raises(InputError, match="holds other numbers than those of 8 sets"):
            capacity(fails, **{**arguments, "cells": CellFile(path)})


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
    settings = [json.dumps(json.loads(line)["record"]["settings"]) for line in cells.read_text().splitlines() if line]
    assert len(settings) == len(set(settings)) == len((straight / "cells/capacity.jsonl").read_text().splitlines())

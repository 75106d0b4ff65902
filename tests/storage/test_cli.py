"""`dispersed store` as a user runs it, without the start of a process for every command."""

import numpy as np
import pytest

from dispersed.cli.main import main
from dispersed.storage import PatternStore, save_patterns


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["dispersed", "store", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as leave:
            code = leave.code
        out, err = capsys.readouterr()
        return code or 0, out, err

    return run


@pytest.fixture
def files(tmp_path, rng):
    rows = rng.standard_normal((70, 4))
    np.save(tmp_path / "a.npy", rows[:30])
    np.savetxt(tmp_path / "b.csv", rows[30:50], delimiter=",")
    save_patterns(tmp_path / "c.safetensors", rows[50:])
    (tmp_path / "labels.csv").write_text("label,name\n" + "".join(f"{i},n{i}\n" for i in range(70)))
    return [tmp_path / name for name in ("a.npy", "b.csv", "c.safetensors")], tmp_path / "labels.csv", rows


def test_create_add_info(run, files, tmp_path):
    paths, labels, rows = files
    code, out, err = run("create", tmp_path / "s", "--dimension", 4)
    assert (code, err) == (0, "")
    assert "patterns of 4 units as float32, 16 bytes a pattern" in out
    code, out, err = run("add", tmp_path / "s", *paths, "--labels", labels, "--batch", 8)
    assert (code, err) == (0, "")
    assert "Added 70 patterns" in out
    store = PatternStore.open(tmp_path / "s")
    np.testing.assert_array_equal(store.storage.rows(np.arange(70)), rows.astype(np.float32))
    assert store.metadata([69, 31]) == [{"label": 69, "name": "n69"}, {"label": 31, "name": "n31"}]
    code, out, err = run("info", tmp_path / "s", "--verify")
    assert (code, err) == (0, "")
    for words in ("70 patterns of 4 units", "batches: 10", "label (int64), name (str)", "Everything is as it was"):
        assert words in out


def test_resume_goes_on_where_a_run_was_stopped(run, files, tmp_path, monkeypatch):
    paths, labels, rows = files
    run("create", tmp_path / "s", "--dimension", 4)
    append, count = PatternStore.append, iter(range(99))

    def stopped(self, *arguments):
        if next(count) == 5:
            raise KeyboardInterrupt
        return append(self, *arguments)

    monkeypatch.setattr(PatternStore, "append", stopped)
    assert run("add", tmp_path / "s", *paths, "--labels", labels, "--batch", 8)[0] == 130
    monkeypatch.undo()
    assert len(PatternStore.open(tmp_path / "s")) == 38
    monkeypatch.setattr("sys.argv", [])
    code, out, _ = run("add", tmp_path / "s", *paths, "--labels", labels, "--batch", 7, "--resume")
    assert (code, "Added 32 patterns" in out) == (0, True)
    store = PatternStore.open(tmp_path / "s")
    np.testing.assert_array_equal(store.storage.rows(np.arange(70)), rows.astype(np.float32))
    assert [row["label"] for row in store.metadata(np.arange(70))] == list(range(70))


def test_errors_are_one_line_and_an_exit_code(run, files, tmp_path):
    paths, labels, _ = files
    run("create", tmp_path / "s", "--dimension", 4)
    run("create", tmp_path / "wide", "--dimension", 5)
    unusable = {
        ("create", tmp_path / "s", "--dimension", 4): "is there already",
        ("add", tmp_path / "none", *paths): "holds no store",
        ("add", tmp_path / "s", tmp_path / "none.npy"): "does not exist",
        ("add", tmp_path / "s", paths[0], paths[0]): "got a file twice",
        ("add", tmp_path / "wide", *paths): "holds patterns of 4 units; the store has patterns of 5",
        ("add", tmp_path / "s", paths[0], "--labels", labels): "has 70 rows for 30 patterns",
        ("add", tmp_path / "s", paths[0], "--batch", 0): "batch: got 0",
        ("info", tmp_path): "holds no store",
    }
    for arguments, words in unusable.items():
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (1, "", 1), arguments
        assert words in err
    assert len(PatternStore.open(tmp_path / "s")) == 0


def test_info_names_damage_and_shows_what_is_whole(run, files, tmp_path):
    paths, _, _ = files
    run("create", tmp_path / "s", "--dimension", 4)
    run("add", tmp_path / "s", paths[0], "--batch", 10)
    content = bytearray((tmp_path / "s" / "patterns.npy").read_bytes())
    content[128 + 15 * 16] ^= 1
    (tmp_path / "s" / "patterns.npy").write_bytes(content)
    assert run("info", tmp_path / "s")[0] == 0
    code, out, err = run("info", tmp_path / "s", "--verify")
    assert code == 1
    assert "30 patterns" in out
    assert "patterns.npy' differs from its checksum (patterns 10 to 19)" in err

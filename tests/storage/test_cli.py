"""`dispersed store` as a user runs it, without the start of a process for every command."""

import numpy as np
import pytest
from PIL import Image

from dispersed.cli.main import main
from dispersed.reading import add_files, open_source
from dispersed.storage import PatternStore, save_patterns
from dispersed.validation import InputError


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


def stopped_after(monkeypatch, batches):
    add, count = PatternStore.add, iter(range(99))

    def stopped(self, *arguments):
        if next(count) == batches:
            raise KeyboardInterrupt
        return add(self, *arguments)

    monkeypatch.setattr(PatternStore, "add", stopped)


def test_resume_goes_on_where_a_run_was_stopped(run, files, tmp_path, monkeypatch):
    paths, labels, rows = files
    run("create", tmp_path / "s", "--dimension", 4)
    stopped_after(monkeypatch, 5)
    assert run("add", tmp_path / "s", *paths, "--labels", labels, "--batch", 8)[0] == 130
    monkeypatch.undo()
    assert len(PatternStore.open(tmp_path / "s")) == 38
    monkeypatch.setattr("sys.argv", [])
    code, out, _ = run("add", tmp_path / "s", *paths, "--labels", labels, "--batch", 7, "--resume")
    assert (code, "Added 32 patterns" in out) == (0, True)
    store = PatternStore.open(tmp_path / "s")
    np.testing.assert_array_equal(store.storage.rows(np.arange(70)), rows.astype(np.float32))
    assert [row["label"] for row in store.metadata(np.arange(70))] == list(range(70))


def refused(run, *arguments):
    """The one line with which a command refuses."""
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), arguments
    return err


def test_a_file_is_never_added_twice_unasked(run, tmp_path, rng, monkeypatch):
    store, path, copy = tmp_path / "s", tmp_path / "a.npy", tmp_path / "copy.csv"
    rows = rng.integers(-9, 9, (20, 4)).astype(float)
    np.save(path, rows)
    np.savetxt(copy, rows, delimiter=",")
    run("create", store, "--dimension", 4)
    stopped_after(monkeypatch, 2)
    assert run("add", store, path, "--batch", 5)[0] == 130
    monkeypatch.undo()
    for known in (path, copy):
        assert "has 10 of the 20 patterns of" in refused(run, "add", store, known)
    assert "--resume adds what is missing, --again all" in refused(run, "add", store, copy)
    assert "Added 10 patterns" in run("add", store, copy, "--batch", 7, "--resume")[1]
    np.testing.assert_array_equal(PatternStore.open(store).storage.rows(range(20)), rows)
    assert "has 20 of the 20 patterns" in refused(run, "add", store, path)
    assert "Added 0 patterns" in run("add", store, path, "--resume")[1]
    assert "got both" in refused(run, "add", store, path, "--resume", "--again")
    assert "Added 20 patterns; " in run("add", store, path, "--again")[1]
    assert len(PatternStore.open(store)) == 40


def test_resume_notices_what_has_changed(run, tmp_path, rng, monkeypatch):
    store, path, labels = tmp_path / "s", tmp_path / "a.npy", tmp_path / "labels.npy"
    np.save(path, rng.standard_normal((20, 4)))
    np.save(labels, np.arange(20))
    run("create", store, "--dimension", 4)
    stopped_after(monkeypatch, 2)
    run("add", store, path, "--labels", labels, "--batch", 5)
    monkeypatch.undo()
    np.save(labels, np.arange(20)[::-1])
    assert "differ from those given with its first 10" in refused(
        run, "add", store, path, "--labels", labels, "--resume"
    )
    np.save(path, rng.standard_normal((20, 4)))
    for flags in (["--resume"], []):
        line = refused(run, "add", store, path, "--labels", labels, *flags)
        assert "has changed since 10 of its 20 patterns were added" in line
    assert len(PatternStore.open(store)) == 10
    assert "Added 20" in run("add", store, path, "--labels", labels, "--again")[1]


def test_a_file_that_changes_while_it_is_added_is_not_mixed(tmp_path, rng):
    path = tmp_path / "a.npy"
    np.save(path, rng.standard_normal((20, 4)))
    with PatternStore.create(tmp_path / "s", 4) as store:

        def replaced(things, what, count):
            for number, thing in enumerate(things):
                if (what, number) == ("Add", 0):
                    np.save(path, rng.standard_normal((20, 4)))
                yield thing

        with pytest.raises(InputError, match="have changed while they were being added"):
            add_files(store, [open_source(path)], batch=5, track=replaced)
        assert len(store) == 5


def test_what_is_there_is_counted_under_the_lock(tmp_path, rng):
    path = tmp_path / "a.npy"
    np.save(path, rng.standard_normal((20, 4)))
    early = PatternStore.create(tmp_path / "s", 4)
    with PatternStore.open(tmp_path / "s") as store:
        assert add_files(store, [open_source(path)], batch=5, resume=True) == 20
        with pytest.raises(InputError, match="is being added to by another"):
            add_files(early, [open_source(path)], resume=True)
    with early:
        assert add_files(early, [open_source(path)], resume=True) == 0
    assert len(PatternStore.open(tmp_path / "s")) == 20


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8", "bits"])
def test_what_cannot_be_stored_is_named_and_leaves_the_store_as_it_was(run, tmp_path, rng, encoding):
    store, good, bad = tmp_path / "s", tmp_path / "good.npy", tmp_path / "bad.npy"
    rows = np.sign(rng.standard_normal((50, 4)))
    np.save(good, rows)
    run("create", store, "--dimension", 4, "--encoding", encoding)
    for place, value in ((37, np.nan), (0, np.inf), (49, 1e39)):
        rows = np.sign(rng.standard_normal((50, 4)))
        rows[[place, 49], 2] = value
        np.save(bad, rows)
        line = refused(run, "add", store, good, bad, "--batch", 8)
        assert f"pattern {place} of {str(bad)!r} (the first one is 0)" in line
        assert len(PatternStore.open(store)) == 0
    assert "Added 50" in run("add", store, good)[1]


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


def test_labels_that_a_store_needs_are_asked_for_by_the_name_of_the_option(run, tmp_path):
    store, path, labels = tmp_path / "s", tmp_path / "a.npy", tmp_path / "labels.npy"
    np.save(path, np.eye(4))
    np.save(labels, np.arange(4))
    run("create", store, "--dimension", 4)
    run("add", store, path, "--labels", labels)
    np.save(path, -np.eye(4))
    assert "labels: got no columns; the store has label (int64)" in refused(run, "add", store, path)


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


def test_images_keep_their_names(run, tmp_path, rng, monkeypatch):
    store, plain, labels = tmp_path / "s", tmp_path / "plain", tmp_path / "labels.jsonl"
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        for name in ("1.png", "2.png", "10.png"):
            Image.fromarray(rng.integers(0, 256, (2, 2), dtype=np.uint8)).save(tmp_path / folder / name)
    np.save(tmp_path / "more.npy", rng.standard_normal((2, 4)))
    labels.write_text('{"file": "a"}\n{"file": "b"}\n')
    run("create", store, "--dimension", 4)
    stopped_after(monkeypatch, 2)
    run("add", store, tmp_path / "monday", tmp_path / "tuesday", "--batch", 2)
    monkeypatch.undo()
    assert "Added 3 " in run("add", store, tmp_path / "monday", tmp_path / "tuesday", "--batch", 2, "--resume")[1]
    run("add", store, tmp_path / "more.npy")
    run("add", store, tmp_path / "more.npy", "--labels", labels, "--again")
    names = [f"{folder}/{name}.png" for folder in ("monday", "tuesday") for name in (1, 2, 10)]
    names += ["more.npy"] * 2 + ["a", "b"]
    assert [row["file"] for row in PatternStore.open(store).metadata(range(10))] == names
    run("create", plain, "--dimension", 4)
    run("add", plain, tmp_path / "more.npy")
    assert "no names kept" in run("add", plain, tmp_path / "monday")[1]
    assert PatternStore.open(plain).columns == {}

"""The durable store: what was added is there, whatever happens to writers, and damage is named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispersed import InputError
from dispersed.storage import ENCODINGS, Float32, Int8, PatternStore, encoding_named
from dispersed.storage.growing import GrowingArray
from dispersed.storage.journal import journal_line
from dispersed.storage.store import VERSION

D = 12


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    """Flushing takes most of the time of small appends; crash.py flushes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def rows_of(store):
    return store.storage.rows(np.arange(len(store)))


def filled(path, batches=(3, 1, 4), encoding=Float32()):
    """A store of ±1 patterns with a column of each kind."""
    rng = np.random.default_rng(5)
    with PatternStore.create(path, D, encoding) as store:
        for size in batches:
            first = len(store)
            known = {
                "label": np.arange(first, first + size),
                "weight": np.arange(first, first + size) / 2,
                "seen": [i % 2 == 0 for i in range(first, first + size)],
                "name.of it/": ["ü" * i for i in range(first, first + size)],
            }
            assert store.append(np.sign(rng.standard_normal((size, D))), known) == range(first, first + size)
    return store


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_was_added_is_there_when_opened_again(tmp_path, name):
    filled(tmp_path / "s", encoding=encoding_named(name))
    rng = np.random.default_rng(5)
    expected = np.concatenate([np.sign(rng.standard_normal((size, D))) for size in (3, 1, 4)])
    store = PatternStore.open(tmp_path / "s")
    assert (len(store), store.encoding.name, len(store.batches)) == (8, name, 3)
    np.testing.assert_allclose(rows_of(store), expected, rtol=1e-4)
    assert [len(codes) for codes, _ in store.storage.parts()] == [8]
    assert store.metadata([7, 0, 3, 3])[:3] == [
        {"label": 7, "weight": 3.5, "seen": False, "name.of it/": "ü" * 7},
        {"label": 0, "weight": 0.0, "seen": True, "name.of it/": ""},
        {"label": 3, "weight": 1.5, "seen": False, "name.of it/": "ü" * 3},
    ]
    assert store.verify() == []
    assert repr(store) == f"PatternStore(8 x 12, {name}, 3 batches, {str(tmp_path / 's')!r})"


def test_numpy_reads_its_files(tmp_path):
    store = filled(tmp_path / "s")
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "patterns.npy", mmap_mode="r"), rows_of(store))
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "columns" / "label.npy"), np.arange(8))


@settings(max_examples=15, deadline=None)
@example([[(0, "\0"), (1, "a\0")]])
@given(st.lists(st.lists(st.tuples(st.integers(-9, 9), st.text(max_size=4)), max_size=4), max_size=5))
def test_any_batches_of_any_texts(tmp_path_factory, batches):
    store = PatternStore.create(tmp_path_factory.mktemp("any") / "s", 1, Int8())
    with store:
        for batch in batches:
            store.append(np.array([[value] for value, _ in batch]).reshape(-1, 1), {"text": [t for _, t in batch]})
    store = PatternStore.open(store.path)
    flat = [row for batch in batches for row in batch]
    np.testing.assert_allclose(rows_of(store).ravel(), [value for value, _ in flat], rtol=1e-4)
    assert store.metadata(range(len(store))) == [{"text": text} for _, text in flat]
    assert store.verify() == []


def test_readers_keep_what_they_opened_until_they_refresh(tmp_path):
    writer = filled(tmp_path / "s")
    reader = PatternStore.open(tmp_path / "s")
    snapshot, before = reader.storage, rows_of(reader)
    with writer:
        writer.append(np.full((5, D), 7.0), {**dict.fromkeys(["label", "weight"], range(5)), **texts(5)})
        assert len(snapshot) == len(reader) == 8
        np.testing.assert_array_equal(snapshot.rows(np.arange(8)), before)
        reader.refresh()
        assert (len(reader), len(snapshot)) == (13, 8)
        np.testing.assert_array_equal(reader.storage.rows([12, 0]), [np.full(D, 7.0), before[0]])
        assert reader.metadata([12])[0]["weight"] == 4.0


def texts(n):
    return {"seen": [True] * n, "name.of it/": ["x"] * n}


def test_one_writer_at_a_time(tmp_path):
    path = PatternStore.create(tmp_path / "s", 2).path
    first, second = PatternStore.open(path), PatternStore.open(path)
    with first:
        first.append(np.ones((1, 2)))
        with pytest.raises(InputError, match="is being added to by another process"):
            second.append(np.zeros((1, 2)))
    assert second.append(np.zeros((2, 2))) == range(1, 3)  # after what the first one added
    second.close()
    np.testing.assert_array_equal(rows_of(PatternStore.open(path)), [[1, 1], [0, 0], [0, 0]])


def test_an_interrupt_right_after_the_journal_leaves_the_batch(tmp_path, monkeypatch):
    def interrupted(self, batch, line):
        monkeypatch.undo()
        raise KeyboardInterrupt

    with PatternStore.create(tmp_path / "s", 2) as store:
        store.append(np.ones((3, 2)))
        monkeypatch.setattr(PatternStore, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(np.zeros((2, 2)))
        again = PatternStore.open(store.path)
        assert (len(again), again.verify()) == (5, [])
        assert store.append(np.full((1, 2), 2)) == range(5, 6)
    np.testing.assert_array_equal(rows_of(PatternStore.open(store.path))[:, 0], [1, 1, 1, 0, 0, 2])


def test_killed_stopped_and_out_of_room(tmp_path):
    script = Path(__file__).with_name("crash.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "2.5"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    kills, rows, stops, refusals, limited = map(int, run.stdout.split())
    assert kills > 5
    assert rows > kills // 2
    assert stops == 9 + 1  # the lock, five files, two folders, the journal; and once not stopped at all
    assert refusals == 7 + 1  # the second one ends with a batch, and then the folders are flushed already
    assert limited == 20


def test_an_append_that_was_cut_short_counts_as_never_made(tmp_path, monkeypatch):
    filled(tmp_path / "s", batches=(3, 1))
    journal = tmp_path / "s" / "batches.jsonl"
    monkeypatch.setattr(GrowingArray, "tell", lambda self, rows: None)  # as a killed process leaves them
    with PatternStore.open(tmp_path / "s") as store:
        store.append(np.ones((4, D)), {"label": range(4), "weight": range(4), **texts(4)})
    monkeypatch.undo()
    whole = journal.read_bytes()
    for length in range(whole.rindex(b"\n", 0, -1) + 1, len(whole), 7):
        journal.write_bytes(whole[:length])
        assert len(PatternStore.open(tmp_path / "s")) == 4
    with PatternStore.open(tmp_path / "s") as store:
        store.append(np.ones((2, D)), {"label": [8, 9], "weight": [1, 2], **texts(2)})
    again = PatternStore.open(tmp_path / "s")
    assert (len(again), again.verify()) == (6, [])
    assert again.metadata([4])[0]["label"] == 8


def everything(path, salvage=False):
    store = PatternStore.open(path, salvage)
    found = store.verify()
    with np.errstate(all="ignore"):  # a damaged scale may be anything
        rows = rows_of(store).tobytes()
    return found, len(store), rows, repr(store.metadata(range(len(store))))


def test_every_flipped_byte_is_found_or_harmless(tmp_path, rng):
    filled(tmp_path / "s", batches=(2, 2), encoding=Int8())
    whole = everything(tmp_path / "s")
    assert whole[0] == []
    found = 0
    for file in sorted((tmp_path / "s").rglob("*.*")):
        content = bytearray(file.read_bytes())
        start = 128 if file.suffix == ".npy" else 0
        places = {start, len(content) - 1, *rng.integers(0, len(content), 12).tolist()}
        for place in places:
            bit = 1 << int(rng.integers(8))
            content[place] ^= bit
            file.write_bytes(content)
            try:
                result = everything(tmp_path / "s")
                assert result[0] or result == whole, f"byte {place} of {file.name}"
                assert all(file.name in str(damage) for damage in result[0])
                assert result[0] or file.suffix != ".npy" or place < 128
                found += bool(result[0])
            except InputError as error:
                named = str(error)
                assert file.name in named or "damaged text in the column 'name.of it/'" in named
                found += 1
            content[place] ^= bit
        file.write_bytes(content)
    assert found > 50
    assert everything(tmp_path / "s") == whole


@pytest.mark.parametrize("name", ["patterns.npy", "columns/label.npy", "columns/name%2Eof it%2F.ends.npy"])
def test_of_a_truncated_store_the_whole_batches_are_read(tmp_path, name):
    path = filled(tmp_path / "s").path
    before = rows_of(PatternStore.open(path))
    os.truncate(path / name, (path / name).stat().st_size - 1)
    with pytest.raises(InputError, match=r"is truncated or missing \(patterns 4 to 7\); open.*reads the 4 patterns"):
        PatternStore.open(path)
    store = PatternStore.open(path, salvage=True)
    assert len(store) == 4
    np.testing.assert_array_equal(rows_of(store), before[:4])
    assert [str(path / name) in str(damage) for damage in store.verify()] == [True]
    with pytest.raises(InputError, match="only an undamaged store can be added to"):
        store.append(np.ones((1, D)))


def test_a_damaged_record_loses_its_checksum_but_no_pattern(tmp_path):
    path = filled(tmp_path / "s").path
    before = everything(path)
    lines = (path / "batches.jsonl").read_bytes().split(b"\n")
    (path / "batches.jsonl").write_bytes(b"\n".join([lines[0][:-3] + b"000", *lines[1:]]))
    with pytest.raises(InputError, match="record 1 is damaged"):
        PatternStore.open(path)
    after = everything(path, salvage=True)
    assert after[1:] == before[1:]
    assert [(found.start, found.stop) for found in after[0]] == [(0, 0), (0, 3)]


def test_unusable_stores_are_named(tmp_path):
    with pytest.raises(InputError, match=r"'.*none' holds no store"):
        PatternStore.open(tmp_path / "none")
    path = PatternStore.create(tmp_path / "s", 3).path
    with pytest.raises(InputError, match="is there already"):
        PatternStore.create(path, 3)
    with pytest.raises(InputError, match="dimension: got 0"):
        PatternStore.create(tmp_path / "t", 0)
    with pytest.raises(InputError, match="cannot be made"):
        PatternStore.create(tmp_path / "no" / "t", 3)
    newer = {"format": "dispersed pattern store", "version": VERSION + 1, "dimension": 3, "encoding": "float32"}
    (path / "store.json").write_bytes(journal_line(newer))
    with pytest.raises(InputError, match=r"store.json' says format 2; this version of dispersed reads format 1"):
        PatternStore.open(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize(
    ("patterns", "metadata", "words"),
    [
        (np.ones((2, 3)), None, "got 3 units for a store of 12"),
        (np.full((1, D), np.nan), None, "12 NaN"),
        (np.ones((1, D)), None, "got no columns; the store has label"),
        (np.ones((1, D)), {"label": [1.5], "weight": [1.0], **texts(1)}, r"got label \(float64\)"),
        (np.ones((2, D)), {"label": [1]}, r"metadata\['label'\]: got shape \(1,\)"),
        (np.ones((2, D)), {"label": [1, "a"]}, r"metadata\['label'\]: got values of"),
        (np.ones((2, D)), {"label": ["a", None]}, r"metadata\['label'\]: got values of object"),
        (np.ones((2, D)), {"label": [[1], [1, 2]]}, "different lengths"),
        (np.ones((2, D)), {"": [1, 2]}, "a column named ''"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path, patterns, metadata, words):
    path = filled(tmp_path / "s").path
    before = everything(path)
    with PatternStore.open(path) as store, pytest.raises(InputError, match=words):
        store.append(patterns, metadata)
    assert everything(path) == before

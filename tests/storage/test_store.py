"""The durable store: what was added is there, whatever happens to writers, and damage is named."""

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispersed import InputError, PatternMemory, Scanned
from dispersed.storage import ENCODINGS, Float32, Int8, PatternStore, encoding_named, open_patterns, save_patterns
from dispersed.storage.growing import GrowingArray
from dispersed.storage.journal import journal_line
from dispersed.storage.settings import VERSION

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


def crashes(*arguments, broken="", status=0):
    """The rows of the table of benchmarks.crashes by what they count: cases, and failures among them."""
    script = f"{broken}\nfrom benchmarks import crashes; crashes.main()"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500, check=False)
    assert run.returncode == status, run.stdout + run.stderr
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run.stdout.splitlines() if "│" in line]
    return {what: (int(cases.replace(",", "")), int(failed)) for what, cases, failed, _ in cells}


def test_what_happens_to_writers_and_disks_loses_nothing():
    found = crashes("--quick")
    assert {failed for _, failed in found.values()} == {0}
    assert {what.split(" of ")[0]: cases for what, (cases, _) in found.items()} == {
        "flipped bits": pytest.approx(300, rel=0.3),
        "truncated files, deleted and doubled lines": pytest.approx(300, rel=0.3),
        "kills": 20,
        "writers stopped, or without room, at each flush": 23,  # each flush twice, once without any, and a full disk
        "states": pytest.approx(400, rel=0.5),
        "runs": 3,
        "overlapping runs": 3,
    }


@pytest.mark.slow
def test_a_store_that_does_not_flush_is_found_out():
    imported = "from dispersed.storage import store; from dispersed.storage.growing import GrowingArray; "
    for broken, least in (
        ("GrowingArray.flush = lambda self: None", 50),
        ("store.flush_folder = lambda path: None", 50),
        ("store.PatternStore._settle = lambda self, journal: None", 1),  # only after a failed append
    ):
        ((cases, failed),) = crashes("--quick", "power_cuts", broken=imported + broken, status=1).values()
        assert least <= failed <= cases


@pytest.mark.slow
def test_crashes_in_full():
    found = crashes()
    assert {failed for _, failed in found.values()} == {0}
    assert found["flipped bits of stores"][0] >= 15_000
    assert found["kills of writers"][0] >= 300


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


def contents_of(path):
    return {file: file.read_bytes() for file in path.rglob("*.*") if file.is_file()}


def test_a_journal_that_has_lost_lines_is_damage_and_data_stay(tmp_path):
    path = filled(tmp_path / "s").path
    journal, before = path / "batches.jsonl", everything(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    open_already = PatternStore.open(path)
    cases = [lines[:i] + lines[i + 1 :] for i in range(3)] + [[], lines[:1], [*lines[:2], lines[2][:40]]]
    cases += [[lines[1], lines[0], lines[2]], [lines[0], *lines]]
    for kept in cases:
        journal.write_bytes(b"".join(kept))
        held = contents_of(path)
        with pytest.raises(InputError, match=r"batches\.jsonl' (has (fewer|lost)|record \d is damaged)"):
            PatternStore.open(path)
        found, n, rows, _ = everything(path, salvage=True)
        assert found
        assert (n, rows) == before[1:3]  # by the headers, all patterns are still there
        for store in (PatternStore.open(path, salvage=True), open_already):
            if len(b"".join(kept)) < len(b"".join(lines)) or store is not open_already:
                with pytest.raises(InputError, match=r"only an undamaged store can be added to"):
                    store.append(np.ones((1, D)), {"label": [1], "weight": [1], **texts(1)})
        open_already.damage.clear()
        assert contents_of(path) == held
    journal.write_bytes(b"".join(lines[:1]))
    with pytest.raises(InputError, match=r"has become shorter since it was opened; only an undamaged"):
        open_already.refresh()


def batch_record(**changed):
    record = {"start": 0, "stop": 2, "columns": {"a": "int64"}, "origin": None}
    record["arrays"] = {name: [0, 2, 0] for name in ("patterns.npy", "scale.npy", "columns/a.npy")}
    return {name: record[name] for name in ("start", "stop", "columns", "arrays", "origin")} | changed


def crafted_records():
    """Records with right checksums that describe no batch of two patterns behind none."""
    right = batch_record()["arrays"]
    for wrong in (None, True, -1, 0.0, "0", [], 10**30, {}):
        yield batch_record(start=wrong)
        yield batch_record(columns=wrong) if wrong != {} else {}
        yield batch_record(arrays=wrong)
        yield batch_record(origin=wrong) if wrong is not None else {"start": 0}
    for wrong in (None, True, 0, 1, -1, 2.0, "2", [], 10**30):
        yield batch_record(stop=wrong)
        yield batch_record(columns={"a": wrong})
        yield batch_record(arrays={**right, "patterns.npy": wrong})
        yield batch_record(arrays={**right, "scale.npy": [0, wrong, 0]})
        yield batch_record(arrays={**right, "columns/a.npy": [1, 3, wrong]})
    yield batch_record(columns={"": "int64"})
    yield batch_record(columns={"\ud800": "int64"})
    yield batch_record(arrays={**right, "../victim.npy": [0, 2, 0]})
    yield batch_record(arrays={"patterns.npy": [0, 2, 0]})
    yield batch_record(arrays={**right, "patterns.npy": [0, 2, 2**32]})
    yield batch_record(arrays={**right, "patterns.npy": [0, 2, -1]})
    yield batch_record(more=1)
    yield batch_record(origin={"name": "x"})
    origin = {"name": "x", "patterns": 2, "start": 0, "sha256": "", "labels": ""}
    for name, wrong in (
        ("name", 1),
        ("patterns", 1),
        ("patterns", "2"),
        ("start", -1),
        ("sha256", None),
        ("labels", 0),
    ):
        yield batch_record(origin={**origin, name: wrong})


def test_crafted_journals_are_one_line(tmp_path):
    path = PatternStore.create(tmp_path / "s", 3, Int8()).path
    with PatternStore.open(path) as store:
        store.append(np.ones((2, 3)), {"a": [1, 2]})
    right = (path / "batches.jsonl").read_bytes()
    later = journal_line(batch_record(start=2, stop=4, arrays={file: [2, 4, 0] for file in batch_record()["arrays"]}))
    lines = [journal_line(record) for record in crafted_records()]
    lines += [b"[" * 100_000 + b"\n", b"\xff\n", b"\n", right.replace(b": ", b":"), right.replace(b"2", b"2.0")]
    lines.append(right.replace(b'{"start": 0,', b'{"start": 1, "start": 0,'))
    for line in lines:
        for content in (line, line + later):
            (path / "batches.jsonl").write_bytes(content)
            with pytest.raises(InputError) as refused:
                PatternStore.open(path)
            assert len(str(refused.value)) < 1000
            assert "batches.jsonl" in str(refused.value)
            assert "\n" not in str(refused.value)
    (path / "batches.jsonl").write_bytes(right)
    assert PatternStore.open(path).verify() == []


def test_crafted_settings_are_one_line(tmp_path):
    path = PatternStore.create(tmp_path / "s", 3, Int8()).path
    right = {"format": "dispersed pattern store", "version": 1, "dimension": 3, "encoding": "int8"}
    wrong = [{}, {**right, "more": 1}, {name: right[name] for name in list(right)[:3]}]
    for value in (None, True, -1, 0, 1.0, "3", [], {}, 10**30, 2**31, float("inf")):
        wrong += [{**right, "dimension": value}, {**right, "encoding": value}, {**right, "format": value}]
        wrong += [{**right, "version": value}]
    for each in wrong:
        try:
            line = journal_line(each)
        except ValueError:  # JSON has no infinity
            line = json.dumps(each).encode()
        (path / "store.json").write_bytes(line)
        with pytest.raises(InputError, match=r"store\.json") as refused:
            PatternStore.open(path)
        assert len(str(refused.value)) < 500
    (path / "store.json").write_bytes(journal_line(right))
    assert PatternStore.open(path).verify() == []


def test_nothing_is_written_through_links(tmp_path):
    """A file of the store that is a link to another, by name or by inode, or a pipe, is refused and nothing changes."""
    victim, elsewhere = tmp_path / "victim", tmp_path / "elsewhere"
    more = {"label": [1], "weight": [1], **texts(1)}
    names = ["batches.jsonl", "patterns.npy", "columns/label.npy", "columns/name%2Eof it%2F.utf8.npy", "columns"]
    for number, (name, kind) in enumerate((name, kind) for name in names for kind in ("symbolic", "hard", "pipe")):
        if name == "columns" and kind != "symbolic":
            continue
        path = filled(tmp_path / f"s{number}").path
        store = PatternStore.open(path)
        target = path / name
        shutil.rmtree(elsewhere, ignore_errors=True)
        if name == "columns":
            target.rename(elsewhere)
            target.symlink_to(elsewhere)
        else:
            victim.unlink(missing_ok=True)
            target.rename(victim)
            link = {"symbolic": os.symlink, "hard": os.link, "pipe": lambda _, target: os.mkfifo(target)}[kind]
            link(victim, target)
        before = contents_of(tmp_path)
        with pytest.raises(InputError, match=r"a symbolic link|a hard link|not a regular file|is truncated or missing"):
            store.append(np.ones((1, D)), more)
        store.close()
        assert contents_of(tmp_path) == before
        with pytest.raises(InputError, match=r"symbolic|hard|regular|truncated or missing"):  # noqa: SIM117
            with PatternStore.open(path) as opened:
                opened.append(np.ones((1, D)), more)
        assert contents_of(tmp_path) == before
    (tmp_path / "linked").symlink_to(filled(tmp_path / "s").path)  # the folder itself may be one
    with PatternStore.open(tmp_path / "linked") as store:
        assert store.append(np.ones((1, D)), more) == range(8, 9)


def test_a_file_that_another_process_truncates_is_refused(tmp_path):
    path = filled(tmp_path / "s").path
    store = PatternStore.open(path)
    storage = store.storage
    for name in ("columns/label.npy", "patterns.npy"):
        os.truncate(path / name, 130)
    for read in (storage.parts, lambda: storage.rows([0]), lambda: next(storage.blocks(4))):
        with pytest.raises(InputError, match=r"store '.*' is truncated; \d+ bytes of it are needed"):
            read()
    with pytest.raises(InputError, match=r"label\.npy' is truncated"):
        store.metadata([0])
    with pytest.raises(InputError, match=r"patterns\.npy' is truncated or missing"):
        store.append(np.ones((1, D)), {"label": [1], "weight": [1], **texts(1)})
    assert {damage.path.name for damage in store.verify()} >= {"label.npy", "patterns.npy"}


@pytest.mark.parametrize("name", ["p.npy", "p.safetensors"])
def test_a_mapped_file_that_another_process_truncates_is_refused(tmp_path, name):
    save_patterns(tmp_path / name, np.ones((3000, D)))
    memory, storage = PatternMemory(tmp_path / name, engine=Scanned()), open_patterns(tmp_path / name)
    expected = memory.denoise(np.ones(D), 0.5)
    os.truncate(tmp_path / name, 5000)
    for read in (storage.parts, lambda: storage.rows([2999]), lambda: [*storage.blocks(100)]):
        with pytest.raises(InputError, match=f"{name}' is truncated"):
            read()
    with pytest.raises(InputError, match=f"{name}' is truncated"):
        memory.denoise(np.ones(D), 0.5)
    save_patterns(tmp_path / name, np.ones((3000, D)))
    np.testing.assert_array_equal(PatternMemory(tmp_path / name).denoise(np.ones(D), 0.5), expected)


def test_threads_share_a_store(tmp_path):
    store = PatternStore.create(tmp_path / "s", 2)
    with store, ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda i: (i, store.append(np.full((i, 2), i), {"label": [i] * i})), range(1, 40)))
    again = PatternStore.open(store.path)
    assert (len(again), len(again.batches), again.verify()) == (sum(range(40)), 39, [])
    for i, place in places:
        np.testing.assert_array_equal(again.storage.rows(place), np.full((i, 2), i))
        assert again.metadata(place) == [{"label": i}] * i


def test_a_pickled_store_is_opened_again(tmp_path):
    with PatternStore.open(filled(tmp_path / "s").path) as store:
        store.lock()
        again = pickle.loads(pickle.dumps(store))
        assert (len(again), again.path) == (8, store.path)
        with pytest.raises(InputError, match="is being added to by another process or another object"):
            again.lock()


def test_the_umask_decides_who_may_read(tmp_path):
    for umask, file, folder in ((0o077, 0o600, 0o700), (0o022, 0o644, 0o755), (0o002, 0o664, 0o775)):
        before = os.umask(umask)
        try:
            path = filled(tmp_path / f"{umask}").path
        finally:
            os.umask(before)
        assert {stat.S_IMODE(each.stat().st_mode) for each in [path, *path.rglob("*")] if each.is_dir()} == {folder}
        assert {stat.S_IMODE(each.stat().st_mode) for each in path.rglob("*") if each.is_file()} == {file}


def test_unusable_stores_are_named(tmp_path):
    with pytest.raises(InputError, match=r"'.*none' holds no store"):
        PatternStore.open(tmp_path / "none")
    path = PatternStore.create(tmp_path / "s", 3).path
    with pytest.raises(InputError, match="is there already"):
        PatternStore.create(path, 3)
    for dimension in (0, 2**31, 10**30):
        with pytest.raises(InputError, match=f"dimension: got {dimension}"):
            PatternStore.create(tmp_path / "t", dimension)
    for name in ("no/t", "a\0b", "a" * 300):
        with pytest.raises(InputError, match="cannot be made"):
            PatternStore.create(tmp_path / name, 3)
        with pytest.raises(InputError, match="holds no store"):
            PatternStore.open(tmp_path / name)
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

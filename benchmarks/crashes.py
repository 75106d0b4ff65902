"""What stores survive: flipped bits, truncations, kills, power cuts, threads, forks and overlapping runs, counted.

`python -m benchmarks.crashes` takes some minutes; with `--quick`, as the tests run it, some seconds. The last column of
its table counts cases in which something acknowledged was lost or altered without a word, or an error was no single
clear line. Exit code 1 if it is not all zeros.
"""

import errno
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np

from benchmarks import disk
from benchmarks.timing import show
from dispersed import InputError
from dispersed.reading import add_files, open_source
from dispersed.storage import Bits, Float32, Int8, PatternStore

D = 12


def rows(start, stop, attempt=0):
    """Patterns `start` to `stop` of ±1, and what is known about them: both follow from the index and the attempt."""
    index = np.arange(start, stop)
    patterns = np.sign(np.sin(np.outer(index + 1, 1 + np.arange(D)) + 1.3 * attempt) + 1e-9)
    names = ["é" * (i % 5) + f"{i} {attempt}" for i in index]
    return patterns, {"label": index, "attempt": [attempt] * len(index), "odd": index % 2 == 1, "name": names}


def add(store, size, attempt=0):
    """Add `size` rows, and return how many are there then."""
    n = len(store)
    store.append(*rows(n, n + size, attempt))
    return len(store)


def filled(path, batches=(3, 1, 4), encoding=Int8()):
    with PatternStore.create(path, D, encoding) as store:
        for attempt, size in enumerate(batches):
            add(store, size, attempt)
    return path


def everything(path, salvage=False):
    """What is found to be damaged, and all that can be read."""
    store = PatternStore.open(path, salvage)
    found = store.verify()
    with np.errstate(all="ignore"):  # a damaged scale may be anything
        return found, len(store), store.storage.rows(range(len(store))).tobytes(), store.metadata(range(len(store)))


def check(path, told):
    """Everything acknowledged, (rows, attempt of each), is there as it was written; at most one more batch is."""
    store = PatternStore.open(path)
    assert len(store) >= len(told), f"{len(told)} rows were acknowledged, {len(store)} are there"
    assert store.verify() == [], store.verify()
    known = store.metadata(range(len(store)))
    attempts = [row["attempt"] for row in known]
    assert attempts[: len(told)] == list(told), "other rows than those acknowledged"
    decoded = store.storage.rows(range(len(store)))
    for batch in store.batches:
        patterns, columns = rows(batch.start, batch.stop, attempts[batch.start])
        np.testing.assert_array_equal(np.sign(decoded[batch.start : batch.stop]), patterns)
        for name, values in columns.items():
            assert [row[name] for row in known[batch.start : batch.stop]] == list(values)
    return store


class Count:
    """How many cases there were, and how many of them failed."""

    def __init__(self, what):
        self.what, self.cases, self.failed = what, 0, 0

    def __call__(self, case, *arguments):
        self.cases += 1
        try:
            return case(*arguments)
        except Exception:
            self.failed += 1
            if self.failed <= 3:
                print(f"{self.what}, case {self.cases}:", traceback.format_exc(), file=sys.stderr)

    def row(self):
        return self.what, f"{self.cases:,}", self.failed


def refusal(work, *arguments):
    """The one line with which something is refused, None if it is not."""
    try:
        work(*arguments)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000  # noqa: PT017, PT018
        return str(error)
    return None


def damaged(path, whole, file, content):
    """One file of a store holds something else: that is reported in one line, or everything is still there."""
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        if refusal(PatternStore.open, path) is None:
            found = everything(path)
            assert found[0] or found == whole, f"{file.name}: another store, without a word"
        elif file.name != "store.json":
            assert len(PatternStore.open(path, salvage=True)) <= whole[1], "more patterns than there were"
    except InputError as error:  # what is damaged may be found while it is read
        assert "damaged text in the column 'name'" in str(error)  # noqa: PT017
    finally:
        file.write_bytes(before)


def files_of(path):
    return sorted(file for file in path.rglob("*.*") if file.is_file())


def flips(folder, quick):
    """Every bit of every file of a store and one of every byte of two others; quick, of every seventh byte of one."""
    count = Count("flipped bits of stores")
    for encoding in (Int8(),) if quick else (Int8(), Bits(), Float32()):
        path = filled(folder / f"flips-{encoding.name}", (2, 2), encoding)
        whole = everything(path)
        for file in files_of(path):
            content = file.read_bytes()
            for place in range(0, len(content), 7 if quick else 1):
                for bit in range(8) if encoding.scaled and not quick else (place % 8,):
                    altered = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
                    count(damaged, path, whole, file, altered)
    return count


def truncations(folder, quick):
    """Every file of a store cut to every length, and every line of its journal left out or written twice."""
    count, path = Count("truncated files, deleted and doubled lines"), filled(folder / "truncations")
    whole = everything(path)
    for file in files_of(path):
        content = file.read_bytes()
        for length in range(0, len(content), 9 if quick else 1):
            count(damaged, path, whole, file, content[:length])
    journal = path / "batches.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for i, line in enumerate(lines):
        count(damaged, path, whole, journal, b"".join(lines[:i] + lines[i + 1 :]))
        count(damaged, path, whole, journal, b"".join([*lines[:i], line, *lines[i:]]))
    return count


def forked(work):
    """Run `work(acknowledge)` in a child; its process id, and where its acknowledgements come out."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        code = 1
        try:
            work(lambda n: os.write(into, n.to_bytes(8, "little")))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(into)
    return child, out


def acknowledged(out, before=0):
    with os.fdopen(out, "rb") as file:
        answers = file.read()
    return int.from_bytes(answers[-8:], "little") if answers else before


def kills(folder, quick):
    """Writers killed at random moments, in one store after the other."""
    count, draw = Count("kills of writers"), random.Random(0)
    for store in range(1 if quick else 10):
        path, n = PatternStore.create(folder / f"killed-{store}", D, Int8()).path, 0

        def append_for_ever(acknowledge, path=path):
            sizes, store = random.Random(os.getpid()), PatternStore.open(path)
            while True:
                acknowledge(add(store, sizes.randint(1, 400)))

        def kill(path=path, append_for_ever=append_for_ever):
            nonlocal n
            child, out = forked(append_for_ever)
            if count.cases % 2:  # every second one gets through at least one batch, however slow the disk is
                n = int.from_bytes(os.read(out, 8), "little")
            time.sleep(draw.uniform(0.002, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            n = len(check(path, [0] * acknowledged(out, n)))

        for _ in range(20 if quick else 40):
            count(kill)
    return count


def flushes(folder, quick):
    """A writer ends, or the disk is full, at every flush of an append, and in the midst of a file."""
    count = Count("writers stopped, or without room, at each flush")

    def no_room():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at_each_flush(count, PatternStore.create(folder / "stopped", D, Int8()).path, lambda: os._exit(STOPPED))
    at_each_flush(count, PatternStore.create(folder / "full", D, Int8()).path, no_room)
    path = PatternStore.create(folder / "limited", D, Int8()).path

    def limited(acknowledge):
        store = PatternStore.open(path)
        add(store, 10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        why = refusal(add, store, 2000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert "nothing was added" in why
        acknowledge(add(store, 10))

    def once():
        child, out = forked(limited)
        os.waitpid(child, 0)
        assert len(check(path, [0] * 20)) == acknowledged(out) == 20

    count(once)
    return count


STOPPED = 9
"""How a process ends in which something happened at a flush."""


def at_each_flush(count, path, happens):
    """Something happens at the k-th flush of an append, for every k."""
    n, k, code = 0, 0, STOPPED

    def append_once(acknowledge):
        flush, numbers, store = os.fsync, iter(range(100)), PatternStore.open(path)
        os.fsync = lambda handle: happens() if next(numbers) == k else flush(handle)
        why = refusal(lambda: acknowledge(add(store, 50)))
        if why is not None:
            assert "No space left on device); nothing was added" in why
            os.fsync = flush
            acknowledge(add(store, 7))
            os._exit(STOPPED)

    def once():
        nonlocal n, code
        child, out = forked(append_once)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        n = len(check(path, [0] * acknowledged(out, n)))
        assert code in (0, STOPPED)

    while code == STOPPED and k < 30:
        count(once)
        k += 1
    assert k > 7, "appends flush their files, the journal and folders"


def power_cuts(folder, quick):
    """What may be on a disk that loses power at any moment of a life with kills and full disks in it."""
    count = Count("states of the disk after a power cut")
    flush = os.fsync
    for seed in range(1 if quick else 4):
        root = folder / f"cut-{seed}"
        root.mkdir()
        recorder, draw = disk.Recorder(root), random.Random(seed)
        with recorder.recording():
            a_life(recorder, root / "store", draw)
        assert os.fsync is flush
        os.fsync = lambda handle: None  # what is checked lies in memory
        try:
            for told, found in disk.after_power_cuts(recorder, folder / f"found-{seed}", seed, quick):
                count(survives, found / "store", told, count.cases % 4 == 0)
                shutil.rmtree(found)
        finally:
            os.fsync = flush
        shutil.rmtree(root)
    return count


def a_life(recorder, path, draw):
    """A store is made and added to; a process is killed in between, and a disk is full."""
    told, attempt, store = [], 0, PatternStore.create(path, D, Int8())
    recorder.acknowledged([])
    for event in ("append", "append", draw.choice(["kill", "full"]), "append", draw.choice(["kill", "full"]), "append"):
        size, attempt = draw.choice([1, 3, 40]), attempt + 1
        if event == "kill":
            recorder.die_at = len(recorder.log) + draw.randint(0, 45)
        elif event == "full":
            recorder.full_at = draw.randint(0, 9)
        try:
            add(store, size, attempt)
            told = told + [attempt] * size
            recorder.acknowledged(told)
        except disk.Killed:
            recorder.die_at = None
            if store._journal is not None:
                store._journal.close()
            store = PatternStore.open(path)  # another process goes on
            store.lock()
            told = [row["attempt"] for row in store.metadata(range(len(store)))]
            recorder.acknowledged(told)
        except InputError:
            recorder.full_at = None
        recorder.die_at = recorder.full_at = None
    store.close()


def survives(path, told, go_on):
    if told is None and not (path / "store.json").exists():
        return  # it was not made yet
    store = check(path, told or [])
    if go_on:
        held = [row["attempt"] for row in store.metadata(range(len(store)))]
        with store:
            add(store, 5, 99)
        check(path, held + [99] * 5)


def threads(folder, quick):
    """Four threads that append to one store, while others read it."""
    count = Count("runs of threads on one store")

    def run(number):
        path = PatternStore.create(folder / f"threads-{number}", D, Int8()).path
        store, failures, done = PatternStore.open(path), [], threading.Event()
        sizes = {attempt: 1 + attempt % 7 for attempt in range(20)}

        def write(first):
            for attempt in range(first, 20, 4):
                added = store.append(*known(sizes[attempt], attempt))
                assert len(added) == sizes[attempt]

        def read():
            while not done.is_set():
                store.refresh()
                n = len(store)
                assert len(store.metadata(range(n))) == len(store.storage.rows(range(n))) == n

        def guarded(work, *arguments):
            try:
                work(*arguments)
            except Exception:
                failures.append(traceback.format_exc())

        writers = [threading.Thread(target=guarded, args=(write, first)) for first in range(4)]
        readers = [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
        for thread in writers + readers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        store.close()
        assert not failures, failures[0]
        again = PatternStore.open(path)
        assert again.verify() == []
        found = {}
        for batch in again.batches:
            labels = again.metadata(range(batch.start, batch.stop))
            attempt = labels[0]["attempt"]
            assert labels == listed(known(batch.stop - batch.start, attempt)[1])
            found[attempt] = batch.stop - batch.start
        assert found == sizes

    def known(size, attempt):
        patterns, columns = rows(0, size, attempt)
        return patterns, columns

    def listed(columns):
        size = len(columns["label"])
        return [{name: np.asarray(values).tolist()[i] for name, values in columns.items()} for i in range(size)]

    for number in range(3 if quick else 40):
        count(run, number)
    return count


def forks(folder, quick):
    """A process that adds to a store forks: the child is refused, the parent goes on, and no lock outlives it."""
    count = Count("runs of forks of a process that adds to a store")

    def run(number):
        path = PatternStore.create(folder / f"forks-{number}", D, Int8()).path

        def parent(acknowledge):
            store = PatternStore.open(path)
            n = add(store, 5)

            def child(acknowledge):
                assert len(store.metadata(range(n))) == n
                for _ in range(20):
                    assert "is being added to by another process" in refusal(add, store, 3, 1)
                store.close()
                time.sleep(60)

            child, _ = forked(child)
            for _ in range(10):
                acknowledge(add(store, 5))
            acknowledge(child)
            time.sleep(60)

        process, out = forked(parent)
        answers = [int.from_bytes(os.read(out, 8), "little") for _ in range(11)]
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        try:
            with PatternStore.open(path) as store:  # though a child of the killed one still runs
                assert add(store, 2) == 57
            check(path, [0] * 57)
            os.kill(answers[-1], 0)
        finally:
            os.kill(answers[-1], signal.SIGKILL)
            os.close(out)

    for number in range(3 if quick else 40):
        count(run, number)
    return count


def overlaps(folder, quick):
    """Runs of `store add --resume` with the same file at the same time, one of which is killed."""
    count, draw = Count("overlapping runs of store add"), random.Random(0)
    for number in range(3 if quick else 40):
        path, file = folder / f"overlap-{number}", folder / f"{number}.npy"
        patterns = rows(0, 300, number)[0]
        np.save(file, patterns)
        PatternStore.create(path, D, Int8())

        def add_all(acknowledge, path=path, file=file):
            with PatternStore.open(path) as store:
                while why := refusal(lambda: add_files(store, [open_source(file)], batch=20, resume=True)):
                    assert "is being added to by another" in why
                    time.sleep(0.005)

        def run(path=path, add_all=add_all, patterns=patterns):
            children = [forked(add_all) for _ in range(3)]
            time.sleep(draw.uniform(0.0, 0.1))
            os.kill(children[0][0], signal.SIGKILL)
            codes = []
            for child, out in children:
                codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                os.close(out)
            assert codes[1:] == [0, 0], codes
            store = PatternStore.open(path)
            assert len(store) == 300, f"{len(store)} rows of 300"
            assert store.verify() == []
            np.testing.assert_array_equal(np.sign(store.storage.rows(range(300))), patterns)

        count(run)
    return count


KINDS = (flips, truncations, kills, flushes, power_cuts, threads, forks, overlaps)


def main():
    quick = "--quick" in sys.argv
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    table, failed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if names and kind.__name__ not in names:
                continue
            start = time.perf_counter()
            count = kind(Path(folder), quick)
            table.append((*count.row(), f"{time.perf_counter() - start:.1f}"))
            failed += count.failed
    show("What stores survive", ["what", "cases", "lost, altered or unclear", "seconds"], table)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

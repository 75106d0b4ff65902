"""Writers that are killed, run in a process of its own by test_store.py: python crash.py FOLDER SECONDS.

Children are forked from one process that has imported everything, so that a kill costs milliseconds, and each is
killed while it appends. Row i of the store and what is known about it follow from i alone.
"""

import errno
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from dispersed import InputError
from dispersed.storage import Int8, PatternStore

D = 24


def patterns(start, stop):
    return np.sin(np.outer(np.arange(start, stop), 1 + np.arange(D)))


def known(start, stop):
    return {"label": list(range(start, stop)), "name": ["é" * (i % 5) + str(i) for i in range(start, stop)]}


def add(store, size):
    """Add `size` rows, and return how many are there then."""
    n = len(store)
    store.append(patterns(n, n + size), known(n, n + size))
    return len(store)


def check(path, least):
    """Everything that was acknowledged is there and as it was written; at most one more batch is."""
    store = PatternStore.open(path)
    n = len(store)
    assert n >= least, f"{least} rows were acknowledged, {n} are there"
    assert store.verify() == []
    codes, scale = Int8().encode(patterns(0, n)) if n else (np.empty((0, D), np.int8), np.empty(0))
    np.testing.assert_array_equal(store.storage.rows(np.arange(n)), codes * scale[:, None].astype(np.float32))
    rows = known(0, n)
    expected = [{"label": label, "name": name} for label, name in zip(rows["label"], rows["name"], strict=True)]
    assert store.metadata(np.arange(n)) == expected
    return n


def forked(work):
    """Run `work(acknowledge)` in a child; its process id, and where its acknowledgements come out."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            work(lambda n: os.write(into, n.to_bytes(8, "little")))
        finally:
            os._exit(0)
    os.close(into)
    return child, out


def acknowledged(out, before):
    with os.fdopen(out, "rb") as file:
        answers = file.read()
    return int.from_bytes(answers[-8:], "little") if answers else before


def killed_at_random(path, seconds):
    def append_for_ever(acknowledge):
        draw = random.Random(os.getpid())
        store = PatternStore.open(path)
        while True:
            acknowledge(add(store, draw.randint(1, 400)))

    draw, kills, n, end = random.Random(0), 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        child, out = forked(append_for_ever)
        if kills % 2:  # every second one gets through at least one batch, however slow the disk is
            n = int.from_bytes(os.read(out, 8), "little")
        time.sleep(draw.uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        n, kills = check(path, acknowledged(out, n)), kills + 1
    return kills, n


def stopped_at_every_flush(path, stop):
    """`stop` happens at the k-th flush of an append, for every k; how many there are."""
    n, k, stopped = 0, 0, True
    while stopped:

        def append_once(acknowledge, k=k):
            flush, count, store = os.fsync, iter(range(100)), PatternStore.open(path)
            os.fsync = lambda handle: stop() if next(count) == k else flush(handle)
            try:
                acknowledge(add(store, 50))
            except InputError as error:
                if "No space left on device); nothing was added" in str(error):
                    os.fsync = flush
                    acknowledge(add(store, 7))
                os._exit(1)

        child, out = forked(append_once)
        stopped = os.waitpid(child, 0)[1] != 0
        n, k = check(path, acknowledged(out, n)), k + 1
    return k


def no_room():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def out_of_room(path):
    """An append that the file size limit cuts short: refused in one line, nothing lost, possible again with room."""

    def append_twice(acknowledge):
        store = PatternStore.open(path)
        add(store, 10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        try:
            add(store, 2000)
        except InputError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if "nothing was added" in str(error):
                acknowledge(add(store, 10))

    child, out = forked(append_twice)
    os.waitpid(child, 0)
    return check(path, acknowledged(out, 0))


if __name__ == "__main__":
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    for name in ("killed", "stopped", "full", "limited"):
        PatternStore.create(folder / name, D, Int8())
    kills, rows = killed_at_random(folder / "killed", seconds)
    stops = stopped_at_every_flush(folder / "stopped", lambda: os._exit(9))
    refusals = stopped_at_every_flush(folder / "full", no_room)
    print(kills, rows, stops, refusals, out_of_room(folder / "limited"))

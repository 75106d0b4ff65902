"""The durable store: its whole life at 10⁵ to 10⁷ patterns with the memory it takes, and other formats beside it.

`python -m benchmarks.store` writes up to 3 GB into a temporary folder. Files are in the cache of the system when they
are read, so what is compared is the work of reading, not the disk. Formats that are not installed are left out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.timing import show
from dispersed.storage import ENCODINGS, PatternStore, encoding_named

D, BATCH = 64, 1 << 16


def batch(number, rows, encoding="float32"):
    patterns = np.random.default_rng(number).standard_normal((rows, D), dtype=np.float32)
    return np.copysign(1, patterns) if encoding == "bits" else patterns


def memory(field):
    """A field of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


class Watch:
    """The largest anonymous and total resident memory of this process, looked at every 5 ms."""

    def __enter__(self):
        self.anonymous = self.resident = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.stop.set()
        self.thread.join()

    def look(self):
        while not self.stop.wait(0.005):
            self.anonymous = max(self.anonymous, memory("RssAnon"))
            self.resident = max(self.resident, memory("VmRSS"))


def life(path, n, encoding):
    """Create, fill, open, read and verify a store of `n` patterns: seconds of each, MiB of memory."""
    row = {"encoding": encoding, "n": n, "before": memory("VmRSS")}
    chosen = encoding_named(encoding)

    def timed(name, work):
        start = time.perf_counter()
        result = work()
        row[name] = time.perf_counter() - start
        return result

    def fill():
        spent = 0.0
        with PatternStore.create(path, D, chosen) as store:
            for number, first in enumerate(range(0, n, BATCH)):
                size = min(BATCH, n - first)
                patterns = batch(number, size, encoding)
                start = time.perf_counter()
                store.append(patterns, {"label": np.arange(first, first + size)})
                spent += time.perf_counter() - start
        row["append"] = spent

    def scan():
        blocks = store.storage.blocks(BATCH)
        return max(store.encoding.decode(codes, scale, D).max() for _, codes, scale in blocks)

    with Watch() as watch:
        fill()
        store = timed("open", lambda: PatternStore.open(path))
        chosen_rows = np.random.default_rng(0).integers(0, n, 100_000)
        rows = timed("rows", lambda: store.storage.rows(chosen_rows))
        known = timed("known", lambda: store.metadata(chosen_rows))
        timed("scan", scan)
        damage = timed("verify", store.verify)
    number, place = divmod(int(chosen_rows[0]), BATCH)
    codes, scale = chosen.encode(batch(number, min(BATCH, n - number * BATCH), encoding))
    right = np.array_equal(rows[0], chosen.decode(codes, scale, D)[place]) and known[0]["label"] == chosen_rows[0]
    row |= {"bytes": store.storage.nbytes, "right": bool(right) and not damage}
    return row | {"anonymous": watch.anonymous, "resident": watch.resident, "peak": memory("VmHWM")}


def lives(folder):
    table = []
    kinds = [(10**5, "float32"), (10**6, "float32"), *((10**7, encoding) for encoding in ENCODINGS)]
    for n, encoding in kinds:
        path = folder / f"{encoding}-{n}"
        command = [sys.executable, "-m", "benchmarks.store", str(path), str(n), encoding]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        shutil.rmtree(path)
        table.append(
            (
                f"{n:,}",
                encoding,
                f"{row['bytes'] / 2**20:,.0f}",
                f"{row['append']:.2f}",
                f"{row['open'] * 1e3:.1f}",
                f"{row['rows'] * 1e3:.0f}",
                f"{row['known'] * 1e3:.0f}",
                f"{row['scan']:.2f}",
                f"{row['verify']:.2f}",
                f"{row['before']:.0f}",
                f"{row['anonymous']:.0f}",
                f"{row['peak']:.0f}",
                "yes" if row["right"] else "NO",
            )
        )
    columns = ["patterns", "encoding", "MiB", "append s", "open ms", "10⁵ rows ms", "10⁵ labels ms", "scan s"]
    columns += ["verify s", "MiB at start", "peak anonymous", "peak resident", "right"]
    show(f"A store of patterns of {D} units, batches of {BATCH:,}, in a process of its own", columns, table)


class Ours:
    name, needs = "growing .npy, journal", ()

    def __init__(self, folder):
        self.store = PatternStore.create(folder / "store", D)

    def append(self, number, patterns, labels):
        self.store.append(patterns, {"label": labels})

    def open(self):
        self.store.close()
        self.store = PatternStore.open(self.store.path)
        self.storage = self.store.storage

    def blocks(self):
        return (codes for _, codes, _ in self.storage.blocks(BATCH))

    def rows(self, indices):
        return self.storage.rows(indices)


def flushed(path, write):
    """Written beside `path`, flushed and renamed, as a crash-safe file of a batch must be."""
    part = path.with_suffix(".part")
    write(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


class PerBatch:
    """One immutable file a batch; rows are found by the starts of the batches."""

    def __init__(self, folder):
        self.folder, self.sizes = folder, []

    def append(self, number, patterns, labels):
        flushed(self.folder / f"{number:06}", lambda path: self.write(path, patterns, labels))

    def open(self):
        self.parts = [self.read(path) for path in sorted(self.folder.iterdir())]
        self.starts = np.cumsum([0] + [len(part) for part in self.parts])

    def blocks(self):
        return iter(self.parts)

    def rows(self, indices):
        parts = np.searchsorted(self.starts, indices, side="right") - 1
        return np.stack([self.parts[p][i - self.starts[p]] for p, i in zip(parts, indices, strict=True)])


class Arrow(PerBatch):
    name, needs = "Arrow IPC, a file a batch", ("pyarrow",)

    def write(self, path, patterns, labels):
        import pyarrow as pa
        from pyarrow import feather

        column = pa.FixedSizeListArray.from_arrays(pa.array(patterns.ravel()), D)
        feather.write_feather(pa.table({"patterns": column, "label": labels}), path, compression="uncompressed")

    def read(self, path):
        from pyarrow import feather

        column = feather.read_table(path, memory_map=True)["patterns"].chunk(0)
        return column.flatten().to_numpy().reshape(-1, D)


class Safetensors(PerBatch):
    name, needs = "safetensors, a file a batch", ("safetensors",)

    def write(self, path, patterns, labels):
        from safetensors.numpy import save_file

        save_file({"patterns": patterns, "label": labels}, path)

    def read(self, path):
        from safetensors import safe_open

        return safe_open(path, "np").get_tensor("patterns")


class Parquet(PerBatch):
    name, needs = "Parquet, a file a batch", ("pyarrow",)

    def write(self, path, patterns, labels):
        import pyarrow as pa
        from pyarrow import parquet

        column = pa.FixedSizeListArray.from_arrays(pa.array(patterns.ravel()), D)
        table = pa.table({"patterns": column, "label": labels})
        parquet.write_table(table, path, compression="none", use_dictionary=False)

    def read(self, path):
        from pyarrow import parquet

        return parquet.read_table(path)["patterns"].combine_chunks().flatten().to_numpy().reshape(-1, D)


class Zarr:
    name, needs = "Zarr v3, never flushed", ("zarr",)

    def __init__(self, folder):
        import zarr

        self.path = folder / "zarr"
        group = zarr.create_group(self.path)
        settings = {"compressors": None, "fill_value": 0}
        group.create_array("patterns", shape=(0, D), chunks=(BATCH // 4, D), dtype="f4", **settings)
        group.create_array("label", shape=(0,), chunks=(BATCH // 4,), dtype="i8", **settings)
        self.group = group

    def append(self, number, patterns, labels):
        self.group["patterns"].append(patterns)
        self.group["label"].append(labels)

    def open(self):
        import zarr

        self.patterns = zarr.open_group(self.path, mode="r")["patterns"]

    def blocks(self):
        return (self.patterns[start : start + BATCH] for start in range(0, self.patterns.shape[0], BATCH))

    def rows(self, indices):
        return self.patterns.get_orthogonal_selection((indices, slice(None)))


def rivals(folder, n, size):
    """Append `n` patterns in batches of `size`, open, scan, read rows."""
    table = []
    for kind in (Ours, Arrow, Safetensors, Parquet, Zarr):
        if not all(find_spec(name) for name in kind.needs):
            continue
        place = folder / kind.__name__
        place.mkdir()
        format, spent = kind(place), 0.0
        for number in range(n // size):
            patterns, labels = batch(number, size), np.arange(number * size, (number + 1) * size)
            start = time.perf_counter()
            format.append(number, patterns, labels)
            spent += time.perf_counter() - start
        start = time.perf_counter()
        format.open()
        opened = time.perf_counter() - start
        scans = []
        for _ in range(3):
            start = time.perf_counter()
            for block in format.blocks():
                block.max()
            scans.append(time.perf_counter() - start)
        indices = np.random.default_rng(0).integers(0, n, 1000)
        start = time.perf_counter()
        rows = format.rows(indices)
        random = time.perf_counter() - start
        number, at = divmod(int(indices[7]), size)
        right = np.array_equal(rows[7], batch(number, size)[at])
        on_disk = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        table.append(
            (
                kind.name,
                f"{spent:.2f}",
                f"{opened * 1e3:.1f}",
                f"{min(scans):.3f}",
                f"{4 * n * D / min(scans) / 1e9:.1f}",
                f"{random * 1e3:.1f}",
                f"{on_disk / 2**20:.0f}",
                "yes" if right else "NO",
            )
        )
        shutil.rmtree(place)
    columns = ["format", "append s", "open ms", "scan s", "GB/s", "10³ rows ms", "MiB", "right"]
    show(f"{n:,} patterns of {D} float32 and a label, in {n // size:,} batches of {size:,}", columns, table)


def main():
    with tempfile.TemporaryDirectory() as name:
        lives(Path(name))
        rivals(Path(name), 2**20, 2**14)
        rivals(Path(name), 2**20, 2**10)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(life(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
    else:
        main()

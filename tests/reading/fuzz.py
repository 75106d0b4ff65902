"""Damaged files, read by the library and by the libraries that others read them with.

    python -m tests.reading.fuzz [COUNT] [SEED]

Whole files of every kind are damaged at random: bytes flipped, cut, repeated, overwritten, numbers in their text
replaced. Each must be read, or refused by one `InputError` of one line, within 10 seconds and the documented memory.
What is read, another library must read too, and to the same numbers. The damage follows from SEED alone.
"""

import codecs
import csv
import io
import json
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from dispersed import InputError
from dispersed.reading import Table, open_source
from dispersed.reading.source import LOADED
from dispersed.storage import Int8, PatternStore, save_patterns

SECONDS = 10
"""The longest that reading may take."""
BOUND = LOADED + (1 << 29)
"""Bytes of memory that reading may take: what is loaded, and what decoding needs on the way."""
D = 6
NUMBERS = [b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"9223372036854775808", b"1e999", b"nan", b"99999999999"]
NUMBERS += [b"True", b"null", b"[", b"\xef\xbc\x91", b"1_0", b'"']


def states():
    return np.random.default_rng(0).standard_normal((7, D)).astype(np.float32)


def whole_files(folder):
    """Whole files of every kind: their bytes, by name."""
    from PIL import Image

    x = states()
    np.save(folder / "a.npy", x)
    np.save(folder / "big_endian.npy", x.astype(">f8"))
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.save(folder / "stack.npy", (x * 10).astype(np.int16).reshape(7, 2, 3))
    np.savez(folder / "a.npz", x)
    np.savez_compressed(folder / "b.npz", x=x)
    np.savetxt(folder / "a.csv", x, delimiter=",")
    text = (folder / "a.csv").read_text()
    (folder / "named.csv").write_text("u,v,w,x,y,z\n" + text)
    (folder / "semicolons.csv").write_text(text.replace(",", ";"))
    (folder / "quoted.csv").write_text("\r\n".join(",".join(f'"{v:.3f}"' for v in row) for row in x))
    (folder / "a.tsv").write_text(text.replace(",", "\t"))
    (folder / "marked.csv").write_bytes(codecs.BOM_UTF8 + text.encode())
    (folder / "wide.csv").write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    save_patterns(folder / "a.safetensors", x)
    save_patterns(folder / "int8.safetensors", x, Int8())
    grey = np.clip(128 + 60 * np.random.default_rng(1).standard_normal((9, 8)), 0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    for name in ("a.png", "a.jpg", "a.tif", "a.pgm", "a.gif", "a.bmp", "a.webp"):
        image.save(folder / name)
    image.save(folder / "lzw.tif", compression="tiff_lzw")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.save(folder / "turned.tif", tiffinfo={274: 6})
    image.save(folder / "pages.tif", save_all=True, append_images=[image])
    image.convert("P").save(folder / "palette.png", transparency=3)
    Image.merge("RGBA", [image] * 4).save(folder / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(grey.astype(np.float32)).save(folder / "float.tif")
    (folder / "plain.pgm").write_text("P2\n3 2\n15\n0 1 2 3 4 15\n")
    try:
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet

        table = pyarrow.table({f"u{k}": x[:, k] for k in range(D)})
        pyarrow.parquet.write_table(table, folder / "a.parquet")
        pyarrow.feather.write_feather(table, folder / "a.feather")
    except ImportError:
        pass
    (folder / "labels.csv").write_text('id,zip,size,note\n1,007,1.5,"a, b"\n-2,100,,é\n9223372036854775807,5,2,\n')
    rows = [{"a": 2**53 + 1, "b": True, "c": "x"}, {"a": 2, "b": False, "c": None}]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    np.save(folder / "labels.npy", np.arange(5))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def whole_store(folder):
    """The files of a store, by name."""
    with PatternStore.create(folder / "store", D, Int8()) as store:
        for k in range(3):
            store.append(states(), {"label": list(range(7 * k, 7 * k + 7)), "name": [f"é{i}" for i in range(7)]})
    return {
        str(path.relative_to(folder / "store")): path.read_bytes()
        for path in sorted((folder / "store").rglob("*"))
        if path.is_file()
    }


def damaged(content, rng, others):
    """The same bytes, damaged in one to four ways."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        size = len(content)
        at = int(rng.integers(0, min(size, 200) if rng.random() < 0.5 else size)) if size else 0
        length = int(rng.integers(1, 40))
        match int(rng.integers(0, 9)):
            case 0 if size:
                content[at] ^= 1 << int(rng.integers(8))
            case 1 if size:
                content[at] = int(rng.integers(256))
            case 2:
                del content[at:]
            case 3:
                del content[at : at + length]
            case 4:
                content[at:at] = content[at : at + length]
            case 5:
                content[at:at] = rng.bytes(length)
            case 6:
                content[at : at + 4] = int(rng.choice([0, 1, 255, 65535, 2**31 - 1, 2**32 - 1])).to_bytes(4, "little")
            case 7:
                other = others[int(rng.integers(len(others)))]
                content[at : at + length] = other[at : at + length]
            case 8:
                found = list(re.finditer(rb"-?[0-9]+", content))
                if found:
                    which = found[int(rng.integers(len(found)))]
                    content[which.start() : which.end()] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    return bytes(content)


def read(path):
    """What the library makes of a file: numbers, or the columns of labels."""
    if path.name.startswith("labels"):
        table = Table(path)
        return [table.kinds, *table.batches([table.rows])]
    source = open_source(path, "cues")
    found = source.all("cues")
    assert "\n" not in source.about()
    assert len(source.about()) < 4000
    return found


def reference(path):
    """What other libraries make of the same file, in the same form; None where they have no numbers to compare."""
    suffix = path.suffix
    if path.name.startswith("labels"):
        if suffix == ".csv":
            return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)) and None
        if suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text("utf-8-sig").splitlines() if line.strip()] and None
        return np.load(path, allow_pickle=False) is None or None
    if suffix in (".npy", ".npz"):
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            array = loaded if suffix == ".npy" else loaded[loaded.files[0]]
        array = np.atleast_2d(array)
        return array.reshape(len(array), -1)
    if suffix in (".csv", ".tsv"):
        return _csv_reference(path)
    if suffix == ".safetensors":
        from safetensors.numpy import load_file

        tensors = load_file(path)
        codes = tensors["patterns"] if "patterns" in tensors else next(iter(tensors.values()))
        return codes * tensors["scale"][:, None] if "scale" in tensors else codes.reshape(len(codes), -1)
    if suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pandas().to_numpy()
    if suffix == ".feather":
        import pyarrow.feather

        return pyarrow.feather.read_table(path).to_pandas().to_numpy()
    from PIL import Image

    with path.open("rb") as file, Image.open(file) as image:
        image.load()
    return None


def _csv_reference(path):
    content = path.read_bytes()
    marks = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    text = content.decode(marks.get(content[:2], "utf-8-sig"))
    for separator in ("\t",) if path.suffix == ".tsv" else ";,\t":
        for skipped in (0, 1):
            lines = [line for line in io.StringIO(text, newline=None) if line.strip("\n")][skipped:]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = np.loadtxt(lines, delimiter=separator, quotechar='"', comments=None, ndmin=2)
                    if found.size:
                        return found
                    last = ValueError("no numbers")
                except ValueError as error:
                    last = error
    raise last


def peak():
    """The largest resident memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Report:
    """What was found: how many files were read and refused, and everything that should not be."""

    def __init__(self):
        self.counts = Counter()
        self.faults = []
        self.slowest, self.start = (0.0, ""), peak()

    def try_one(self, name, make, compare=None):
        """Read by `make`, and compare with what `compare` says."""
        start = time.perf_counter()
        found, ended = None, "refused"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = make()
            ended = "read"
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > 2500:
                self.faults.append((name, f"a message of {len(str(error))} characters: {error!s:.300}"))
        except Exception:
            self.faults.append((name, traceback.format_exc()))
            ended = "raised"
        taken = time.perf_counter() - start
        self.slowest = max(self.slowest, (taken, name))
        if taken > SECONDS:
            self.faults.append((name, f"took {taken:.0f} s"))
        self.counts[ended] += 1
        if ended == "read" and compare is not None:
            self._compare(name, found, compare)

    def _compare(self, name, found, compare):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = compare()
        except Exception as error:
            self.faults.append((name, f"read, but refused by another library: {error!r:.300}"))
            return
        if expected is None:
            return
        with np.errstate(all="ignore"):
            same = np.array_equal(np.asarray(found, float), np.asarray(expected, float), equal_nan=True)
        if not same:
            self.faults.append((name, f"read as {found!r:.200}, by another library as {expected!r:.200}"))

    @property
    def memory(self):
        return peak() - self.start


def fuzz(count, seed=0, kinds=None):
    """Read `count` damaged files, and as many stores for every ten; of all kinds, or of names with these suffixes."""
    rng, report = np.random.default_rng(seed), Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "whole").mkdir()
        files = whole_files(folder / "whole")
        for path in (folder / "whole").iterdir():
            if path.suffix != ".tif" or path.name not in ("pages.tif", "float.tif"):
                report.try_one(f"whole {path.name}", lambda path=path: read(path), lambda path=path: reference(path))
        if report.faults or report.counts["refused"]:
            raise AssertionError(f"whole files are not read: {report.counts} {report.faults}")
        names = [name for name in files if kinds is None or Path(name).suffix in kinds]
        others = list(files.values())
        for k in range(count):
            which = names[k % len(names)]
            path = folder / which
            path.write_bytes(damaged(files[which], rng, others))
            report.try_one(f"{k} {which}", lambda path=path: read(path), lambda path=path: reference(path))
            path.unlink()
        _fuzz_stores(folder, count // 10, rng, report)
    if report.memory > BOUND:
        report.faults.append(("memory", f"{report.memory >> 20} MiB"))
    return report


def _fuzz_stores(folder, count, rng, report):
    """Stores of which one file is damaged."""
    (folder / "source").mkdir()
    files = whole_store(folder / "source")
    others = list(files.values())
    for k in range(count):
        which = list(files)[k % len(files)]
        shutil.copytree(folder / "source" / "store", folder / "store")
        (folder / "store" / which).write_bytes(damaged(files[which], rng, others))
        report.try_one(f"{k} store {which}", lambda: read(folder / "store"))
        report.try_one(f"{k} store {which}", lambda: _salvage(folder / "store"))
        shutil.rmtree(folder / "store")


def _salvage(path):
    store = PatternStore.open(path, salvage=True)
    store.verify()
    return store.metadata(np.arange(len(store)))


def main():
    count, seed = (int(argument) for argument in (sys.argv[1:] + ["12000", "0"][len(sys.argv) - 1 :]))
    start = time.perf_counter()
    report = fuzz(count, seed)
    for name, fault in report.faults[:40]:
        print(f"{name}: {fault}")
    counts = ", ".join(f"{number} {what}" for what, number in report.counts.items())
    print(f"{report.counts.total()} files: {counts}; {len(report.faults)} faults; {time.perf_counter() - start:.0f} s")
    seconds, name = report.slowest
    print(f"The slowest, {name}, took {seconds:.2f} s; memory grew by {report.memory >> 20} MiB.")
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()

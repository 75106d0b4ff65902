"""The durable store: patterns with what is known about them, added in batches, on the disk.

A store is a folder of growing .npy files, `store.json`, which says what it holds, and `batches.jsonl`, the journal. A
batch is added in four steps: its data behind what is there, flushed to the disk; its line in the journal, flushed;
from here on it is there; then the row counts in the headers, for other readers. Nothing before is ever rewritten, so a
process killed at any moment, or a power cut, loses at most the batch being added.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dispersed.storage.columns import Kinds, column_data, column_files, column_values, read_column
from dispersed.storage.encoding import Encoding, Float32, encoding_named
from dispersed.storage.growing import GrowingArray
from dispersed.storage.journal import Record, journal_line, parse_line, read_journal
from dispersed.storage.mapped import Mapped
from dispersed.storage.storage import index_array
from dispersed.validation import InputError, at_least

VERSION = 1
"""Of the format; a higher one is refused."""

PATTERNS, SCALE, JOURNAL, SETTINGS = "patterns.npy", "scale.npy", "batches.jsonl", "store.json"


@dataclass(frozen=True)
class Batch:
    """Patterns `start` to `stop` − 1 of a store, added together."""

    start: int
    stop: int
    columns: Kinds
    arrays: dict[str, list[int]]
    """By file: first row, last row + 1 and the CRC-32 of their bytes."""
    source: str | None = None
    """Where the patterns came from, if that was said."""


@dataclass(frozen=True)
class Damage:
    """Something in a store that is not as it was written, and the patterns `start` to `stop` − 1 that it concerns."""

    path: Path
    start: int
    stop: int
    what: str

    def __str__(self) -> str:
        which = f" (patterns {self.start} to {self.stop - 1})" if self.stop > self.start else ""
        return f"{str(self.path)!r} {self.what}{which}"


class PatternStore:
    """Patterns of `dimension` units in one encoding, with columns of metadata, in the folder `path`.

    Opened without loading it: `storage` maps the patterns into memory, `metadata` reads the rows it is asked for. One
    process at a time may append; others may read meanwhile, each the patterns that were there when it opened the store
    or last called `refresh`. The first `append` takes a lock, which `close`, leaving the `with` block or the end of the
    process gives up.
    """

    def __init__(self, path: Path, dimension: int, encoding: Encoding) -> None:
        self.path, self.dimension, self.encoding = path, dimension, encoding
        self.damage: list[Damage] = []
        """What was passed over to open a damaged store."""
        self._batches: list[Batch] = []
        self._lines, self._journal_end = 0, 0
        self._storage: Mapped | None = None
        self._locked: BinaryIO | None = None

    @classmethod
    def create(cls, path: str | Path, dimension: int, encoding: Encoding = Float32()) -> "PatternStore":
        """A new, empty store in the folder `path`, which must not exist yet; its parent must."""
        path, dimension = Path(path), at_least("dimension", dimension, 1)
        if path.exists() or path.is_symlink():
            raise InputError("store", f"{str(path)!r} is there already", "a name that is free is accepted")
        settings = {"format": "dispersed pattern store", "version": VERSION}
        settings |= {"dimension": dimension, "encoding": encoding.name}
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            try:
                store = cls(folder, dimension, encoding)
                for array in store._arrays({}).values():
                    array.write(0, np.empty(array.shape(0)))
                    array.flush()
                for name, content in ((JOURNAL, b""), (SETTINGS, journal_line(settings))):
                    with (folder / name).open("wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                folder.chmod(0o755)
                _sync_folder(folder)
                folder.rename(path)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            _sync_folder(path.parent)
        except OSError as error:
            given = f"{str(path)!r} cannot be made ({error.strerror})"
            raise InputError("store", given, "a place that can be written") from None
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, salvage: bool = False) -> "PatternStore":
        """The store in the folder `path`. The sizes of its files are checked; `verify` checks what is in them.

        With `salvage`, of a damaged store what is still whole is opened for reading, and `damage` says what is not;
        otherwise a damaged store is refused.

        Raises `InputError`, naming the file, for whatever is missing, damaged, truncated or of a newer format.
        """
        path = Path(path)
        try:
            store = cls(path, *_settings(path))
            store.refresh()
        except OSError as error:
            given = f"{str(error.filename or path)!r} cannot be read ({error.strerror})"
            raise InputError("store", given, "a folder made by dispersed store create") from None
        store._drop_truncated()
        if store.damage and not salvage:
            accepted = f"open(..., salvage=True) reads the {len(store)} patterns that are whole"
            raise InputError("store", str(store.damage[0]), accepted)
        return store

    def __len__(self) -> int:
        return self._batches[-1].stop if self._batches else 0

    @property
    def columns(self) -> Kinds:
        """The columns of metadata and their kinds; the first batch decides them."""
        return self._batches[-1].columns if self._batches else {}

    @property
    def batches(self) -> Sequence[Batch]:
        """The batches in the order they were added in."""
        return tuple(self._batches)

    @property
    def storage(self) -> Mapped:
        """The patterns as they are now, memory-mapped; what is added later does not change it."""
        if self._storage is None:
            arrays, n = self._arrays({}), len(self)
            scale = arrays[SCALE].mapped(n) if SCALE in arrays else None
            codes = arrays[PATTERNS].mapped(n)
            self._storage = Mapped(codes, scale, self.encoding, self.dimension, f"store {str(self.path)!r}")
        return self._storage

    def metadata(self, indices: Any) -> list[dict[str, Any]]:
        """What is known about the patterns at `indices` (k,): one mapping of column names to values each."""
        chosen = index_array(indices, len(self))
        if not chosen.size:
            return []
        values = {name: self._column(name, kind, chosen) for name, kind in self.columns.items()}
        return [{name: column[k] for name, column in values.items()} for k in range(len(chosen))]

    def refresh(self) -> None:
        """Take in what was added since the store was opened or last refreshed."""
        records, end = read_journal(self.path / JOURNAL, self._journal_end)
        for record in records:
            self._take(record)
        self._journal_end = end

    def append(self, patterns: Any, metadata: Mapping[str, Any] | None = None, source: str | None = None) -> range:
        """Add a batch of patterns (k, d) and return their indices.

        `metadata` has one value a pattern in each column: whole numbers, numbers, truth values or texts. All batches
        have the same columns. When this returns, the batch is on the disk; if it raises, nothing was added.

        Raises `InputError` if the batch does not fit the store, while another process adds to it, and on a full disk.
        """
        codes, scale = self.encoding.encode(patterns)
        if np.shape(patterns)[1] != self.dimension:
            given = f"got {np.shape(patterns)[1]} units for a store of {self.dimension}"
            raise InputError("patterns", given, f"shape (k, {self.dimension}) is accepted")
        if not len(codes):
            return range(len(self), len(self))
        columns = {name: column_values(name, values, len(codes)) for name, values in (metadata or {}).items()}
        journal = self._lock()
        kinds = self._kinds(columns)
        held, first = self._held(), len(self)
        data = {PATTERNS: codes} if scale is None else {PATTERNS: codes, SCALE: scale}
        for name, kind in kinds.items():
            data |= column_data(name, kind, columns[name][1], held)
        arrays = self._arrays(kinds)
        try:
            (self.path / "columns").mkdir(exist_ok=True)
            written = {}
            for file, rows in data.items():
                start = held.get(file, 0)
                written[file] = [start, start + len(rows), arrays[file].write(start, rows)]
            with ThreadPoolExecutor(len(data)) as pool:  # flushed together, the disk is waited for once
                list(pool.map(lambda file: arrays[file].flush(), data))
            if not self._batches:
                _sync_folder(self.path / "columns")
                _sync_folder(self.path)
            record = asdict(Batch(first, first + len(codes), kinds, written, source))
            line = journal_line(record)
            self._commit(journal, line)
        except BaseException as error:
            self._roll_back(journal, arrays, held)
            if isinstance(error, OSError):
                given = f"{str(self.path)!r} cannot be written ({error.strerror}); nothing was added"
                raise InputError("store", given, "a disk with room is needed") from None
            raise
        # From here on the batch is there, and whatever happens must leave it.
        self._take(record)
        self._journal_end += len(line)
        with contextlib.suppress(OSError):
            for file, (_, stop, _) in written.items():
                arrays[file].tell(stop)
        return range(first, len(self))

    def verify(self, track: Callable[[Sequence[Batch]], Iterable[Batch]] = iter) -> list[Damage]:
        """Read everything and return what is not as it was written; an empty list if all is.

        `track` may wrap the batches, for example in a progress bar.
        """
        found, arrays = list(self.damage), self._arrays(self.columns)
        for batch in track(self._batches):
            for file, (start, stop, checksum) in batch.arrays.items():
                if not arrays[file].holds(stop):
                    found.append(Damage(arrays[file].path, batch.start, batch.stop, "is truncated"))
                elif checksum >= 0 and arrays[file].checksum(start, stop) != checksum:
                    what = "differs from its checksum"
                    found.append(Damage(arrays[file].path, batch.start, batch.stop, what))
        last = {} if self.damage or not self._batches else self._batches[-1].arrays
        for file in last:
            told = arrays[file].told()  # lags behind if appends were killed, leads if the store has grown since
            if told is None or not arrays[file].holds(told):
                found.append(Damage(arrays[file].path, 0, 0, "has a damaged header, which only other readers use"))
        return found

    def close(self) -> None:
        """Give up the lock that the first `append` took."""
        if self._locked is not None:
            self._locked.close()
            self._locked = None

    def __enter__(self) -> "PatternStore":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = f"{len(self)} x {self.dimension}, {self.encoding.name}, {len(self._batches)} batches"
        return f"PatternStore({size}, {str(self.path)!r})"

    def _column(self, name: str, kind: str, indices: np.ndarray) -> list[Any]:
        """The values of one column."""
        arrays, held = self._arrays({name: kind}), self._held()
        files = list(column_files(name, kind))
        try:
            return read_column([arrays[file].mapped(held[file])[0] for file in files], kind, indices)
        except UnicodeDecodeError:
            given = f"{str(self.path)!r} holds a damaged text in the column {name!r}"
            raise InputError("store", given, "dispersed store info --verify finds the batch") from None

    def _arrays(self, kinds: Kinds) -> dict[str, GrowingArray]:
        width = self.encoding.width(self.dimension)
        arrays = {PATTERNS: GrowingArray(self.path / PATTERNS, self.encoding.dtype, width)}
        if self.encoding.scaled:
            arrays[SCALE] = GrowingArray(self.path / SCALE, np.dtype("<f4"))
        for name, kind in kinds.items():
            for file, dtype in column_files(name, kind).items():
                arrays[file] = GrowingArray(self.path / file, dtype)
        return arrays

    def _held(self) -> dict[str, int]:
        """The rows of each file."""
        return {file: stop for file, (_, stop, _) in self._batches[-1].arrays.items()} if self._batches else {}

    def _kinds(self, columns: Mapping[str, tuple[str, Any]]) -> Kinds:
        """The kinds of the columns of a batch, which must be those of the store."""
        given = {name: kind for name, (kind, _) in columns.items()}
        if not self._batches:
            return given
        fitting = {
            name: "float64" if (kind, self.columns.get(name)) == ("int64", "float64") else kind
            for name, kind in given.items()
        }
        if fitting != self.columns:
            raise InputError("metadata", f"got {_shown(given)}", f"the store has {_shown(self.columns)}")
        return dict(self.columns)

    def _take(self, record: Record | None) -> None:
        """Count a batch in by its record in the journal."""
        self._lines += 1
        if record is None:
            what = f"record {self._lines} is damaged"
            self.damage.append(Damage(self.path / JOURNAL, len(self), len(self), what))
            return
        batch = Batch(**record)
        if batch.stop <= len(self):  # taken before an interrupt
            return
        self._storage = None
        if batch.start > len(self):
            # The records between are damaged, but their data lie where this one's begin, without a known checksum.
            held = self._held()
            between = {file: [held.get(file, 0), start, -1] for file, (start, _, _) in batch.arrays.items()}
            self._batches.append(Batch(len(self), batch.start, batch.columns, between))
        self._batches.append(batch)

    def _drop_truncated(self) -> None:
        """Leave out the last batches, as many as are not wholly there."""
        arrays, before = self._arrays(self.columns), len(self)
        cut: list[Path] = []
        while self._batches:
            short = [arrays[file].path for file, rows in self._held().items() if not arrays[file].holds(rows)]
            if not short:
                break
            self._batches.pop()
            cut += [path for path in short if path not in cut]
        self.damage += [Damage(path, len(self), before, "is truncated or missing") for path in cut]

    def _lock(self) -> BinaryIO:
        """The journal, open for writing and locked, with all that is in it taken in."""
        if self.damage:
            raise InputError("store", str(self.damage[0]), "only an undamaged store can be added to")
        if self._locked is None:
            self._locked = self._take_lock()
        self.refresh()
        return self._locked

    def _take_lock(self) -> BinaryIO:
        import fcntl  # not on Windows, where stores can be read

        try:
            file = (self.path / JOURNAL).open("r+b", buffering=0)
        except OSError as error:
            given = f"{str(self.path)!r} cannot be written ({error.strerror})"
            raise InputError("store", given, "a folder that can be written") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            given = f"{str(self.path)!r} is being added to by another process"
            raise InputError("store", given, "one at a time is accepted") from None
        return file

    def _commit(self, journal: BinaryIO, line: bytes) -> None:
        """Write a line into the journal behind its last whole one: with that the batch is there."""
        journal.truncate(self._journal_end)
        journal.seek(self._journal_end)
        written = journal.write(line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(journal.fileno())

    def _roll_back(self, journal: BinaryIO, arrays: Mapping[str, GrowingArray], held: Mapping[str, int]) -> None:
        """Give back the room of a batch that failed. If that fails too, the next append overwrites it."""
        try:
            journal.truncate(self._journal_end)
            for file, array in arrays.items():
                array.cut(held.get(file, 0))
        except OSError:
            pass


def _settings(path: Path) -> tuple[int, Encoding]:
    """Dimension and encoding, from the file that says what the store holds."""
    file = path / SETTINGS
    if not file.exists():
        raise InputError("store", f"{str(path)!r} holds no store", "a folder made by dispersed store create")
    settings = parse_line(file.read_bytes())
    if settings is None or settings.get("format") != "dispersed pattern store":
        raise InputError("store", f"{str(file)!r} is damaged", "the settings of a store are needed")
    version = settings["version"]
    if version != VERSION:
        given = f"{str(file)!r} says format {version}"
        raise InputError("store", given, f"this version of dispersed reads format {VERSION}; a newer one may be needed")
    return settings["dimension"], encoding_named(settings["encoding"])


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shown(kinds: Kinds) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "no columns"

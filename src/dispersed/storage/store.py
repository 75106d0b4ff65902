"""The durable store: patterns with what is known about them, added in batches, on the disk.

A store is a folder of growing .npy files, `store.json`, which says what it holds, and `batches.jsonl`, the journal. A
batch is added in four steps: its data behind what is there, flushed to the disk; its line in the journal, flushed;
from here on it is there; then the row counts in the headers. Nothing before is ever rewritten, so a process killed at
any moment, or a power cut, loses at most the batch being added. The headers count no more rows than the journal, unless
the journal has lost lines: then the store is damaged.
"""

import contextlib
import io
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dispersed.atomic import flush_folder, lock, write_atomically
from dispersed.storage.batches import Batch, Origin, columns_of, recorded_batch, row_count, rows_of_files
from dispersed.storage.columns import TEXTS, Kinds, column_data, column_files, column_values, read_column
from dispersed.storage.encoding import Codes, Encoding, Float32, Scale
from dispersed.storage.folder import open_inside
from dispersed.storage.growing import GrowingArray, write_at
from dispersed.storage.journal import Record, journal_line, parse_journal
from dispersed.storage.mapped import Mapped
from dispersed.storage.settings import LARGEST, SETTINGS, read_settings, settings_line
from dispersed.storage.storage import index_array
from dispersed.validation import InputError, at_least

PATTERNS, SCALE, JOURNAL = "patterns.npy", "scale.npy", "batches.jsonl"


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


class Prepared(NamedTuple):
    """A batch as a store writes it: codes (k, width), scales (k,) or None, and the kind and values of each column."""

    codes: Codes
    scale: Scale
    columns: dict[str, tuple[str, Any]]


class Known(NamedTuple):
    """What has been read of a journal: its batches, how many lines, and where the last one ends."""

    batches: tuple[Batch, ...] = ()
    lines: int = 0
    end: int = 0


class PatternStore:
    """Patterns of `dimension` units in one encoding, with columns of metadata, in the folder `path`.

    Opened without loading it: `storage` maps the patterns into memory, `metadata` reads rows by their indices. One
    process at a time may append; others may read meanwhile, each the patterns that were there when it opened the store
    or last called `refresh`. The first `append` takes a lock, which `close`, leaving the `with` block or the end of the
    process gives up. Threads may share a store: their appends follow one another. A forked process has the store, but
    not its lock. Pickled, a store is its path, which is opened again.
    """

    def __init__(self, path: Path, dimension: int, encoding: Encoding) -> None:
        self.path, self.dimension, self.encoding = path, dimension, encoding
        self.damage: list[Damage] = []
        """What was passed over to open a damaged store."""
        self._codes = encoding.dtype, encoding.width(dimension)
        # Assigned as a whole, so that neither an interrupt nor another thread sees half of an append.
        self._known = Known()
        self._storage: Mapped | None = None
        self._mutex = threading.RLock()
        self._journal: io.FileIO | None = None
        _ALIVE.add(self)

    @classmethod
    def create(cls, path: str | Path, dimension: int, encoding: Encoding = Float32()) -> "PatternStore":
        """A new, empty store in the folder `path`, which must not exist yet; its parent must."""
        path, dimension = Path(path), at_least("dimension", dimension, 1)
        if dimension > LARGEST:
            raise InputError("dimension", f"got {dimension}", f"whole numbers from 1 to {LARGEST} are accepted")
        if os.path.lexists(path):
            raise InputError("store", f"{str(path)!r} is there already", "a name that is free is accepted")

        def fill(folder: Path) -> None:
            for array in cls(folder, dimension, encoding)._arrays({}).values():
                array.write(0, np.empty(array.shape(0)))
                array.flush()
            for name, content in ((JOURNAL, b""), (SETTINGS, settings_line(dimension, encoding))):
                with io.FileIO(open_inside(folder, name, os.O_RDWR | os.O_CREAT), "r+") as file:
                    write_at(file.fileno(), content, 0)
                    os.fsync(file.fileno())

        try:
            write_atomically(path, fill, folder=True)
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
            store = cls(path, *read_settings(path))
            store._read_journal()
        except OSError as error:
            given = f"{str(error.filename or path)!r} cannot be read ({error.strerror})"
            raise InputError("store", given, "a folder made by dispersed store create") from None
        store._drop_truncated()
        if not salvage:
            store._refuse_damage(f"open(..., salvage=True) reads the {len(store)} patterns that are whole")
        return store

    def __len__(self) -> int:
        return row_count(self._known.batches)

    @property
    def columns(self) -> Kinds:
        """The columns of metadata and their kinds; the first batch decides them."""
        return columns_of(self._known.batches)

    @property
    def batches(self) -> Sequence[Batch]:
        """The batches in the order they were added in."""
        return self._known.batches

    @property
    def storage(self) -> Mapped:
        """The patterns as they are now, memory-mapped; what is added later does not change it."""
        storage, n = self._storage, len(self)
        if storage is None or len(storage) != n:
            arrays = self._arrays({})
            scale = arrays[SCALE].mapped(n) if SCALE in arrays else None
            codes = arrays[PATTERNS].mapped(n)
            self._storage = storage = Mapped(codes, scale, self.encoding, self.dimension, f"store {str(self.path)!r}")
        return storage

    def metadata(self, indices: Any) -> list[dict[str, Any]]:
        """What is known about the patterns at `indices` (k,): one mapping of column names to values each."""
        batches = self._known.batches
        chosen = index_array(indices, row_count(batches))
        if not chosen.size:
            return []
        held = rows_of_files(batches)
        values = {name: self._column(name, kind, held, chosen) for name, kind in columns_of(batches).items()}
        return [{name: column[k] for name, column in values.items()} for k in range(len(chosen))]

    def refresh(self) -> None:
        """Take in what was added since the store was opened or last refreshed.

        Raises `InputError` if what was there has been damaged since, as far as sizes show it.
        """
        with self._mutex:
            before = len(self.damage)
            try:
                self._read_journal()
            except OSError as error:
                given = f"{str(error.filename or self.path)!r} cannot be read ({error.strerror})"
                raise InputError("store", given, "the files of a store are needed") from None
            if len(self.damage) > before:
                self._refuse_damage("only an undamaged store can be refreshed")

    def lock(self) -> None:
        """Take the lock that `append` takes, and take in what other processes have added before.

        Raises `InputError` while another process has it.
        """
        with self._mutex:
            self._writable()

    def append(self, patterns: Any, metadata: Mapping[str, Any] | None = None) -> range:
        """Add a batch of patterns (k, d) and return their indices.

        `metadata` has one value a pattern in each column: whole numbers, numbers, truth values or texts. All batches
        have the same columns. When this returns, the batch is on the disk; if it raises, nothing was added.

        Raises `InputError` if the batch does not fit the store, while another process adds to it, and on a full disk.
        """
        self._refuse_damage("only an undamaged store can be added to")
        return self.add(self.prepare(patterns, metadata))

    def prepare(self, patterns: Any, metadata: Mapping[str, Any] | None = None) -> Prepared:
        """A batch as `append` would write it, without writing.

        Raises `InputError` for what does not fit the store.
        """
        codes, scale = self.encoding.encode(patterns)
        if np.shape(patterns)[1] != self.dimension:
            given = f"got {np.shape(patterns)[1]} units for a store of {self.dimension}"
            raise InputError("patterns", given, f"shape (k, {self.dimension}) is accepted")
        columns = {name: column_values(name, values, len(codes)) for name, values in (metadata or {}).items()}
        if len(codes):
            self._kinds(columns)
        return Prepared(codes, scale, columns)

    def add(self, prepared: Prepared, origin: Origin | None = None) -> range:
        """Add a batch that `prepare` has made, and where it came from, as `append` does."""
        codes, scale, columns = prepared
        if not len(codes):
            return range(len(self), len(self))
        with self._mutex:
            journal = self._writable()
            kinds = self._kinds(columns)
            held, first = rows_of_files(self._known.batches), len(self)
            data = {PATTERNS: codes} if scale is None else {PATTERNS: codes, SCALE: scale}
            for name, kind in kinds.items():
                data |= column_data(name, kind, columns[name][1], held)
            arrays = self._arrays(kinds)
            try:
                self._settle(journal)
                (self.path / "columns").mkdir(exist_ok=True)
                written = {}
                for file, rows in data.items():
                    start = held.get(file, 0)
                    written[file] = [start, start + len(rows), arrays[file].write(start, rows)]
                with ThreadPoolExecutor(len(data)) as pool:  # all at once: the disk is waited for once
                    list(pool.map(lambda file: arrays[file].flush(), data))
                if not self._known.batches:
                    flush_folder(self.path / "columns")
                    flush_folder(self.path)
                batch = Batch(first, first + len(codes), kinds, written, origin)
                line = journal_line(asdict(batch))
                write_at(journal.fileno(), line, self._known.end)
                os.fsync(journal.fileno())
            except BaseException as error:
                self._roll_back(journal, arrays, held)
                if isinstance(error, OSError):
                    given = f"{str(error.filename or self.path)!r} cannot be written ({error.strerror})"
                    raise InputError("store", f"{given}; nothing was added", "a disk with room is needed") from None
                raise
            # From here on the batch is there, and whatever happens must leave it.
            self._take(batch, line)
            with contextlib.suppress(OSError):
                for file, (_, stop, _) in written.items():
                    arrays[file].tell(stop)
            return range(first, first + len(codes))

    def verify(self, track: Callable[[Sequence[Batch]], Iterable[Batch]] = iter) -> list[Damage]:
        """Read everything and return what is not as it was written; an empty list if all is.

        `track` may wrap the batches, for example in a progress bar.
        """
        found, batches = list(PatternStore.open(self.path, salvage=True).damage), self._known.batches
        arrays = self._arrays(columns_of(batches))
        for batch in track(batches):
            for file, (start, stop, checksum) in batch.arrays.items():
                path, rows = arrays[file].path, (batch.start, batch.stop)
                if not arrays[file].holds(stop):
                    found.append(Damage(path, *rows, "is truncated or missing"))
                elif checksum >= 0 and arrays[file].checksum(start, stop) != checksum:
                    found.append(Damage(path, *rows, "differs from its checksum"))
        for file in {} if found else rows_of_files(batches):
            told = arrays[file].told()  # lags behind if appends were killed, leads if the store has grown since
            if told is None or not arrays[file].holds(told):
                found.append(Damage(arrays[file].path, 0, 0, "has a damaged header"))
        return found

    def close(self) -> None:
        """Give up the lock that the first `append` took."""
        with self._mutex:
            journal, self._journal = self._journal, None
            if journal is None:
                return
            with contextlib.suppress(OSError):  # what headers count is a second witness, not the first
                for file in rows_of_files(self._known.batches):
                    self._arrays(self.columns)[file].flush()
            journal.close()

    def __enter__(self) -> "PatternStore":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return PatternStore.open, (self.path, bool(self.damage))

    def __repr__(self) -> str:
        size = f"{len(self)} x {self.dimension}, {self.encoding.name}, {len(self.batches)} batches"
        return f"PatternStore({size}, {str(self.path)!r})"

    def _column(self, name: str, kind: str, held: Mapping[str, int], indices: np.ndarray) -> list[Any]:
        """The values of one column."""
        arrays = self._arrays({name: kind})
        try:
            return read_column([arrays[file].mapped(held[file])[0] for file in column_files(name, kind)], kind, indices)
        except UnicodeDecodeError:
            given = f"{str(self.path)!r} holds a damaged text in the column {name!r}"
        except OSError as error:
            given = f"{str(error.filename)!r} cannot be read ({error.strerror})"
        raise InputError("store", given, "dispersed store info --verify finds the batch") from None

    def _arrays(self, kinds: Kinds) -> dict[str, GrowingArray]:
        arrays = {PATTERNS: GrowingArray(self.path, PATTERNS, *self._codes)}
        if self.encoding.scaled:
            arrays[SCALE] = GrowingArray(self.path, SCALE, np.dtype("<f4"))
        for name, kind in kinds.items():
            for file, dtype in column_files(name, kind).items():
                arrays[file] = GrowingArray(self.path, file, dtype)
        return arrays

    def _kinds(self, columns: Mapping[str, tuple[str, Any]]) -> Kinds:
        """The kinds of the columns of a batch, which must be those of the store."""
        given = {name: kind for name, (kind, _) in columns.items()}
        if not self._known.batches:
            return given
        fitting = {
            name: "float64" if (kind, self.columns.get(name)) == ("int64", "float64") else kind
            for name, kind in given.items()
        }
        if fitting != self.columns:
            raise InputError("metadata", f"got {_shown(given)}", f"the store has {_shown(self.columns)}")
        return dict(self.columns)

    def _read_journal(self) -> None:
        """Take in the lines of the journal that are new, and what is wrong with them."""
        patterns = self._arrays({})[PATTERNS]
        for _ in range(3):  # a count that is just being written may be read half old, half new
            told = patterns.told()  # before the journal, which is never behind it
            with io.FileIO(open_inside(self.path, JOURNAL)) as file:
                if os.fstat(file.fileno()).st_size < self._known.end:
                    self._found(self.path / JOURNAL, 0, 0, "has become shorter since it was opened")
                    return
                file.seek(self._known.end)
                records, end = parse_journal(file.read())
            batches, lines = list(self._known.batches), self._known.lines
            for record in records:
                lines += 1
                self._add(batches, lines, record)
            self._known = Known(tuple(batches), lines, self._known.end + end)
            if told is None or told <= len(self):
                return
        assert told is not None
        what = f"has fewer records than the {told} patterns that {PATTERNS} counts"
        self._found(self.path / JOURNAL, len(self), told, what)
        # By the headers, the data of the missing ones are there, without known checksums.
        held, arrays = rows_of_files(self._known.batches), self._arrays(self.columns)
        counts = {file: array.told() or 0 for file, array in arrays.items()}
        if all(rows == told or (file.endswith(TEXTS) and rows >= held[file]) for file, rows in counts.items()):
            rest = {file: [held.get(file, 0), rows, -1] for file, rows in counts.items()}
            batch = Batch(len(self), told, self.columns, rest)
            self._known = self._known._replace(batches=(*self._known.batches, batch))

    def _add(self, batches: list[Batch], line: int, record: Record | None) -> None:
        """Count a batch in by its record, which is line number `line` of the journal."""
        before, n = batches[-1] if batches else None, row_count(batches)
        batch = None if record is None else recorded_batch(record, before, self._arrays)
        if batch is None:
            self._found(self.path / JOURNAL, n, n, f"record {line} is damaged")
            return
        if batch.start > n:
            # The data between lie where this batch's begin, without a known checksum.
            self._found(self.path / JOURNAL, n, batch.start, f"has lost the records before record {line}")
            held = rows_of_files(batches)
            between = {file: [held.get(file, 0), start, -1] for file, (start, _, _) in batch.arrays.items()}
            batches.append(Batch(n, batch.start, batch.columns, between))
        batches.append(batch)

    def _take(self, batch: Batch, line: bytes) -> None:
        """Count in a batch that was just written."""
        batches, lines, end = self._known
        self._known = Known((*batches, batch), lines + 1, end + len(line))

    def _found(self, path: Path, start: int, stop: int, what: str) -> None:
        damage = Damage(path, start, stop, what)
        if damage not in self.damage:
            self.damage.append(damage)

    def _refuse_damage(self, accepted: str) -> None:
        if self.damage:
            raise InputError("store", str(self.damage[0]), accepted)

    def _drop_truncated(self) -> None:
        """Leave out the last batches, as many as are not wholly there."""
        batches, before = list(self._known.batches), len(self)
        arrays = self._arrays(self.columns)
        cut: list[Path] = []
        while True:
            held = rows_of_files(batches) or dict.fromkeys(self._arrays({}), 0)
            short = [arrays[file].path for file, rows in held.items() if not arrays[file].holds(rows)]
            cut += [path for path in short if path not in cut]
            if not short or not batches:
                break
            batches.pop()
        self._known = self._known._replace(batches=tuple(batches))
        for path in cut:
            self._found(path, len(self), before, "is truncated or missing")

    def _writable(self) -> io.FileIO:
        """The journal, open for writing and locked, with all that is in it taken in."""
        accepted = "only an undamaged store can be added to"
        taken = self._journal is None
        journal = self._take_lock() if self._journal is None else self._journal
        try:
            self._read_journal()
            if taken:
                self._drop_truncated()
                os.fsync(journal.fileno())  # what a killed process wrote may count now, so it must stay
            self._refuse_damage(accepted)
        except BaseException as error:
            if taken:
                journal.close()
            if isinstance(error, OSError):
                given = f"{str(error.filename or self.path)!r} cannot be locked ({error.strerror}); nothing was added"
                raise InputError("store", given, accepted) from None
            raise
        self._journal = journal
        return journal

    def _take_lock(self) -> io.FileIO:
        if os.name != "posix":
            raise InputError("store", f"got {str(self.path)!r}", "stores are added to on POSIX systems only")
        try:
            file = io.FileIO(open_inside(self.path, JOURNAL, os.O_RDWR), "r+")
        except OSError as error:
            given = f"{str(error.filename or self.path)!r} cannot be written ({error.strerror})"
            raise InputError("store", given, "a folder that can be written") from None
        if not lock(file.fileno()):
            file.close()
            given = f"{str(self.path)!r} is being added to by another process or another object"
            raise InputError("store", given, "one at a time is accepted")
        return file

    def _settle(self, journal: io.FileIO) -> None:
        """Drop what lies behind the last line of the journal for good, before any data that it speaks of changes."""
        if os.fstat(journal.fileno()).st_size > self._known.end:
            os.ftruncate(journal.fileno(), self._known.end)
            os.fsync(journal.fileno())

    def _roll_back(self, journal: io.FileIO, arrays: Mapping[str, GrowingArray], held: Mapping[str, int]) -> None:
        """Give back the room of a batch that failed. If that fails too, the next append overwrites it."""
        with contextlib.suppress(OSError):
            self._settle(journal)
            for file, array in arrays.items():
                array.cut(held.get(file, 0))


_ALIVE: weakref.WeakSet[PatternStore] = weakref.WeakSet()


def _forked() -> None:
    """In a forked process: it has inherited handles of journals, and with them locks that are not its own."""
    for store in _ALIVE:
        store._mutex = threading.RLock()
        if store._journal is not None:
            store._journal.close()
            store._journal = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _shown(kinds: Kinds) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "no columns"

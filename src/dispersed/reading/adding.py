"""Files of the user added to a store: each wholly checked before, known by what is in it, and never twice unasked."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dispersed.reading.labels import Table
from dispersed.reading.paths import shown_name
from dispersed.reading.source import Source
from dispersed.storage import Origin, PatternStore, Prepared
from dispersed.validation import InputError, at_least

LABELS = "labels"
"""What a user calls the metadata of patterns."""
FILE = "file"
"""The column that names the file of each pattern."""
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes things through, given what is done with them and how many they are, as a progress bar does."""


class Piece(NamedTuple):
    """Patterns `start` to `stop` − 1 of the file number `file`."""

    file: int
    start: int
    stop: int


def add_files(
    store: PatternStore,
    sources: Sequence[Source],
    labels: Path | None = None,
    *,
    batch: int = 65536,
    resume: bool = False,
    again: bool = False,
    track: Track = lambda things, what, count: things,
) -> int:
    """Add the patterns of files to a store, `batch` at a time, with a row of `labels` for each, and return how many.

    The store stays locked meanwhile. All files are read twice: nothing is added before everything has been checked and
    has got its SHA-256, and a batch that is another one when it is read again is refused. A file that is in the store
    already, whatever its name is now, is refused, unless `again` is given, or `resume`, which adds what is missing.

    A store that begins with images has a column `file`, which names the file of each pattern, `folder/name` of those of
    a folder; one that begins without it stays so.

    Raises `InputError`, naming the file and the pattern, for what does not fit the store.
    """
    batch = at_least("batch", batch, 1)
    if resume and again:
        raise InputError("--resume, --again", "got both", "one of them is accepted")
    names = [str(source.path.resolve()) for source in sources]
    if len(set(names)) < len(names):
        raise InputError("files", "got a file twice", "each file once is accepted")
    for name, source in zip(names, sources, strict=True):
        if source.shape[1] != store.dimension:
            given = f"{name!r} holds patterns of {source.shape[1]} units"
            raise InputError("files", given, f"the store has patterns of {store.dimension}")
    table = None if labels is None else Table(labels)
    total = sum(source.shape[0] for source in sources)
    if table is not None and table.rows != total:
        given = f"{str(labels)!r} has {table.rows} rows for {total} patterns"
        raise InputError("labels", given, "a row for each pattern is needed")
    store.lock()
    pieces = [
        Piece(file, start, min(start + batch, source.shape[0]))
        for file, source in enumerate(sources)
        for start in range(0, source.shape[0], batch)
    ]
    files = _file_names(store, sources, table)
    digests, checksums = [Digest() for _ in sources], []
    for piece, prepared in track(_read(store, sources, table, files, pieces), "Check", len(pieces)):
        digests[piece.file].update(prepared)
        checksums.append(_checksum(prepared))
    origins = [
        Origin(name, source.shape[0], 0, *digest.names())
        for name, source, digest in zip(names, sources, digests, strict=True)
    ]
    there = [_there(store, origin, resume, again) for origin in origins]
    before = len(store)
    read = zip(_read(store, sources, table, files, pieces), checksums, strict=True)
    for (piece, prepared), checksum in track(read, "Add", len(pieces)):
        if _checksum(prepared) != checksum:
            given = f"{names[piece.file]!r} or its labels have changed while they were being added"
            raise InputError("files", given, "files that stay as they are; --resume goes on with them")
        skipped = max(there[piece.file] - piece.start, 0)
        if skipped < piece.stop - piece.start:
            store.add(_rest(prepared, skipped), replace(origins[piece.file], start=piece.start + skipped))
    return len(store) - before


class Digest:
    """SHA-256 of patterns and of what is known about them, the same in batches of any size."""

    def __init__(self) -> None:
        self._patterns = [hashlib.sha256(), hashlib.sha256()]
        self._columns: dict[tuple[str, str], Any] = {}

    def update(self, prepared: Prepared) -> None:
        """Take in the next batch."""
        self._patterns[0].update(np.ascontiguousarray(prepared.codes).data)
        if prepared.scale is not None:
            self._patterns[1].update(prepared.scale.data)
        for name, (kind, values) in prepared.columns.items():
            self._columns.setdefault((name, kind), hashlib.sha256()).update(_bytes(kind, values))

    def names(self) -> tuple[str, str]:
        """Of the patterns, and of all columns, empty without any."""
        patterns = hashlib.sha256(b"".join(each.digest() for each in self._patterns)).hexdigest()
        columns = repr([(*named, each.hexdigest()) for named, each in sorted(self._columns.items())])
        return patterns, hashlib.sha256(columns.encode()).hexdigest() if self._columns else ""


def _bytes(kind: str, values: Any) -> bytes:
    if kind != "str":
        return values.tobytes()
    texts = [value.encode("utf-8", "surrogatepass") for value in values]
    return b"".join(len(text).to_bytes(8, "little") + text for text in texts)


def _checksum(prepared: Prepared) -> int:
    checksum = zlib.crc32(np.ascontiguousarray(prepared.codes).data)
    if prepared.scale is not None:
        checksum = zlib.crc32(prepared.scale.data, checksum)
    for kind, values in prepared.columns.values():
        checksum = zlib.crc32(_bytes(kind, values), checksum)
    return checksum


def _rest(prepared: Prepared, skipped: int) -> Prepared:
    scale = None if prepared.scale is None else prepared.scale[skipped:]
    columns = {name: (kind, values[skipped:]) for name, (kind, values) in prepared.columns.items()}
    return Prepared(prepared.codes[skipped:], scale, columns)


def _file_names(store: PatternStore, sources: Sequence[Source], table: Table | None) -> list[Sequence[str]] | None:
    """The names for the column `file`, of each source a list; None where it is given by labels or is not there."""
    if table is not None and FILE in table.kinds:
        return None
    if len(store) and store.columns.get(FILE) != "str":
        for source in sources:
            source.notes += [] if source.names is None else [f"no names kept, the store has no texts {FILE!r}"]
        return None
    if not len(store) and all(source.names is None for source in sources):
        return None
    return [_names(source) for source in sources]


def _names(source: Source) -> Sequence[str]:
    path = source.path.resolve()
    if source.names is None:
        return [shown_name(path)] * source.shape[0]
    # Images of several folders often have the same names.
    return [f"{shown_name(path)}/{name}" for name in source.names] if path.is_dir() else source.names


def _read(
    store: PatternStore,
    sources: Sequence[Source],
    table: Table | None,
    files: Sequence[Sequence[str]] | None,
    pieces: Sequence[Piece],
) -> Iterator[tuple[Piece, Prepared]]:
    """All pieces in order, as the store would write them."""
    sizes = (stop - start for _, start, stop in pieces)
    columns: Iterable[Any] = repeat(None) if table is None else table.batches(sizes)
    for piece, known in zip(pieces, columns, strict=False):
        source = sources[piece.file]
        if files is not None:
            known = (known or {}) | {FILE: files[piece.file][piece.start : piece.stop]}
        yield piece, _prepared(store, source, piece, source.read(piece.start, piece.stop), known)


def _prepared(store: PatternStore, source: Source, piece: Piece, rows: np.ndarray, known: Any) -> Prepared:
    """What the store makes of some patterns, or `InputError` with the first one that it refuses."""
    try:
        return store.prepare(rows, known)
    except InputError as error:
        argument, given, accepted = error._parts
        if argument == "metadata":  # the columns do not fit, whatever the pattern
            raise InputError(LABELS, given, accepted) from None
    low, high = 0, len(rows)  # the first refused one is among these
    while high - low > 1:
        middle = (low + high) // 2
        try:
            store.prepare(rows[low:middle], _some(known, low, middle))
            low = middle
        except InputError:
            high = middle
    try:
        store.prepare(rows[low:high], _some(known, low, high))
    except InputError as error:
        argument, given, accepted = error._parts
    where = f"pattern {piece.start + low} of {str(source.path)!r} (the first one is 0)"
    argument = argument.replace("metadata", LABELS, 1)
    raise InputError(argument, f"{where} {given}", accepted.partition("; the first is")[0]) from None


def _some(known: Any, start: int, stop: int) -> Any:
    return known and {name: values[start:stop] for name, values in known.items()}


def _there(store: PatternStore, origin: Origin, resume: bool, again: bool) -> int:
    """How many patterns of a file need not be added, or `InputError` if that was not said."""
    if again:
        return 0
    known = [(batch.origin, batch.stop - batch.start) for batch in store.batches if batch.origin is not None]
    same = [each for each in known if (each[0].sha256, each[0].patterns) == (origin.sha256, origin.patterns)]
    for last, size in same[-1:]:
        done = last.start + size
        if not resume:
            given = f"the store has {done} of the {origin.patterns} patterns of {origin.name!r} already"
            raise InputError("files", given, "--resume adds what is missing, --again all of them once more")
        if done < origin.patterns and last.labels != origin.labels:
            given = f"those of {origin.name!r} differ from those given with its first {done} patterns"
            raise InputError("labels", given, "the same ones are needed to go on; --again adds all patterns")
        return done
    named = [each for each in known if each[0].name == origin.name]
    for last, size in named[-1:]:
        done = last.start + size
        if resume or done < last.patterns:
            given = f"{origin.name!r} has changed since {done} of its {last.patterns} patterns were added"
            raise InputError("files", given, "--again adds all patterns that it has now")
    return 0

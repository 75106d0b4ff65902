"""Records as lines of JSON with their checksums: those of journals, which are only appended to, and of settings."""

import json
import zlib
from typing import Any

Record = dict[str, Any]
encode = json.JSONEncoder(allow_nan=False).encode


def journal_line(record: Record) -> bytes:
    """The line that holds `record`."""
    body = encode(record).encode()
    return b'{"crc32": %d, "record": %s}\n' % (zlib.crc32(body), body)


def parse_line(line: bytes) -> Record | None:
    """The record in a line, None for anything but what `journal_line` makes of a record, to the last byte."""
    try:
        record = json.loads(line.decode())["record"]
        return record if isinstance(record, dict) and journal_line(record) == line.rstrip(b"\n") + b"\n" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def parse_journal(content: bytes) -> tuple[list[Record | None], int]:
    """The records of all complete lines, None for a damaged one, and where the last whole line ends.

    What follows was being written when a process or the power ended, so it counts as never written: a line without an
    end, or one of which the disk has only some sectors.
    """
    *lines, _ = content.split(b"\n")
    records = [parse_line(line) for line in lines]
    if records and records[-1] is None:
        *records, _ = records
        *lines, _ = lines
    return records, sum(map(len, lines)) + len(lines)

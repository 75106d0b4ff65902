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
        record = json.loads(line)["record"]
        return record if isinstance(record, dict) and journal_line(record) == line.rstrip(b"\n") + b"\n" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def parse_journal(content: bytes) -> tuple[list[Record | None], int]:
    """The records of all complete lines, None for a damaged one, and where the last line ends.

    What follows the last line end was cut short while it was written, so it counts as never written; unless it is a
    whole record and one byte, whose line end must have been damaged.
    """
    end = content.rfind(b"\n") + 1
    records = [parse_line(line) for line in content[:end].split(b"\n")[:-1]]
    if end < len(content) and parse_line(content[end:-1]) is not None:
        return [*records, None], len(content)
    return records, end

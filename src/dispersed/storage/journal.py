"""A file of JSON lines, each with its checksum, that is only ever appended to."""

import json
import zlib
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def journal_line(record: Record) -> bytes:
    """The line that holds `record`."""
    body = _canonical(record)
    return f'{{"crc32": {zlib.crc32(body.encode())}, "record": {body}}}\n'.encode()


def read_journal(path: Path, start: int = 0) -> tuple[list[Record | None], int]:
    """The records of all complete lines from byte `start`, None for a damaged one, and where the last line ends.

    What follows the last line end was cut short while it was written, so it counts as never written; unless it is a
    whole record and one byte, whose line end must have been damaged.
    """
    with path.open("rb") as file:
        file.seek(start)
        content = file.read()
    end = content.rfind(b"\n") + 1
    records = [parse_line(line) for line in content[:end].split(b"\n")[:-1]]
    if parse_line(content[end:-1]) is not None:
        records, end = [*records, None], len(content)
    return records, start + end


def parse_line(line: bytes) -> Record | None:
    """The record in a line, None if it is damaged."""
    try:
        held = json.loads(line)
        intact = zlib.crc32(_canonical(held["record"]).encode()) == held["crc32"]
        return held["record"] if intact else None
    except (ValueError, KeyError, TypeError):
        return None


def _canonical(record: Record) -> str:
    return json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False)

"""A file of JSON lines, each with its checksum, that is only ever appended to."""

import json
import zlib
from pathlib import Path
from typing import Any

Record = dict[str, Any]
BEFORE, BETWEEN = b'{"crc32": ', b', "record": '


def journal_line(record: Record) -> bytes:
    """The line that holds `record`."""
    body = json.dumps(record, allow_nan=False).encode()
    return b"%s%d%s%s}\n" % (BEFORE, zlib.crc32(body), BETWEEN, body)


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
    checksum, _, body = line.removeprefix(BEFORE).rstrip(b"\n").partition(BETWEEN)
    body, end = body[:-1], body[-1:]
    intact = end == b"}" and checksum == b"%d" % zlib.crc32(body) and line.startswith(BEFORE)
    return json.loads(body) if intact else None

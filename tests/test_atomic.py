"""Files that are complete or absent: permissions, flushes, and what killed writers leave."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest

from dispersed.atomic import open_regular, read_regular, write_atomically

KILLED = """
import os, signal, sys
from pathlib import Path
from dispersed.atomic import write_atomically
def dies(temporary):
    (temporary / "half" if folder else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
folder = sys.argv[2] == "folder"
write_atomically(Path(sys.argv[1]), dies, folder)
"""


def fill(path):
    (path / "file" if path.is_dir() else path).write_text("whole")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path, kind):
    path = tmp_path / "result.json"
    other = tmp_path / ".result.notours.part.json"
    other.write_text("of the user")
    ended = subprocess.run([sys.executable, "-c", KILLED, path, kind], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert not path.exists()

    def fills_and_writes(temporary):
        write_atomically(path.with_name("inner.json"), fill)
        if path.name == "result.json" and not path.exists():
            write_atomically(path, fill, kind == "folder")  # must leave alone what is being written
        assert temporary.exists()
        fill(temporary)

    if kind == "file":
        write_atomically(path, fills_and_writes)
    else:
        write_atomically(path, fill, folder=True)
    assert {file.name for file in tmp_path.iterdir()} - {"inner.json"} == {"result.json", other.name}
    assert (path / "file" if kind == "folder" else path).read_text() == "whole"


def test_permissions_are_those_of_the_umask_or_of_the_file_before(tmp_path):
    path, before = tmp_path / "file", os.umask(0o027)
    try:
        write_atomically(path, fill)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_atomically(path, fill)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_the_content_is_flushed_before_the_name_and_the_name_too(tmp_path, monkeypatch):
    path, flushed, flush = tmp_path / "file", [], os.fsync

    def record(handle):
        flushed.append((os.fstat(handle).st_ino, path.exists()))
        flush(handle)

    monkeypatch.setattr(os, "fsync", record)
    write_atomically(path, fill)
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_only_regular_files_are_opened(tmp_path):
    path, link, hard, pipe = (tmp_path / name for name in ("file", "link", "hard", "pipe"))
    path.write_text("content")
    link.symlink_to(path)
    os.mkfifo(pipe)
    assert read_regular(link) == b"content"  # who names a link means what it points to
    with pytest.raises(OSError, match=r"not a regular file"):
        read_regular(pipe)
    with pytest.raises(OSError, match=r"Too many levels"):
        open_regular(link, os.O_WRONLY)
    hard.hardlink_to(path)
    assert read_regular(hard) == b"content"
    with pytest.raises(OSError, match=r"second name"):
        open_regular(hard, os.O_WRONLY)


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_a_full_disk_is_said_of_the_file_that_was_to_be_written(tmp_path, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(tmp_path / "file", full if where == "write" else fill)
    assert error.value.filename == str(tmp_path / "file")
    assert not os.listdir(tmp_path)

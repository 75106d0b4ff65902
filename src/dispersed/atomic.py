"""Files and folders that are complete or absent, never half-written, and files that are opened as nothing else."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, write: Callable[[Path], object], folder: bool = False) -> Path:
    """Let `write` fill a file beside `path`, or an empty `folder`, then put it in place at once.

    A process killed at any moment, or a power cut, leaves either the old file or the new one under the name `path`; the
    file is on the disk when this returns. What a killed process left beside `path` is removed by the next call. The new
    file has the permissions of the one that it replaces, or those that the umask grants; a folder replaces nothing.
    """
    _check_name(path)
    for left in _left_behind(path):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    with _new(path, folder) as (temporary, handle):
        try:
            _named(path, lambda: write(temporary))
            if path.is_file():
                shutil.copymode(path, temporary)
            _named(path, lambda: os.fsync(handle))  # the name must not reach the disk before the content
            (temporary.rename if folder else temporary.replace)(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True) if folder else temporary.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)
    return path


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk itself."""
    if fcntl is None:  # no folder can be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: str | Path, flags: int = os.O_RDONLY, folder: int | None = None) -> int:
    """The handle of a regular file, of the open `folder` if that is given; of anything else, `OSError`.

    With a folder, or to write, a symbolic link and a file that has a second name are refused: what is written through
    them would change a file elsewhere. Nothing is waited for, as opening a pipe would be.
    """
    _check_name(path)
    guarded = folder is not None or flags & (os.O_WRONLY | os.O_RDWR)
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags | (getattr(os, "O_NOFOLLOW", 0) if guarded else 0), 0o666, dir_fd=folder)
    found = os.fstat(handle)
    why = "" if stat.S_ISREG(found.st_mode) else "not a regular file"
    if not why and guarded and found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        why = "a file with a second name, a hard link"
    if why:
        os.close(handle)
        raise OSError(errno.EINVAL, why, str(path))
    return handle


def read_regular(path: Path) -> bytes:
    """All bytes of a regular file; of anything else, `OSError`."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def lock(handle: int) -> bool:
    """Lock an open file or folder for this process alone, until it is closed; False if another one has."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _check_name(path: str | Path) -> None:
    if "\0" in str(path):  # for which Python raises no `OSError`
        raise OSError(errno.EINVAL, "a NUL in its name", str(path))


def _named(path: Path, write: Callable[[], object]) -> None:
    """Write; an error of the disk, which knows no file, gets the name of the one that is being written."""
    try:
        write()
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def _new(path: Path, folder: bool) -> Iterator[tuple[Path, int]]:
    """An empty file or folder beside `path`, and its handle, locked so that it is known to be in use."""
    while True:
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.part{path.suffix}")
        if folder:
            temporary.mkdir()
            try:
                handle = os.open(temporary, os.O_RDONLY)
            except FileNotFoundError:  # taken for one left behind
                continue
        else:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if lock(handle) and temporary.exists():
                yield temporary, handle
                return
        finally:
            os.close(handle)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder that nobody uses, or raise `OSError`."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not lock(handle):
            raise BlockingIOError
        yield
    finally:
        os.close(handle)


def _left_behind(path: Path) -> list[Path]:
    """What killed calls of `write_atomically` left beside `path`; without locks, none can be told from one in use."""
    start, end, hexadecimal = f".{path.stem}.", f".part{path.suffix}", set("0123456789abcdef")
    try:
        names = [] if fcntl is None else os.listdir(path.parent)
    except OSError:  # what is wrong with the folder is said by who writes into it
        return []
    found = [name for name in names if name.startswith(start) and name.endswith(end)]
    return [path.with_name(name) for name in found if hexadecimal.issuperset(name[len(start) : -len(end)])]

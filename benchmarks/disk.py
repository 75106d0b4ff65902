"""A disk that loses power: what may be on it, whatever it did of what it was not told to flush."""

import errno
import os
import random
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

SECTOR = 512
"""Bytes that are written wholly or not at all."""


class Killed(BaseException):
    """The process ends here: nothing that follows happens."""


class Recorder:
    """Everything that a process does to the files below `root`, in order, while it does it.

    An operation is ("size", file, bytes), ("write", file, place, content), ("link", folder, name, file),
    ("unlink", folder, name) or ("flush", file); files and folders are inodes. ("acknowledged", what) is what the
    process has been told is done. `die_at` is the number of operations after which the process is killed, `full_at` of
    the flush for which the disk has no room.
    """

    def __init__(self, root):
        self.root, self.log, self.die_at, self.full_at = root, [], None, None
        self.folders = {os.stat(root).st_ino}

    def did(self, *operation):
        self.log.append(operation)

    def acknowledged(self, what):
        self.log.append(("acknowledged", what))

    def alive(self):
        if self.die_at is not None and len(self.log) >= self.die_at:
            raise Killed

    @contextmanager
    def recording(self):
        names = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "rename", "replace", "unlink")
        real = {name: getattr(os, name) for name in names}

        def inode(path, folder=None):
            return os.stat(path, dir_fd=folder, follow_symlinks=False).st_ino

        def parent(path, folder=None):
            head = os.path.dirname(path)
            return os.fstat(folder).st_ino if folder is not None and not head else inode(head or ".", folder)

        def opened(path, flags, mode=0o777, *, dir_fd=None):
            self.alive()
            new = flags & os.O_CREAT and not exists(path, dir_fd)
            handle = real["open"](path, flags, mode, dir_fd=dir_fd)
            if new:
                self.did("link", parent(path, dir_fd), os.path.basename(path), os.fstat(handle).st_ino)
            return handle

        def exists(path, folder):
            try:
                return bool(inode(path, folder))
            except FileNotFoundError:
                return False

        def written(handle, content, place):
            self.alive()
            content, file = bytes(content), os.fstat(handle)
            done = real["pwrite"](handle, content, place)
            if place + len(content) > file.st_size:
                self.did("size", file.st_ino, place + len(content))
            start = place
            while start < place + len(content):
                stop = min((start // SECTOR + 1) * SECTOR, place + len(content))
                self.did("write", file.st_ino, start, content[start - place : stop - place])
                start = stop
            return done

        def cut(handle, size):
            self.alive()
            before = os.fstat(handle)
            real["ftruncate"](handle, size)
            if size != before.st_size:
                self.did("size", before.st_ino, size)

        def flushed(handle):
            self.alive()
            if self.full_at is not None:
                self.full_at -= 1
                if self.full_at == -1:  # and nothing is known of what has been flushed
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.did("flush", os.fstat(handle).st_ino)

        def made(path, mode=0o777, *, dir_fd=None):
            self.alive()
            real["mkdir"](path, mode, dir_fd=dir_fd)
            self.folders.add(inode(path, dir_fd))
            self.did("link", parent(path, dir_fd), os.path.basename(path), inode(path, dir_fd))

        def moved(source, target, *, src_dir_fd=None, dst_dir_fd=None):
            self.alive()
            file = inode(source)
            real["replace"](source, target)
            self.did("link", parent(target), os.path.basename(target), file)
            self.did("unlink", parent(source), os.path.basename(source))

        def removed(path, *, dir_fd=None):
            self.alive()
            folder = parent(path, dir_fd)
            real["unlink"](path, dir_fd=dir_fd)
            self.did("unlink", folder, os.path.basename(path))

        replaced = dict(zip(names, (opened, written, cut, flushed, made, moved, moved, removed), strict=True))
        for name, function in replaced.items():
            setattr(os, name, function)
        supported = os.supports_dir_fd
        os.supports_dir_fd = supported | {opened}
        try:
            yield self
        finally:
            os.supports_dir_fd = supported
            for name, function in real.items():
                setattr(os, name, function)


def pending(log):
    """The operations of `log` that nothing has flushed, as their numbers."""
    left = defaultdict(list)
    for number, (kind, file, *_) in enumerate(log):
        if kind == "flush":
            left.pop(file, None)
        elif kind != "acknowledged":
            left[file].append(number)
    return sorted(number for numbers in left.values() for number in numbers)


def states(log, draw, quick):
    """Subsets of the pending operations that may have happened.

    All of them if they are at most 64; else every prefix, each operation alone, each one missing, and as many random
    subsets as there are operations. Three of these if it is to be quick.
    """
    numbers = pending(log)
    if len(numbers) <= 6:
        chosen = [{number for i, number in enumerate(numbers) if mask >> i & 1} for mask in range(2 ** len(numbers))]
    else:
        chosen = [set(numbers[:length]) for length in range(len(numbers) + 1)]
        chosen += [{number} for number in numbers] + [set(numbers) - {number} for number in numbers]
        chosen += [{number for number in numbers if draw.random() < 0.5} for _ in numbers]
    return draw.sample(chosen, min(len(chosen), 3)) if quick else chosen


def contents(log, happened, draw):
    """The files of the disk by name, and its folders, if of what was pending only this has happened.

    A file that was growing may have stopped at any length.
    """
    lost = set(pending(log)) - happened
    data, size, names = defaultdict(bytearray), defaultdict(int), defaultdict(dict)
    for number, (kind, file, *rest) in enumerate(log):
        if number in lost or kind in ("flush", "acknowledged"):
            continue
        if kind == "size":
            grown = number in happened and rest[0] > size[file] and draw.random() < 0.3
            size[file] = draw.randint(size[file], rest[0]) if grown else rest[0]
            del data[file][size[file] :]
        elif kind == "write":
            place, content = rest
            data[file].extend(bytes(max(place + len(content) - len(data[file]), 0)))
            data[file][place : place + len(content)] = content
        elif kind == "link":
            names[file][rest[0]] = rest[1]
        else:
            names[file].pop(rest[0], None)
    return {ino: bytes(data[ino][: size[ino]]).ljust(size[ino], b"\0") for ino in {*data, *size}}, names


def restore(files, names, folders, root, target):
    """Write what is on the disk below `root`, an inode, into the folder `target`."""
    target.mkdir(parents=True)
    for name, file in names[root].items():
        if file in folders:
            restore(files, names, folders, file, target / name)
        else:
            (target / name).write_bytes(files.get(file, b""))


def after_power_cuts(recorder, target, seed, quick):
    """For every moment of what was recorded, folders that hold what may be on the disk if the power is cut then.

    Each is yielded once, with what had been acknowledged last.
    """
    draw, seen, root = random.Random(seed), set(), os.stat(recorder.root).st_ino
    for length in range(len(recorder.log) + 1):
        log = recorder.log[:length]
        told = [operation[1] for operation in log if operation[0] == "acknowledged"][-1:]
        for happened in states(log, draw, quick):
            files, names = contents(log, happened, draw)
            state = hash((repr(told), repr(sorted(files.items())), repr(sorted(names.items()))))
            if state in seen:
                continue
            seen.add(state)
            folder = Path(target) / f"{length}-{len(seen)}"
            restore(files, names, recorder.folders, root, folder)
            yield told[0] if told else None, folder

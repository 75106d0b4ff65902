r"""Trainings and networks on disk: complete or absent, checked when read, and never pickled.

A file is one line of JSON, the header, followed by the arrays as equinox serialises them. The header says what
the arrays are, how many bytes follow and their SHA-256; a file that is cut short, altered or meant for something
else is refused with what differs, before any array is read.
"""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from dispersed.atomic import write_atomically
from dispersed.engines.scanned import ScannedPatterns
from dispersed.memories import AssociativeMemory
from dispersed.validation import InputError

FORMAT = "dispersed arrays 1"


def save(path: str | Path, memory: AssociativeMemory) -> Path:
    """Write the arrays of a memory or network, trained or not, to a file that is complete or absent.

    Raises `InputError` for patterns that are scanned, which are no arrays of the memory.
    """
    for part in jax.tree.leaves(memory, is_leaf=lambda node: isinstance(node, ScannedPatterns)):
        if isinstance(part, ScannedPatterns):
            given = f"got patterns held by {part.engine}, which are no arrays of the memory"
            raise InputError("memory", given, "save_patterns and PatternStore write patterns, and pickle any memory")
    return _write(Path(path), "memory", memory, {})


def load(path: str | Path, like: AssociativeMemory) -> AssociativeMemory:
    """The memory that `save` wrote; `like` has its structure and shapes, its values do not matter.

    Raises `InputError` naming what differs for a file of other shapes, a truncated or damaged one.
    """
    return _read(Path(path), "memory", like)[0]


class Checkpoint:
    """A training's file: written every `seconds` at most, and the state from which it goes on.

    `identity` is what must not change between runs: the key, the data and the recipe, in words.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any], seconds: float) -> None:
        self.path = Path(path)
        self.identity = identity
        self.seconds = seconds
        self.last: int | None = None
        """The step of the last checkpoint written or read."""
        self._written = time.monotonic()
        if not self.path.parent.is_dir():
            raise InputError("checkpoint", f"got {str(self.path)!r}", "a path in a folder that exists")

    def exists(self) -> bool:
        return self.path.exists()

    def save_if_due(self, states: Any, best: Any, losses: np.ndarray, checks: list[dict]) -> None:
        if time.monotonic() - self._written >= self.seconds:
            self.save(states, best, losses, checks)

    def save(self, states: Any, best: Any, losses: np.ndarray, checks: list[dict]) -> None:
        step = losses.shape[1]
        if step == self.last:
            return
        header = {"step": step, "identity": self.identity, "checks": checks}
        _write(self.path, "training", (states, best, losses), header)
        self.last, self._written = step, time.monotonic()

    def load(self, states: Any, best: Any) -> tuple[Any, Any, np.ndarray, list[dict]]:
        """What `save` wrote, into the structure of a training that begins."""
        header = _header(self.path, "training")[0]
        members = jax.tree.leaves(eqx.filter(states, eqx.is_array))[0].shape[0]
        like = (states, best, np.zeros((members, header["step"]), dtype=np.float32))
        _compare(self.path, header["leaves"], _leaves(like))
        for name, mine in self.identity.items():
            theirs = header["identity"].get(name)
            if theirs != mine:
                raise InputError(
                    "checkpoint",
                    f"{str(self.path)!r} belongs to a training with {name} = {theirs}",
                    f"this one has {name} = {mine}; give another path or remove the file",
                )
        (states, best, losses), _ = _read(self.path, "training", like)
        self.last = header["step"]
        return states, best, losses, header["checks"]


def fingerprint(*arrays: Any) -> str:
    """A short name for the values of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        digest.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def computation(function: Callable[..., Any], *arguments: Any) -> str:
    """What a function computes: the numbers in it, and a fingerprint of every operation.

    Functions made by functions, as optimisers and schedules are, have no name that tells them apart and compare
    unequal even when they do the same. What they trace to says what they do.
    """
    traced = jax.make_jaxpr(function)(*arguments)
    text = re.sub(r" at 0x[0-9a-f]+", "", str(traced.jaxpr))
    numbers = {f"{float(found):.4g}" for found in re.findall(r"(-?[0-9.]+(?:e[+-]?[0-9]+)?):f", text)}
    named = ", ".join(sorted(numbers, key=float))
    return f"{named or 'no numbers'} ({fingerprint(np.frombuffer(text.encode(), np.uint8), *traced.consts)})"


def _leaves(tree: Any) -> list[list[Any]]:
    """Name, shape and type of every array of a tree."""
    named = jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))[0]
    return [[jax.tree_util.keystr(path), list(leaf.shape), str(leaf.dtype)] for path, leaf in named]


def _write(path: Path, kind: str, tree: Any, header: dict[str, Any]) -> Path:
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, eqx.filter(tree, eqx.is_array))
    content = payload.getvalue()
    described = {
        "format": FORMAT,
        "kind": kind,
        "leaves": _leaves(tree),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **header,
    }
    line = json.dumps(described).encode() + b"\n"
    if not path.parent.is_dir():
        raise InputError("path", f"got {str(path)!r}", "a path in a folder that exists")
    return write_atomically(path, lambda temporary: temporary.write_bytes(line + content))


def _header(path: Path, kind: str) -> tuple[dict[str, Any], io.BytesIO]:
    accepted = f"a {kind} file written by dispersed is accepted"
    try:
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError("path", f"{str(path)!r} cannot be read ({error.strerror})", accepted) from None
    try:
        header = json.loads(file.readline())
        known = header["format"] == FORMAT and header["kind"] == kind
    except (ValueError, KeyError, TypeError):
        raise InputError("path", f"{str(path)!r} has no such header", accepted) from None
    if not known:
        raise InputError("path", f"{str(path)!r} holds a {header['kind']} ({header['format']})", accepted)
    return header, file


def _read(path: Path, kind: str, like: Any) -> tuple[Any, dict[str, Any]]:
    header, file = _header(path, kind)
    content = file.read()
    if len(content) != header["bytes"]:
        cut = f"{str(path)!r} is cut short: {len(content)} of {header['bytes']} bytes follow its header"
        raise InputError("path", cut, "a complete file is accepted")
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise InputError("path", f"{str(path)!r} is damaged: its checksum differs", "an unaltered file is accepted")
    _compare(path, header["leaves"], _leaves(like))
    arrays, rest = eqx.partition(like, eqx.is_array)
    return eqx.combine(eqx.tree_deserialise_leaves(io.BytesIO(content), arrays), rest), header


def _compare(path: Path, theirs: list[list[Any]], mine: list[list[Any]]) -> None:
    """Refuse a file whose arrays are not those expected, naming the first that differ."""
    if theirs == mine:
        return
    held, wanted = ({name: (tuple(shape), dtype) for name, shape, dtype in leaves} for leaves in (theirs, mine))
    names = [name for name in {**held, **wanted} if held.get(name) != wanted.get(name)]
    shown = "; ".join(f"{name}: file {_say(held.get(name))}, here {_say(wanted.get(name))}" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise InputError("path", f"{str(path)!r} holds other arrays ({shown}{more})", "a file of the same shapes")


def _say(leaf: tuple[tuple[int, ...], str] | None) -> str:
    return "none" if leaf is None else f"{leaf[0]} {leaf[1]}"

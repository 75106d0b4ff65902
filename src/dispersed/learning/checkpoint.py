r"""Trainings and networks on disk: complete or absent, checked when read, and never pickled.

The first line of a file says how many bytes follow and what their SHA-256 is. A line of JSON, the header, says what the
arrays are, and what the object that holds them is apart from them: its classes, and all numbers, texts and functions in
it. The bytes of the arrays follow. A file that is cut short, altered or meant for something else is refused with what
differs.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.atomic import read_regular, write_atomically
from dispersed.engines.scanned import ScannedPatterns
from dispersed.memories import AssociativeMemory, LearnedMemory
from dispersed.tracing import as_array
from dispersed.validation import InputError

FORMAT = b"dispersed arrays 2"
HEADERS = {"memory": {"kind", "leaves", "settings", "levels"}}
HEADERS["training"] = {"kind", "leaves", "settings", "step", "identity", "checks"}
"""What the headers of both kinds of files have."""
CHECKED = ("error", "gap", "held_out")
"""What is measured of every member at a check; all but the first may be unknown."""


def save(path: str | Path, memory: AssociativeMemory) -> Path:
    """Write the arrays of a memory or network, trained or not, and its settings to a file that is complete or absent.

    Raises `InputError` for patterns that are scanned, which are no arrays of the memory, and for a file that cannot be
    written.
    """
    for part in jax.tree.leaves(memory, is_leaf=lambda node: isinstance(node, ScannedPatterns)):
        if isinstance(part, ScannedPatterns):
            given = f"got patterns held by {part.engine}, which are no arrays of the memory"
            raise InputError("memory", given, "save_patterns and PatternStore write patterns, and pickle any memory")
    return _write(Path(path), "memory", memory, {"levels": [network.levels for network in _networks(memory)]})


def load(path: str | Path, like: AssociativeMemory) -> AssociativeMemory:
    """The memory that `save` wrote; `like` has its structure, shapes and settings, values of arrays do not matter.

    The noise levels that networks were trained at are those of the file.

    Raises `InputError` naming what differs for a file of other shapes or other settings, and for a truncated or damaged
    one. Functions are compared by their names and constants, and what they refer to.
    """
    path = Path(path)
    header, content = _opened(path, "memory")
    memory = _arrays(path, header, content, like)
    _compare(path, "settings", header.get("settings"), _settings(like))
    return _with_levels(path, memory, header["levels"])


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
        if not os.path.isdir(self.path.parent):
            raise InputError("checkpoint", f"got {str(self.path)!r}", "a path in a folder that exists")

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def save_if_due(self, states: Any, best: Any, losses: np.ndarray, checks: list[dict[str, Any]]) -> None:
        if time.monotonic() - self._written >= self.seconds:
            self.save(states, best, losses, checks)

    def save(self, states: Any, best: Any, losses: np.ndarray, checks: list[dict[str, Any]]) -> None:
        step = losses.shape[1]
        if step == self.last:
            return
        header = {"step": step, "identity": self.identity, "checks": checks}
        _write(self.path, "training", (states, best, losses), header)
        self.last, self._written = step, time.monotonic()

    def load(self, states: Any, best: Any, steps: int) -> tuple[Any, Any, np.ndarray, list[dict[str, Any]]]:
        """What `save` wrote, into the structure of a training of `steps` steps that begins."""
        header, content = _opened(self.path, "training")
        step, identity, checks = (header.get(name) for name in ("step", "identity", "checks"))
        members = jax.tree.leaves(eqx.filter(states, eqx.is_array))[0].shape[0]
        if type(step) is not int or step < 0 or not isinstance(identity, dict) or not _history(checks, members):
            raise _unusable(self.path, "training")
        like = (states, best, np.zeros((members, step), dtype=np.float32))
        read = _arrays(self.path, header, content, like)
        for name, mine in self.identity.items():
            theirs = identity.get(name)
            if theirs != mine:
                raise InputError(
                    "checkpoint",
                    f"{str(self.path)!r} belongs to a training with {name} = {theirs}",
                    f"this one has {name} = {mine}; give another path or remove the file",
                )
        _compare(self.path, "settings", header.get("settings"), _settings(like))
        if step > steps:
            given = f"{str(self.path)!r} has gone {step} steps"
            raise InputError("checkpoint", given, f"this training has {steps}; ask for as many, or give another path")
        self.last = step
        return *read, checks


def fingerprint(*arrays: Any) -> str:
    """A short name for the values of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        array = _plain(array)
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


def _plain(array: Any) -> np.ndarray:
    """An array of NumPy; of keys, the numbers in them."""
    keys = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if keys else array)


def _leaves(tree: Any) -> dict[str, str]:
    """Shape and type of every array of a tree, by its name."""
    named = jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))[0]
    return {jax.tree_util.keystr(path): f"{leaf.shape} {leaf.dtype}" for path, leaf in named}


def _networks(tree: Any) -> list[LearnedMemory]:
    """The trained networks among the parts of a memory, in order."""
    parts = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, LearnedMemory))
    return [part for part in parts if isinstance(part, LearnedMemory)]


def _with_levels(path: Path, memory: Any, levels: Any) -> Any:
    """A memory whose networks were trained at the levels of a file's header."""
    networks = _networks(memory)
    if not isinstance(levels, list) or len(levels) != len(networks):
        raise _unusable(path, "memory")
    trained = iter(levels)

    def set_levels(part: Any) -> Any:
        if not isinstance(part, LearnedMemory):
            return part
        found = next(trained)
        try:
            return part.trained_at(found)
        except InputError:
            raise _unusable(path, "memory") from None

    return jax.tree.map(set_levels, memory, is_leaf=lambda node: isinstance(node, LearnedMemory))


def _settings(tree: Any) -> dict[str, str]:
    """Everything in a tree but its arrays, by its name: classes, numbers, texts, functions and what these refer to."""
    found: dict[str, str] = {}
    followed: set[int] = set()  # functions, which may refer to themselves

    def visit(name: str, value: Any, static: bool) -> None:
        if eqx.is_array(value) and not static:
            return
        found[name] = _described(value)
        if isinstance(value, list | tuple):
            for i, part in enumerate(value):
                visit(f"{name}[{i}]", part, static)
        elif isinstance(value, dict):
            for key, part in value.items():
                visit(f"{name}[{key!r}]", part, static)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            opaque = static or not isinstance(value, eqx.Module)
            for field in dataclasses.fields(value):
                if isinstance(value, LearnedMemory) and field.name == "levels":
                    continue  # of its training, not of what it computes
                part = getattr(value, field.name, None)
                visit(f"{name}.{field.name}", part, opaque or field.metadata.get("static", False))
        elif isinstance(value, functools.partial):
            opaque = static or not isinstance(value, jax.tree_util.Partial)
            visit(f"{name}.func", value.func, True)
            visit(f"{name}.args", [*value.args, value.keywords], opaque)
        elif inspect.isfunction(value) and id(value) not in followed:
            followed.add(id(value))
            for variable, part in inspect.getclosurevars(value).nonlocals.items():
                visit(f"{name}.{variable}", part, True)

    visit("", tree, False)
    return found


def _described(value: Any) -> str:
    """In a few words, and the same in every process."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if eqx.is_array(value):
        return f"{value.shape} {value.dtype} {fingerprint(value)}"
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if inspect.isfunction(value):
        code = value.__code__
        constants = [_described(each) for each in code.co_consts if not inspect.iscode(each)]
        return f"{name} of {constants}, {code.co_names}"
    if isinstance(value, set | frozenset):
        return f"{name} of {sorted(map(_described, value))}"
    if isinstance(value, list | tuple | dict):
        return f"{name} of {len(value)}"
    plain = dataclasses.is_dataclass(value) or hasattr(value, "__qualname__") or isinstance(value, functools.partial)
    return name if plain else re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:200]


def _write(path: Path, kind: str, tree: Any, header: dict[str, Any]) -> Path:
    arrays = [_plain(leaf) for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]
    described = {"kind": kind, "leaves": _leaves(tree), "settings": _settings(tree), **header}
    content = b"".join([_line(described), *(array.tobytes() for array in arrays)])
    if not os.path.isdir(path.parent):
        raise InputError("path", f"got {str(path)!r}", "a path in a folder that exists")
    try:
        return write_atomically(path, lambda temporary: temporary.write_bytes(_first_line(content) + content))
    except OSError as error:
        given = f"{str(path)!r} cannot be written ({error.strerror})"
        raise InputError("path", given, "a place with room that can be written") from None


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header).encode() + b"\n"


def _first_line(content: bytes) -> bytes:
    return b"%s %d %s\n" % (FORMAT, len(content), hashlib.sha256(content).hexdigest().encode())


def _opened(path: Path, kind: str) -> tuple[dict[str, Any], bytes]:
    """The header of a file and the bytes of its arrays."""
    try:
        whole = read_regular(path)
    except OSError as error:
        accepted = f"a {kind} file written by dispersed is accepted"
        raise InputError("path", f"{str(path)!r} cannot be read ({error.strerror})", accepted) from None
    first, end, content = whole.partition(b"\n")
    said = re.fullmatch(re.escape(FORMAT) + rb" (\d{1,18}) [0-9a-f]{64}", first)
    if said is None or not end:
        raise _unusable(path, kind)
    if len(content) < int(said[1]):
        cut = f"{str(path)!r} is cut short: {len(content)} of {int(said[1])} bytes follow its first line"
        raise InputError("path", cut, "a complete file is accepted")
    if first + end != _first_line(content):
        raise InputError("path", f"{str(path)!r} is damaged: its checksum differs", "an unaltered file is accepted")
    line, _, arrays = content.partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str) or _line(header) != line + b"\n":
        raise _unusable(path, kind)
    if header["kind"] != kind and header["kind"] in HEADERS:
        raise InputError("path", f"{str(path)!r} holds a {header['kind']}", f"a {kind} file is accepted")
    if header["kind"] != kind or header.keys() != HEADERS[kind]:
        raise _unusable(path, kind)
    return header, arrays


def _unusable(path: Path, kind: str) -> InputError:
    given = f"{str(path)!r} has no header of a {kind}"
    return InputError("path", given, f"a {kind} file written by this version of dispersed is accepted")


def _arrays(path: Path, header: dict[str, Any], content: bytes, like: Any) -> Any:
    """`like` with the arrays of a file."""
    _compare(path, "arrays", header.get("leaves"), _leaves(like))
    leaves, structure = jax.tree.flatten(like)
    if len(content) != sum(_plain(leaf).nbytes for leaf in leaves if eqx.is_array(leaf)):
        raise _unusable(path, header["kind"])
    start = 0
    for place, leaf in enumerate(leaves):
        if not eqx.is_array(leaf):
            continue
        plain = _plain(leaf)
        stop = start + plain.nbytes
        array: Any = np.frombuffer(content[start:stop], plain.dtype).reshape(plain.shape).copy()
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            array = jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
        elif isinstance(leaf, jax.Array):
            array = as_array(array)
        leaves[place], start = array, stop
    return jax.tree.unflatten(structure, leaves)


def _history(checks: Any, members: int) -> bool:
    """Whether these are the measurements of a training: of each, the step, and numbers for every member."""

    def numbers(values: Any) -> bool:
        listed = isinstance(values, list) and len(values) == members
        return listed and all(type(value) in (int, float) for value in values)

    return isinstance(checks, list) and all(
        isinstance(check, dict)
        and check.keys() == {"step", *CHECKED}
        and type(check["step"]) is int
        and numbers(check[CHECKED[0]])
        and all(check[name] is None or numbers(check[name]) for name in CHECKED[1:])
        for check in checks
    )


def _compare(path: Path, what: str, theirs: Any, mine: dict[str, str]) -> None:
    """Refuse a file whose arrays or settings are not those expected, naming the first that differ."""
    if theirs == mine:
        return
    held = theirs if isinstance(theirs, dict) else {}
    names = [name for name in {**held, **mine} if held.get(name) != mine.get(name)]
    shown = "; ".join(
        f"{name or 'class':.80}: file {held.get(name, 'none')!s:.80}, here {mine.get(name, 'none'):.80}"
        for name in names[:3]
    )
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise InputError("path", f"{str(path)!r} holds other {what} ({shown}{more})", f"a file of the same {what}")

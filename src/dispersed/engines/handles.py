"""Patterns by a number: programs hold the number of a set of patterns and never the patterns.

A memory that is dropped is thus freed, and patterns of the same shapes share a program.
"""

import itertools
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.tracing import as_array
from dispersed.types import Array, Int
from dispersed.validation import InputError

if TYPE_CHECKING:
    from dispersed.engines.scanned import Scanned


class Placed(NamedTuple):
    """What a handle stands for."""

    engine: "Scanned"
    patterns: PlacedPatterns


_placed: dict[int, Placed] = {}
"""Patterns by the number in their handle, as long as that array exists."""
_numbers = itertools.count()


def new_handle(placed: Placed) -> Int[Array, ""]:
    """An array that holds the number of these patterns."""
    number = next(_numbers)
    with jax.ensure_compile_time_eval():
        handle = as_array(np.asarray(number, np.int32))
    _placed[number] = placed
    weakref.finalize(handle, _placed.pop, number, None)
    return handle


def placed_by(handle: Any) -> Placed:
    """What a handle, or its number, stands for; raises `InputError` where that is gone."""
    try:
        return _placed[int(handle)]
    except KeyError:
        raise InputError("memory", "the memory that held these patterns is gone", "keep it while it is used") from None

"""Collectives over hosts that each hold a part of the patterns, joined by `jax.distributed`.

Every host runs the same program on the same cues and its own patterns; what they exchange is small: the sums over each
part, or the candidates of each. With one host, nothing is exchanged.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def all_gather(part: Any) -> Any:
    """Arrays of the same shapes from all hosts, stacked along a new first axis; the same on each of them."""
    if jax.process_count() == 1:
        return jax.tree.map(lambda array: np.asarray(array)[None], part)
    from jax.experimental import multihost_utils

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, multihost_utils.process_allgather(jax.tree.map(np.asarray, part)))


def all_reduce(part: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """What all hosts have, combined in the order of their numbers."""
    parts = all_gather(part)
    total = jax.tree.map(lambda array: array[0], parts)
    for host in range(1, jax.process_count()):
        total = combine(total, jax.tree.map(lambda array, host=host: array[host], parts))
    return total

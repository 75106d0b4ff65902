"""Shortlists of many states as arrays of few shapes, so that few programs serve all of them."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from dispersed.engines.candidate_screening import Candidates, States
from dispersed.engines.collectives import all_gather
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.engines.shortlist import EnclosingBall, Shortlist


def enclosing_ball(placed: PlacedPatterns) -> EnclosingBall:
    """The ball around the centre that contains all patterns."""
    known = placed.statistics
    return EnclosingBall(*(np.asarray(part, float) for part in (known.centre, known.radius, known.flush)))


def grouped_shortlists(
    placed: PlacedPatterns, states: States, found: np.ndarray
) -> Iterator[tuple[np.ndarray, Shortlist]]:
    """States with about equally many candidates, and their shortlists, stacked; states without any are left out."""
    options = placed.options
    counts = all_gather(np.array([0 if one is None else max(1, len(one.indices)) for one in found])).max(
        axis=0, initial=0
    )
    sizes = np.where(counts > 0, round_up(counts, 4, 16), 0)
    if np.sum(sizes > 0) * sizes.max(initial=0) * placed.shape[1] <= options.small_stack:
        # One program for all of them.
        sizes[sizes > 0] = sizes.max(initial=0)
    for size in np.unique(sizes[sizes > 0]):
        those = np.flatnonzero(sizes == size)
        at_once = min(options.stacked_states, max(1, options.stacked_units // (int(size) * placed.shape[1])))
        for start in range(0, len(those), at_once):
            some = those[start : start + at_once]
            yield some, _stack(placed, states.only(some), list(found[some]), int(size))


def _stack(placed: PlacedPatterns, states: States, found: list[Candidates], size: int) -> Shortlist:
    index = np.zeros((len(found), size), np.int64)
    log_w = np.full((len(found), size), -np.inf)
    for i, one in enumerate(found):
        k = len(one.indices)
        index[i, :k], index[i, k:] = one.indices, one.indices[0] if k else 0
        log_w[i, :k] = placed.log_weights(one.indices)
    tail = np.array([one.log_tail_mass for one in found])
    distance = np.array([one.excluded_distance for one in found])
    own = Shortlist(
        index + placed.first, placed.internal_patterns(index), log_w, states.x, states.sigma, tail, distance
    )
    hosts = all_gather(own)

    def beside(array: np.ndarray) -> np.ndarray:
        return np.concatenate(list(array), axis=1)

    index, y, log_w = map(beside, (hosts.index, hosts.y, hosts.log_weights))
    tail, distance = np.logaddexp.reduce(hosts.log_tail_mass, axis=0), hosts.excluded_distance.min(axis=0)
    return Shortlist(index, y, log_w, own.x, own.sigma, tail, distance)


def round_up(count: Any, factor: int, least: int = 1) -> Any:
    """The next of least, least·factor, least·factor², …: few sizes, so that few programs serve all."""
    steps = np.ceil(np.round(np.log(np.maximum(count, least) / least) / np.log(factor), 9))
    return (least * factor**steps).astype(int)


def pad_batch(tree: Any) -> Any:
    """The first axis filled up to a power of four with copies of the first entry, by NumPy."""

    def fill(array: np.ndarray) -> np.ndarray:
        size = int(round_up(len(array), 4))
        return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])

    return jax.tree.map(fill, tree)

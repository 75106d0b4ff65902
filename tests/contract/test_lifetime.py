"""Programs are compiled once for memories of the same shapes, and memories that are dropped are freed."""

import gc
import weakref

import jax
import numpy as np
import pytest

from dispersed.memories import Network

from ..programs import compilations
from .cases import CASES, NETWORKS, D

ALL = {**CASES, **NETWORKS}


def evaluated(memory, x, sigma):
    return memory.update(x) if isinstance(memory, Network) else memory.denoise(x, sigma)


def states(seed):
    return np.random.default_rng(seed).normal(size=(3, D)).astype(np.float32)


def test_the_counter_counts():
    with compilations() as found:
        jax.jit(lambda x: x + 17)(np.zeros(3))
    assert found


@pytest.mark.parametrize("name", ALL)
def test_the_same_shapes_share_a_program(name):
    """Other states, another level, and another memory."""
    first, second = ALL[name].make(), ALL[name].make(0.125)
    for memory in (first, second):  # what a memory prepares is of its own shapes
        memory._prepared()
    evaluated(first, states(0), 0.5)
    with compilations() as found:
        evaluated(first, states(1), 0.75)
        evaluated(second, states(2), 1.25)
    assert not found


def test_memories_that_are_dropped_are_freed():
    """By every engine and of every class, after they were used in programs."""
    memories = {name: case.make() for name, case in ALL.items()}
    for memory in memories.values():
        np.asarray(evaluated(memory, states(0), 0.5))
    alive = {name: weakref.ref(memory) for name, memory in memories.items()}
    arrays = {
        name: [weakref.ref(leaf) for leaf in jax.tree.leaves(memory) if isinstance(leaf, jax.Array) and leaf.ndim == 2]
        for name, memory in memories.items()
    }
    del memories, memory
    gc.collect()
    assert not [name for name, ref in alive.items() if ref() is not None]
    assert not [name for name, refs in arrays.items() if any(ref() is not None for ref in refs)]


def test_patterns_of_a_scanned_memory_are_freed_with_it():
    from dispersed.engines import handles

    gc.collect()
    before = len(handles._placed)
    memories = [CASES["scanned float16"].make() for _ in range(3)]
    for memory in memories:
        evaluated(memory, states(0), 0.5)
    assert len(handles._placed) == before + 3
    del memories, memory
    gc.collect()
    assert len(handles._placed) == before

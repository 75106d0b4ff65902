"""What a memory derives from its fields and keeps must not be seen by programs, pickles or copies."""

import copy
import pickle

import jax
import numpy as np
import pytest

import dispersed as d

Y = np.random.default_rng(0).choice([-1.0, 1.0], (30, 8)).astype(np.float32)

MEMORIES = {
    "dense": lambda: d.PatternMemory(Y),
    "scanned": lambda: d.PatternMemory(Y, engine=d.Scanned()),
    "modern": lambda: d.ModernHopfield(Y, 2.0),
    "classical": lambda: d.ClassicalHopfield(Y),
    "mixture": lambda: d.Mixture([d.PatternMemory(Y), d.Sphere(np.zeros(8), 1)]),
}


@pytest.fixture(params=MEMORIES)
def memory(request):
    return MEMORIES[request.param]()


def use(memory):
    level = {} if isinstance(memory, d.ModernHopfield | d.ClassicalHopfield) else {"sigma": 0.5}
    found = d.recall(memory, Y[:2], **level)
    if level:
        memory.posterior(Y[:2], 0.5)
    return found


def test_use_leaves_the_tree_as_it_is(memory):
    before = jax.tree.structure(memory)
    use(memory)
    assert jax.tree.structure(memory) == before


def test_a_program_is_traced_once_for_a_memory_before_and_after_its_use(memory):
    traced = []

    @jax.jit
    def program(memory, x):
        traced.append(memory)
        return x

    program(memory, Y[0])
    use(memory)
    program(memory, Y[0])
    assert len(traced) == 1


def test_copies_start_anew_and_recall_alike(memory):
    found = use(memory).x
    for again in (pickle.loads(pickle.dumps(memory)), copy.copy(memory)):
        assert not hasattr(again, "_derived")
        np.testing.assert_array_equal(use(again).x, found)

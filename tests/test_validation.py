"""Errors say how to mend what was given."""

import subprocess
import sys
from ast import literal_eval

import jax.numpy as jnp
import numpy as np
import pytest

import dispersed as d
from dispersed.validation import random_key

PATTERNS = np.eye(4, dtype=np.float32)
MEMORY = d.PatternMemory(PATTERNS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: d.PatternMemory(np.ones((3, 2, 2))),
            "patterns: got shape (3, 2, 2); at least one pattern of at least one unit, shape (n, d), is accepted: "
            "flatten with patterns.reshape(3, -1)",
        ),
        (
            lambda: d.PatternMemory(PATTERNS[0]),
            "patterns: got shape (4,); at least one pattern of at least one unit, shape (n, d), is accepted: "
            "give one pattern as [pattern]",
        ),
        (
            lambda: MEMORY.denoise(np.ones((5, 2, 2)), 0.5),
            "x: got shape (5, 2, 2); the memory has 4 units: shape (..., 4) is accepted; "
            "flatten images with x.reshape(*x.shape[:-2], 4)",
        ),
        (
            lambda: d.recall(MEMORY, PATTERNS, alpha=2.0),
            "alpha: got 2; signal levels in (0, 1] are accepted; a noise standard deviation is given as sigma",
        ),
        (
            lambda: d.recall(MEMORY, PATTERNS, d.ReverseSDE(), alpha=0.5),
            "key: got None; ReverseSDE is random: give key=jax.random.key(0)",
        ),
        (lambda: random_key(7), "key: got 7; a key is accepted, such as jax.random.key(7)"),
    ],
)
def test_what_to_do_is_in_the_message(call, message):
    with pytest.raises(d.InputError) as error:
        call()
    assert str(error.value) == message


def test_a_misspelt_noise_level_is_not_taken_for_one():
    with pytest.raises(TypeError, match="sigma"):
        MEMORY.denoise(jnp.zeros(4), sgima=0.5)
    assert MEMORY.denoise(jnp.zeros(4), sigma=0.5).shape == (4,)


def test_classes_and_seeds_are_told_what_to_become():
    """In a process without the run-time type checker, which would answer first."""
    code = """
import dispersed as d
for dynamics, key in ((d.OneStep, None), (d.AncestralSampling(), 7)):
    try:
        d.recall(d.PatternMemory([[1.0, -1.0]]), [1.0, 1.0], dynamics, alpha=0.5, key=key)
    except d.InputError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "dynamics: got the class OneStep; call it: OneStep()",
        "key: got 7; a key is accepted, such as jax.random.key(7)",
    ]


OF_ANOTHER_KIND = [
    ("process", "d.recall(memory, y[0], sigma=0.3, process='VP')"),
    ("process", "d.recall(d.ClassicalHopfield(2 * y - 1), y[0], process='VP')"),
    ("process", "d.recall_many(memory, y[0], sigma=0.3, process=d.VP, key=key)"),
    ("dynamics", "d.recall_many(memory, y[0], d.AncestralSampling, sigma=0.3, key=key)"),
    ("key", "d.recall_many(memory, y[0], sigma=0.3, key=jax.random.split(key))"),
    ("samples", "d.recall_many(memory, y[0], sigma=0.3, samples=2.5, key=key)"),
    ("mask_rate", "d.capacity(d.PatternMemory, 4, mask_rate='half')"),
    ("threshold", "d.capacity(d.PatternMemory, 4, threshold='small')"),
    ("also", "d.capacity(d.PatternMemory, 4, also=3)"),
    ("cells", "d.capacity(d.PatternMemory, 4, cells='folder', name='diffusion')"),
    ("probabilities", "d.reliability('x', [0])"),
    ("probabilities", "d.reliability([[0.5, 0.5], [1.0]], [0, 0])"),
    ("truth", "d.reliability([[0.5, 0.5]], [[0], [0, 1]])"),
    ("level", "d.reliability([[0.5, 0.5]], [0], level='x')"),
    ("rate", "d.VP([1.0, 2.0])"),
    ("rate", "d.VE([1.0, 2.0])"),
    ("first", "d.Linear([0.1, 0.2], 3.0)"),
    ("offset", "d.Cosine('x')"),
    ("offset", "d.Cosine(-1.0)"),
]
"""Calls, and the argument that each must name."""


def test_arguments_of_another_kind_get_one_line():
    """In a process without the run-time type checker, which would answer first."""
    code = """
import sys, jax, dispersed as d, numpy as np
y, key = np.eye(4, dtype=np.float32), jax.random.key(0)
memory = d.PatternMemory(y)
for line in sys.stdin:
    try:
        eval(line)
    except d.InputError as error:
        print(repr(str(error)))
    else:
        print(repr("accepted"))
"""
    calls = "\n".join(call for _, call in OF_ANOTHER_KIND)
    run = subprocess.run([sys.executable, "-c", code], input=calls, capture_output=True, text=True, check=True)
    messages = [literal_eval(line) for line in run.stdout.splitlines()]
    assert len(messages) == len(OF_ANOTHER_KIND)
    for (argument, call), message in zip(OF_ANOTHER_KIND, messages, strict=True):
        assert message.startswith(f"{argument}: "), call
        assert "\n" not in message, call

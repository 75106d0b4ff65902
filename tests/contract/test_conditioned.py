"""What was conditioned, alone, inside other memories and twice, through the methods of every memory.

Derivatives are compared where one thing was done to a memory: those of two are derivatives of the same densities.
"""

import pickle

import numpy as np
import pytest

from . import cases
from .cases import CASES, ROWS, SEEN, TAU, conditioned, in_mixture, in_smoothed, measured
from .test_methods import BATCH, COMPLETED, CORE, INSIDE, MEASURED, close, evaluated, everything_agrees, numbers, same

MEASURED_INSIDE = [name for name in INSIDE if name in MEASURED]
VALUES: frozenset[str] = frozenset()
"""No derivatives."""


@pytest.mark.parametrize("name", COMPLETED)
def test_known_entries(x64, name):
    everything_agrees(conditioned(CASES[name]), BATCH, CORE)


@pytest.mark.parametrize("name", COMPLETED)
def test_pickled(x64, name):
    memory = conditioned(COMPLETED[name]).make()
    again = pickle.loads(pickle.dumps(memory))
    assert same(*(numbers(evaluated(one, BATCH, CORE)) for one in (again, memory)))


@pytest.mark.parametrize("name", MEASURED)
def test_a_linear_measurement(x64, name):
    everything_agrees(measured(CASES[name]), BATCH, CORE)


@pytest.mark.parametrize("name", MEASURED_INSIDE)
@pytest.mark.parametrize("wrapped", [in_mixture, in_smoothed])
def test_a_measurement_of_another_memory(x64, name, wrapped):
    everything_agrees(measured(wrapped(CASES[name])), BATCH, VALUES)


@pytest.mark.parametrize("name", MEASURED_INSIDE)
def test_both_one_after_the_other(x64, name):
    case = conditioned(measured(CASES[name]))
    everything_agrees(case, BATCH, VALUES)
    matrix = np.concatenate([cases.OPERATOR, ROWS])
    value, noise = np.append(cases.VALUE, SEEN[cases.KNOWN]), np.append(cases.LEVELS, [TAU, TAU])
    both = CASES[name].oracle().observed(matrix, value, noise)
    close(case.make().log_evidence, both.log_mass, 2e-6 if case.single else 1e-7, 10)

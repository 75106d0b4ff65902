"""Where on the spectrum a memory is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import Box, GaussianMemory, PatternMemory, Segment, Sphere, Subspace
from dispersed.diagnostics import (
    distance_to_memory,
    effective_patterns,
    jacobian_spectrum,
    local_dimension,
    participation,
)
from dispersed.validation import InputError


def test_effective_patterns_count_those_that_share_a_state(x64):
    memory = PatternMemory(np.array([[1.0, 0], [-1, 0], [0, 50]]))
    np.testing.assert_allclose(effective_patterns(memory, [1.0, 0], 0.1), 1, rtol=1e-9)
    np.testing.assert_allclose(effective_patterns(memory, [0.0, 0], 0.1), 2, rtol=1e-9)
    np.testing.assert_allclose(effective_patterns(memory, [0.0, 0], 1e4), 3, rtol=1e-3)
    # Patterns seen again and again weigh more: p = (3/4, 1/4) has e^H = 4/3^{3/4}.
    weighted = PatternMemory(np.array([[1.0, 0], [-1, 0]]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(effective_patterns(weighted, [0.0, 0], 0.1), 4 / 3**0.75, rtol=1e-9)


def test_patterns_without_probability_leave_the_slopes_of_the_others():
    """−p log p has an infinite slope at 0, over which neither weights of 0 nor underflow may stumble."""
    near = np.array([[1.0, 0], [-1, 0]])
    x, sigma = jnp.array([0.3, 0.1]), jnp.asarray(0.7)
    slopes = jax.grad(lambda memory, x, sigma: effective_patterns(memory, x, sigma), (1, 2))
    expected = slopes(PatternMemory(near), x, sigma)
    far = PatternMemory(np.array([[1.0, 0], [-1, 0], [0, 50]]))
    weightless = PatternMemory(np.array([[1.0, 0], [-1, 0], [0.3, 0]]), weights=np.array([1.0, 1, 0]))
    of_posterior = jax.grad(lambda memory, x, sigma: memory.posterior(x, sigma).effective_number, (1, 2))
    for memory, found in ((m, of(m, x, sigma)) for m in (far, weightless) for of in (slopes, of_posterior)):
        for part, slope in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, slope, rtol=1e-4, atol=1e-6, err_msg=str(memory))


def test_the_distance_has_no_slope_at_the_memory_and_a_unit_slope_off_it():
    for memory in (PatternMemory(np.eye(3)), Segment([1.0, 0, 0], [0.0, 1, 0])):
        slope = jax.grad(lambda x, memory=memory: distance_to_memory(memory, x))
        np.testing.assert_array_equal(slope(jnp.array([1.0, 0, 0])), 0)
        np.testing.assert_allclose(slope(jnp.array([1.0, 0, 0.25])), [0, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("memory", "dimension"),
    [
        (PatternMemory(np.array([[0.0, 0, 0]])), 0),
        (Segment([-9.0, 0, 0], [9.0, 0, 0]), 1),
        (Sphere([0.0, 0, 0], 9.0), 2),
        (Subspace([0.0, 0, 0], np.eye(3)[:2]), 2),
        (Box([-9.0, -9, -9], [9.0, 9, 9]), 3),
    ],
)
def test_local_dimension_is_the_dimension_of_the_shape(x64, memory, dimension):
    x = memory.project(np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(local_dimension(memory, x, 0.05), dimension, atol=1e-3)
    np.testing.assert_allclose(participation(memory, x, 0.05), dimension, atol=1e-3)
    np.testing.assert_allclose(distance_to_memory(memory, x), 0, atol=1e-12)


def test_spectrum_of_a_gaussian_and_of_a_decision(x64):
    blob = GaussianMemory(np.zeros(3), np.diag([1.0, 0.1, 0]))
    spectrum = jacobian_spectrum(blob, np.ones((2, 3)), 0.1)
    np.testing.assert_allclose(spectrum, [[1 / 1.01, 0.5, 0]] * 2, atol=1e-12)
    # Half-way between two points 2 apart, Cov/σ² = 1/σ².
    pair = PatternMemory(np.array([[1.0, 0], [-1, 0]]))
    np.testing.assert_allclose(jacobian_spectrum(pair, [0.0, 0], 0.5), [4, 0], atol=1e-12)
    np.testing.assert_allclose(local_dimension(pair, [0.0, 0], 0.5), 1, atol=1e-12)


def test_distance_is_that_to_the_nearest_point(x64):
    segment = Segment([0.0, 0], [1.0, 0])
    np.testing.assert_allclose(distance_to_memory(segment, [[0.5, 2], [4.0, 4]]), [2, 5])


def test_diagnostics_of_the_wrong_memory_get_one_line():
    with pytest.raises(InputError, match="memory: a Segment has no responsibilities"):
        effective_patterns(Segment([0.0], [1.0]), [0.0], 1.0)
    with pytest.raises(InputError, match="x: got shape"):
        local_dimension(Segment([0.0], [1.0]), [0.0, 0.0], 1.0)


def test_diagnostics_are_the_same_in_all_units():
    """Squares of what is 1e-25 or 1e25 are no numbers in single precision."""
    pair = PatternMemory([[-1.0, 0], [1, 0]])
    np.testing.assert_allclose(participation(pair, [0.0, 0], 1e-10), 1, rtol=1e-6)
    for far in (1e-25, 1e25):
        np.testing.assert_allclose(distance_to_memory(pair, [1.0, far]), far, rtol=1e-5)

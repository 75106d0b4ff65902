"""Recall in other units ends at the same states, with the same derivatives."""

import diffrax as dfx
import jax
import numpy as np

from dispersed import Circuit, Iteration, ModernHopfield, PatternMemory, ProbabilityFlow, recall

Y = np.array([[1.0, 0.5, -0.25], [-0.75, 1.25, 0.5], [0.25, -1.0, 0.875]])
CUES = Y + np.array([0.5, -0.25, 0.25])


def test_fixed_points_of_a_memory_are_those_of_other_units():
    plain = recall(PatternMemory(Y).at(0.5), CUES, Iteration(300))
    assert (plain.steps > 3).all()
    for c in (1e-6, 1e-12, 1e6):
        found = recall(PatternMemory(c * Y).at(0.5 * c), CUES * c, Iteration(300))
        assert found.converged.all()
        np.testing.assert_allclose(found.x / c, plain.x, atol=1e-4)


def test_fixed_points_of_a_network_and_their_slopes_are_those_of_other_units():
    def ends(c, log_beta):
        return recall(ModernHopfield(c * Y, jax.numpy.exp(log_beta) / c**2), c * CUES, Iteration(300)).x / c

    plain, slope = ends(1.0, np.log(2.0)), jax.jacrev(ends, argnums=1)(1.0, np.log(2.0))
    assert abs(slope).max() > 0.1
    for c in (1e-6, 1e6):
        np.testing.assert_allclose(ends(c, np.log(2.0)), plain, atol=1e-4)
        np.testing.assert_allclose(jax.jacrev(ends, argnums=1)(c, np.log(2.0)), slope, atol=1e-3)


def test_an_adaptive_flow_is_that_of_other_units():
    def found(c):
        flow = ProbabilityFlow(dfx.Tsit5(), tol=1e-3, sigma_min=0.0625 * c)
        return recall(PatternMemory(c * Y), c * CUES, flow, sigma=0.5 * c)

    plain = found(1.0)
    for c in (1e-6, 1e6):
        np.testing.assert_allclose(found(c).x / c, plain.x, atol=1e-3)
        np.testing.assert_allclose(found(c).evaluations, plain.evaluations, atol=12)


def test_a_circuit_is_that_of_other_units():
    plain = recall(ModernHopfield(Y, 2.0), CUES, Circuit())
    for c in (1e-6, 1e6):
        found = recall(ModernHopfield(c * Y, 2 / c**2), c * CUES, Circuit())
        np.testing.assert_allclose(found.x / c, plain.x, atol=1e-3)
        np.testing.assert_array_equal(found.converged, plain.converged)


def test_solvers_that_break_down_do_not_stop_derivatives_in_reverse_mode(rng):
    def end(y):
        return recall(PatternMemory(y), 1.125 * y[0], Iteration(), sigma=0.25).x

    many = rng.standard_normal((60, 5, 2)).astype(np.float32)
    reverse, forward = (jax.vmap(mode(end))(many) for mode in (jax.jacrev, jax.jacfwd))
    np.testing.assert_allclose(reverse, forward, rtol=1e-3, atol=1e-2)

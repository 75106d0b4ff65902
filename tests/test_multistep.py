"""The multistep method of the probability flow: exact for parabolas, from infinity on, and in any unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from dispersed import Dense, ExponentialIntegrator, MultistepFlow, Observation, PatternMemory, condition, recall
from dispersed.datasets import load_digits
from dispersed.multistep import Value, step


@pytest.mark.parametrize("levels", [(2.0, 3.0, 5.0), (2.0, np.inf, np.inf), (2.0, 3.0, np.inf), (1e-3, 2e-3, 5e-3)])
def test_a_step_is_exact_for_a_parabola_in_its_variable(x64, levels):
    """Or for the polynomial of the values that there are."""
    a, b, kappa = levels[0], levels[0] / 3, 0.7
    known = len(set(levels))
    c = np.array([[0.3, -1.2], [0.8, 0.1], [-2.0, 0.5]])[:known]

    def mean(sigma):
        w = 0.0 if np.isinf(sigma) else kappa / (sigma + kappa)
        return sum(part * w**n for n, part in enumerate(c))

    z = np.array([1.5, -0.4])
    values = [Value(jnp.asarray(mean(level)), jnp.asarray(level)) for level in levels[1:]]
    found = step(jnp.asarray(z), jnp.asarray(a), jnp.asarray(b), jnp.asarray(mean(a)), *values, jnp.asarray(kappa))
    integral = [quad(lambda s, i=i: mean(s)[i] / s**2, b, a, epsabs=0, epsrel=1e-12)[0] for i in range(2)]
    np.testing.assert_allclose(found, b / a * z + b * np.array(integral), rtol=1e-9)


def test_the_order_from_infinity_is_that_of_the_first_step(x64):
    """Of two patterns ±1 in one dimension D = tanh(z/σ²)."""
    z, first, last = 1.1, 2.0, 0.5
    end = solve_ivp(lambda s, z: (z - np.tanh(z / s**2)) / s, (first, last), [z], rtol=1e-12, atol=1e-13).y[0, -1]
    steps, errors = np.array([65, 257]), []
    for n in steps:
        found = recall(
            PatternMemory([[1.0], [-1.0]]), [z], MultistepFlow(int(n), sigma_min=last), sigma=first, trajectory=True
        )
        errors.append(abs(float(found.trajectory[-2, 0]) - end))
    assert -np.polyfit(np.log(steps - 1), np.log(errors), 1)[0] == pytest.approx(2, abs=0.2)


def test_few_steps_from_any_noise_end_where_the_flow_does():
    """And do so more often than an exponential integrator that takes more of them."""
    y = np.asarray(load_digits()[0], np.float32)
    centre = y.mean(axis=0)
    spread = float(np.sqrt(np.mean(np.sum((y - centre) ** 2, axis=1))))
    memory = PatternMemory(y, engine=Dense())
    noise = np.random.default_rng(0).standard_normal((400, 64))
    for sigma in (10 * spread, 100 * spread):
        cues = (centre + sigma * noise).astype(np.float32)
        fine, few, more = (
            recall(memory, cues, dynamics, sigma=sigma)
            for dynamics in (ExponentialIntegrator(300, order=3), MultistepFlow(), ExponentialIntegrator(20))
        )
        same, beside = (np.mean(np.asarray(one.index == fine.index)) for one in (few, more))
        assert same > 0.95
        assert same > beside + 0.01
        assert int(few.evaluations.max()) <= 17 < int(more.evaluations.max())
        assert bool(few.converged.all())


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_recall_is_the_same_in_every_unit_and_at_every_ratio_of_noise(unit, rng):
    y = rng.standard_normal((40, 6)).astype(np.float32)
    for ratio in (1e-3, 0.1, 1.0, 1e4):
        cues = (y[:20] + ratio * rng.standard_normal((20, 6))).astype(np.float32)
        one = recall(PatternMemory(y), cues, sigma=ratio)
        other = recall(PatternMemory(unit * y), unit * cues, sigma=unit * ratio)
        np.testing.assert_array_equal(one.index, other.index)
        np.testing.assert_allclose(other.x / np.float32(unit), one.x, atol=1e-5)


def test_equal_patterns_have_no_spread_and_are_recalled():
    for patterns in ([[1.0, -2.0]], [[1.0, -2.0]] * 3):
        for sigma in (1e-3, 1.0, 1e4):
            found = recall(PatternMemory(patterns), [0.5, 3.0], MultistepFlow(), sigma=sigma)
            np.testing.assert_allclose(found.x, patterns[0], atol=1e-6)


def test_prior_weights_move_the_value_at_infinity(x64, rng):
    """Whether they were given or come from a measurement, and whether programs know the patterns or not."""
    y, weights = rng.standard_normal((30, 4)), rng.uniform(0.1, 5, 30)
    memory = PatternMemory(y, weights)
    expected = weights @ y / weights.sum()
    np.testing.assert_allclose(memory._prepared()._prior_mean(), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda p: PatternMemory(p, weights)._prior_mean())(y), expected, rtol=1e-12)
    after = condition(memory._prepared(), Observation(y[0], sigma=0.5))
    np.testing.assert_allclose(after._prior_mean(), after.weights @ y, rtol=1e-12)
    assert np.linalg.norm(after._prior_mean() - expected) > 0.1

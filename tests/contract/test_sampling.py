"""Draws from every memory: their moments and distribution against closed forms, and what they depend on."""

import jax
import numpy as np
import pytest
from scipy.stats import ks_2samp

from dispersed import InputError

from .cases import CASES, D, conditioned

PROPER = {name: case for name, case in CASES.items() if case.proper and "log_density" in case.does}
MANY = 40_000


def agree(case, states, sigma):
    """Mean and covariance within 2 %, of the spread and its square; and every unit's distribution."""
    truth = case.oracle()
    mean, covariance = truth.moments()
    covariance = covariance + sigma**2 * np.eye(D)
    spread = np.sqrt(np.trace(covariance)) + 1e-6
    np.testing.assert_allclose(states.mean(axis=0), mean, atol=0.02 * spread)
    np.testing.assert_allclose(np.cov(states.T), covariance, atol=0.02 * spread**2)
    expected = truth.sample(np.random.default_rng(1), MANY, sigma).astype(np.float32)
    for direction in np.eye(D):
        # Nodes of a rule and stored patterns are compared as they are rounded.
        found, wanted = np.round(states @ direction, 4), np.round(expected @ direction, 4)
        if case.gap and sigma == 0:
            assert np.abs(np.quantile(found, QUANTILES) - np.quantile(wanted, QUANTILES)).max() < case.gap
        else:
            assert ks_2samp(found, wanted).pvalue > 1e-4


QUANTILES = np.linspace(0.02, 0.98, 25)


@pytest.mark.parametrize("name", PROPER)
def test_draws_are_from_the_memory(name):
    case = PROPER[name]
    memory = case.make()
    sigma = np.repeat(np.array([0.0, 0.5], np.float32), MANY)
    states = np.asarray(memory.sample(jax.random.key(3), (2 * MANY,), sigma))
    assert states.dtype == np.float32
    agree(case, states[:MANY], 0.0)
    agree(case, states[MANY:], 0.5)


@pytest.mark.parametrize("name", ["weighted patterns", "scanned float16", "mixture"])
def test_the_i_th_draw_depends_on_the_key_and_i_alone(name):
    memory, key = CASES[name].make(), jax.random.key(5)
    all_of_them = np.asarray(memory.sample(key, (6,), 0.5))
    np.testing.assert_array_equal(memory.sample(key, (6,), 0.5), all_of_them)
    grid = memory.sample(key, (2, 3), np.full((2, 1), 0.5, np.float32))
    for found, expected in (
        (memory.sample(key, 2, 0.5), all_of_them[:2]),
        (memory.sample(key, (), 0.5), all_of_them[0]),
        (np.reshape(grid, (6, D)), all_of_them),
    ):  # other shapes are other programs, which round in another order
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not np.array_equal(memory.sample(jax.random.key(6), (6,), 0.5), all_of_them)
    assert memory.sample(key, (0,), 0.5).shape == (0, D)


@pytest.mark.parametrize("name", ["patterns", "gaussian"])
def test_draws_of_a_conditioned_memory_are_its_posterior(name):
    case = conditioned(CASES[name])
    states = np.asarray(case.make().sample(jax.random.key(7), (MANY,)))
    mean, covariance = case.oracle().moments()
    spread = np.sqrt(np.trace(covariance))
    np.testing.assert_allclose(states.mean(axis=0), mean, atol=0.02 * spread + 1e-6)
    np.testing.assert_allclose(np.cov(states.T), covariance, atol=0.02 * spread**2 + 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jax.random.key(0), -1), "shape"),
        ((jax.random.key(0), (2, -1)), "shape"),
        ((jax.random.key(0), True), "shape"),
        ((jax.random.key(0), (2,), -0.5), "sigma"),
        ((jax.random.key(0), (2,), np.nan), "sigma"),
        ((jax.random.key(0), (2,), [0.5, 0.5, 0.5]), "sigma"),
    ],
)
def test_bad_arguments_of_sample_get_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        CASES["patterns"].make().sample(*arguments)
    assert "\n" not in str(error.value)

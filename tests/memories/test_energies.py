"""Networks from an energy alone: safe steps, clamped units, gradients; random features beside their exact kernel."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import EnergyNetwork, InputError, ModernHopfield, RandomFeatureHopfield, capacity, recall
from dispersed.capacities.methods import Method
from dispersed.dynamics import Iteration


def modern(x, patterns, beta):
    """The energy of the modern Hopfield network."""
    return x @ x / 2 - jax.nn.logsumexp(beta * patterns @ x) / beta


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quartic(x):
    return jnp.sum((x**2 - 1) ** 2)


def steep(x):
    return jnp.sum(jnp.exp(x**2)) + jnp.sum(jnp.abs(x))


@pytest.mark.parametrize("energy", [rosenbrock, quartic, steep])
def test_no_update_raises_the_energy(rng, energy):
    network = EnergyNetwork(energy, 6)
    x = (rng.standard_normal((200, 6)) * 1.5).astype(np.float32)
    before = np.asarray(network.energy(x))
    for _ in range(20):
        x = network.update(x)
        after = np.asarray(network.energy(x))
        assert (after <= before + 1e-5 * np.abs(before)).all()
        before = after


def scaled(x, width, height):
    return height * quartic(x / width)


UNITS = [(1.0, 1.0), (1e6, 1.0), (1e-6, 1.0), (1.0, 1e9), (1.0, 1e-9), (1e15, 1.0), (1e-15, 1.0)]


@pytest.mark.parametrize(("width", "height"), UNITS)
def test_units_of_states_and_energies_do_not_matter(rng, width, height):
    network = EnergyNetwork(functools.partial(scaled, width=width, height=height), 4)
    x = rng.standard_normal((30, 4)).astype(np.float32)
    result = recall(network, np.float32(width) * x)
    np.testing.assert_allclose(np.abs(result.x), width, rtol=2e-3)
    assert np.all(result.converged)


def test_the_modern_network_from_its_energy(rng):
    """The same fixed points as by the closed form, and derivatives by whatever the energy is bound to."""
    patterns = np.sign(rng.standard_normal((5, 16))).astype(np.float32)
    cues = patterns + 0.4 * rng.standard_normal(patterns.shape).astype(np.float32)
    network = EnergyNetwork(functools.partial(modern, patterns=patterns, beta=0.4), 16)
    closed = ModernHopfield(patterns, 0.4)
    result = recall(network, cues)
    np.testing.assert_allclose(result.x, recall(closed, cues).x, atol=1e-4)
    assert np.all(result.converged)

    def of_energy(beta):
        return recall(EnergyNetwork(functools.partial(modern, patterns=patterns, beta=beta), 16), cues[0]).x.sum()

    def of_closed(beta):
        return np.sum(recall(ModernHopfield(patterns, beta), cues).x, axis=1)[0]

    slow = (of_closed(0.41) - of_closed(0.39)) / 0.02
    np.testing.assert_allclose(jax.jit(jax.grad(of_energy))(0.4), slow, rtol=2e-2)


def test_clamped_units_are_constants_of_the_energy(rng):
    patterns = np.sign(rng.standard_normal((5, 16))).astype(np.float32)
    known = np.arange(16) < 10
    network = EnergyNetwork(functools.partial(modern, patterns=patterns, beta=1.0), 16)
    result = recall(network, np.where(known, patterns, np.nan), known=known)
    np.testing.assert_array_equal(np.asarray(result.x)[:, known], patterns[:, known])
    np.testing.assert_allclose(result.x, patterns, atol=1e-3)


def test_saddles_are_no_attractors():
    network = EnergyNetwork(quartic, 2)
    result = recall(network, [[0.0, 0.0], [1.0, 0.0], [0.3, -0.4]])
    assert result.converged.tolist() == [False, False, True]
    np.testing.assert_allclose(result.x, [[0, 0], [1, 0], [1, -1]], atol=1e-3)


def mirrored(x, patterns, beta):
    return x @ x / 2 - jax.nn.logsumexp(jnp.abs(beta * patterns @ x)) / beta


REGISTERED = Method(
    "mirrored", lambda y: EnergyNetwork(functools.partial(mirrored, patterns=y, beta=1.0), y.shape[1]), Iteration()
)


def test_a_new_energy_is_one_function_and_one_line_of_registration():
    """Recalled, clamped, differentiated and measured by what is there."""
    code = inspect.getsource(mirrored).strip().splitlines()
    assert len(code) == 2
    assert inspect.getsource(REGISTERED.family).count("\n") == 1
    held = capacity(REGISTERED.family, 16, REGISTERED.dynamics, alpha=0.9, sets=4, max_patterns=1)
    assert held.beyond
    patterns = np.sign(np.random.default_rng(3).standard_normal((3, 16))).astype(np.float32)
    network = REGISTERED.family(patterns)
    known = np.arange(16) < 8
    np.testing.assert_allclose(recall(network, patterns, known=known).x, patterns, atol=1e-3)
    assert np.isfinite(jax.jit(jax.grad(network.energy))(patterns[0])).all()


@pytest.mark.parametrize(
    "energy", [3.0, lambda x: x, lambda x: jnp.sum(x).astype(int), lambda x: x @ jnp.zeros(7), lambda x: float(x[0])]
)
def test_what_is_no_energy_gets_one_line(energy):
    with pytest.raises(InputError, match="energy") as error:
        EnergyNetwork(energy, 4)
    assert "\n" not in str(error.value)


def exact_kernel(x, y, beta):
    return np.exp(-beta * ((x[:, None] - y) ** 2).sum(axis=2) / 2).sum(axis=1)


def test_random_features_estimate_the_energy_within_their_error(rng):
    """Errors of independent features have the standard error that is said, which shrinks as m^{-1/2}."""
    y, beta = rng.standard_normal((5, 8)) / 2, 1.0
    x = (y + 0.2 * rng.standard_normal(y.shape)).astype(np.float32)
    truth = -np.log(exact_kernel(x.astype(float), y, beta)) / beta
    scores, sizes = [], {}
    for features in (500, 8000):

        def estimated(key, features=features):
            network = RandomFeatureHopfield(y, beta, features, key)
            return network.energy(x), network.energy_error(x)

        energy, error = map(np.asarray, jax.jit(jax.vmap(estimated))(jax.random.split(jax.random.key(0), 40)))
        scores.append((energy - truth) / error)
        sizes[features] = np.sqrt(np.mean((energy - truth) ** 2))
        bound = 5 * np.sqrt(2 * np.log(2 / 1e-6) / features)  # Hoeffding
        assert np.abs(np.exp(-beta * energy) - exact_kernel(x.astype(float), y, beta)).max() < bound
    assert 0.8 < np.std(scores) < 1.2
    assert 3 < sizes[500] / sizes[8000] < 5.3


def test_random_features_recall_what_is_stored(rng):
    y = 100 + 3 * rng.standard_normal((5, 16)).astype(np.float32)
    network = RandomFeatureHopfield(y, 1.0, 5000, jax.random.key(0))
    result = recall(network, y + 0.3 * rng.standard_normal(y.shape).astype(np.float32))
    assert np.linalg.norm(result.x - y, axis=1).max() < 0.5
    assert np.all(result.converged)
    beyond = recall(network, y + 100)
    assert (~np.asarray(beyond.converged) | (np.asarray(network.energy(beyond.x)) < 1e30)).all()


@pytest.mark.parametrize(
    "energy",
    [lambda x: jnp.sum(x**4), lambda x: jnp.sum(jnp.exp(x)), lambda x: jnp.sum(jnp.log(-x)), lambda x: -jnp.sum(x**2)],
    ids=["overflows", "infinite", "not a number", "unbounded"],
)
def test_where_an_energy_is_no_number_states_stay_and_are_no_attractors(energy):
    found = recall(EnergyNetwork(energy, 2), [1e19, 1.0])
    assert np.isfinite(found.x).all()
    assert not found.converged

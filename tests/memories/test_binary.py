import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import ClassicalHopfield, DenseHopfield, Exponential, InputError, Polynomial, recall
from dispersed.dynamics import Asynchronous, Iteration, Result


def signs(rng, *shape):
    return np.where(rng.standard_normal(shape) < 0, -1.0, 1.0)


INTERACTIONS = [
    Polynomial(2),
    Polynomial(3),
    Polynomial(4, rectified=True),
    Exponential(),
    Exponential(0.3),
    lambda a: jnp.maximum(a, 0) ** 2 + 0.1 * a,
]


def update_by_hand(patterns, x, function):
    """The Krotov–Hopfield rule, unit by unit, in plain NumPy."""
    new = []
    for i in range(x.size):
        plus, minus = x.copy(), x.copy()
        plus[i], minus[i] = 1, -1
        difference = function(patterns @ plus).sum() - function(patterns @ minus).sum()
        new.append(np.sign(difference) if difference else (1.0 if x[i] >= 0 else -1.0))
    return np.array(new)


def test_classical_update_is_the_sign_of_wx(rng):
    patterns = signs(rng, 4, 15)
    for self_coupling in (False, True):
        network = ClassicalHopfield(patterns, self_coupling)
        w = patterns.T @ patterns
        if not self_coupling:
            np.fill_diagonal(w, 0)
        np.testing.assert_array_equal(network.couplings, w)
        x = rng.standard_normal((20, 15)).astype(np.float32)
        np.testing.assert_array_equal(network.update(x), np.sign(x @ w))
        np.testing.assert_allclose(network.energy(x), -np.einsum("bi,ij,bj->b", x, w, x) / 2, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("interaction", "function"),
    [
        (Polynomial(2), lambda a: a**2),
        (Polynomial(3), lambda a: a**3),
        (Polynomial(5, rectified=True), lambda a: np.maximum(a, 0) ** 5),
        (Exponential(0.5), lambda a: np.exp(0.5 * a)),
        (lambda a: a**4, lambda a: a**4),
    ],
)
def test_dense_update_follows_the_rule(rng, interaction, function):
    patterns = signs(rng, 6, 11)
    network = DenseHopfield(patterns, interaction)
    for x in signs(rng, 10, 11):
        np.testing.assert_array_equal(network.update(x), update_by_hand(patterns, x, function))


def test_degree_two_is_the_classical_network(rng):
    patterns, x = signs(rng, 5, 21), signs(rng, 30, 21)
    dense, classical = DenseHopfield(patterns, Polynomial(2)), ClassicalHopfield(patterns)
    np.testing.assert_array_equal(dense.update(x), classical.update(x))
    np.testing.assert_allclose(jnp.diff(dense.energy(x)) * 21**2 / 2, jnp.diff(classical.energy(x)), atol=1e-3)


@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_asynchronous_recall_never_raises_the_energy(rng, x64, interaction):
    patterns = signs(rng, 8, 24)
    network = DenseHopfield(patterns, interaction)
    result = recall(network, signs(rng, 12, 24), Asynchronous(20), key=jax.random.key(1), trajectory=True)
    energy = np.asarray(network.energy(result.trajectory))
    slack = 1e-9 * np.abs(energy).max()
    assert (np.diff(energy, axis=-1) <= slack).all()
    assert bool(result.converged.all())
    np.testing.assert_array_equal(network.update(result.x), result.x)


@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_dense_recall_corrects_flipped_units(rng, interaction):
    patterns = signs(rng, 6, 64)
    cues = patterns.copy()
    cues[:, :6] *= -1
    network = DenseHopfield(patterns, interaction)
    for dynamics in (Iteration(), Asynchronous()):
        result = recall(network, cues, dynamics, key=jax.random.key(0))
        np.testing.assert_array_equal(result.x, patterns)
        np.testing.assert_array_equal(result.index, np.arange(6))


def test_classical_asynchronous_energy_falls(rng, x64):
    network = ClassicalHopfield(signs(rng, 9, 30))
    result = recall(network, signs(rng, 10, 30), Asynchronous(30), key=jax.random.key(3), trajectory=True)
    assert (np.diff(np.asarray(network.energy(result.trajectory)), axis=-1) <= 1e-9).all()
    assert bool(result.converged.all())


def test_a_two_cycle_is_reported_and_not_looped_on():
    """Two units that drive each other to the opposite: W = [[0, −1], [−1, 0]]."""
    network = ClassicalHopfield([[1.0, -1.0]])
    result = recall(network, [1.0, 1.0], Iteration(100))
    assert bool(result.result == Result.cycle)
    assert int(result.steps) == 2
    assert not bool(result.converged)
    asynchronous = recall(network, [1.0, 1.0], Asynchronous(), key=jax.random.key(0))
    assert bool(asynchronous.converged)


def test_energy_matches_eq_4_with_its_sign_mended(rng, x64):
    patterns, x = signs(rng, 5, 12), signs(rng, 7, 12)
    overlaps = x @ patterns.T
    np.testing.assert_allclose(
        DenseHopfield(patterns, Polynomial(3)).energy(x), -((overlaps / 12) ** 3).sum(1), atol=1e-14
    )
    np.testing.assert_allclose(
        DenseHopfield(patterns, Exponential(0.7)).energy(x), -np.log(np.exp(0.7 * overlaps).sum(1)), rtol=1e-12
    )
    np.testing.assert_allclose(DenseHopfield(patterns, lambda a: a**2).energy(x), -(overlaps**2).sum(1), rtol=1e-12)


@pytest.mark.parametrize("interaction", [Exponential(), Exponential(2.0), Polynomial(30), Polynomial(31, True)])
def test_thousands_of_units_do_not_overflow(rng, interaction):
    patterns = signs(rng, 50, 4096)
    cues = patterns * np.where(rng.random(patterns.shape) < 0.1, -1, 1)
    network = DenseHopfield(patterns, interaction)
    result = recall(network, cues)
    np.testing.assert_array_equal(result.x, patterns)
    assert np.isfinite(network.energy(cues)).all()
    assert np.isfinite(result.responsibility).all()


def test_zero_units_and_zero_fields():
    network = ClassicalHopfield([[1.0, 1.0, -1.0]])
    np.testing.assert_array_equal(network.update([0.0, 0.0, 0.0]), [1.0, 1.0, 1.0])
    result = recall(network, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(result.x, [1.0, 1.0, -1.0])
    assert np.isfinite(DenseHopfield([[1.0, -1.0]], Polynomial(3)).nearest([0.0, 0.0])[1])


@pytest.mark.parametrize("network", [ClassicalHopfield, DenseHopfield])
def test_non_binary_patterns_get_one_line(network):
    with pytest.raises(InputError, match=r"-1 and \+1"):
        network([[1.0, 0.5]])


def test_bad_interactions_get_one_line():
    with pytest.raises(InputError, match="degree"):
        Polynomial(0)
    with pytest.raises(InputError, match="beta"):
        Exponential(-1.0)
    with pytest.raises(InputError, match="interaction"):
        DenseHopfield([[1.0, -1.0]], "cubic")

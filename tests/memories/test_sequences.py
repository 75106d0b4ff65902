"""Sequence memories against loops in double precision, and against what theory says of their flips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.sequences import flip_rate, transitions
from scipy.linalg import hadamard

from dispersed import Exponential, InputError, Iteration, Observation, Polynomial, SequenceMemory, condition, recall
from dispersed.theory import finite_sequence_error, sequence_capacity, sequence_error, transition_capacity

from .oracle import SequenceNetwork

D = 20


def signs(rng, *shape):
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0).astype(np.float32)


def signed(field, x):
    return np.where(field == 0, np.where(x < 0, -1.0, 1.0), np.sign(field))


@pytest.mark.parametrize(
    ("interaction", "function"),
    [(Polynomial(1), lambda a: a), (Polynomial(4), lambda a: a**4), (Exponential(0.5), lambda a: np.exp(0.5 * a))],
)
def test_one_update_is_that_of_the_formula(rng, interaction, function):
    """Of ±1 states, missing units and real-valued ones; even numbers of patterns of even size, so that fields tie."""
    y = signs(rng, 12, D)
    x = np.concatenate([signs(rng, 30, D), np.zeros((1, D)), rng.normal(size=(5, D))]).astype(np.float32)
    slow = SequenceNetwork(y, function)
    expected = np.array([slow.update(np.asarray(state, float)) for state in x])
    np.testing.assert_array_equal(SequenceMemory(y, interaction).update(x), expected)


def test_a_unit_without_field_keeps_its_sign():
    memory = SequenceMemory([[1, 1, 1, 1], [1, 1, -1, -1]], Polynomial(1))
    np.testing.assert_array_equal(memory.update([-1.0, 1, 1, -1]), [-1.0, 1, 1, -1])


def test_a_sequence_is_recalled_from_its_first_state(rng):
    y = signs(rng, 12, 64)
    memory = SequenceMemory(y, Polynomial(3))
    states = memory.sequence(y[:2], 13)
    np.testing.assert_array_equal(states, y[(np.arange(14) + np.arange(2)[:, None]) % 12])
    path = recall(memory, y[0], Iteration(13), trajectory=True).trajectory
    np.testing.assert_array_equal(path, states[0])
    ended = SequenceMemory(y, Polynomial(3), targets=[*y[1:], y[-1]])
    end = recall(ended, y[0])
    assert bool(end.converged)
    assert int(end.index) == 11
    assert int(end.steps) == 12
    jitted = jax.jit(jax.vmap(lambda memory, x: memory.sequence(x, 3), (None, 0)))(memory, jnp.asarray(y[:2]))
    np.testing.assert_array_equal(jitted, states[:, :4])


def test_correlated_patterns_need_the_pseudo_inverse(rng):
    """Patterns that share most units; each calls the next exactly, for as many patterns as are independent."""
    base = signs(rng, 64)
    y = base * np.where(rng.random((40, 64)) < 0.15, -1, 1).astype(np.float32)
    following = np.roll(y, -1, axis=0)
    memory = SequenceMemory(y, Polynomial(1), pseudo_inverse=True)
    np.testing.assert_array_equal(memory.update(y), following)
    assert np.mean(np.asarray(SequenceMemory(y, Polynomial(1)).update(y)) == following) < 0.95
    x = signs(rng, 64)
    overlaps = 64 * np.linalg.pinv(y @ y.T.astype(float)) @ y @ x
    cubic = SequenceMemory(y, Polynomial(3), pseudo_inverse=True)
    np.testing.assert_array_equal(cubic.update(x), signed(following.T @ overlaps**3, x))
    repeated = SequenceMemory(np.concatenate([y, y[:1]]), Polynomial(1), pseudo_inverse=True)
    assert np.isfinite(np.asarray(repeated.dual)).all()


def test_a_mixed_network_dwells(rng):
    """By the formula, step by step; and more than (1 + λ)/(2λ) of the delay at each of some orthogonal patterns."""
    y, strength, delay = signs(rng, 5, 400), 2.5, 11
    memory = SequenceMemory(y, Polynomial(1), symmetric=Polynomial(1), strength=strength, delay=delay)
    states = np.asarray(memory.sequence(y[0], 30), float)
    past = [y[0].astype(float)] * delay
    for state in states[1:]:
        mean = np.mean(np.float32(past[-delay:]), axis=0)
        field = (y.T @ (y @ past[-1]) + strength * np.roll(y, -1, axis=0).T @ (y @ mean)) / 400
        np.testing.assert_array_equal(state, signed(field, past[-1]))
        past.append(state)
    y = hadamard(16)[1:6].astype(np.float32)
    # At just seven of ten the fields are zero.
    for delay in (11, 10):
        memory = SequenceMemory(y, Polynomial(1), symmetric=Polynomial(1), strength=strength, delay=delay)
        changes = np.flatnonzero(np.diff(np.asarray(memory.nearest(memory.sequence(y[0], 40))[0])))
        np.testing.assert_array_equal(np.diff(changes), 7 * delay // 10 + 1)


def test_pairs_of_keys_and_values(rng):
    keys, values = signs(rng, 10, 64), signs(rng, 10, 7)
    memory = SequenceMemory(keys, Polynomial(3), targets=values)
    np.testing.assert_array_equal(memory.associate(keys), values)
    noisy = keys * np.where(rng.random(keys.shape) < 0.1, -1, 1)
    assert np.mean(np.asarray(memory.associate(noisy)) == values) > 0.95
    for call in (lambda: memory.update(keys), lambda: memory.sequence(keys, 2), lambda: recall(memory, keys)):
        with pytest.raises(InputError, match="associate"):
            call()


def test_units_can_be_held(rng):
    y = signs(rng, 6, 64)
    known = np.arange(64) < 8
    held = condition(SequenceMemory(y), Observation(y[0], mask=known, sigma=0.1))
    np.testing.assert_array_equal(held.update(y[0]), np.where(known, y[0], y[1]))


def test_what_is_no_sequence_is_one_line(rng):
    y = signs(rng, 4, 6)
    for arguments, name in (
        ({"targets": y[:3]}, "targets"),
        ({"targets": 2 * y}, "targets"),
        ({"interaction": 3}, "interaction"),
        ({"strength": 0.0}, "strength"),
        ({"delay": 0}, "delay"),
        ({"targets": y[:, :2], "symmetric": Polynomial(1)}, "symmetric"),
    ):
        with pytest.raises(InputError, match=f"^{name}: "):
            SequenceMemory(y, **arguments)
    with pytest.raises(InputError, match=r"energy: .* lower none"):
        SequenceMemory(y).energy(y[0])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_flips_are_as_rare_as_theory_says(degree):
    n, rate, error, theory, of_many = flip_rate(degree, 100 if degree < 3 else 40, 0.1, 12, 50)
    assert abs(rate - theory) < 3 * error, (n, rate, error, theory)
    assert finite_sequence_error(10_000, 1e4**degree, degree) == pytest.approx(of_many_units(degree), rel=2e-3)
    assert theory == pytest.approx(of_many, rel=0.1)


def of_many_units(degree):
    return sequence_error(10_000, 1e4**degree, degree)


def test_the_capacity_of_transitions_is_that_of_theory():
    found, finite, theory = transitions(2, 100, 4, 200)
    assert abs(found / finite - 1) < 0.1
    assert theory == transition_capacity(100, 2) == 3 * sequence_capacity(100, 2)
    assert theory == pytest.approx(100**2 / (6 * np.log(100)))
    assert sequence_error(100, theory, 2) == pytest.approx(sequence_error(100, transition_capacity(100, 1), 1))

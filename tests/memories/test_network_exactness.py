"""Signs of fields against exact arithmetic: ties, real-valued cues, steep exponentials, thousands of units."""

import math
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import ClassicalHopfield, DenseHopfield, Exponential, InputError, ModernHopfield, Polynomial
from dispersed.memories import hopfield_dense
from dispersed.memories.interaction import power_above


def power(base):
    """Exponentials of whole and rational overlaps as exact fractions: F(a) = base^a, for whole a."""
    return lambda a: Fraction(base) ** int(a)


def by_hand(y, x, F):
    """The Krotov–Hopfield rule in exact arithmetic; a tie keeps the state."""
    units = range(len(x))
    cue = [Fraction(float(value)) for value in x]
    found = []
    for i in units:
        field = 0
        for row in y.astype(int):
            rest = sum(int(row[k]) * cue[k] for k in units if k != i)
            field += F(rest + int(row[i])) - F(rest - int(row[i]))
        found.append(1 if field > 0 else -1 if field < 0 else -1 if x[i] < 0 else 1)
    return np.array(found)


POLYNOMIALS = [
    (Polynomial(1), lambda a: a),
    (Polynomial(2), lambda a: a**2),
    (Polynomial(3), lambda a: a**3),
    (Polynomial(4, rectified=True), lambda a: max(a, 0) ** 4),
    (Polynomial(31), lambda a: a**31),
]


def cues_of(rng, y, real):
    d = y.shape[1]
    binary = np.concatenate([rng.choice([-1.0, 1.0], (4, d)), y[:2], -y[:1]])
    more = np.concatenate([rng.choice([-1.0, 0, 1], (3, d)), np.zeros((1, d)), rng.standard_normal((2, d))])
    # As many of either kind, which one program serves.
    return np.float32(np.concatenate([binary, more]) if real else np.resize(binary, (len(binary) + len(more), d)))


def tied_patterns(rng, n, d):
    y = rng.choice(np.float32([-1, 1]), (n, d))
    y[-1] = y[0]
    y[-1, 0] *= -1
    return y


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("interaction", "F"), POLYNOMIALS)
def test_polynomials(rng, interaction, F, real):
    y = tied_patterns(rng, 5, 7)
    x = cues_of(rng, y, real)
    np.testing.assert_array_equal(DenseHopfield(y, interaction).update(x), [by_hand(y, row, F) for row in x])


@pytest.mark.parametrize("base", [2, 10**9, 10**300])
def test_exponentials_of_any_steepness(rng, base):
    """F = base^a; β = 691 underflows in every difference between a pattern that agrees and one that does not."""
    y = tied_patterns(rng, 6, 8)
    x = cues_of(rng, y, False)
    network = DenseHopfield(y, Exponential(float(np.log(float(base)))))
    np.testing.assert_array_equal(network.update(x), [by_hand(y, row, power(base)) for row in x])


def test_exponentials_of_thousands_of_units(rng):
    y = rng.choice(np.float32([-1, 1]), (8, 3000))
    x = y[:3] * rng.choice(np.float32([-1, 1]), (3, 3000), p=[0.3, 0.7])
    np.testing.assert_array_equal(DenseHopfield(y, Exponential(1.0)).update(x), y[:3])


def test_many_memories_at_once(rng):
    y = rng.choice(np.float32([-1, 1]), (3, 5, 9))
    x = rng.choice(np.float32([-1, 1]), (3, 4, 9))
    found = jax.vmap(lambda y, x: DenseHopfield(y).update(x))(y, x)
    np.testing.assert_array_equal(
        found, [[by_hand(a, row, lambda v: v**3) for row in b] for a, b in zip(y, x, strict=True)]
    )


@pytest.mark.parametrize("make", [ClassicalHopfield, DenseHopfield])
def test_updates_are_constant_almost_everywhere(rng, make):
    y = rng.choice(np.float32([-1, 1]), (5, 9))
    network = make(y)
    np.testing.assert_array_equal(jax.grad(lambda x: network.update(x).sum())(y[0]), np.zeros(9))


def test_finite_states_have_finite_energies():
    y = np.float32([[1, -1, 1], [1, 1, 1]])
    for network in (
        ClassicalHopfield(y),
        DenseHopfield(y),
        DenseHopfield(y, Exponential(1e10)),
        ModernHopfield(y, 1e4),
    ):
        for x in ([1.0, 1, 1], [0.0, 0, 0], [3e38, -3e38, 3e38]):
            assert np.isfinite(network.energy(x))


@pytest.mark.parametrize("make", [lambda: ModernHopfield([[1.0, 2.0]], [1.0, 2.0]), lambda: Exponential([1.0, 2.0])])
def test_temperatures_are_one_number(make):
    with pytest.raises(InputError, match="beta"):
        make()


def test_modern_near_ties_at_large_norms(rng):
    """Weights of patterns that differ by little, at norms where single-precision products differ by thousands."""
    y = np.float32(3000 * rng.standard_normal((20, 50)))
    y[1] = y[0]
    y[1, 0] = np.nextafter(y[0, 0], np.float32(np.inf))
    x = np.float32(y[:4] + rng.standard_normal((4, 50)))
    beta = 1e-3
    logits = beta * (x.astype(float) @ y.astype(float).T)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ModernHopfield(y, beta).responsibilities(x), weights, atol=2e-6)


@pytest.mark.parametrize("n", [40, 700])
def test_products_of_integers_decide_nothing_wrong(rng, n):
    """Fields as small as what is left of the slopes: signs are those of exact sums, or not known."""
    d, states = 60, 30
    y = rng.choice(np.float32([-1, 1]), (n, d))
    network = DenseHopfield(y, Polynomial(3))
    bits = 24 - (n - 1).bit_length()
    slopes = rng.standard_normal((states, n)) * 10.0 ** rng.integers(-250, 250, (states, 1))
    # One unit of each state is all but undecided: its field is a few of the smallest units that are kept.
    largest = np.abs(slopes).max(axis=1)
    unit = rng.integers(0, d, states)
    kept = largest * 2.0 ** (-2 * bits) * rng.standard_normal(states) * np.sqrt(n)
    slopes[:, 0] += y[0, unit] * (kept - np.sum(slopes * y[:, unit].T, axis=1))
    halves = np.array([[math.fsum(row * column) for column in y.T.astype(float)] for row in slopes]) / 2
    # What the leading pattern adds is nearly what others take away.
    lead = -rng.uniform(0.8, 1.2, halves.shape) * halves
    lead[np.arange(states), unit] = 0
    with jax.enable_x64(True):
        zeros = jnp.zeros((states, 1))
        parts = jnp.asarray(slopes), jnp.asarray(lead), zeros, zeros
        found = np.asarray(eqx.filter_jit(type(network)._signs_by_integers)(network, jnp.asarray(y[:states]), *parts))
    exact = lead + halves
    known = found != hopfield_dense.UNDECIDED
    np.testing.assert_array_equal(found[known], np.sign(exact)[known])
    assert np.mean(known) > 0.9
    assert not known[np.arange(states), unit].all()


def test_ties_of_exact_sums_are_decided_by_integers(rng):
    y = rng.choice(np.float32([-1, 1]), (4, 7))
    x = jnp.asarray(rng.choice(np.float32([-1, 1]), (200, 7)))
    network = DenseHopfield(y, Polynomial(2))

    @eqx.filter_jit
    def signs(network, overlaps, x):
        return network._signs_by_integers(x, *network._terms(overlaps, x))

    with jax.enable_x64(True):
        found = np.asarray(signs(network, jnp.asarray(x @ y.T, jnp.float64), x))
    assert (found == 0).any()
    assert (found != hopfield_dense.UNDECIDED).all()
    classical = np.sign(x @ y.T @ y - len(y) * x)
    np.testing.assert_array_equal(found, classical)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_above_are_the_next_ones(x64, rng, dtype):
    powers = np.ldexp(dtype(1), np.arange(-120, 120))
    x = np.concatenate([10 ** rng.uniform(-36, 36, 1000), powers, 1.5 * powers, np.nextafter(powers, dtype(0))]).astype(
        dtype
    )
    np.testing.assert_array_equal(jax.jit(power_above)(x), np.ldexp(dtype(1), np.frexp(x)[1]))
    assert power_above(jnp.zeros((), dtype)) == 1


@pytest.mark.parametrize("size", [1e8, 1e15, 1e17, 1e25, 3e37])
@pytest.mark.parametrize("degree", [2, 3])
def test_updates_of_real_valued_states_of_any_size(rng, size, degree):
    """Where one unit changes an overlap by less than its round-off; exact by fractions."""
    y = rng.choice([-1, 1], (6, 12))
    states = (size * rng.standard_normal((5, 12))).astype(np.float32)
    expected = []
    for state in states:
        x = [Fraction(float(entry)) for entry in state]
        overlaps = [sum(int(u) * v for u, v in zip(row, x, strict=True)) for row in y]
        rests = [[h - int(row[i]) * x[i] for h, row in zip(overlaps, y, strict=True)] for i in range(12)]
        fields = [
            sum(int(row[i]) * ((r + 1) ** degree - (r - 1) ** degree) for r, row in zip(rest, y, strict=True))
            for i, rest in enumerate(rests)
        ]
        expected.append([math.copysign(1, field) for field in fields])
    network = DenseHopfield(y.astype(np.float32), Polynomial(degree))
    np.testing.assert_array_equal(network.update(states), expected)

"""Learning rules against plain loops in double precision, and what each of them stores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    Asynchronous,
    ClassicalHopfield,
    Covariance,
    InputError,
    Palimpsest,
    Perceptron,
    PseudoInverse,
    SparseHopfield,
    Storkey,
    Unlearning,
    Willshaw,
    recall,
)
from dispersed.memories.rules import one_by_one, relaxed


def signs(rng, n, d):
    return np.where(rng.random((n, d)) < 0.5, -1.0, 1.0)


def slow_storkey(y):
    d = y.shape[1]
    w = np.zeros((d, d))
    for pattern in y:
        h = np.zeros((d, d))
        for i in range(d):
            for j in range(d):
                h[i, j] = sum(w[i, k] * pattern[k] for k in range(d) if k not in (i, j))
        change = (np.outer(pattern, pattern) - pattern[:, None] * h.T - h * pattern) / d
        w = w + np.where(np.eye(d), 0, change)
    return w


def slow_unlearning(y, steps, rate, starts):
    w = y.T @ y
    np.fill_diagonal(w, 0)
    for s in starts[:steps].copy():
        moved = True
        while moved:
            moved = False
            for i in range(len(s)):
                field = w[i] @ s
                new = s[i] if abs(field) < 1e-9 else np.sign(field)
                moved, s[i] = moved or new != s[i], new
        w -= rate * np.outer(s, s)
        np.fill_diagonal(w, 0)
    return w


def test_couplings_are_those_of_the_formulas(rng):
    y = signs(rng, 6, 12)
    found = {rule: np.asarray(rule.couplings(jnp.asarray(y, jnp.float32))) for rule in (Storkey(), PseudoInverse())}
    storkey, inverse = found.values()
    np.testing.assert_allclose(storkey, slow_storkey(y), atol=1e-5)
    np.testing.assert_allclose(inverse, np.linalg.pinv(y) @ y, atol=1e-6)
    decayed = sum(0.9 ** (len(y) - 1 - age) * np.outer(pattern, pattern) for age, pattern in enumerate(y))
    np.testing.assert_allclose(Palimpsest(0.1).couplings(jnp.asarray(y, jnp.float32)), decayed, rtol=1e-5, atol=1e-5)
    keys = [jax.random.fold_in(jax.random.key(5), step) for step in range(8)]
    starts = np.array([jax.random.rademacher(key, (12,), np.float32) for key in keys], float)
    expected = slow_unlearning(y, 8, 0.05, starts)
    np.testing.assert_allclose(Unlearning(8, 0.05, seed=5).couplings(jnp.asarray(y, jnp.float32)), expected, atol=1e-4)


@pytest.mark.parametrize("n", [3, 12, 20])
def test_the_pseudo_inverse_projects_whatever_the_patterns_span(rng, n):
    """Repeated patterns, their negatives, and more of them than units."""
    y = signs(rng, n, 12)
    y = jnp.asarray(np.concatenate([y, y[:1], -y[1:2]]), jnp.float32)
    np.testing.assert_allclose(PseudoInverse().couplings(y), np.linalg.pinv(np.asarray(y, float)) @ y, atol=1e-5)


def test_the_pseudo_inverse_stores_nearly_as_many_patterns_as_units(rng):
    y = signs(rng, 57, 60).astype(np.float32)
    np.testing.assert_array_equal(ClassicalHopfield(y, rule=PseudoInverse()).update(y), y)
    assert not np.array_equal(ClassicalHopfield(y).update(y), y)


def test_the_perceptron_reaches_its_margin(rng):
    y = signs(rng, 40, 50).astype(np.float32)
    w = np.asarray(ClassicalHopfield(y, rule=Perceptron(0.2)).couplings, float)
    stability = y * (y @ w.T) / np.linalg.norm(w, axis=1)
    assert stability.min() >= 0.2 - 1e-4
    assert (np.diag(w) == 0).all()
    unit = np.asarray(Perceptron(0.2).of_units(jnp.asarray(y), jnp.array([7]))[0])[0]
    np.testing.assert_allclose(unit, w[7], atol=1e-6)
    with pytest.raises(InputError, match="symmetric"):
        ClassicalHopfield(y, rule=Perceptron()).energy(y[0])


@pytest.mark.parametrize(("n", "d", "margin"), [(8, 5, 0.0), (4, 7, 0.0), (6, 20, 0.5)])
def test_the_perceptron_tells_a_field_of_nothing_from_round_off(n, d, margin):
    """Couplings and passes are those of whole numbers, W d: a field of 0 is not stable, as thirds may not show."""
    y = signs(np.random.default_rng(3), n, d).astype(int)
    w, changed, passes = np.zeros((d, d), int), True, 0
    while changed and passes < 60:
        changed, passes = False, passes + 1
        for pattern in y:
            field = pattern * (w @ pattern)
            wrong = (field <= 0) | (field < margin * np.sqrt((w**2).sum(axis=1)))
            w += np.where(wrong, pattern, 0)[:, None] * pattern
            np.fill_diagonal(w, 0)
            changed |= wrong.any()
    found, made = Perceptron(margin, sweeps=60).of_units(jnp.asarray(y, jnp.float32), jnp.arange(d))
    np.testing.assert_allclose(found, w / d, rtol=1e-6)
    assert int(made) == passes


def test_storkeys_rule_of_many_more_patterns_than_units(rng):
    """Round-off grows with every pattern beyond them; by the formula in double precision."""
    y = signs(rng, 400, 30)
    w = np.zeros((30, 30))
    for pattern in y:
        h = w @ pattern
        w += (np.outer(pattern, pattern) - np.outer(pattern, h) - np.outer(h, pattern) + 2 * w) / 30
        np.fill_diagonal(w, 0)
    found = Storkey().couplings(jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found, w, atol=1e-6 * np.abs(w).max())


@pytest.mark.parametrize(("n", "d", "steps", "parts"), [(10, 30, 1000, 100), (10, 20, 300, 10)])
def test_unlearning_tells_a_field_of_nothing_from_round_off(n, d, steps, parts, rng):
    """By whole numbers, W/ε: a state that ends elsewhere once leaves other couplings for ever."""
    y = signs(rng, n, d).astype(int)
    learned, forgotten = parts * (y.T @ y), np.zeros((d, d), int)
    np.fill_diagonal(learned, 0)
    keys = jax.vmap(lambda step: jax.random.fold_in(jax.random.key(0), step))(jnp.arange(steps))
    starts = jax.vmap(lambda key: jax.random.rademacher(key, (d,), jnp.float32))(keys)
    for s in np.array(starts, int):
        before = np.zeros(d)
        while (before != s).any():
            before = s.copy()
            for i in range(d):
                s[i] = np.sign((learned - forgotten)[i] @ s) or s[i]
        forgotten += np.outer(s, s)
        np.fill_diagonal(forgotten, 0)
    found = Unlearning(steps, 1 / parts).couplings(jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found, (learned - forgotten) / parts, atol=1e-5)


def test_a_palimpsest_recalls_the_last_patterns_and_hebb_none(rng):
    d = 400
    y = signs(rng, 400, d).astype(np.float32)

    def overlap(network):
        return np.mean(np.asarray(recall(network, y).x) * y, axis=1)

    faded = overlap(ClassicalHopfield(y, rule=Palimpsest(8.44 / d)))
    assert faded[-8:].min() > 0.95
    assert faded[:200].max() < 0.6
    assert overlap(ClassicalHopfield(y))[-8:].mean() < 0.6


def test_unlearning_widens_basins(rng):
    d, n = 100, 20
    y = signs(rng, n, d).astype(np.float32)
    cues = y * np.where(rng.random((n, d)) < 0.1, -1, 1)

    def right(**rule):
        return np.mean(np.asarray(recall(ClassicalHopfield(y, **rule), cues.astype(np.float32)).x) == y)

    assert right(rule=Unlearning(200, 0.01)) > right() + 0.02


@pytest.mark.parametrize("rule", [PseudoInverse(), Storkey(), Palimpsest(0.05), Unlearning(20)])
def test_updates_one_by_one_lower_the_energy(rng, rule):
    y = signs(rng, 6, 40).astype(np.float32)
    network = ClassicalHopfield(y, rule=rule)
    cues = signs(rng, 8, 40).astype(np.float32)
    result = recall(network, cues, Asynchronous(), key=jax.random.key(0), trajectory=True)
    energies = np.asarray(network.energy(result.trajectory))
    assert (np.diff(energies, axis=1) <= 1e-5 * np.abs(energies).max()).all()
    assert result.converged.all()
    np.testing.assert_array_equal(network.update(result.x), result.x)


def test_units_without_a_field_keep_their_sign_one_by_one():
    """Of the third set no other unit is coupled to the fourth, so that its field is but the round-off of W."""
    sets = [np.array([[1.0, 1, 1, 1, 1, 1], [1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, 1]])]
    sets += [np.roll(sets[0], 1, axis=1)]
    sets += [np.array([[-1.0, 1, -1, -1, 1, -1], [1, -1, 1, -1, -1, 1], [1, 1, -1, -1, 1, 1]])]
    cues = 1.0 - 2.0 * (np.arange(64)[:, None] >> np.arange(6) & 1)
    orders = jnp.arange(6)
    for y in sets:
        w = y.T @ np.linalg.pinv(y @ y.T) @ y
        np.fill_diagonal(w, 0)
        expected = cues.copy()
        for i in range(6):
            field = expected @ w[i]
            expected[:, i] = np.where(np.abs(field) > 1e-9, np.sign(field), expected[:, i])
        network = ClassicalHopfield(y, rule=PseudoInverse())
        found = jax.vmap(network.sweep, (0, None))(jnp.asarray(cues, jnp.float32), orders)
        np.testing.assert_array_equal(found, expected)
        fields = cues @ w
        np.testing.assert_array_equal(network.update(cues), np.where(np.abs(fields) > 1e-9, np.sign(fields), cues))


@pytest.mark.parametrize("scale", [1.0, 1e30, 3e38])
def test_units_one_by_one_follow_the_field_of_what_is_left(rng, scale):
    """By a loop in double precision, also where units that were not visited yet dwarf the others."""
    w = rng.standard_normal((6, 6)).astype(np.float32)
    w = w + w.T - np.diag(np.diag(w + w.T))
    for _ in range(5):
        x = (scale * rng.choice([-1, 1], 6)).astype(np.float32)
        expected = x.astype(float)
        for i in range(6):
            expected[i] = np.sign(w[i].astype(float) @ expected)
        np.testing.assert_array_equal(one_by_one(jnp.asarray(w), jnp.asarray(x), jnp.arange(6)), expected)


def test_states_near_the_largest_number_have_fields(rng):
    y = signs(rng, 3, 8)
    network = ClassicalHopfield(y, rule=PseudoInverse())
    cue = signs(rng, 1, 8)[0]
    np.testing.assert_array_equal(network.update(3e38 * cue), network.update(cue))
    swept, expected = (network.sweep(jnp.asarray(scale * cue, jnp.float32), jnp.arange(8)) for scale in (3e38, 1))
    assert swept[0] == expected[0]
    np.testing.assert_array_equal(jnp.abs(swept), 1)


def test_clamped_units_of_another_rule(rng):
    y = signs(rng, 10, 60).astype(np.float32)
    known = np.arange(60) < 40
    network = ClassicalHopfield(y, rule=PseudoInverse())
    np.testing.assert_array_equal(recall(network, y, known=known).x, y)


def sparse(rng, n, d, active):
    y = np.zeros((n, d), np.float32)
    for row in y:
        row[rng.choice(d, active, replace=False)] = 1
    return y


@pytest.mark.parametrize("rule", [Covariance(), Willshaw()])
def test_sparse_patterns_are_recalled_from_a_part_far_beyond_dense_ones(rng, rule):
    """More patterns than a dense network holds units for: n/d = 0.25, with 2 % of units active."""
    d, n, active = 400, 100, 8
    y = sparse(rng, n, d, active)
    cues = y.copy()
    for row in cues:
        row[rng.choice(np.flatnonzero(row), 2, replace=False)] = 0
    network = SparseHopfield(y, rule)
    result = recall(network, cues)
    assert np.mean(np.all(np.asarray(result.x) == y, axis=1)) > 0.95
    assert np.mean(np.asarray(result.index) == np.arange(n)) > 0.98
    assert (network.energy(result.x) <= network.energy(cues) + 1e-4).all()


def test_a_field_at_the_threshold_activates_no_unit():
    """In whole numbers: of one pattern with f = 1/3 fields of two active units are 1/6, which is θ = ½ − f."""
    for y in ([[0, 0, 1, 1, 0, 0]], [[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]):
        cues = np.arange(64)[:, None] >> np.arange(6) & 1
        size, total = np.size(y), np.sum(y)
        off = size * np.array(y) - total
        w = off.T @ off
        np.fill_diagonal(w, 0)
        # V = w/(6 total (size − total)), θ = (size − 2 total)/(2 size)
        expected = 2 * size * (cues @ w) > 6 * total * (size - total) * (size - 2 * total)
        np.testing.assert_array_equal(SparseHopfield(y).update(cues), expected)


def test_the_sparse_pattern_closest_to_a_state_far_away():
    network = SparseHopfield([[1, 1, 0, 0], [0, 1, 1, 1]])
    np.testing.assert_array_equal(network.nearest([[-1e10, 1, 3e10, 1e10], [1e20, 1, 1, 0]])[0], [1, 0])


def test_willshaw_couplings_are_clipped(rng):
    y = sparse(rng, 30, 50, 5)
    v = np.asarray(SparseHopfield(y, Willshaw()).matrix)
    np.testing.assert_array_equal(v + 1, (y.T @ y > 0).astype(float))


def test_relaxed_states_are_fixed_points(rng):
    y = signs(rng, 4, 30).astype(np.float32)
    w = ClassicalHopfield(y).couplings
    s = np.asarray(relaxed(lambda i, x: jnp.sign(w[i] @ x), jnp.asarray(signs(rng, 1, 30)[0], jnp.float32)))
    field = w @ s
    np.testing.assert_array_equal(np.where(field == 0, s, np.sign(field)), s)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ClassicalHopfield([[1.0, -1.0]], rule="hebb"),
        lambda: ClassicalHopfield([[1.0, -1.0]], rule=Storkey),
        lambda: Palimpsest(1.0),
        lambda: Perceptron(-0.1),
        lambda: Perceptron(0.1, 0),
        lambda: Unlearning(0),
        lambda: Unlearning(5, 0.0),
        lambda: SparseHopfield([[1.0, -1.0]]),
        lambda: SparseHopfield([[1.0, 0.0]], Storkey()),
        lambda: Covariance(np.inf),
    ],
)
def test_what_is_outside_the_domain_gets_one_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_capacities_beside_theory():
    """The quick form of `python -m benchmarks.rules`."""
    from benchmarks.rules import measured

    found = {rule: alpha / theory - 1 for rule, _, alpha, theory, _ in measured(quick=True)}
    assert abs(found["Hebb"]) < 0.05
    assert abs(found["pseudo-inverse"]) < 0.03
    assert abs(found["perceptron, κ = 0"]) < 0.06

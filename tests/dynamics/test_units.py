"""Recall in other units ends at the same states, with the same derivatives."""

import diffrax as dfx
import jax
import numpy as np
import pytest

from dispersed import (
    Circuit,
    Dense,
    EpanechnikovHopfield,
    Exponential,
    ExponentialIntegrator,
    GaussianMemory,
    InputError,
    Iteration,
    LearnedMemory,
    Memory,
    ModernHopfield,
    MultistepFlow,
    PatternMemory,
    ProbabilityFlow,
    Scanned,
    Sharded,
    Smoothed,
    UniversalHopfield,
    recall,
)
from dispersed.dynamics import named
from dispersed.names import registered_dynamics
from dispersed.storage import Float16, InMemory

Y = np.array([[1.0, 0.5, -0.25], [-0.75, 1.25, 0.5], [0.25, -1.0, 0.875]])
CUES = Y + np.array([0.5, -0.25, 0.25])


@pytest.mark.parametrize("name", sorted(set(registered_dynamics()) - {"asynchronous"}))
def test_a_recall_is_that_of_other_units(name, key):
    """By default, from a cue and from pure noise: every length is relative to the noise or to the patterns."""
    engine = Scanned() if name == "certified" else None
    levels = np.array([0.25, 0.75, 20.0])

    def found(c):
        result = recall(PatternMemory(c * Y, engine=engine), c * CUES, named(name), sigma=c * levels, key=key)
        return np.asarray(result.x) / c, result.index, result.probability, result.responsibility, result.converged

    plain = found(1.0)
    for c in (2.0**-30, 2.0**30):
        for one, other in zip(found(c), plain, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("dynamics", [MultistepFlow(), ProbabilityFlow(), ExponentialIntegrator()])
def test_a_recall_from_far_away_is_that_from_less_far(rng, dynamics):
    """Where D is the mean the flow is a straight line; cues in single precision that dwarf the patterns end at them."""
    y, noise = rng.standard_normal((50, 16)).astype(np.float32), rng.standard_normal((20, 16))
    memory, mean = PatternMemory(y), y.mean(axis=0)

    def named_from(sigma):
        found = recall(memory, mean + sigma * noise, dynamics, sigma=sigma)
        assert found.converged.mean() > 0.9
        return np.asarray(found.index), np.asarray(found.x)

    index, _ = named_from(1e3)
    for sigma in (1e6, 1e9, 1e12, 1e15):
        other, x = named_from(sigma)
        np.testing.assert_allclose(x, y[other], atol=1e-5)
        # Solvers whose levels are even in log σ have few of them where the patterns are.
        assert (other == index).mean() >= (0.95 if isinstance(dynamics, MultistepFlow) else 0.1)


@pytest.mark.parametrize("scale", [1e-17, 1e-20, 1e-30])
def test_levels_that_leave_none_to_end_at_are_refused(rng, scale):
    """None is raised without a word, except to the round-off of a cue."""
    y = rng.standard_normal((20, 4))
    for memory in (GaussianMemory(scale * y[0], scale * y[:4]), PatternMemory(y)):
        with pytest.raises(InputError, match=r"sigma: got 3e-\d+; a recall accepts levels from 1.1e-16 in float32"):
            recall(memory, scale * y[0], sigma=3 * scale)
    with pytest.raises(InputError, match=r"^patterns: got entries that differ by \S+ at most; squares"):
        PatternMemory(scale * y)
    clean = recall(PatternMemory(y), y[:3], sigma=scale)
    np.testing.assert_array_equal(clean.index, [0, 1, 2])
    with jax.enable_x64(True):
        found = recall(PatternMemory(scale * y), scale * y[:3], sigma=3e-3 * scale)
        np.testing.assert_array_equal(found.index, [0, 1, 2])


SPREAD = np.sqrt(np.mean(np.sum((Y - Y.mean(axis=0)) ** 2, axis=1)))


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (lambda c: PatternMemory(c * Y), SPREAD / 50),
        (lambda c: PatternMemory(c * (Y + 100)), SPREAD / 50),
        (lambda c: PatternMemory(c * Y, engine=Scanned()), SPREAD / 50),
        (lambda c: PatternMemory(InMemory((c * Y).astype(np.float16), Float16())), SPREAD / 50),
        (lambda c: PatternMemory(c * Y, engine=Sharded()), SPREAD / 50),
        (lambda c: GaussianMemory(c * Y[0], c * np.diag(Y[1])), np.sqrt(np.mean(Y[1] ** 2)) / 20),
        (lambda c: Smoothed(PatternMemory(c * Y), 0.5 * c), np.sqrt(np.mean(Y.var(axis=0)) + 0.25) / 20),
    ],
    ids=["patterns", "far patterns", "scanned", "half precision", "sharded", "Gaussian", "smoothed"],
)
def test_the_last_level_is_a_part_of_the_noise_or_of_the_memory(make, least):
    for c in (1.0, 2.0**-9, 2.0**9):
        result = recall(make(c), c * CUES[:2], named("ddim"), sigma=c * np.array([0.1, 30.0]), trajectory=True)
        np.testing.assert_allclose(np.asarray(result.sigmas)[:, -2] / c, [0.1 / 20, least], rtol=1e-3)


@pytest.mark.parametrize("engine", [Dense(), Scanned(), Sharded()])
@pytest.mark.parametrize("traced", [False, True])
def test_the_last_level_follows_the_weights_that_an_observation_leaves(engine, traced, key):
    """Of random dynamics too, whose memory is what it left; by every engine, of traced patterns as of known ones."""
    if traced and not isinstance(engine, Dense):
        pytest.skip("patterns of a program are Dense()")

    def levels(y, sigma):
        memory = PatternMemory(y, engine=engine)
        return recall(
            memory, Y[:1], named("ancestral"), sigma=sigma, known=[True, True, False], trajectory=True, key=key
        ).sigmas

    for sigma in (30.0, 1.0):
        found = (jax.jit(levels, static_argnums=1) if traced else levels)(np.asarray(Y, np.float32), sigma)
        weight = np.exp(-np.sum((Y - Y[0])[:, :2] ** 2, axis=1) / 2 / sigma**2)
        weight /= weight.sum()
        spread = np.sqrt(weight @ np.sum((Y - weight @ Y) ** 2, axis=1))
        np.testing.assert_allclose(np.asarray(found)[0, -2], 4 * spread / 50, rtol=1e-5)


def test_a_memory_that_does_not_say_how_far_it_reaches_has_extent_one():
    class Wells(Memory):
        dimension = 3

        def _log_density(self, x, sigma):
            return -jax.numpy.sum(x**2) / (2 * (1 + sigma**2))

    sigmas = recall(Wells(), CUES[:2], named("ddim"), sigma=[0.1, 30.0], trajectory=True).sigmas
    np.testing.assert_allclose(np.asarray(sigmas)[:, -2], [0.1 / 20, 1 / 20], rtol=1e-5)


def test_a_network_is_not_asked_below_the_levels_that_it_was_trained_at():
    memory = LearnedMemory(lambda z, sigma: z / (1 + sigma**2), 3, "pattern", "VE", levels=(0.02, 2.0))
    sigmas = recall(memory, CUES, named("ddim"), sigma=[0.03, 0.2, 2.0], trajectory=True).sigmas
    np.testing.assert_allclose(np.asarray(sigmas)[:, -2], [0.015, 0.02, 0.05], rtol=1e-5)


def test_slopes_in_the_noise_are_those_of_levels_that_end_where_the_memory_says(x64):
    memory = GaussianMemory(np.zeros(2), np.diag([1.0, 0.1]))

    def end(sigma):
        return recall(memory, [20.0, 30.0], named("ddim"), sigma=sigma).x

    up, down = (np.asarray(end(30.0 + step)) for step in (1e-3, -1e-3))
    np.testing.assert_allclose(jax.jit(jax.jacfwd(end))(30.0), (up - down) / 2e-3, rtol=1e-6)


def test_draws_end_at_a_fifth_and_are_judged_where_flows_end(key):
    found = recall(PatternMemory(Y), CUES, named("ancestral"), sigma=[0.5, 0.5, 30.0], trajectory=True, key=key)
    np.testing.assert_allclose(np.asarray(found.sigmas)[:, -2], [0.1, 0.1, 4 * SPREAD / 50], rtol=1e-5)
    assert np.all(found.converged)
    assert (np.asarray(found.responsibility) > 0.999).all()


def test_one_pattern_and_equal_ones_have_the_extent_of_the_noise():
    for y in (Y[:1], np.repeat(Y[:1], 3, axis=0)):
        result = recall(PatternMemory(y), CUES[0], named("ddim"), sigma=0.5, trajectory=True)
        np.testing.assert_allclose(np.asarray(result.sigmas)[-2], 0.5 / 20, rtol=1e-5)
        np.testing.assert_allclose(result.x, Y[0], rtol=1e-6)


def test_fixed_points_of_a_memory_are_those_of_other_units():
    plain = recall(PatternMemory(Y).at(0.5), CUES, Iteration(300))
    assert (np.asarray(plain.steps) > 3).all()
    for c in (1e-6, 1e-12, 1e6):
        found = recall(PatternMemory(c * Y).at(0.5 * c), CUES * c, Iteration(300))
        assert np.all(found.converged)
        np.testing.assert_allclose(np.asarray(found.x) / c, plain.x, atol=1e-4)


def test_fixed_points_of_a_network_and_their_slopes_are_those_of_other_units():
    def ends(c, log_beta):
        x = recall(ModernHopfield(c * Y, jax.numpy.exp(log_beta) / c**2), c * CUES, Iteration(300)).x / c
        return x, x

    both = jax.jit(jax.jacrev(ends, argnums=1, has_aux=True))
    slope, plain = both(1.0, np.log(2.0))
    assert np.abs(slope).max() > 0.1
    for c in (1e-6, 1e6):
        found, x = both(c, np.log(2.0))
        np.testing.assert_allclose(x, plain, atol=1e-4)
        np.testing.assert_allclose(found, slope, atol=1e-3)


def test_an_adaptive_flow_is_that_of_other_units():
    def found(c):
        flow = ProbabilityFlow(dfx.Tsit5(), tol=1e-3)
        return recall(PatternMemory(c * Y), c * CUES, flow, sigma=0.5 * c)

    plain = found(1.0)
    for c in (1e-6, 1e6):
        other = found(c)
        np.testing.assert_allclose(np.asarray(other.x) / c, plain.x, atol=1e-3)
        np.testing.assert_allclose(other.evaluations, plain.evaluations, atol=12)


def test_a_circuit_is_that_of_other_units():
    plain = recall(ModernHopfield(Y, 2.0), CUES, Circuit())
    for c in (1e-6, 1e6):
        found = recall(ModernHopfield(c * Y, 2 / c**2), c * CUES, Circuit())
        np.testing.assert_allclose(np.asarray(found.x) / c, plain.x, atol=1e-3)
        np.testing.assert_array_equal(found.converged, plain.converged)


NEAR = np.array([[0.0], [1.0], [2.25], [3.125]])
WITHOUT_ORIGIN = {
    "memory": lambda y: PatternMemory(y).at(1 / 3),
    "distances": lambda y: UniversalHopfield(y, "euclidean", Exponential(9.0)),
    "radius": lambda y: EpanechnikovHopfield(y, 2.0),
}


@pytest.mark.parametrize("name", WITHOUT_ORIGIN)
def test_a_fixed_point_far_from_the_origin_is_told_as_precisely(x64, name):
    """A millionth of the offset is as much as patterns are apart, and not what double precision leaves of a step."""
    cues = np.array([[0.375], [1.4375], [2.375]])
    plain = recall(WITHOUT_ORIGIN[name](NEAR), cues)
    for offset in (2.0**14, 2.0**20):
        found = recall(WITHOUT_ORIGIN[name](NEAR + offset), cues + offset)
        np.testing.assert_allclose(found.x - offset, plain.x, atol=1e-6)
        np.testing.assert_array_equal(found.steps, plain.steps)
        assert found.converged.all()


def test_a_circuit_of_patterns_does_not_depend_on_the_origin():
    plain = recall(PatternMemory(Y), CUES, Circuit(), sigma=0.5)
    for offset in (64.0, 4096.0):  # of which sums with the patterns are exact
        found = recall(PatternMemory(Y + offset), CUES + offset, Circuit(), sigma=0.5)
        np.testing.assert_allclose(found.x - offset, plain.x, atol=1e-3)
        np.testing.assert_array_equal(found.converged, plain.converged)


def test_solvers_that_break_down_do_not_stop_derivatives_in_reverse_mode(rng):
    def end(y):
        return recall(PatternMemory(y), 1.125 * y[0], Iteration(), sigma=0.25).x

    many = rng.standard_normal((60, 5, 2)).astype(np.float32)
    reverse, forward = (jax.jit(jax.vmap(mode(end)))(many) for mode in (jax.jacrev, jax.jacfwd))
    np.testing.assert_allclose(reverse, forward, rtol=1e-3, atol=1e-2)

"""Replay against what chance alone does, which population genetics knows exactly."""

import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from dispersed import InputError, PatternMemory
from dispersed.consolidation.drift import diversity, fixation_probability, fixed_by, mean_fixation_time
from dispersed.consolidation.replay import partial_replay, replay

CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
P_MIN = 1e-4


def simulate_drift(rng, runs, replays, memories, generations):
    """Wright–Fisher in a few lines of NumPy."""
    w = np.full((runs, memories), 1 / memories)
    history = [w]
    for _ in range(generations):
        w = rng.multinomial(replays, w) / replays
        history.append(w)
    return np.stack(history, axis=1)


def test_drift_theory_is_that_of_a_plain_simulation(rng):
    history = simulate_drift(rng, 4000, 12, 5, 60)
    alone = history.max(axis=-1) == 1
    expected = fixed_by(12, 5, 60)
    error = np.sqrt(expected * (1 - expected) / 4000) + 1e-9
    assert np.all(np.abs(alone.mean(axis=0) - expected) < 4.5 * error)
    assert expected[0] == 0


def test_mean_fixation_time_approaches_the_diffusion_limit():
    for memories in (2, 8):
        limit = -2 * 200 * (memories - 1) * np.log(1 - 1 / memories)
        assert mean_fixation_time(200, memories) == pytest.approx(limit, rel=0.02)
    # Two memories, two replays: after the first generation both agree with probability ½, and so on.
    assert mean_fixation_time(2, 2) == pytest.approx(2)


def test_fixation_probability():
    assert fixation_probability(24, 1 / 8) == pytest.approx(1 / 8, rel=1e-10)
    kimura = (1 - np.exp(-2 * 300 * 0.01 * 0.2)) / (1 - np.exp(-2 * 300 * 0.01))
    assert fixation_probability(300, 0.2, 0.01) == pytest.approx(kimura, rel=0.01)


@pytest.mark.parametrize("advantage", [-1000.0, 1000.0])
def test_an_advantage_beyond_all_bounds_wins_wherever_there_is_a_trace(advantage):
    """One replay of the favoured memory is enough, and at that advantage the first generation has no other."""
    assert fixation_probability(50, 0.02, advantage) == pytest.approx(float(advantage > 0), abs=1e-300)


def test_weights_of_many_replays_sum_to_one(key):
    """All of 30,000 replays show one pattern: a sum of as many 1/30,000 in single precision is not one."""
    weights = replay(PatternMemory(CORNERS[:2], [1.0, 0.0]), generations=1, replays=30_000, key=key)
    np.testing.assert_allclose(weights[1], [1, 0], rtol=0, atol=1e-6)


def test_one_generation_samples_the_weights(key):
    """Replays from pure noise are a multinomial sample: no memory is favoured by the sampler."""
    weights = np.array([1, 2, 3, 4, 1, 2, 3, 4.0])
    memory = PatternMemory(CORNERS, weights)
    for setting, expected in (
        ({}, weights),
        ({"sharpness": 2.0}, weights**2),
        ({"bias": np.arange(8) / 8}, weights * np.exp(np.arange(8) / 8)),
    ):
        shares = replay(memory, generations=1, replays=20_000, key=key, **setting)[1]
        counts = np.round(np.asarray(shares, dtype=float) * 20_000)
        assert stats.chisquare(counts, expected / expected.sum() * 20_000).pvalue > P_MIN


def test_neutral_replay_drifts_to_fixation(key):
    """Diversity decays by 1 − 1/M; every memory is as likely to be left; in the time that theory says."""
    runs, replays, generations = 150, 8, 80
    memory = PatternMemory(CORNERS[:4])
    keys = jax.random.split(key, runs)
    weights = np.asarray(jax.vmap(lambda k: replay(memory, generations=generations, replays=replays, key=k))(keys))
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    for generation in (1, 5, 15):
        values = diversity(weights[:, generation])
        expected = 0.75 * (1 - 1 / replays) ** generation
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(runs)
    alone = weights.max(axis=-1) > 0.999
    assert alone[:, -1].all()
    times = alone.argmax(axis=1)
    assert abs(times.mean() - mean_fixation_time(replays, 4)) < 4 * times.std() / np.sqrt(runs)
    assert stats.chisquare(np.bincount(weights[:, -1].argmax(axis=-1), minlength=4)).pvalue > P_MIN
    # Lost is lost.
    lost = weights == 0
    assert (lost[:, 1:] >= lost[:, :-1]).all()


def test_sharper_replay_feeds_back(key):
    memory = PatternMemory(CORNERS[:4], np.array([0.4, 0.2, 0.2, 0.2]))
    keys = jax.random.split(key, 60)

    def end(k):
        return replay(memory, generations=8, replays=50, key=k, sharpness=2.0)[-1]

    winners = np.asarray(jax.vmap(end)(keys))
    assert (winners.max(axis=-1) > 0.999).all()
    assert stats.binomtest(int((winners[:, 0] > 0.999).sum()), 60, 0.4).pvalue < 1e-4


def test_interleaved_training_forgets_as_replay_allows(key):
    memory = PatternMemory(CORNERS, np.eye(8)[0])
    keys = jax.random.split(key, 100)

    def first(k, share):
        experiences = np.eye(8)[1:]
        return replay(memory, generations=7, replays=20, key=k, experiences=experiences, replayed=share)[:, 0]

    none = np.asarray(first(key, 0.0))
    np.testing.assert_array_equal(none, np.eye(8)[0])
    shares = np.asarray(jax.vmap(lambda k: first(k, 0.8))(keys))
    np.testing.assert_allclose(shares[:, 1], 0.8, atol=1e-6)
    for generation in (3, 7):
        values = shares[:, generation]
        assert abs(values.mean() - 0.8**generation) < 4 * values.std() / 10


def test_partial_replay_keeps_the_core_and_draws_the_rest(key):
    """Semantic memory: the last two units follow the first, in two ways. The core is the first unit."""
    semantic = PatternMemory(np.array([[1.0, 1, 1], [1, -1, 1], [-1, 1, -1], [-1, -1, -1]]))
    event, core = np.array([1.0, 1.0, -1.0]), np.array([True, False, False])
    traces = np.asarray(
        partial_replay(semantic, event, core, generations=4, replays=400, noise=0.05, tolerance=0.2, key=key)
    )
    assert traces.shape == (4, 400, 3)
    for generation, states in enumerate(traces, start=1):
        expected = 0.05 * np.sqrt(generation)
        assert states[:, 0].std() == pytest.approx(expected, rel=0.35)
        assert abs(states[:, 0].mean() - 1) < 6 * expected
        # The third unit was −1 in the event; context says +1. The second is left open.
        np.testing.assert_allclose(states[:, 2], 1, atol=1e-4)
        assert stats.binomtest(int((states[:, 1] > 0).sum()), 400, 0.5).pvalue > P_MIN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replayed": 0.5}, "experiences: got None"),
        ({"replayed": 1.5}, "replayed: got 1.5"),
        ({"sharpness": 0.0}, "sharpness: got 0"),
        ({"generations": 0}, "generations: got 0"),
        ({"bias": np.ones(3)}, "bias: got shape"),
        ({"bias": np.array([np.inf] * 8)}, "bias: got 8"),
        (
            {"experiences": np.eye(8)[0] - np.eye(8)[1] + np.eye(8)[2], "replayed": 0.5},
            "experiences: got weights from -1",
        ),
        ({"experiences": np.ones(8), "replayed": 0.5}, "experiences: got weights from 1 that sum to 8"),
        ({"memory": PatternMemory(np.ones((2, 3)))}, "memory: got equal patterns"),
    ],
)
def test_bad_input_is_one_line(change, message, key):
    arguments = {"memory": PatternMemory(CORNERS), "generations": 2, "replays": 3, "key": key} | change
    with pytest.raises(InputError, match=message):
        replay(**arguments)


def test_bad_cores_are_told(key):
    semantic = PatternMemory(CORNERS)
    for event, core, message in (
        (np.ones(2), np.ones(2, bool), "event"),
        (np.ones(3), np.ones(3), "core"),
        (np.ones(3), np.ones(2, bool), "core"),
    ):
        with pytest.raises(InputError, match=f"^{message}: "):
            partial_replay(semantic, event, core, generations=1, replays=2, noise=0.1, tolerance=0.1, key=key)
    for level in ({"noise": 0.0, "tolerance": 0.1}, {"noise": 0.1, "tolerance": 0.0}):
        with pytest.raises(InputError, match=": got 0"):
            partial_replay(semantic, np.ones(3), np.ones(3, bool), generations=1, replays=2, **level, key=key)

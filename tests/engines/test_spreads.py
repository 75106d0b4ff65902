"""The lengths by which noise levels are placed: patterns without weight do not count, rare ones are reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    AncestralSampling,
    Dense,
    ExponentialIntegrator,
    MultistepFlow,
    Observation,
    PatternMemory,
    Scanned,
    Sharded,
    condition,
    recall,
)
from dispersed.engines.spreads import spreads

RNG = np.random.default_rng(0)
CLOSE = (0.01 * RNG.standard_normal((4, 8))).astype(np.float32)
FAR = (100 * RNG.standard_normal((3, 8))).astype(np.float32)
PATTERNS = np.concatenate([FAR, CLOSE])
NOISE = RNG.standard_normal((40, 8)).astype(np.float32)


@pytest.fixture(params=["dense", "scanned", "sharded", "file"])
def stored(request, tmp_path):
    """Makes a memory of patterns by weights, by every engine and of a file."""
    engines = {"dense": Dense(), "scanned": Scanned(), "sharded": Sharded()}

    def of(patterns, weights):
        if request.param == "file":
            np.save(tmp_path / "patterns.npy", patterns)
            patterns = tmp_path / "patterns.npy"
        return PatternMemory(patterns, weights, engine=engines.get(request.param))

    return of


def missed(memory, sigma, dynamics=None):
    """The largest distance of a recall from the pattern that it names, relative to those between close patterns."""
    cues = CLOSE[np.arange(len(NOISE)) % len(CLOSE)] + np.float32(sigma) * NOISE
    found = recall(memory, cues, dynamics, sigma=sigma, key=jax.random.key(0))
    assert np.isin(found.index, [3, 4, 5, 6]).all()
    return np.linalg.norm(np.asarray(found.x) - PATTERNS[np.asarray(found.index)], axis=1).max() / 0.028


@pytest.mark.parametrize("weight", [0.0, 1e-30, 1e-8])
def test_patterns_of_no_or_negligible_weight_do_not_keep_recalls_from_ending_at_a_pattern(stored, weight):
    memory = stored(PATTERNS, np.r_[np.full(3, weight), np.ones(4)])
    for sigma in (0.03, 1.0, 1000.0):
        assert missed(memory, sigma) < 0.01
    for dynamics in (MultistepFlow(), ExponentialIntegrator()):
        assert missed(memory, 1.0, dynamics) < 0.01


@pytest.mark.parametrize("engine", [Dense(), Scanned()])
def test_patterns_that_a_measurement_excludes_do_not_either(engine):
    # What was measured says nothing of which of the close ones it is.
    patterns = np.concatenate([PATTERNS[:, :1] * 0 + np.r_[np.full((3, 1), 9.0), np.zeros((4, 1))], PATTERNS], axis=1)
    memory = PatternMemory(patterns.astype(np.float32), engine=engine)
    after = condition(memory, Observation([0.0], operator=np.eye(1, 9), sigma=0.1))
    cues = patterns[3 + np.arange(40) % 4] + np.concatenate([NOISE[:, :1], NOISE], axis=1)
    for dynamics in (None, MultistepFlow(), ExponentialIntegrator()):
        found = recall(after, cues.astype(np.float32), dynamics, sigma=1.0)
        off = np.linalg.norm(np.asarray(found.x) - patterns[np.asarray(found.index)], axis=1)
        assert off.max() < 1e-4
    drawn = recall(after, cues.astype(np.float32), AncestralSampling(), sigma=1.0, key=jax.random.key(0))
    assert np.asarray(drawn.converged).all()


def test_a_rare_pattern_far_away_is_reached_from_high_noise(stored):
    """From where the exact flow leads to it: the quantile of the rare weight along its direction lies nearer."""
    patterns = np.concatenate([100 * np.eye(1, 8), CLOSE]).astype(np.float32)
    memory = stored(patterns, np.r_[1e-3, np.ones(4)])
    cues = 1000 * NOISE
    cues[:, 0] = np.linspace(4.0, 6.0, 40) * 1000
    assert (np.asarray(recall(memory, cues, sigma=1000.0).index) == 0).all()
    cues[:, 0] = np.linspace(-3.0, 2.5, 40) * 1000
    assert (np.asarray(recall(memory, cues, sigma=1000.0).index) != 0).all()


@pytest.mark.parametrize("engine", [Dense(), Scanned()])
def test_the_mean_of_what_was_measured_is_that_of_the_new_weights(engine):
    after = condition(PatternMemory(PATTERNS, engine=engine), Observation(FAR[0] + 20, sigma=60.0))._prepared()
    np.testing.assert_allclose(after._prior_mean(), np.asarray(after.weights) @ PATTERNS, atol=1e-4)


def test_spreads_are_the_same_for_one_set_of_weights_and_for_several(x64):
    y, log_w = jnp.asarray(PATTERNS, float), jnp.log(jnp.asarray(RNG.dirichlet(np.ones(7), 5)).at[0, :3].set(1e-30))
    together = jax.jit(jax.vmap(spreads, (None, 0)))(y, log_w)
    apart = [spreads(y, one) for one in log_w]
    for several, each in zip(together, zip(*apart, strict=True), strict=True):
        np.testing.assert_allclose(several, np.stack(each), rtol=1e-6)
    weight = np.exp(log_w)
    mean = weight @ PATTERNS / weight.sum(axis=1, keepdims=True)
    expected = [w @ np.sum((PATTERNS - m) ** 2, axis=1) / w.sum() for w, m in zip(weight, mean, strict=True)]
    np.testing.assert_allclose(together.weighted**2, expected, rtol=1e-5)
    np.testing.assert_allclose(together.counted[0], np.sqrt(8 * np.var(CLOSE, axis=0).mean()), rtol=1e-3)
    np.testing.assert_allclose(together.counted[1], np.sqrt(8 * np.var(PATTERNS, axis=0).mean()), rtol=1e-6)

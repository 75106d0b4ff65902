"""Gap, basins and attractors, on memories for which the answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.learning import attractors, basins, score_gap
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.validation import InputError


@pytest.fixture
def patterns(rng):
    return jnp.asarray(np.sign(rng.standard_normal((5, 12))), dtype=jnp.float32)


def test_gap_of_a_known_error(patterns, key):
    """A denoiser that is off by 0.1 σ per unit has that gap at every level and pattern; the exact one has none."""
    exact = PatternMemory(patterns)
    off = LearnedMemory(lambda z, sigma: exact.denoise(z, sigma) + 0.1 * sigma, 12, "pattern", "VE")
    sigma = np.array([0.2, 1.0, 3.0])
    gap = score_gap(off, exact, sigma, key=key, draws=50)
    np.testing.assert_allclose(gap.denoiser, np.broadcast_to(0.1 * sigma[:, None], (3, 5)), rtol=1e-4)
    np.testing.assert_allclose(gap.score, np.broadcast_to(0.1 / sigma[:, None], (3, 5)), rtol=1e-4)
    np.testing.assert_allclose(gap.per_level, 0.1 * sigma, rtol=1e-4)
    # Of units of size 1 the same mean, computed in two places of one program, differs by round-off at most.
    assert float(score_gap(exact, exact, sigma, key=key, draws=5).denoiser.max()) < np.finfo(np.float32).eps
    # The posterior spread: none when the cue is clear, the patterns' own when it says nothing.
    wide = score_gap(exact, exact, np.array([0.05, 50.0]), key=key, draws=200).posterior
    assert float(wide[0].max()) < 1e-4
    spread = np.sqrt(np.mean((np.asarray(patterns) - np.asarray(patterns).mean(0)) ** 2))
    assert float(jnp.sqrt(jnp.mean(wide[1] ** 2))) == pytest.approx(spread, rel=0.05)


def test_basins_of_two_patterns_are_normal_tails(key):
    """Between ±y the border is the plane through 0: the share led back is Φ(‖y‖/σ)."""
    from scipy.stats import norm

    patterns = jnp.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]])
    sigma = np.array([0.2, 1.0, 2.0])
    share = basins(PatternMemory(patterns), patterns, sigma, key=key, draws=2000)
    expected = norm.cdf(2 / sigma)
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert (np.abs(share.mean(axis=1) - expected) < 4 * error + 1e-6).all()


def test_attractors_are_found_and_mixtures_recognised(patterns, key):
    """A memory that also holds a mean of three patterns and one foreign state has two spurious attractors."""
    mixture = (patterns[0] + patterns[1] + patterns[2]) / 3
    foreign = -patterns[0]
    memory = PatternMemory(jnp.concatenate([patterns, mixture[None], foreign[None]]))
    found = attractors(memory, patterns, key=key, starts=600)
    assert set(np.asarray(found.pattern).tolist()) == {-1, 0, 1, 2, 3, 4}
    assert float(found.share.sum()) == pytest.approx(1)
    spurious = np.flatnonzero(np.asarray(found.pattern) < 0)
    assert len(spurious) == 2
    assert 0 < float(found.spurious) < 1
    residuals = {}
    for i in spurious:
        kind = "mixture" if jnp.abs(found.states[i] - mixture).max() < 0.05 else "foreign"
        residuals[kind] = float(found.residual[i])
        if kind == "mixture":
            np.testing.assert_allclose(found.mixture[i], [1 / 3, 1 / 3, 1 / 3, 0, 0], atol=0.02)
    assert residuals["mixture"] < 0.02 < 0.5 < residuals["foreign"]
    clean = attractors(PatternMemory(patterns), patterns, key=key, starts=200)
    assert float(clean.spurious) == 0


def test_bad_input_is_named(patterns, key):
    exact = PatternMemory(patterns)
    with pytest.raises(InputError, match="memory: has 3 units; the exact memory has 12"):
        score_gap(LearnedMemory(jnp.tanh, 3), exact, 0.5, key=key)
    with pytest.raises(InputError, match="sigma: got -1"):
        basins(exact, patterns, -1.0, key=key)
    with pytest.raises(InputError, match="starts: got 0"):
        attractors(exact, patterns, key=key, starts=0)
    assert jax.random.key(0).shape == ()

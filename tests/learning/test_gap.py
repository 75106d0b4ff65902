"""Gap, basins and attractors, on memories for which the answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.diagnostics import distance_to_memory, local_dimension
from dispersed.dynamics import recall
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


def test_equal_patterns_have_one_basin(key):
    patterns = jnp.array([[1.0, 1, 1, 1], [-1, -1, -1, -1], [1, 1, 1, 1]])
    assert (basins(PatternMemory(patterns), patterns, 0.1, key=key, draws=20) == 1).all()


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


@pytest.mark.parametrize(
    "update",
    [lambda z, s: 3 * z, lambda z, s: -3 * z, lambda z, s: 1.02 * z, lambda z, s: z + 0.01, lambda z, s: z * jnp.nan],
    ids=["grows", "alternates", "grows slowly", "drifts", "is no number"],
)
def test_divergence_is_no_attractor(patterns, key, update):
    """Denoisers without any attractor."""
    found = attractors(LearnedMemory(update, 12, "pattern", "VE"), patterns, key=key, starts=40)
    assert found.states.shape == (0, 12)
    assert found.mixture.shape == (0, 5)
    assert float(found.diverged) == 1
    assert float(found.spurious) == 0


def test_what_does_not_diverge_is_found_beside_what_does(patterns, key):
    """A denoiser that about half of all states leave for ever."""
    exact = PatternMemory(patterns)

    def half(z, s):
        return jnp.where(jnp.abs(z[0]) > jnp.abs(z[1]), 3 * z, exact.denoise(z, s))

    some = attractors(LearnedMemory(half, 12, "pattern", "VE"), patterns, key=key, starts=40)
    assert 0 < float(some.diverged) < 1
    assert float(some.share.sum() + some.diverged) == pytest.approx(1)
    assert float(jnp.abs(some.states).max()) < 2


def test_a_network_says_where_it_was_not_trained(patterns, key):
    trained = LearnedMemory(lambda z, s: jnp.tanh(z), 12, "pattern", "VE", levels=(0.1, 2.0))
    assert "trained at σ from 0.1 to 2" in repr(trained)
    x, exact = patterns[0], PatternMemory(patterns)
    outside = [
        lambda: trained.denoise(x, 5.0),
        lambda: trained.score(patterns, jnp.array([1, 1, 0.05, 1, 1])),
        lambda: recall(trained, x, sigma=5.0),
        lambda: score_gap(trained, exact, [1.0, 5.0], key=key, draws=2),
        lambda: basins(trained, patterns, 5.0, key=key, draws=2),
        lambda: attractors(trained, patterns, key=key, sigma=5.0, starts=2),
        lambda: local_dimension(trained, x, 0.01),
    ]
    for evaluation in outside:
        with pytest.warns(UserWarning, match=r"sigma: got \S+; this network was trained at 0.1 to 2"):
            evaluation()
    # Warnings are errors here: inside there is none, nor of a network of which nothing is known.
    recall(trained, x, sigma=2.0)
    trained.denoise(x, np.float32(0.1))
    LearnedMemory(lambda z, s: z, 12, "pattern", "VE").denoise(x, 1e4)
    for levels in [(2, 1), (0, 1), (1.0, np.inf), (np.nan, 1)]:
        with pytest.raises(InputError, match="levels: got"):
            LearnedMemory(jnp.tanh, 12, levels=levels)


def test_a_network_is_no_memory_with_a_nearest_state(patterns):
    with pytest.raises(InputError, match="memory: a LearnedMemory has no nearest state"):
        distance_to_memory(LearnedMemory(lambda z, s: z, 12, "pattern", "VE"), patterns)


def test_bad_input_is_named(patterns, key):
    exact = PatternMemory(patterns)
    with pytest.raises(InputError, match="memory: has 3 units; the exact memory has 12"):
        score_gap(LearnedMemory(jnp.tanh, 3), exact, 0.5, key=key)
    with pytest.raises(InputError, match="sigma: got -1"):
        basins(exact, patterns, -1.0, key=key)
    with pytest.raises(InputError, match="starts: got 0"):
        attractors(exact, patterns, key=key, starts=0)
    assert jax.random.key(0).shape == ()

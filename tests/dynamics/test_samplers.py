"""Samplers sample: from patterns by the exact posterior, from densities with the right width."""

import jax
import numpy as np
import pytest
from scipy import stats

from dispersed import (
    VE,
    VP,
    AncestralSampling,
    GaussianMemory,
    PatternMemory,
    ReverseSDE,
    Smoothed,
    recall,
    recall_many,
)

SAMPLERS = {"ancestral": AncestralSampling(), "SDE": ReverseSDE()}
PROBLEMS, PATTERNS, SAMPLES = 10, 16, 1000


@pytest.mark.parametrize("name", SAMPLERS)
def test_random_problems_are_sampled_at_the_floor(name, key):
    """The total variation of ten posteriors is that of exact draws, and their counts are theirs."""
    rng = np.random.default_rng(3)
    patterns = rng.standard_normal((PROBLEMS, PATTERNS, 4)).astype("f4")
    cues = (patterns[:, 0] + 0.6 * rng.standard_normal((PROBLEMS, 4))).astype("f4")
    found = [
        recall_many(PatternMemory(y), x, SAMPLERS[name], sigma=0.8, samples=SAMPLES, key=jax.random.fold_in(key, i))
        for i, (y, x) in enumerate(zip(patterns, cues, strict=True))
    ]
    floor = np.array([float(posterior.expected_total_variation) for posterior in found])
    total_variation = np.array([float(posterior.total_variation) for posterior in found])
    assert total_variation.mean() < 1.2 * floor.mean()
    tests = [posterior.chi_squared() for posterior in found]
    statistic, freedom = (sum(float(getattr(test, part)) for test in tests) for part in ("statistic", "freedom"))
    assert stats.chi2.sf(statistic, freedom) > 1e-3


@pytest.mark.parametrize("name", SAMPLERS)
def test_patterns_are_sampled_at_the_floor_from_any_distance(name, key):
    """Levels even in log σ from there on would leave few where the patterns are."""
    rng, sigma = np.random.default_rng(3), 1e14
    patterns = rng.standard_normal((5, PATTERNS, 4)).astype("f4")
    cues = (patterns[:, 0] + sigma * rng.standard_normal((5, 4))).astype("f4")
    found = [
        recall_many(PatternMemory(y), x, SAMPLERS[name], sigma=sigma, samples=3000, key=jax.random.fold_in(key, i))
        for i, (y, x) in enumerate(zip(patterns, cues, strict=True))
    ]
    floor = np.mean([float(posterior.expected_total_variation) for posterior in found])
    assert np.mean([float(posterior.total_variation) for posterior in found]) < 1.2 * floor


def test_a_trajectory_from_far_away_begins_at_the_cue(key):
    memory = PatternMemory(np.eye(3, dtype="f4"))
    found = recall(memory, [1e9, 0.0, 0.0], AncestralSampling(), sigma=1e9, key=key, trajectory=True)
    np.testing.assert_array_equal(found.trajectory[0], np.float32([1e9, 0, 0]))
    assert found.sigmas[0] == np.float32(1e9)
    assert (np.diff(found.sigmas) < 0).all()
    np.testing.assert_allclose(found.probability, 1 / 3, rtol=1e-6)


POINT = PatternMemory(np.zeros((1, 3), "f4"))
WIDTHS = np.array([1, 0.3, 0.05], "f4")
NORMAL = GaussianMemory(np.zeros(3, "f4"), np.diag(WIDTHS))
DENSITIES = {
    "smoothed point": (Smoothed(POINT, 0.05), 0.5, 0.05),
    "Gaussian": (NORMAL, 3.0, WIDTHS),
    "Gaussian from pure noise": (NORMAL, float(NORMAL.prior_start()[1]), WIDTHS),
}


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_widths_of_densities(name, density, key):
    """A cue that is drawn from the noisy density is recalled as a draw from the density, its deviation within 2 %."""
    memory, sigma, widths = DENSITIES[density]
    for_cues, for_recall = jax.random.split(key)
    cues = memory.sample(for_cues, 10_000, sigma)
    found = recall(memory, cues, SAMPLERS[name], sigma=sigma, key=for_recall)
    np.testing.assert_allclose(np.std(found.x, axis=0) / widths, 1, atol=0.02)
    assert abs(np.mean(found.x, axis=0) / widths).max() < 0.04


@pytest.mark.parametrize("process", [VE(), VP()])
def test_wide_cues_are_no_averages(process, key):
    """From noise that is a thousand times as wide as the density, the default grid ends at its own scale."""
    memory = GaussianMemory(np.zeros(2, "f4"), 0.05 * np.eye(2, dtype="f4"))
    cues = process.corrupt(memory.sample(key, 10_000), sigma=50.0, key=jax.random.fold_in(key, 1))
    found = recall(memory, cues, ReverseSDE(), sigma=50.0, process=process, key=key)
    np.testing.assert_allclose(np.std(found.x, axis=0) / 0.05, 1, atol=0.02)

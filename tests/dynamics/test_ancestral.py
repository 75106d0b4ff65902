"""Ancestral sampling: exact for one memory, of weak order 1 and 2 for several."""

import jax
import numpy as np
import pytest
from scipy import stats

from dispersed import AncestralSampling, InputError, PatternMemory, recall, recall_many
from dispersed.paper.statistics import power_law


@pytest.mark.parametrize("order", [1, 2])
def test_one_memory_is_approached_by_an_exact_bridge(order, key):
    """With one memory y the states at σ' are N((σ'/σ)² z + (1 − (σ'/σ)²) y, σ'²(1 − (σ'/σ)²)), at any step."""
    y, z, sigma = np.array([0.5, -1.0]), np.array([3.0, 2.0]), 2.0
    cues = np.broadcast_to(z, (4000, 2))
    dynamics = AncestralSampling(5, order, sigma_min=0.5)
    found = recall(PatternMemory(y[None]), cues, dynamics, sigma=sigma, key=key, trajectory=True)
    path, sigmas = np.asarray(found.trajectory, float), np.asarray(found.sigmas, float)
    np.testing.assert_array_equal(found.x, np.broadcast_to(y, (4000, 2)))
    np.testing.assert_allclose(sigmas[0], [2, 2**0.5, 1, 0.5**0.5, 0.5, 0], rtol=1e-5)
    assert path.shape == (4000, 6, 2)
    for step in range(1, 5):
        level = sigmas[0, step]
        r = (level / sigma) ** 2
        standard = (path[:, step] - (r * z + (1 - r) * y)) / (level * np.sqrt(1 - r))
        assert stats.kstest(standard.ravel(), "norm").pvalue > 1e-4
    # Increments of a bridge are independent of the past: so are the states, made standard, of each other's noise.
    residual = path[:, 2] - path[:, 1] / 2 - y / 2
    assert stats.pearsonr(residual[:, 0], path[:, 1, 0]).pvalue > 1e-4


@pytest.mark.parametrize(("order", "steps", "repeats"), [(1, (4, 8, 16), 25), (2, (3, 4, 6, 8), 50)])
def test_weak_order(order, steps, repeats):
    """The bias of the recalled frequencies falls with the step as the order says."""
    memory = PatternMemory(np.array([[1.0, 0.2], [-0.3, 0.9], [-1.0, -0.6], [0.5, -1.2]]))
    cues = np.broadcast_to(np.array([1.0, 0.5]), (repeats, 2))
    n = repeats * 4000
    biases, errors = [], []
    for number, count in enumerate(steps):
        dynamics = AncestralSampling(count + 1, order, sigma_min=0.2)
        found = recall_many(memory, cues, dynamics, sigma=2.0, key=jax.random.key(number))
        p = float(np.asarray(found.exact)[0, 0])
        biases.append(np.asarray(found.counts)[:, 0].sum() / n - p)
        errors.append(np.sqrt(p * (1 - p) / n))
    _, low, high = power_law(1 / np.array(steps), biases, errors, level=0.99)
    assert low < order < high
    assert high - low < 1.2


def test_costs_and_bad_input(key):
    memory = PatternMemory(np.array([[1.0, 1], [-1, -1]]))
    assert int(recall(memory, np.array([0.1, 0.2]), AncestralSampling(7, 1), sigma=1.0, key=key).evaluations) == 8
    assert int(recall(memory, np.array([0.1, 0.2]), AncestralSampling(7), sigma=1.0, key=key).evaluations) == 14
    for bad, message in (({"steps": 1}, "steps"), ({"order": 3}, "order"), ({"sigma_min": -1.0}, "sigma_min")):
        with pytest.raises(InputError, match=f"^{message}: "):
            AncestralSampling(**bad)
    with pytest.raises(InputError, match="key"):
        recall(memory, np.array([0.1, 0.2]), AncestralSampling(), sigma=1.0)


def test_extreme_noise_levels_stay_finite(key):
    memory = PatternMemory(np.array([[1.0, 1], [-1, -1]]))
    cues = np.array([[0.3, 0.1], [1.0, 1.0], [1e4, -1e4]])
    found = recall(memory, cues, AncestralSampling(), sigma=np.array([1e-4, 1e-2, 1e4]), key=key)
    assert np.isfinite(found.x).all()
    np.testing.assert_array_equal(np.asarray(found.index)[:2], [0, 0])

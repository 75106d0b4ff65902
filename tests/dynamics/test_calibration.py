"""Calibration is recognised where it holds, and its lack where it does not."""

import jax
import numpy as np
import pytest

from dispersed import VE, InputError, PatternMemory, recall_many, reliability


@pytest.fixture(scope="module")
def drawn():
    """Probabilities and truths drawn from them."""
    rng = np.random.default_rng(1)
    p = rng.dirichlet([0.4] * 6, 3000)
    truth = (rng.random((3000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return p, truth


def test_truths_drawn_from_the_probabilities_are_calibrated(drawn):
    curve = reliability(*drawn)
    assert curve.p_value > 1e-3
    assert curve.freedom == 9
    assert curve.gap < 2 * curve.expected_gap
    assert curve.pairs.sum() == 18_000
    inside = (curve.low <= curve.stated) & (curve.stated <= curve.high)
    assert inside.sum() >= 8


def test_p_values_are_uniform():
    rng = np.random.default_rng(0)
    values, gaps = [], []
    for _ in range(300):
        p = rng.dirichlet([1, 1, 1], 200)
        truth = (rng.random((200, 1)) > p.cumsum(axis=1)).sum(axis=1)
        curve = reliability(p, truth, bins=5)
        values.append(curve.p_value)
        gaps.append(curve.gap / curve.expected_gap)
    assert 0.35 < np.mean(values) < 0.65
    assert 0.01 < np.mean(np.array(values) < 0.05) < 0.1
    assert np.mean(gaps) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("concentration", [[50.0, 0.05], [0.05] * 5], ids=["sure", "sure of most"])
def test_p_values_hold_where_few_truths_are_expected(concentration):
    rng = np.random.default_rng(0)
    values, gaps, expected = [], [], []
    for _ in range(300):
        p = rng.dirichlet(concentration, 20)
        truth = np.minimum((rng.random((20, 1)) > p.cumsum(axis=1)).sum(axis=1), p.shape[1] - 1)
        curve = reliability(p, truth)
        values.append(curve.p_value)
        gaps.append(curve.gap)
        expected.append(curve.expected_gap)
    for level in (0.003, 0.01, 0.05, 0.2):
        assert np.mean(np.array(values) <= level) <= level + 4 * np.sqrt(level / 300)
    assert np.mean(gaps) == pytest.approx(np.mean(expected), abs=4 * np.std(gaps) / np.sqrt(300))


@pytest.mark.parametrize("doubt", [0.0, 1e-30, 1e-9])
def test_a_sure_answer_that_is_wrong_shows(doubt):
    """Among others that are unsure, too; and one that is right does not."""
    sure = np.array([[1 - doubt, doubt]] * 20)
    unsure, found = np.array([[0.3, 0.7]] * 1000), np.repeat([0, 1], [300, 700])
    for others, truth in ((sure, np.zeros(20, int)), (unsure, found)):
        assert reliability(np.concatenate([sure, others]), np.concatenate([np.zeros(20, int), truth])).p_value > 0.5
        wrong = np.concatenate([np.eye(20, dtype=int)[0], truth])
        assert reliability(np.concatenate([sure, others]), wrong).p_value < 1e-3


def test_overconfidence_shows(drawn):
    p, truth = drawn
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    curve = reliability(sharp, truth)
    assert curve.p_value < 1e-6
    assert curve.gap > 3 * curve.expected_gap
    assert curve.observed[-1] < curve.stated[-1]


def test_recall_of_noisy_patterns_is_calibrated(key):
    memory = PatternMemory(np.array([[1.0, 0.2], [-0.3, 0.9], [-1.0, -0.6], [0.5, -1.2]]))
    truth = jax.random.choice(key, 4, (150,))
    cues = VE().corrupt(memory.patterns[truth], sigma=1.0, key=key)
    found = recall_many(memory, cues, samples=200, sigma=1.0, key=key)
    assert reliability(found.exact, truth).p_value > 1e-3
    test = found.chi_squared()
    total, freedom = float(test.statistic.sum()), float(test.freedom.sum())
    assert abs(total - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        ([0.5, 0.5], [0], "probabilities: got shape"),
        ([[0.5, 0.6]], [0], "probabilities: got rows"),
        ([[0.5, 0.5]], [2], "truth: got shape"),
        ([[0.5, 0.5]], [0.0], "truth: got shape"),
    ],
)
def test_bad_input_is_one_line(probabilities, truth, message):
    with pytest.raises(InputError, match=message):
        reliability(np.array(probabilities), np.array(truth))

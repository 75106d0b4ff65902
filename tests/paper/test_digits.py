import numpy as np
import pytest

from dispersed.datasets import load_digits
from dispersed.paper.digits.measure import DYNAMICS, digits
from dispersed.paper.digits.plot import STRIPS, plot_digits


@pytest.mark.slow
def test_digits_are_recalled_and_completed():
    rows, pictures = digits(seed=0, cues=8)
    by = {(row["task"], row["alpha"], row["method"]): row for row in rows}
    for method in DYNAMICS:
        assert by["noise", 0.9, method]["exact"] >= 0.75
        assert by["evidence", None, method]["exact"] == 1
        assert by["evidence", None, method]["rms_error"] < 1e-3
    assert by["noise", 0.68, "exponential"]["same_digit"] >= by["noise", 0.5, "exponential"]["same_digit"]
    assert set(STRIPS) <= set(pictures)
    labels = [text.get_text() for text in plot_digits(pictures).get_yticklabels()]
    assert labels == list(STRIPS.values())


def test_the_digits_are_the_real_ones():
    patterns, targets = load_digits()
    assert patterns.shape == (1797, 64)
    assert float(patterns.min()) == -1
    assert float(patterns.max()) == 1
    assert np.bincount(targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]

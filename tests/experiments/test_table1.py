import json

import numpy as np
import pytest

from dispersed import InputError
from dispersed.experiments import results
from dispersed.experiments.statistics import bootstrap_mean, pearson
from dispersed.experiments.table1 import METHODS, PUBLISHED, table1, verdicts
from dispersed.plots.table1 import plot_table1


@pytest.fixture(scope="module")
def rows():
    return table1(repeats=12, seed=1)


def test_every_cell_is_there_with_an_interval(rows):
    assert len(rows) == 2 * 3 * len(METHODS)
    for row in rows:
        assert set(row) == {"task", "n_patterns", "method", "correlation", "ci_low", "ci_high", "published"}
        assert -1 <= row["ci_low"] <= row["correlation"] <= row["ci_high"] <= 1
        expected = PUBLISHED.get((row["task"], row["method"]))
        assert row["published"] == (expected and expected[row["n_patterns"] // 10 - 1])


def test_the_order_of_the_methods_is_the_papers(rows):
    """With few repeats, only what is far apart: diffusion ≫ truth > classical ≫ null diagonal."""
    for task in ("denoising", "completion"):
        for n in (10, 20, 30):
            value = {row["method"]: row["correlation"] for row in rows if (row["task"], row["n_patterns"]) == (task, n)}
            assert value["diffusion"] > 0.96
            assert value["diffusion"] > value["true_patterns"] > value["classical"] > value["classical_null_diagonal"]
            assert value["diffusion"] > value["diffusion_sde"] + 0.05
            assert abs(value["diffusion"] - value["diffusion_2m"]) < 0.02


def test_the_same_seed_gives_the_same_table(rows):
    assert table1(repeats=12, seed=1) == rows


def test_what_differs_is_said_in_words(rows):
    text = " ".join(verdicts(rows))
    assert "of 18 published values agree" in text
    assert "self-coupling" in text
    wrong = [dict(row, published=0.1) if row["method"] == "diffusion" else row for row in rows]
    assert sum("where the paper has 0.100" in line for line in verdicts(wrong)) == 6


def test_the_figure_shows_every_method(rows):
    axes = plot_table1(rows)
    labels = {text.get_text() for text in axes[0].figure.legends[0].get_texts()}
    assert set(METHODS.values()) < labels
    assert len(axes) == 2


def test_pearson_is_numpys(rng):
    a, b = rng.standard_normal((2, 5, 7, 3))
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(pearson(a, b), expected)


def test_bootstrap_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(400):
        _, low, high = bootstrap_mean(rng.exponential(size=60), trial, resamples=300)
        hits += low <= 1 <= high
    # 95 % nominal; the percentile bootstrap of 60 skewed values covers about 93 %.
    assert 0.89 < hits / 400 < 0.98


def test_bad_arguments_get_one_line():
    with pytest.raises(InputError, match="repeats"):
        table1(repeats=1)
    with pytest.raises(InputError, match="seed"):
        table1(seed=-1)


def test_results_are_complete_or_absent(tmp_path):
    rows = [{"a": 1, "b": None}, {"a": 2.5, "c": "x"}]
    results.write_rows(tmp_path, "r", rows)
    assert json.loads((tmp_path / "r.json").read_text()) == rows
    assert (tmp_path / "r.csv").read_text() == "a,b,c\n1,,\n2.5,,x\n"
    with pytest.raises(ValueError, match="JSON"):
        results.write_rows(tmp_path, "r", [{"a": float("nan")}])
    assert json.loads((tmp_path / "r.json").read_text()) == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.json"]


def test_an_unusable_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out"):
        results.output_folder(tmp_path / "file")
    with pytest.raises(InputError, match="out"):
        results.output_folder(tmp_path / "file" / "below")

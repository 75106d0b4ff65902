"""Figure 1, reconstruction, spectrum and continuum, at their smallest."""

import itertools

import numpy as np
import pytest

from dispersed.paper.continuum import measure as continuum_module
from dispersed.paper.continuum.plot import plot_continuum
from dispersed.paper.figure1 import measure as figure1_module
from dispersed.paper.figure1.plot import plot_figure1
from dispersed.paper.reconstruction import measure as reconstruction_module
from dispersed.paper.reconstruction.plot import plot_reconstruction
from dispersed.paper.semantics import nearest_of, split
from dispersed.paper.spectrum import measure as spectrum_module
from dispersed.paper.spectrum.plot import plot_spectrum
from dispersed.validation import InputError


@pytest.fixture
def fewer_gaussians(monkeypatch):
    """Three Gaussians are fitted in no time."""
    for module in (continuum_module, reconstruction_module, spectrum_module):
        fit = module.gaussian_semantics
        monkeypatch.setattr(module, "gaussian_semantics", lambda images, k, seed, fit=fit: fit(images, 3, seed))


@pytest.mark.slow
def test_figure_1_shows_points_places_and_a_curve():
    rows, panels = figure1_module.figure1(starts=60, resolution=20)
    points, extended, semantic = rows
    assert points["cells"] == 5
    assert points["local_dimension"] < 0.01
    assert extended["cells"] > 20
    assert semantic["local_dimension"] == pytest.approx(1, abs=0.05)
    assert max(row["largest_distance"] for row in rows) < 0.05
    assert [row["equation"] for row in rows] == ["Eq. 12", "Eq. 23", "Eq. 24"]
    axes = plot_figure1(panels)
    assert [axis.get_title()[:2] for axis in axes] == ["a)", "b)", "c)"]


@pytest.mark.slow
def test_cores_are_faithful_and_the_rest_is_made_up(fewer_gaussians, monkeypatch):
    monkeypatch.setattr(reconstruction_module, "WIDTHS", (8,))
    rows, pictures = reconstruction_module.reconstruction(events=12)
    by = {(row["task"], row["memory"]): row for row in rows}
    meant, printed = by["fidelity", "conditioned"], by["fidelity", "printed"]
    assert meant["core_error"] < 0.01
    assert 0.5 < meant["rest_error"] < np.sqrt(2)
    assert by["fidelity", "conditional_mean"]["rest_error"] < 1
    assert printed["plausibility"] < meant["plausibility"] - 10
    glass = by["broken_glass", "conditioned"]
    assert glass["ink"] > 0.5 > by["broken_glass", "pattern_memory"]["ink"] + 0.45
    assert glass["ink_match"] > 0.3
    pictures |= {f"conditioned, {width}": pictures["conditioned, 8"] for width in (2, 32)}
    monkeypatch.setattr("dispersed.paper.reconstruction.plot.WIDTHS", (8,))
    assert len(plot_reconstruction(rows, pictures)) == 3


@pytest.mark.slow
def test_what_is_seen_more_often_is_an_episode_from_more_noise(fewer_gaussians, monkeypatch):
    monkeypatch.setattr(spectrum_module, "SIGMAS", (0.05, 0.5, 1.0, 2.0, 50.0))
    rows = spectrum_module.spectrum(probes=4)
    levels = [spectrum_module.transition(rows, "exact", repeats) for repeats in spectrum_module.REPEATS]
    assert all(before < after for before, after in itertools.pairwise(levels))
    first = {row["memory"]: row for row in rows if row["sigma"] == 0.05 and row["repeats"] == 1}
    assert first["exact"]["local_dimension"] < 0.01
    assert first["exact"]["distance"] < 0.01
    assert first["gaussians"]["local_dimension"] > 5
    assert len(plot_spectrum(rows)) == 3


@pytest.mark.slow
def test_recall_becomes_generation_as_the_cue_fades(fewer_gaussians, monkeypatch):
    monkeypatch.setattr(continuum_module, "ALPHAS", (0.99, 0.45, 0.01))
    monkeypatch.setattr("dispersed.paper.continuum.plot.SHOWN", (0.99, 0.45, 0.01))
    rows, pictures = continuum_module.continuum(cues=20)
    for row in rows:
        assert row["same_image"] + row["same_digit"] + row["other_digit"] == pytest.approx(1)
    by = {(row["memory"], row["alpha"]): row for row in rows}
    for memory in continuum_module.MEMORIES:
        assert by[memory, 0.99]["same_image"] >= 0.95
        assert by[memory, 0.01]["other_digit"] >= 0.6
    assert by["exact", 0.01]["novelty"] < 1e-3
    assert by["smoothed", 0.01]["novelty"] > 0.5
    assert plot_continuum(rows, pictures).shape == (2, 3)


def test_splits_and_nearest(rng):
    learned, fresh = split(10, 3, 0)
    assert sorted([*learned, *fresh]) == list(range(10))
    assert len(fresh) == 3
    images = rng.normal(size=(5, 2))
    index, distance = nearest_of(images, images[[3, 1]] + 1e-3)
    assert index.tolist() == [3, 1]
    np.testing.assert_allclose(distance, np.sqrt(2) * 1e-3)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: figure1_module.figure1(seed=-1), "seed: got -1"),
        (lambda: reconstruction_module.reconstruction(events=3), "events: got 3; whole numbers from 10"),
        (lambda: spectrum_module.spectrum(probes=0), "probes: got 0"),
        (lambda: continuum_module.continuum(cues=0), "cues: got 0"),
    ],
)
def test_bad_sizes_get_one_line(run, message):
    with pytest.raises(InputError, match=message):
        run()

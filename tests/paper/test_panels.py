"""Plots draw where they are told to, and say so if they cannot."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dispersed import InputError
from dispersed.paper.continuum.plot import SHOWN, plot_continuum
from dispersed.paper.panels import draw_strips, panels


def continuum():
    rows = [
        {"memory": memory, "alpha": alpha, "same_image": 0.5, "same_digit": 0.3, "other_digit": 0.2, "novelty": 0.1}
        for memory in ("exact", "smoothed", "gaussians")
        for alpha in (1.0, 0.5, 0.01)
    ]
    image = np.linspace(-1, 1, 64)[None]
    names = [f"{memory}, {alpha}" for memory in ("exact", "smoothed", "gaussians") for alpha in SHOWN]
    return rows, {"stored": image} | dict.fromkeys(names, image)


def test_the_axes_of_the_caller_are_drawn_on_and_returned():
    figure, mine = plt.subplots(2, 3)
    before = plt.get_fignums()
    returned = plot_continuum(*continuum(), ax=mine)
    assert (returned == mine).all()
    assert plt.get_fignums() == before
    assert figure.legends == []
    assert mine[0, 0].get_legend() is not None
    plt.close(figure)


def test_a_new_figure_has_its_legend_below():
    axes = plot_continuum(*continuum())
    assert axes.shape == (2, 3)
    assert len(axes[0, 0].figure.legends) == 1
    plt.close(axes[0, 0].figure)


def test_one_axis_is_an_array_of_none():
    figure, axis = plt.subplots()
    assert panels(axis, ()).item() is axis
    assert list(panels([axis], (1,))) == [axis]
    new = panels(None, ()).item()
    assert len(new.figure.axes) == 1
    plt.close(new.figure)
    with pytest.raises(InputError, match="ax: got 1 axes; 2 × 3 axes are accepted"):
        panels(axis, (2, 3))
    plt.close(figure)


def test_strips_show_every_pixel_once():
    figure, axis = plt.subplots()
    states = np.array([[-1.0, 1, 0, np.nan], [1, 1, 1, 1]])
    draw_strips(axis, [states, states[:1]], ["a", "b"])
    canvas = axis.images[0].get_array()
    np.testing.assert_allclose(canvas[:2, :2], [[[1] * 3, [0] * 3], [[0.5] * 3, [0.74, 0.84, 0.93]]])
    np.testing.assert_allclose(canvas[:2, 2:4], 0)
    np.testing.assert_allclose(canvas[2:, 2:], 1)
    plt.close(figure)

"""Strips of recalled digits."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from dispersed.paper.panels import draw_strips, panels
from dispersed.paper.style import house_style

STRIPS = {
    "stored": "stored",
    "noisy, 0.68": "noisy cue, α = 0.68",
    "noise, iteration, 0.68": "Hopfield iteration",
    "noise, one-step, 0.68": "one Tweedie step",
    "noise, exponential, 0.68": "exponential integrator, 20 steps",
    "noise, flow, 0.68": "probability flow, 300 Euler steps",
    "noise, sde, 0.68": "reverse SDE, one sample",
    "masked": "half-masked cue",
    "zero_mask, flow, 0.68": "zero mask (the paper's), flow",
    "evidence, flow, None": "as evidence, flow",
    "evidence, sde, None": "as evidence, SDE, one sample",
}
"""The strips shown, top to bottom, and what they are called."""


def plot_digits(pictures: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """One row of images per cue or method; unknown pixels in blue."""
    with house_style():
        axis = panels(ax, (), figsize=(8.2, 0.74 * len(STRIPS))).item()
        draw_strips(axis, [pictures[name] for name in STRIPS], list(STRIPS.values()))
    return axis

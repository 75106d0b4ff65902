"""Strips of recalled digits."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dispersed.plots.style import house_style

STRIPS = {
    "stored": "stored",
    "noisy, 0.68": "noisy cue, α = 0.68",
    "noise, iteration, 0.68": "Hopfield iteration",
    "noise, one_step, 0.68": "one Tweedie step",
    "noise, dpm_2m, 0.68": "DPM-Solver++ 2M, 20 evaluations",
    "noise, ode_euler, 0.68": "probability flow, 300 Euler steps",
    "noise, sde, 0.68": "reverse SDE, one sample",
    "masked": "half-masked cue",
    "zero_mask, ode_euler, 0.68": "zero mask (the paper's), flow",
    "evidence, ode_euler, None": "as evidence, flow",
    "evidence, sde, None": "as evidence, SDE, one sample",
}
"""The strips shown, top to bottom, and what they are called."""


def plot_digits(pictures: Mapping[str, np.ndarray]) -> Figure:
    """One row of images per cue or method; grey values from −1 to 1, unknown pixels hatched blue."""
    with house_style():
        count = len(pictures["stored"])
        figure, axes = plt.subplots(len(STRIPS), count, figsize=(8.2, 0.78 * len(STRIPS)))
        colours = plt.get_cmap("gray_r").with_extremes(bad="#bcd7ee")
        for row, (name, label) in zip(axes, STRIPS.items(), strict=True):
            for axis, state in zip(row, pictures[name], strict=True):
                axis.imshow(state.reshape(8, 8), cmap=colours, vmin=-1, vmax=1)
                axis.set_xticks([])
                axis.set_yticks([])
                for spine in axis.spines.values():
                    spine.set_visible(False)
            row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure

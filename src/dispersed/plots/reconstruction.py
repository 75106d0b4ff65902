"""Reconstructive memory: recalled digits, and how faithful core and rest are."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dispersed.experiments.reconstruction import WIDTHS
from dispersed.plots.style import house_style

STRIPS = {
    "event": "event, never seen by semantic memory",
    "conditioned, 2": "recalled from a core of 2 components",
    "conditioned, 8": "recalled from a core of 8 components",
    "conditioned, 32": "recalled from a core of 32 components",
    "printed, 8": "Eq. 25 as printed, 8 components",
    "blank": "broken glass: event, lower half blank",
    "glass, pattern_memory": "pattern memory of the whole event",
    "glass, conditioned": "recalled from its upper half",
    "glass, printed": "Eq. 25 as printed, upper half",
}
LINES = {
    "conditioned": ("φ given the core (Eq. 25 as meant)", "#1f6fb4"),
    "conditional_mean": ("E[y | core], the best guess", "#2a9d5c"),
    "printed": ("sum (Eq. 25 as printed)", "#c8422f"),
}


def plot_reconstruction(rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Strips of images on the left; errors of core and rest against the width of the core on the right."""
    with house_style():
        figure = plt.figure(figsize=(12.6, 6.4))
        parts: Any = figure.subfigures(1, 2, width_ratios=[1.75, 1])
        left, right = parts
        grid = left.subplots(len(STRIPS), 8)
        for row, (name, label) in zip(grid, STRIPS.items(), strict=True):
            for axis, state in zip(row, pictures[name], strict=True):
                axis.imshow(state.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set(visible=True, color="0.8")
            row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        error, plausible = right.subplots(2, 1, sharex=True)
        for memory, (label, colour) in LINES.items():
            chosen = [row for row in rows if row["task"] == "fidelity" and row["memory"] == memory]
            error.plot(WIDTHS, [row["rest_error"] for row in chosen], "o-", color=colour, label=f"rest: {label}")
            if memory == "conditioned":
                core = [row["core_error"] for row in chosen]
                error.plot(WIDTHS, core, "s--", color=colour, label=f"core: {label}")
            plausible.plot(WIDTHS, [row["plausibility"] for row in chosen], "o-", color=colour, label=label)
        error.axhline(1, color="0.6", linewidth=0.8)
        error.set_ylabel("error / spread\n(1: the mean image)")
        error.set_ylim(bottom=-0.05)
        error.legend(fontsize=8)
        plausible.axhline(0, color="0.6", linewidth=0.8)
        plausible.set_ylabel("log density under semantic\nmemory, less the events' (nats)")
        plausible.set_xscale("log", base=2)
        plausible.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
        plausible.set_xlabel("numbers in the core, of 64")
        plausible.legend(fontsize=8)
    return figure

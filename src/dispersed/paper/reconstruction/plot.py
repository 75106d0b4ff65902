"""Reconstructive memory: recalled digits, and how faithful core and rest are."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from dispersed.paper.panels import Panels, draw_strips, panels
from dispersed.paper.reconstruction.measure import WIDTHS
from dispersed.paper.style import house_style

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


def plot_reconstruction(
    rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray], ax: Panels | None = None
) -> Panels:
    """Three panels: strips of images; errors of core and rest, and plausibility, against the width of the core."""
    with house_style():
        if ax is None:
            figure = plt.figure(figsize=(12.6, 6.4))
            found = figure.subplot_mosaic([["images", "error"], ["images", "plausible"]], width_ratios=[1.75, 1])
            ax = np.array(list(found.values()))
        axes = images, error, plausible = panels(ax, (3,))
        draw_strips(images, [pictures[name] for name in STRIPS], list(STRIPS.values()))
        for memory, (label, colour) in LINES.items():
            chosen = [row for row in rows if row["task"] == "fidelity" and row["memory"] == memory]
            error.plot(WIDTHS, [row["rest_error"] for row in chosen], "o-", color=colour, label=f"rest: {label}")
            if memory == "conditioned":
                core = [row["core_error"] for row in chosen]
                error.plot(WIDTHS, core, "s--", color=colour, label=f"core: {label}")
            plausible.plot(WIDTHS, [row["plausibility"] for row in chosen], "o-", color=colour, label=label)
        error.set_xscale("log", base=2)
        error.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
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
    return axes

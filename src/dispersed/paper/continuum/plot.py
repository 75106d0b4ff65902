"""From faithful recall through reconstruction to free generation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dispersed.paper.continuum.measure import MEMORIES
from dispersed.paper.panels import Panels, draw_strips, legend_below, panels
from dispersed.paper.style import house_style

BANDS = {
    "same_image": ("the very image: faithful recall", "#1f6fb4"),
    "same_digit": ("same digit, other image: reconstruction", "#9ecae1"),
    "other_digit": ("another digit: generation", "#f2c078"),
}
SHOWN = (0.9, 0.45, 0.27, 0.14, 0.01)


def plot_continuum(
    rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray], ax: Panels | None = None
) -> Panels:
    """2 × 3 panels: fractions of outcomes and novelty against the signal level, and recalled images below."""
    with house_style():
        axes = panels(ax, (2, len(MEMORIES)), figsize=(12.6, 7.6), height_ratios=[1.15, 1])
        for number, (memory, label) in enumerate(MEMORIES.items()):
            panel, images = axes[:, number]
            mine = sorted((row for row in rows if row["memory"] == memory), key=lambda row: -row["alpha"])
            alphas = [row["alpha"] for row in mine]
            fractions = [[row[band] for row in mine] for band in BANDS]
            panel.stackplot(
                alphas, fractions, labels=[name for name, _ in BANDS.values()], colors=[c for _, c in BANDS.values()]
            )
            panel.plot(alphas, [row["novelty"] for row in mine], "k.-", label="novelty (1: as far as a neighbour)")
            panel.set_xlim(1, 0)
            panel.set_ylim(0, 1.5)
            bandwidth = mine[0].get("bandwidth")
            panel.set_title(label if bandwidth is None else f"{label}, h = {bandwidth:.2f}")
            panel.set_xlabel("signal level α of the cue")
            strips = [pictures["stored"], *(pictures[f"{memory}, {alpha}"] for alpha in SHOWN)]
            draw_strips(images, strips, ["stored", *(f"α = {alpha:g}" for alpha in SHOWN)])
        axes[0, 0].set_ylabel("fraction of cues; novelty")
        legend_below(axes, ax, axes[0, 0].get_legend_handles_labels(), columns=4)
    return axes

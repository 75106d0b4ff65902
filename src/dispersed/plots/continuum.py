"""From faithful recall through reconstruction to free generation."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dispersed.experiments.continuum import MEMORIES
from dispersed.plots.style import house_style

BANDS = {
    "same_image": ("the very image: faithful recall", "#1f6fb4"),
    "same_digit": ("same digit, other image: reconstruction", "#9ecae1"),
    "other_digit": ("another digit: generation", "#f2c078"),
}
SHOWN = (0.9, 0.45, 0.27, 0.14, 0.01)


def plot_continuum(rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Shares of outcomes against the signal level, novelty on top, and recalled images below."""
    with house_style():
        figure = plt.figure(figsize=(12.6, 7.6))
        parts: Any = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        top, bottom = parts
        panels = top.subplots(1, 3, sharey=True)
        for panel, (memory, label) in zip(panels, MEMORIES.items(), strict=True):
            mine = sorted((row for row in rows if row["memory"] == memory), key=lambda row: -row["alpha"])
            alphas = [row["alpha"] for row in mine]
            shares = [[row[band] for row in mine] for band in BANDS]
            panel.stackplot(
                alphas, shares, labels=[name for name, _ in BANDS.values()], colors=[c for _, c in BANDS.values()]
            )
            panel.plot(alphas, [row["novelty"] for row in mine], "k.-", label="novelty (1: as far as a neighbour)")
            panel.set_xlim(1, 0)
            panel.set_ylim(0, 1.5)
            bandwidth = mine[0].get("bandwidth")
            panel.set_title(label if bandwidth is None else f"{label}, h = {bandwidth:.2f}")
            panel.set_xlabel("signal level α of the cue")
        panels[0].set_ylabel("share of cues; novelty")
        handles, names = panels[0].get_legend_handles_labels()
        top.legend(handles, names, loc="outside lower center", ncols=4)
        # Room for the labels of the rows, so that the images of all three columns are of one size.
        groups: Any = bottom.subfigures(1, 4, width_ratios=[0.2, 1, 1, 1])
        for place, label in enumerate(["stored"] + [f"α = {alpha:g}" for alpha in SHOWN]):
            height = 1 - (place + 0.5) / (len(SHOWN) + 1)
            groups[0].text(1, height, label, ha="right", va="center")
        for group, memory in zip(groups[1:], MEMORIES, strict=True):
            grid = group.subplots(len(SHOWN) + 1, 8)
            for row, name in zip(grid, ["stored"] + [f"{memory}, {alpha}" for alpha in SHOWN], strict=True):
                for axis, state in zip(row, pictures[name], strict=True):
                    axis.imshow(state.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
                    axis.set_xticks([])
                    axis.set_yticks([])
                    for spine in axis.spines.values():
                        spine.set_visible(False)
    return figure

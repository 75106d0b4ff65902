"""Hopfield beside diffusion over β: outputs, ends of recall with their prediction, and what is recalled right."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dispersed.paper.equivalence.measure import RETRIEVAL
from dispersed.paper.panels import Panels, legend_below, panels
from dispersed.paper.style import house_style

COLOURS = {
    "±1": "#1f6fb4",
    "sphere": "#56b4e9",
    "0/1": "#e39a1c",
    "gaussian": "#2a9d5c",
    "heavy-tailed": "#c8422f",
    "digits": "#7b5ea7",
}
FLOOR = 1e-17
"""Where a difference of exactly zero is drawn."""


def plot_equivalence(rows: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Three panels over β: differences of one update, recalls that end together, and cues recalled right."""
    with house_style():
        axes = panels(ax, (3,), figsize=(13, 4.9))
        for name, colour in COLOURS.items():
            mine = [row for row in rows if (row["ensemble"], row["prior"]) == (name, "uniform")]
            repaired = [row for row in rows if (row["ensemble"], row["prior"]) == (name, "repaired")]
            beta = [row["beta"] for row in mine]

            def column(field: str, of: list[dict[str, Any]] = mine) -> np.ndarray:
                return np.array([row[field] for row in of])

            axes[0].plot(beta, np.maximum(column("output_difference"), FLOOR), "o-", ms=4, color=colour, label=name)
            axes[0].plot(beta, np.maximum(column("output_difference", repaired), FLOOR), ":", lw=1.2, color=colour)
            axes[1].plot(beta, column("same_end"), "-", color=colour)
            near = np.array(beta) >= RETRIEVAL
            axes[1].plot(np.array(beta)[near], column("same_leader")[near], "o", ms=6, mfc="none", color=colour)
            axes[2].plot(beta, column("right_diffusion"), "-", color=colour)
            axes[2].plot(beta, column("right_network"), "--", color=colour)
        axes[0].set_yscale("log")
        axes[0].set_ylabel("difference of one update, of the spread of patterns")
        axes[0].set_title("a) one update (dotted: with the prior)", loc="left")
        axes[1].set_ylim(-0.02, 1.05)
        axes[1].set_ylabel("fraction of cues")
        axes[1].set_title("b) both recalls end together (○ predicted)", loc="left")
        axes[2].set_ylim(-0.02, 1.05)
        axes[2].set_ylabel("fraction of cues")
        axes[2].set_title("c) recalled right: diffusion —, network – –", loc="left")
        for axis in axes:
            axis.set_xscale("log")
            axis.set_xlabel("inverse temperature β = 1/σ²")
        legend_below(axes, ax, axes[0].get_legend_handles_labels(), columns=6)
    return axes

"""Figure 1: energy landscapes with gradient vector fields."""

from collections.abc import Mapping

import numpy as np
from matplotlib.lines import Line2D

from dispersed.paper.figure1.measure import REACH, SIGMA
from dispersed.paper.panels import Panels, legend_below, panels
from dispersed.paper.style import house_style

TITLES = {
    "points": "a) point memories (Eq. 12)",
    "extended": "b) extended, localised memories (Eq. 23)",
    "semantic": "c) non-localised, semantic memory (Eq. 24)",
}


def plot_figure1(landscapes: Mapping[str, Mapping[str, np.ndarray]], ax: Panels | None = None) -> Panels:
    """Three panels, one a memory: its energy in colour, the direction of recall as arrows, recalled states as dots."""
    with house_style():
        axes = panels(ax, (3,), figsize=(12.4, 4.6), sharex=True, sharey=True)
        energies = {name: panel["energy"] - panel["energy"].min() for name, panel in landscapes.items()}
        top = max(float(np.quantile(energy, 0.97)) for energy in energies.values())
        for axis, (name, title) in zip(axes, TITLES.items(), strict=True):
            panel = landscapes[name]
            ends = np.linspace(-REACH, REACH, len(panel["energy"]))
            levels = top * np.linspace(0, 1, 21) ** 1.5
            filled = axis.contourf(ends, ends, energies[name], levels=levels, cmap="viridis_r", extend="max")
            axis.contour(ends, ends, energies[name], levels=levels[::2], colors="white", linewidths=0.4, alpha=0.6)
            length = np.linalg.norm(panel["field"], axis=-1, keepdims=True)
            # Arrows show directions; far from the memories all lengths would be those of the distance.
            arrows = panel["field"] / np.maximum(length, 1e-9) * np.minimum(length, 0.15)
            axis.quiver(
                *np.moveaxis(panel["sites"], -1, 0),
                *np.moveaxis(arrows, -1, 0),
                angles="xy",
                scale_units="xy",
                scale=1,
                width=0.0035,
                color="black",
            )
            axis.plot(*panel["recalled"].T, "o", markersize=2.6, color="#d62728", markeredgewidth=0)
            axis.set_title(title)
            axis.set_aspect("equal")
            axis.set_xlabel("$x_1$")
            axis.set_xlim(-REACH, REACH)
            axis.set_ylim(-REACH, REACH)
        axes[0].set_ylabel("$x_2$")
        bar = axes[0].figure.colorbar(filled, ax=list(axes), shrink=0.85, pad=0.01)
        bar.set_label(f"energy $-σ^2\\,\\log p_σ(x)$ above its minimum, σ = {SIGMA:g}")
        bar.set_ticks(list(np.round(np.linspace(0, top, 5), 2)))
        handles = [
            Line2D([], [], marker=r"$\rightarrow$", color="black", linestyle="none", markersize=12),
            Line2D([], [], marker="o", color="#d62728", linestyle="none", markersize=4),
        ]
        legend_below(axes, ax, (handles, ["recall, $D_σ(x) − x$", "recalled states"]), columns=2)
    return axes

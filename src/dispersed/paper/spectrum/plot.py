"""Diagnostics of episodic and semantic memory against the noise level."""

from collections.abc import Sequence
from typing import Any

from dispersed.paper.panels import Panels, legend_below, noise_axis, panels
from dispersed.paper.spectrum.measure import EPISODIC, REPEATS
from dispersed.paper.style import house_style

BLUES = ("#a8cbe4", "#5fa3d0", "#2a72b5", "#083d7f")
PANELS = {
    "effective_patterns": "effective number of items\n" + r"exp H[p(j | x)]",
    "local_dimension": "open directions, of 64\n" + r"Σ min(eigenvalue of ∂D$_σ$/∂x, 1)",
    "distance": "distance of D$_σ$(x)\nto the nearest stored image",
}


def plot_spectrum(rows: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Three panels, one a diagnostic, one line a memory; medians over digits."""
    with house_style():
        axes = panels(ax, (3,), figsize=(12.6, 4.4), sharex=True)
        lines = [("exact", r, f"exact, seen {r}×", BLUES[i], "-") for i, r in enumerate(REPEATS)]
        lines += [
            ("smoothed", 1, "samples read as a density", "#c8422f", "--"),
            ("gaussians", 1, "mixture of 20 Gaussians", "#2a9d5c", "-."),
        ]
        for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
            for memory, repeats, title, colour, style in lines:
                mine = [row for row in rows if (row["memory"], row["repeats"]) == (memory, repeats)]
                axis.plot([row["sigma"] for row in mine], [row[name] for row in mine], style, color=colour, label=title)
            noise_axis(axis)
            axis.set_title(label)
        axes[0].set_yscale("log")
        axes[0].axhline(EPISODIC, color="0.6", linewidth=0.8)
        axes[0].text(0.05, EPISODIC * 1.12, "episodic below", fontsize=8, color="0.4")
        legend_below(axes, ax, axes[0].get_legend_handles_labels(), columns=3)
    return axes

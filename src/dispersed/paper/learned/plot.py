"""Learned against exact as a picture: the gap level by level as training goes on, and the basins it leaves."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from dispersed.noise import sigma_from_alpha
from dispersed.paper.learned.measure import ALPHA, NETWORKS
from dispersed.paper.panels import Panels, noise_axis, panels
from dispersed.paper.style import COLOURS, house_style


def plot_learned(gaps: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Three panels: the gaps of each of two networks, and basins."""
    with house_style():
        axes = panels(ax, (len(NETWORKS) + 1,), figsize=(13, 4.3))
        *gapped, last = axes
        for panel, (network, title) in zip(gapped, NETWORKS.items(), strict=True):
            own = [row for row in gaps if row["network"] == network]
            lengths = sorted({row["steps"] for row in own})
            colours = plt.get_cmap("Greys")([0.45, 0.7, 1.0])
            for steps, colour in zip(lengths, colours, strict=True):
                rows = [row for row in own if row["steps"] == steps]
                x = [row["sigma"] for row in rows]
                panel.plot(x, [row["gap"] for row in rows], "o-", ms=3, color=colour, label=f"{steps:,} steps")
                low, high = ([row[end] for row in rows] for end in ("ci_low", "ci_high"))
                panel.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
            panel.plot(
                x,
                [row["posterior"] for row in rows],
                "--",
                color=COLOURS["diffusion"],
                label="exact denoiser to pattern\n(posterior spread)",
            )
            panel.set_yscale("log")
            panel.set_ylim(1e-3, 30)
            panel.set_title(title)
            panel.set_ylabel("rms of D$_σ$ − E[y | x] per unit")
            panel.legend(fontsize=8, loc="upper left")
        for network, style in zip(NETWORKS, ("o-", "s--"), strict=True):
            rows = [row for row in gaps if row["network"] == network and row["basin"] is not None]
            x = [row["sigma"] for row in rows]
            last.plot(x, [row["basin"] for row in rows], style, ms=4, color=COLOURS["learned"], label=NETWORKS[network])
        last.plot(
            x, [row["basin_exact"] for row in rows], color=COLOURS["diffusion"], label="exact memory", lw=4, alpha=0.4
        )
        last.set_ylim(0, 1.03)
        last.set_ylabel("fraction of cues y + σε led back to y")
        last.set_title("basins of the stored patterns")
        last.axvline(float(sigma_from_alpha(ALPHA)), color="#999999", lw=0.8, ls=":", label=f"α = {ALPHA}")
        last.legend(fontsize=8, loc="lower left")
        for panel in axes:
            noise_axis(panel)
    return axes

"""Figure 2: marginal trajectories of the units."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from dispersed.paper.figure2.measure import METHODS, UNITS
from dispersed.paper.panels import Panels, legend_below, panels
from dispersed.paper.style import house_style

SHADES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a6a00")
"""One colour per unit."""


def plot_figure2(trajectories: Sequence[Mapping[str, Any]], ax: Panels | None = None) -> Panels:
    """States of five units by time, two panels: a) exact diffusion and Hopfield updates, b) exact and learned."""

    def path(method: str) -> tuple[np.ndarray, np.ndarray]:
        rows = [row for row in trajectories if row["method"] == method]
        t = np.array([np.nan if row["t"] is None else row["t"] for row in rows])
        return t, np.array([[row[f"unit_{i + 1}"] for i in range(UNITS)] for row in rows])

    with house_style():
        axes = left, right = panels(ax, (2,), figsize=(11, 4.6), sharey=True)
        t, flow = path("diffusion")
        _, sde = path("diffusion_sde")
        _, updates = path("modern_hopfield")
        t_learned, learned = path("learned")
        for i, shade in enumerate(SHADES):
            left.plot(t, sde[:, i], color=shade, lw=0.7, alpha=0.7)
            left.plot(t, flow[:, i], color=shade, lw=2)
            at = np.linspace(t[0], 0, len(updates))
            left.plot(at, updates[:, i], ls=":", lw=0.8, marker="s", ms=5, color=shade, mec="white", mew=0.6)
            right.plot(t, flow[:, i], color=shade, lw=2)
            right.plot(t_learned, learned[:, i], color="black", lw=1, ls=(0, (4, 2)))
        top = left.secondary_xaxis(
            "top", functions=(lambda x: (len(updates) - 1) * (1 - x / t[0]), lambda u: t[0] * (1 - u / 4))
        )
        top.set_xlabel("Hopfield update")
        top.set_xticks(range(len(updates)))
        for axis in (left, right):
            axis.set_xlim(t[0] * 1.02, -0.02 * t[0])
            axis.set_xlabel("time t of the noising process (γ = 1); recall runs to t = 0")
            for level in (-1, 1):
                axis.axhline(level, color="0.8", lw=0.8, zorder=0)
        left.set_ylabel("state x of each unit")
        left.set_title("a) exact diffusion and modern Hopfield updates", loc="left")
        right.set_title("b) exact and learned deterministic trajectories", loc="left")
        lines = [Line2D([], [], color=shade, lw=2) for shade in SHADES]
        lines += [
            Line2D([], [], color="0.35", lw=2),
            Line2D([], [], color="0.35", lw=0.7),
            Line2D([], [], color="0.35", ls=":", marker="s", ms=5),
            Line2D([], [], color="black", lw=1, ls=(0, (4, 2))),
        ]
        names = [f"unit {i + 1}" for i in range(UNITS)]
        legend_below(axes, ax, (lines, [*names, *METHODS.values()]), columns=5)
    return axes

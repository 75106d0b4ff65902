"""Synaptic learning as a picture: agreement with the exact memory against samples, leak and time constants."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from dispersed.paper.panels import Panels, panels
from dispersed.paper.plasticity.measure import LEAKS, RAMPS, RULES, SCALED
from dispersed.paper.style import house_style

RULE_COLOURS = dict(zip(RULES, ("#000000", "#c8422f", "#e69f00", "#1f6fb4"), strict=True))


def plot_plasticity(
    rows: Sequence[dict[str, Any]], grown: Sequence[dict[str, Any]], ax: Panels | None = None
) -> Panels:
    """Rules and leaks against samples, the circuit against its time constant, and samples needed against size."""
    with house_style():
        axes = panels(ax, (2, 2), figsize=(10.5, 8.4))
        (left, middle), (right, size) = axes
        _sizes(size, grown)
        for part, label in RULES.items():
            own = [r for r in rows if r["part"] == part and not r["leak"] and r["samples"]]
            _band(left, own, "samples", RULE_COLOURS[part], label)
        for leak, colour in zip(LEAKS, plt.get_cmap("viridis_r")([0.15, 0.4, 0.65, 0.95]), strict=True):
            own = [r for r in rows if r["part"] == "rhythm" and r["leak"] == leak]
            diverged = " (diverged)" if own[-1]["distance"] is None else ""
            _band(middle, own, "samples", colour, f"leak {leak:g}{diverged}")
        for ramp, colour in zip(RAMPS, ("#2a9d5c", "#7b5ea7"), strict=True):
            own = [r for r in rows if r["part"] == "circuit" and r["ramp"] == ramp]
            _band(right, own, "hidden", colour, f"σ(t) = σ₀ exp({-ramp:g} t/τ$_v$)")
        cue = next(row["agreement"] for row in rows if row["part"] == "cue")
        left.set_title("learning from single samples (Eq. 22)")
        middle.set_title("rhythm: plasticity while denoising")
        right.set_title("two-layer circuit against diffusion")
        for panel, label in (
            (left, "samples seen"),
            (middle, "samples seen while noise is injected"),
            (right, "hidden time constant τ$_h$/τ$_v$"),
        ):
            panel.set_xscale("log")
            panel.set_xlabel(label)
            panel.set_ylabel("signs in agreement with the exact\nmemory's recall (α = 0.68)")
            panel.set_ylim(0.45, 1.02)
            panel.axhline(cue, color="#999999", linewidth=1, linestyle=":", label="signs of the cue itself")
            panel.legend(loc="lower left" if panel is right else "lower right", fontsize=8)
    return axes


def _band(panel: Axes, rows: Sequence[dict[str, Any]], across: str, colour: Any, label: str) -> None:
    """A line with its bootstrap interval."""
    x = [row[across] for row in rows]
    panel.plot(x, [row["agreement"] for row in rows], "o-", markersize=3, color=colour, label=label)
    panel.fill_between(x, [r["ci_low"] for r in rows], [r["ci_high"] for r in rows], color=colour, alpha=0.15, lw=0)


def _sizes(panel: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """The samples needed against units, of eight patterns, and against patterns, of twenty units."""
    for part in SCALED:
        for grown, kept, at, line, of in (
            ("dimension", "patterns", 8, "o-", "units d, n = 8"),
            ("patterns", "dimension", 20, "s--", "patterns n, d = 20"),
        ):
            own = [row for row in rows if row["part"] == part and row[kept] == at and row["needed"] is not None]
            sizes = sorted({row[grown] for row in own})
            means = [np.exp(np.mean([np.log(row["needed"]) for row in own if row[grown] == size])) for size in sizes]
            label = f"{RULES[part].split(',')[0]}, {of}"
            panel.plot(sizes, means, line, markersize=5, color=RULE_COLOURS[part], label=label)
            panel.plot(
                [row[grown] for row in own], [row["needed"] for row in own], ".", color=RULE_COLOURS[part], alpha=0.4
            )
    panel.set(xscale="log", yscale="log", xlabel="units or patterns", ylabel="samples until 95 % of the signs agree")
    panel.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    panel.minorticks_off()
    panel.set_title("larger networks")
    panel.set_ylim(top=30 * panel.get_ylim()[1])  # room for the legend
    panel.legend(loc="upper left", fontsize=8)

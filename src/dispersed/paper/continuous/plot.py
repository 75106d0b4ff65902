"""Rates of continuous patterns over dimensions, and whole recalls beside their decoders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from dispersed.paper.panels import Panels, draw_intervals, legend_below, panels
from dispersed.paper.style import house_style

COLOURS = {"gaussian": "#1f6fb4", "spherical": "#2a9d5c", "correlated": "#c8422f"}
MARKS = {"distance": ("o", "-"), "dot product": ("s", "--")}
MEMORIES = {"exact diffusion": "o", "modern Hopfield": "s"}


def plot_continuous(
    rows: Sequence[dict[str, Any]],
    large: Sequence[dict[str, Any]],
    recalls: Sequence[dict[str, Any]],
    ax: Panels | None = None,
) -> Panels:
    """Two panels: rates over d with theory and its limits, and errors of recalls and decoders over n."""
    with house_style():
        axes = left, right = panels(ax, (2,), figsize=(11, 5.4), width_ratios=(3, 2))
        for ensemble, colour in COLOURS.items():
            for decoder, (mark, dashes) in MARKS.items():
                if ensemble == "spherical" and decoder == "dot product":
                    continue  # it is the other one
                mine = [row for row in rows if (row["ensemble"], row["decoder"]) == (ensemble, decoder)]
                d = np.array([row["dimension"] for row in mine])
                rate, low, high = (
                    np.log([row[name] for row in mine]) / d for name in ("capacity", "ci_low", "ci_high")
                )
                both = "" if ensemble != "spherical" else " or dot product"
                left.errorbar(
                    d,
                    rate,
                    [rate - low, high - rate],
                    fmt=mark,
                    ms=5,
                    capsize=3,
                    color=colour,
                    label=f"{ensemble}, {decoder}{both}",
                )
                theory = [*mine, *(r for r in large if (r["ensemble"], r["decoder"]) == (ensemble, decoder))]
                known = sorted((r["dimension"], r["expected_rate"]) for r in theory if r["expected_rate"] is not None)
                if known:
                    left.plot(*zip(*known, strict=True), dashes, color=colour, lw=1.2)
                left.plot(330, mine[0]["limit"], "<", color=colour, ms=7, mfc="none" if dashes == "--" else colour)
        left.set_xscale("log", base=2)
        left.set_xticks([4, 8, 16, 32, 64, 128, 256], ["4", "8", "16", "32", "64", "128", "256"])
        left.xaxis.set_minor_formatter(NullFormatter())
        left.set_xlabel("units d (◂: many units)")
        left.set_ylabel("rate: log capacity per unit")
        left.set_title("a) half of the cues decoded to the right pattern, α = 0.68", loc="left")
        for ensemble in ("gaussian", "spherical"):
            for memory, mark in MEMORIES.items():
                mine = [row for row in recalls if (row["ensemble"], row["memory"]) == (ensemble, memory)]
                n = [row["n_patterns"] for row in mine]
                style = {"fmt": mark + "-", "ms": 5, "capsize": 3, "color": COLOURS[ensemble]}
                draw_intervals(right, n, mine, "error", label=f"{ensemble}: {memory}", **style)
                right.plot(n, [row["decoder_error"] for row in mine], mark, ms=9, mfc="none", color=COLOURS[ensemble])
        right.set_xscale("log", base=2)
        right.set_xticks(n, [str(number) for number in n])
        right.set_ylim(bottom=0)
        right.set_xlabel("stored patterns")
        right.set_ylabel("fraction of cues recalled as another pattern")
        right.set_title(f"b) whole recalls (open: decoder), d = {recalls[0]['dimension']}", loc="left")
        right.legend(fontsize="small")
        legend_below(axes, ax, left.get_legend_handles_labels(), columns=3)
    return axes

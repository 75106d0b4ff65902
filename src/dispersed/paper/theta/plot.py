"""Capacity over signal level, tolerance and dimension, its slopes beside C(θ), and what recall corrects."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, NullFormatter

from dispersed import theory
from dispersed.paper.panels import Panels, draw_intervals, panels
from dispersed.paper.style import house_style

Rows = Sequence[dict[str, Any]]


def plot_theta(rows: Rows, slopes: Rows, recalls: Rows, ax: Panels | None = None) -> Panels:
    """Four panels: capacity over d, slopes over α, capacity over α and tolerance, and units corrected over α."""
    with house_style():
        axes = panels(ax, (2, 2), figsize=(11, 8.6))
        alphas, thresholds, dimensions = (
            sorted({row[name] for row in rows}) for name in ("alpha", "threshold", "dimension")
        )
        shades = dict(zip(alphas, plt.get_cmap("viridis")(np.linspace(0.9, 0.1, len(alphas))), strict=True))
        _growth(axes[0, 0], rows, shades, thresholds[1])
        _slopes(axes[0, 1], slopes, thresholds)
        _heat(axes[1, 0], rows, alphas, thresholds, dimensions[-1])
        _corrected(axes[1, 1], recalls, dimensions[-1])
    return axes


def _growth(axis: Any, rows: Rows, shades: dict[float, Any], threshold: float) -> None:
    for alpha, shade in shades.items():
        mine = [row for row in rows if (row["alpha"], row["threshold"]) == (alpha, threshold)]
        d = [row["dimension"] for row in mine]
        draw_intervals(axis, d, mine, "capacity", fmt="o-", ms=4, color=shade, label=f"θ = {alpha:g}")
        axis.plot(d, [row["union_bound"] for row in mine], ":", color=shade, lw=1.2)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(d)
    axis.set_xlabel("units d")
    axis.set_ylabel("capacity, patterns (dotted: union bound)")
    axis.set_title(f"a) capacity at {100 * threshold:g} % Hamming error", loc="left")
    axis.legend(fontsize="small")


def _slopes(axis: Any, slopes: Rows, thresholds: Sequence[float]) -> None:
    fine = np.linspace(0.25, 0.85, 25)
    axis.plot(fine, [theory.channel_rate(float(alpha)) for alpha in fine], "k--", lw=1.2, label="channel capacity C(θ)")
    for threshold, colour in zip(thresholds, ("#083d7f", "#3f8fc6", "#a8cbe4"), strict=True):
        mine = [row for row in slopes if row["threshold"] == threshold]
        alphas, label = [row["alpha"] for row in mine], f"{100 * threshold:g} % tolerated"
        draw_intervals(axis, alphas, mine, "slope", fmt="o-", ms=4, color=colour, label=label)
    axis.set_xlabel("signal level θ of the cues")
    axis.set_ylabel("growth of log capacity with d")
    axis.set_title("b) slopes, and the bound of every memory", loc="left")
    axis.legend(fontsize="small")


def _heat(axis: Any, rows: Rows, alphas: Sequence[float], thresholds: Sequence[float], d: int) -> None:
    by = {(row["alpha"], row["threshold"]): row for row in rows if row["dimension"] == d}
    held = np.array([[by[alpha, threshold]["capacity"] for alpha in alphas] for threshold in thresholds])
    scale = LogNorm(held.min(), held.max())
    axis.imshow(held, norm=scale, cmap="viridis", origin="lower", aspect="auto")
    for (i, j), number in np.ndenumerate(held):
        text = f"{'≥ ' * by[alphas[j], thresholds[i]]['beyond']}{number:.{0 if number >= 100 else 1}f}"
        shade = "white" if scale(number) < 0.6 else "black"
        axis.annotate(text, (j, i), ha="center", va="center", color=shade)
    axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.set_yticks(range(len(thresholds)), [f"{100 * threshold:g} %" for threshold in thresholds])
    axis.set_xlabel("signal level θ of the cues")
    axis.set_ylabel("tolerated Hamming error")
    axis.set_title(f"c) capacity of {d} units", loc="left")


def _corrected(axis: Any, recalls: Rows, d: int) -> None:
    counts = sorted({row["n_patterns"] for row in recalls})
    for count, colour in zip(counts, ("#a8cbe4", "#3f8fc6", "#083d7f"), strict=True):
        mine = [row for row in recalls if (row["n_patterns"], row["dimension"]) == (count, d)]
        gain = [100 * (row["cue_error"] - row["hamming_mean"]) for row in mine]
        axis.plot([row["alpha"] for row in mine], gain, "o-", ms=4, color=colour, label=f"{count} patterns")
    axis.plot([r["alpha"] for r in mine], [100 * r["cue_error"] for r in mine], "k:", lw=1.2, label="wrong in the cue")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("signal level θ of the cues")
    axis.set_ylabel("units, %")
    axis.set_title(f"d) units that recall corrects, d = {d}", loc="left")
    axis.legend(fontsize="small")

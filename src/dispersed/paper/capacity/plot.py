"""Capacity over dimensions, and the errors behind it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from dispersed.paper.panels import Panels, legend_below, panels
from dispersed.paper.style import COLOURS, house_style

Row = Mapping[str, Any]
Theories = Mapping[str, Mapping[str, Callable[[np.ndarray], np.ndarray]]]

OVERLAID: dict[str, tuple[float, Any]] = {"diffusion": (3.2, "-"), "modern_hopfield": (1.6, (0, (4, 3)))}
"""Width and dashes of the lines of methods that do almost the same."""


def plot_figure3(
    rows: Sequence[Row],
    errors: Sequence[Row],
    labels: Mapping[str, str],
    theories: Theories,
    ax: Panels | None = None,
) -> Panels:
    """Fig. 3, two panels over dimensions: a) median error of exact diffusion; b) capacity of every method."""
    with house_style():
        axes = left, right = panels(ax, (2,), figsize=(11, 5.2), width_ratios=(2, 3))
        counts = sorted({row["n_patterns"] for row in errors})
        shades = plt.get_cmap("Blues")(np.linspace(0.35, 1, len(counts)))
        for count, shade in zip(counts, shades, strict=True):
            cells = [row for row in errors if row["n_patterns"] == count]
            x = [row["dimension"] for row in cells]
            left.plot(x, [row["hamming_median"] for row in cells], ".-", color=shade, label=f"N = {count}")
        left.axhline(0.03, color="0.5", lw=0.8, ls=":")
        left.annotate("3 %", (1, 0.03), xycoords=("axes fraction", "data"), color="0.4", ha="right", va="bottom")
        left.set_xlabel("units d")
        left.set_ylabel("median Hamming error of exact diffusion")
        left.set_title("a) error with N patterns stored (α = 0.68)", loc="left")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.legend(title="stored patterns")
        draw_capacities(right, rows, labels, theories)
        right.set_title("b) capacity at 3 % mean Hamming error (α = 0.68)", loc="left")
        legend_below(axes, ax, right.get_legend_handles_labels(), columns=3)
    return axes


def plot_capacity(
    rows: Sequence[Row],
    errors: Sequence[Row],
    labels: Mapping[str, str],
    theories: Theories,
    of: str,
    threshold: float,
    ax: Panels | None = None,
) -> Panels:
    """Two panels: the error `of` over N where it crosses the threshold, and capacity over dimensions."""
    with house_style():
        axes = left, right = panels(ax, (2,), figsize=(11, 5.2), width_ratios=(2, 3))
        dimensions = sorted({row["dimension"] for row in errors})
        styles = dict(zip(dimensions, np.linspace(0.3, 1, len(dimensions)), strict=True))
        for method, d in sorted({(row["method"], row["dimension"]) for row in errors}):
            cells = [row for row in errors if (row["method"], row["dimension"]) == (method, d)]
            x, y = [row["n_patterns"] for row in cells], [row[of] for row in cells]
            left.plot(x, y, ".-", color=COLOURS.get(method, "#444444"), alpha=styles[d], lw=1)
            left.annotate(f"{d}", (x[-1], y[-1]), fontsize=7, xytext=(2, 0), textcoords="offset points")
        left.axhline(threshold, color="0.5", lw=0.8, ls=":")
        left.set_xscale("log", base=2)
        left.xaxis.set_major_formatter("{x:g}")
        left.set_xlabel("stored patterns N (numbers: units d)")
        left.set_ylabel(of.replace("_", " error, ").replace("pattern", "whole-pattern").replace("hamming", "Hamming"))
        left.set_title("a) error", loc="left")
        draw_capacities(right, rows, labels, theories)
        right.set_title("b) capacity", loc="left")
        legend_below(axes, ax, right.get_legend_handles_labels(), columns=3)
    return axes


def draw_capacities(axis: Axes, rows: Sequence[Row], labels: Mapping[str, str], theories: Theories) -> None:
    """Smoothed capacities with 95 % bands, unsmoothed estimates as points, theory dotted, learned as dots."""
    for method in dict.fromkeys(row["method"] for row in rows):
        found = sorted((row for row in rows if row["method"] == method), key=lambda row: row["dimension"])
        colour = COLOURS.get(method, "#444444")
        x = np.array([row["dimension"] for row in found])
        raw = np.array([row["capacity"] for row in found])
        below, above = (np.array([row[end] for row in found]) for end in ("ci_low", "ci_high"))
        label = labels.get(method, method)
        if method == "learned":
            spread = [raw - below, above - raw]
            axis.errorbar(x, raw, spread, fmt="o", ms=6, capsize=3, color=colour, label=label, zorder=5)
            continue
        low, middle, high = (
            np.array([row[field] for row in found]) for field in ("smoothed_low", "smoothed", "smoothed_high")
        )
        axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        # Where two methods agree, the lower line must show beneath the upper one.
        thick, dashes = OVERLAID.get(method, (1.6, "-"))
        axis.plot(x, middle, color=colour, lw=thick, ls=dashes, label=label)
        axis.plot(x, raw, "o", ms=3, color=colour, alpha=0.6)
        fine = np.linspace(x.min(), x.max(), x.max() - x.min() + 1)
        for (name, theory), dashes in zip(theories.get(method, {}).items(), (":", "-."), strict=False):
            axis.plot(fine, theory(fine), dashes, lw=1.2, color=colour, label=f"theory: {name}")
    axis.set_yscale("log")
    axis.set_ylim(bottom=max(0.2, axis.get_ylim()[0]))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("units d")
    axis.set_ylabel("capacity, patterns\n(line: smoothed, band: 95 %, points: unsmoothed)")

"""Capacity over dimensions, and the errors behind it."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

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
    alpha: float = 0.68,
    threshold: float = 0.03,
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
        left.axhline(threshold, color="0.5", lw=0.8, ls=":")
        left.annotate(
            f"{100 * threshold:g} %",
            (1, threshold),
            xycoords=("axes fraction", "data"),
            color="0.4",
            ha="right",
            va="bottom",
        )
        left.set_xlabel("units d")
        left.set_ylabel("median Hamming error of exact diffusion")
        left.set_title(f"a) error with N patterns stored (α = {alpha:g})", loc="left")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.legend(title="stored patterns")
        draw_capacities(right, rows, labels, theories)
        right.set_title(f"b) capacity at {100 * threshold:g} % mean Hamming error (α = {alpha:g})", loc="left")
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
        colours = _colours(errors)
        axes = left, right = panels(ax, (2,), figsize=(11, 5.2), width_ratios=(2, 3))
        dimensions = sorted({row["dimension"] for row in errors})
        styles = dict(zip(dimensions, np.linspace(1, 0.3, len(dimensions))[::-1], strict=True))
        for method, d in sorted({(row["method"], row["dimension"]) for row in errors}):
            cells = [row for row in errors if (row["method"], row["dimension"]) == (method, d)]
            x, y = [row["n_patterns"] for row in cells], [row[of] for row in cells]
            left.plot(x, y, ".-", color=colours[method], alpha=styles[d], lw=1)
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


def plot_capacity_map(rows: Sequence[Row], labels: Mapping[str, str], ax: Panels | None = None) -> Panels:
    """Heat maps of capacity over signal level and threshold: a row of panels for each method, a column for each d."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    dimensions = sorted({row["dimension"] for row in rows})
    alphas, thresholds = (sorted({row[name] for row in rows}) for name in ("alpha", "threshold"))
    values = {(r["method"], r["dimension"], r["alpha"], r["threshold"]): r for r in rows}
    found = [row["capacity"] for row in rows]
    scale = LogNorm(max(min(found), 0.1), max(*found, 0.2))
    with house_style():
        size = (
            1.6 + max(2.2, 0.75 * len(alphas)) * len(dimensions),
            1.1 + (max(1.6, 0.9 + 0.4 * len(thresholds))) * len(methods),
        )
        axes = panels(ax, (len(methods), len(dimensions)), figsize=size)
        for at, axis in np.ndenumerate(axes):
            method, d = methods[at[0]], dimensions[at[1]]
            cells = [[values[method, d, a, t] for a in alphas] for t in thresholds]
            numbers = np.array([[cell["capacity"] for cell in line] for line in cells])
            image = axis.imshow(np.maximum(numbers, 0.1), norm=scale, cmap="viridis", origin="lower", aspect="auto")
            for (i, j), number in np.ndenumerate(numbers):
                text = f"{'≥ ' * cells[i][j]['beyond']}{number:.{0 if number >= 100 else 1}f}"
                shade = "white" if scale(number) < 0.6 else "black"
                axis.annotate(text, (j, i), ha="center", va="center", color=shade, fontsize=8)
            axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
            axis.set_yticks(range(len(thresholds)), [f"{threshold:g}" for threshold in thresholds])
            if at[0] == 0:
                axis.set_title(f"d = {d}")
            if at[0] == len(methods) - 1:
                axis.set_xlabel("signal level α")
            if at[1] == 0:
                name = textwrap.fill(labels.get(method, method), 20)
                axis.set_ylabel(f"{name}\n\ntolerated error" if len(methods) > 1 else "tolerated error", fontsize=9)
        if len(methods) == 1:
            axes.flat[0].figure.suptitle(labels.get(methods[0], methods[0]))
        bar = axes.flat[0].figure.colorbar(image, ax=axes.ravel().tolist(), label="capacity, patterns")
        bar.locator, bar.formatter = LogLocator(subs=(1, 3)), StrMethodFormatter("{x:g}")
        bar.minorticks_off()
        bar.update_ticks()
    return axes


def _colours(rows: Sequence[Row]) -> dict[str, Any]:
    """The colour of each method in every figure; those that have none get others than each other's."""
    methods = sorted({row["method"] for row in rows})
    others = cycle([plt.get_cmap("tab20b")(shade) for first in (0, 2, 1, 3) for shade in range(first, 20, 4)])
    return {method: COLOURS[method] if method in COLOURS else next(others) for method in methods}


def draw_capacities(axis: Axes, rows: Sequence[Row], labels: Mapping[str, str], theories: Theories) -> None:
    """Smoothed capacities with 95 % bands, unsmoothed estimates as points, theory dotted, learned as dots."""
    colours = _colours(rows)
    for method in dict.fromkeys(row["method"] for row in rows):
        found = sorted((row for row in rows if row["method"] == method), key=lambda row: row["dimension"])
        colour = colours[method]
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
        if len(x) > 1:
            axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        else:  # a band over one dimension has no width
            axis.errorbar(x, raw, [raw - below, above - raw], fmt="none", capsize=3, color=colour)
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
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_xlabel("units d")
    several = len({row["dimension"] for row in rows}) > 1
    marks = "line: smoothed, band: 95 %, points: unsmoothed" if several else "bars: 95 %"
    axis.set_ylabel(f"capacity, patterns\n({marks})")

"""Regimes seen at a glance: curves over the noise level, with speciation and collapse marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dispersed.paper.panels import Panels, noise_axis, panels
from dispersed.paper.regimes.measure import DIMENSIONS
from dispersed.paper.style import house_style

BLUES = ("#a8cbe4", "#3f8fc6", "#083d7f")
PROBABILITIES = {
    "certainty": ("certainty W$_σ$", "#1f6fb4"),
    "covered": ("held-out states covered, C$_σ$", "#e39a1c"),
    "cloning": ("same pattern twice", "#2a9d5c"),
    "cloning_of_classes": ("same class twice, φ(σ)", "#7b5ea7"),
}
NUMBERS = {
    "effective_patterns": ("effective number of patterns", "#0d7f8c"),
    "local_dimension": ("local dimension", "#c8422f"),
    "attractors": ("attractors reached from 32 cues", "0.35"),
}


def plot_regimes(rows: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Two panels of one data set over σ: probabilities, and numbers of patterns, directions and attractors.

    Rows have the columns of `Regimes.rows()`, and `speciation` and `collapse` with their intervals.
    """
    with house_style():
        axes = panels(ax, (2,), figsize=(10.4, 4.6), sharex=True)
        _draw(axes, rows)
        for axis, title in zip(axes, ("probabilities", "numbers"), strict=True):
            axis.set_title(title)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return axes


def plot_regimes_beside_theory(
    mixtures: Sequence[dict[str, Any]],
    curves: Sequence[dict[str, Any]],
    digits: Sequence[dict[str, Any]],
    ax: Panels | None = None,
) -> Panels:
    """Four panels: cloning and log odds of mixtures beside theory; probabilities and numbers of digits."""
    with house_style():
        axes = panels(ax, (2, 2), figsize=(10.8, 8.4))
        for d, colour in zip(DIMENSIONS, BLUES, strict=True):
            mine = [row for row in curves if row["dimension"] == d]
            sigma = [row["sigma"] for row in mine]
            _curve(axes[0, 0], mine, "cloning_of_classes", f"d = {d}", colour)
            _curve(axes[0, 1], mine, "log_odds", f"d = {d}", colour)
            found = next(row for row in mixtures if row["dimension"] == d)
            axes[0, 1].plot(found["collapse_expected"], 0, "D", color=colour, markersize=7, markeredgecolor="black")
        axes[0, 0].plot(sigma, [row["cloning_of_classes_expected"] for row in mine], "k--", linewidth=1, label="theory")
        axes[0, 0].axvline(mixtures[0]["speciation_expected"], color="0.6", linewidth=0.8)
        axes[0, 0].annotate(
            "speciation", (mixtures[0]["speciation_expected"], 0.52), rotation=90, fontsize=8, color="0.4", ha="right"
        )
        axes[0, 0].set_title("a) two Gaussian classes: same class twice, φ(σ)")
        axes[0, 1].axhline(0, color="0.6", linewidth=0.8)
        axes[0, 1].set_ylim(-9, 12)
        axes[0, 1].set_title("b) log odds of the true pattern (◆ collapse by theory)")
        axes[0, 0].legend(fontsize="small")
        _draw(axes[1], digits)
        axes[1, 0].set_title("c) digits: probabilities")
        axes[1, 1].set_title("d) digits: numbers")
        axes[1, 0].legend(fontsize="small", loc="upper right", bbox_to_anchor=(1, 0.85))
        axes[1, 1].legend(fontsize="small")
        for axis in axes[0]:
            noise_axis(axis)
    return axes


def _draw(axes: Panels, rows: Sequence[dict[str, Any]]) -> None:
    for axis, curves in zip(axes, (PROBABILITIES, NUMBERS), strict=True):
        for name, (label, colour) in curves.items():
            if rows[0].get(name) is not None:
                _curve(axis, rows, name, label, colour)
        for name, colour in (("speciation", "#7b5ea7"), ("collapse", "#2a9d5c")):
            low, value, high = (rows[0][f"{name}{end}"] for end in ("_low", "", "_high"))
            if value is not None:
                axis.axvline(value, color=colour, linewidth=1, linestyle=":")
                axis.axvspan(low, high, color=colour, alpha=0.12, linewidth=0)
                beside: Any = {"xytext": (-2, 0), "textcoords": "offset points", "rotation": 90, "ha": "right"}
                where: Any = {"xycoords": ("data", "axes fraction"), "fontsize": 8, "color": colour}
                axis.annotate(name, (value, 0.02), **beside, **where)
        noise_axis(axis)
    axes[0].set_ylim(-0.02, 1.04)
    axes[1].set_yscale("log")
    axes[1].set_ylim(0.5, None)


def _curve(axis: Axes, rows: Sequence[dict[str, Any]], name: str, label: str, colour: str) -> None:
    sigma = np.array([row["sigma"] for row in rows], float)
    axis.plot(sigma, [row[name] for row in rows], color=colour, label=label)
    if f"{name}_low" in rows[0]:
        low, high = (np.array([row[f"{name}_{end}"] for row in rows], float) for end in ("low", "high"))
        axis.fill_between(sigma, low, high, color=colour, alpha=0.2, linewidth=0)

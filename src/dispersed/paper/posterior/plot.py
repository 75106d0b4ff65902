"""Probabilistic recall as a picture: the recalled distribution, its distance by steps, its calibration."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dispersed.paper.panels import Panels, draw_intervals, legend_below, panels
from dispersed.paper.posterior.measure import ALPHA, DECLARED, METHODS
from dispersed.paper.style import house_style

COLOURS = {"sde_ve": "#7b5ea7", "sde_vp": "#c06fb0", "ancestral": "#56b4e9", "ancestral_2": "#1f6fb4"}


def plot_posterior(rows: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Three panels: one cue's posterior and its recalls; the bias of each solver by steps; reliability over cues."""
    with house_style():
        axes = cue, steps, curve = panels(ax, (3,), figsize=(12.5, 4.6))
        _draw_cue(cue, [row for row in rows if row["part"] == "recall"])
        _draw_steps(steps, [row for row in rows if row["part"] == "steps"])
        _draw_calibration(curve, [row for row in rows if row["part"] == "calibration"])
        legend_below(axes, ax, cue.get_legend_handles_labels(), columns=3)
    return axes


def _draw_cue(axis: Axes, rows: list[dict[str, Any]]) -> None:
    for position, method in enumerate(METHODS):
        cells = [row for row in rows if row["method"] == method]
        order = np.argsort([-row["exact"] for row in cells])
        ranked = [cells[j] for j in order]
        if position == 0:
            axis.bar(
                range(len(ranked)), [r["exact"] for r in ranked], 0.8, color="#dddddd", label="exact p(j | x), Eq. 29"
            )
            axis.set_xticks(range(len(ranked)), [_name(r) for r in ranked])
        x = np.arange(len(ranked)) + 0.17 * (position - 1.5)
        style = {"fmt": "o", "markersize": 3, "color": COLOURS[method], "label": METHODS[method]}
        draw_intervals(axis, x, ranked, "frequency", **style)
    axis.set_title(f"one cue (α = {ALPHA}), {rows[0]['samples']} recalls of {rows[0]['steps']} steps")
    axis.set_xlabel("stored pattern j")
    axis.set_ylabel("fraction of recalls, with 95 % intervals")


def _name(row: dict[str, Any]) -> str:
    """A pattern of which an equal one comes earlier counts with that one."""
    return str(row["pattern"]) if row["exact"] > 0 else f"{row['pattern']}\n(twin)"


def _draw_steps(axis: Axes, rows: list[dict[str, Any]]) -> None:
    for method in METHODS:
        cells = [row for row in rows if row["method"] == method]
        at = np.array([row["steps"] for row in cells])
        bias = np.array([row["bias"] for row in cells])
        axis.errorbar(
            at, bias, [1.96 * row["error"] for row in cells], fmt="o-", markersize=4, capsize=2, color=COLOURS[method]
        )
        axis.plot(at, bias[0] * (at / at[0]) ** -float(DECLARED[method]), ":", linewidth=1, color=COLOURS[method])
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", nonpositive="clip")
    ticks = sorted({row["steps"] for row in rows})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_ylim(5e-4, 0.06)
    axis.set_title("bias of the solver (dotted: its weak order, 1 or 2)")
    axis.set_xlabel("steps")
    axis.set_ylabel("total variation to the exact posterior\nwithout its sampling error")


def _draw_calibration(axis: Axes, rows: list[dict[str, Any]]) -> None:
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for method, colour, label in (("exact", "#555555", "exact p(j | x)"), ("recalled", "#1f6fb4", "400 recalls a cue")):
        cells = [row for row in rows if row["method"] == method]
        x = [row["stated"] for row in cells]
        draw_intervals(axis, x, cells, "observed", fmt="o", markersize=4, color=colour, label=label)
    axis.set_title(f"calibration over {rows[0]['cues']} cues")
    axis.set_xlabel("stated probability of a memory")
    axis.set_ylabel("fraction of which it is the truth")
    axis.legend(loc="upper left")

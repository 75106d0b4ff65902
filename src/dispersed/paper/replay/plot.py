"""Consolidation as a picture: drift and feedback, forgetting, the core that is left, networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from dispersed.paper.panels import Panels, draw_intervals, draw_strips, panels
from dispersed.paper.replay.measure import EVENTS, KINDS, NETWORKS
from dispersed.paper.style import house_style

COLOURS = {"neutral": "#555555", "novelty": "#c8422f", "sharp": "#1f6fb4"}
NETWORK_COLOURS = {"drift": "#555555", "interleaved": "#2a9d5c", "novelty": "#c8422f"}
FRACTIONS = {"0": "#c8422f", "0.5": "#e0a030", "0.9": "#2a9d5c"}


def plot_replay(rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray], ax: Panels | None = None) -> Panels:
    """2 × 3 panels: one history, diversity, forgetting; the core's error, its reconstructions, networks."""
    with house_style():
        axes = panels(ax, (2, 3), figsize=(13.2, 8))
        _draw_history(axes[0, 0], pictures)
        _draw_diversity(axes[0, 1], rows)
        _draw_forgetting(axes[0, 2], rows)
        _draw_core(axes[1, 0], [row for row in rows if row["part"] == "core"])
        _draw_traces(axes[1, 1], pictures)
        _draw_networks(axes[1, 2], rows)
    return axes


def _curve(axis: Axes, cells: list[dict[str, Any]], colour: str, label: str) -> None:
    x = [row["generation"] for row in cells]
    draw_intervals(axis, x, cells, "value", fmt="o", markersize=4, color=colour, label=label)
    known = [(row["generation"], row["expected"]) for row in cells if row["expected"] is not None]
    if known:
        axis.plot(*zip(*known, strict=True), "--", linewidth=1, color=colour)


def _draw_history(axis: Axes, pictures: Mapping[str, np.ndarray]) -> None:
    weights = pictures["weights, neutral"][:101]
    shades = plt.get_cmap("tab10")(np.arange(EVENTS))
    axis.stackplot(np.arange(len(weights)), weights.T, colors=shades)
    axis.set_xlim(0, len(weights) - 1)
    axis.set_ylim(0, 1)
    axis.set_title("one history of neutral replay, N = 8 events")
    axis.set_xlabel("generation of training on its own replays")
    axis.set_ylabel("weights of the events, w")


def _draw_diversity(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for kind, label in KINDS.items():
        cells = [row for row in rows if (row["part"], row["kind"]) == ("diversity", kind)]
        _curve(axis, cells, COLOURS[kind], label)
    axis.set_title("diversity (dashed: theory of drift)")
    axis.set_xlabel("generation")
    axis.set_ylabel("1 − Σ w², mean and 95 % interval")
    axis.legend()


def _draw_forgetting(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for fraction, colour in FRACTIONS.items():
        cells = [row for row in rows if (row["part"], row["kind"]) == ("forgetting", fraction)]
        label = "focused: new events only" if fraction == "0" else f"interleaved: {float(fraction):.0%} replay"
        _curve(axis, cells, colour, label)
    axis.set_title("forgetting the first event (dashed: theory, ρᵍ)")
    axis.set_xlabel("events experienced since, g")
    axis.set_ylabel("probability of the first event, mean and 95 % interval")
    axis.legend()


def _draw_core(axis: Axes, rows: list[dict[str, Any]]) -> None:
    x = [row["generation"] for row in rows]
    for part, colour, label in (("core", "#1f6fb4", "core (upper half)"), ("rest", "#c8422f", "rest (from semantics)")):
        axis.plot(x, [row[f"{part}_rms"] for row in rows], "o-", color=colour, markersize=4, label=f"{label}, error")
        axis.plot(
            x, [row[f"{part}_spread"] for row in rows], "s:", color=colour, markersize=4, label=f"{label}, spread"
        )
    axis.set_yscale("log")
    axis.set_title("partial replay, mean of eight digits")
    axis.set_xlabel("generation")
    axis.set_ylabel("per unit, grey values in [−1, 1]")
    axis.set_ylim(0.03, 2)
    axis.legend(fontsize=8, ncols=2, loc="upper center")


def _draw_traces(axis: Axes, pictures: Mapping[str, np.ndarray]) -> None:
    draw_strips(axis, [np.stack([pictures["event"], *pictures["traces"][:2]]), pictures["traces"][2:5]])
    axis.add_patch(Rectangle((-0.5, -0.5), 8, 8, fill=False, edgecolor="#1f6fb4", linewidth=2))
    axis.set_title("a 5 (framed) and what its upper half became")
    axis.axis("off")


def _draw_networks(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for kind, label in NETWORKS.items():
        cells = [row for row in rows if (row["part"], row["kind"]) == ("network", kind)]
        _curve(axis, cells, NETWORK_COLOURS[kind], label)
    axis.set_ylim(0, 1)
    axis.set_title("score networks on their own replays (dashed: drift)")
    axis.set_xlabel("generation")
    axis.set_ylabel("diversity 1 − Σ w², mean and 95 % interval")
    axis.legend(loc="lower left")

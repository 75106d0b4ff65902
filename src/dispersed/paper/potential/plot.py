"""The theorem of Sec. 3.2 as a picture: energies that converge, how fast, and noise that bends in two dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from dispersed.paper.panels import Panels, legend_below, panels
from dispersed.paper.potential.measure import COMPARED, LABELS, PATTERNS, RANGE
from dispersed.paper.style import house_style

COLOURS = {
    "double_well": "#1f6fb4",
    "quartic": "#c8422f",
    "ornstein_uhlenbeck": "#2a9d5c",
    "double_well_sigma_t": "#7b5ea7",
}
STYLES = {"eq21": ("o", "-"), "eq21_weighted": ("s", "--")}


def plot_potential(
    rows: Sequence[dict[str, Any]], pictures: Mapping[str, np.ndarray], ax: Panels | None = None
) -> Panels:
    """Three panels: energies of the quartic by time; differences from Eq. 21 by time; paths over their density."""
    with house_style():
        axes = energies, rates, plane = panels(ax, (3,), figsize=(13.2, 4.9), width_ratios=(1, 1.1, 0.95))
        _draw_energies(energies, pictures)
        _draw_rates(rates, rows)
        _draw_plane(plane, pictures, next(row for row in rows if row["part"] == "paths"))
        legend_below(axes, ax, rates.get_legend_handles_labels(), columns=3)
    return axes


def _draw_energies(axis: Axes, pictures: Mapping[str, np.ndarray]) -> None:
    name = "quartic"
    times = sorted((float(key.split(", ")[1]) for key in pictures if key.startswith(f"{name}, ")), reverse=True)
    shades = plt.get_cmap("Reds")(np.linspace(0.35, 0.95, len(times)))
    for t, shade in zip(times, shades, strict=True):
        energy = pictures[f"{name}, {t}"]
        axis.plot(RANGE, energy - energy.min(), color=shade, linewidth=1.3, label=f"t = {t:g}")
    limit = ((RANGE - PATTERNS) ** 2).min(axis=0) / 2
    axis.plot(RANGE, limit, "--", color="black", linewidth=1, label="limit, ½ min‖x − y‖²")
    axis.plot(PATTERNS[:, 0], np.full(len(PATTERNS), -0.015), "^", color="black", markersize=6, clip_on=False)
    axis.set_title(f"t·u(x, t) of Eq. 18, {LABELS[name]}")
    axis.set_xlabel("state x (▲ stored patterns)")
    axis.set_ylabel("t·u, least value set to 0")
    axis.set_ylim(-0.025, 0.37)
    axis.legend(loc="upper center", fontsize=8, ncols=2)


def _draw_rates(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for compared, (marker, line) in STYLES.items():
        for name, colour in COLOURS.items():
            cells = [
                r for r in rows if r["part"] == "difference" and (r["potential"], r["compared"]) == (name, compared)
            ]
            rate = [
                row["exponent"]
                for row in rows
                if row["part"] == "rate" and (row["potential"], row["compared"]) == (name, compared)
            ]
            label = f"{LABELS[name]}: t^{rate[0]:.2f}" if rate else None
            axis.plot(
                [cell["t"] for cell in cells],
                [cell["difference"] for cell in cells],
                marker + line,
                color=colour,
                markersize=4,
                linewidth=1.2,
                label=label,
            )
    axis.plot([], [], "o-", color="#777777", label=f"compared with {COMPARED['eq21']}")
    axis.plot([], [], "s--", color="#777777", label=f"compared with {COMPARED['eq21_weighted']}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    times = sorted({row["t"] for row in rows if row["part"] == "difference"})
    axis.set_xticks(times, [f"{t:g}" for t in times])
    axis.minorticks_off()
    axis.set_title("largest difference of t·u from Eq. 21")
    axis.set_xlabel("time t of noise injection (T − t of the paper)")
    axis.set_ylabel("difference, up to a constant")


def _draw_plane(axis: Axes, pictures: Mapping[str, np.ndarray], row: dict[str, Any]) -> None:
    image = axis.imshow(
        pictures["density"].T, origin="lower", extent=(-3, 3, -3, 3), cmap="Blues", interpolation="nearest"
    )
    axis.plot(*pictures["ends"].T, ".", color="#c8422f", markersize=1.2, alpha=0.6, label="ends of simulated paths")
    axis.plot(0.3, -0.2, "^", color="black", markersize=6, label="stored pattern")
    axis.set_title(f"two dimensions, t = {row['t']}: χ² test p = {row['p_value']:.2f}")
    axis.set_xlabel("x₁")
    axis.set_ylabel("x₂")
    axis.set_xlim(-2.2, 2.2)
    axis.set_ylim(-2.2, 2.2)
    axis.legend(loc="upper right", fontsize=8, markerscale=2)
    axis.figure.colorbar(image, ax=axis, label="Fokker–Planck density k(x, t; y)", shrink=0.85)

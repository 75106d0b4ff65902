"""From memorisation to generalisation as a picture: fractions, times, the two halves, errors, and generated digits."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from dispersed.paper.memorisation.measure import Fit, fitted, last
from dispersed.paper.panels import Panels, draw_strips, panels
from dispersed.paper.results import Row
from dispersed.paper.style import COLOURS, house_style

KINDS = {"memorised": "#1f6fb4", "spurious": "#c8422f", "generalised": "#2a9d5c"}
MEMORIES = {"network": ("o-", "learned"), "exact": ("s--", "diffusion"), "local": ("^:", "modern_hopfield")}
NAMES = {"network": "networks", "exact": "exact memory", "local": "local memory, 5 × 5"}


def plot_memorisation(
    rows: Sequence[Row], halves: Sequence[Row], pictures: Mapping[str, np.ndarray], ax: Panels | None = None
) -> Panels:
    """Six panels."""
    with house_style():
        axes = panels(ax, (2, 3), figsize=(13, 7.6))
        _fractions(axes[0, 0], rows)
        _course(axes[0, 1], rows)
        _times(axes[0, 2], halves)
        _apart(axes[1, 0], halves)
        _errors(axes[1, 1], rows)
        _pictures(axes[1, 2], pictures, sorted({row["n"] for row in rows}))
    return axes


def _mean(rows: Sequence[Row], name: str) -> tuple[list[int], list[float]]:
    """A column by n, the mean over the halves."""
    sizes = sorted({row["n"] for row in rows})
    return sizes, [float(np.mean([row[name] for row in rows if row["n"] == n])) for n in sizes]


def _fractions(axis: Axes, rows: Sequence[Row]) -> None:
    for name, colour in KINDS.items():
        for memory, style in (("network", "o-"), ("local", "^:")):
            label = name if memory == "network" else f"{name}, local memory"
            axis.plot(*_mean(last(rows, memory), name), style, color=colour, ms=4, label=label)
    axis.set_title("what is generated after the longest training")
    axis.set_ylabel("fraction of samples")
    axis.set_ylim(-0.03, 1.4)
    _by_number(axis, [row["n"] for row in rows])
    axis.legend(fontsize=7, ncols=2, loc="upper center")


def _course(axis: Axes, rows: Sequence[Row]) -> None:
    own = [row for row in rows if row["memory"] == "network"]
    sizes = sorted({row["n"] for row in own})
    for n, colour in zip(sizes, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(sizes))), strict=True):
        lengths = sorted({row["steps"] for row in own})
        values = [np.mean([row["memorised"] for row in own if (row["n"], row["steps"]) == (n, k)]) for k in lengths]
        axis.plot(lengths, values, "o-", ms=3, color=colour, label=f"n = {n}")
    axis.axhline(0.5, color="0.7", lw=0.8)
    axis.set_xscale("log")
    axis.set_xlabel("training steps")
    axis.set_ylabel("fraction memorised")
    axis.set_ylim(-0.03, 1.4)
    axis.set_title("memorisation comes with time")
    axis.legend(fontsize=7, ncols=4, loc="upper center")


def _times(axis: Axes, halves: Sequence[Row]) -> None:
    fit: Fit = fitted(halves)
    axis.plot(fit.n, fit.times, "o", color=COLOURS["learned"], ms=4, label="each network")
    _by_number(axis, fit.n)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    if fit.exponent is not None:
        n = np.array([min(fit.n), max(fit.n)], float)
        middle, height = np.exp(np.mean(np.log(fit.n))), np.exp(np.mean(np.log(fit.times)))
        label = f"n$^k$, k = {fit.exponent:.2f} [{fit.low:.2f}, {fit.high:.2f}]"
        axis.plot(n, height * (n / middle) ** fit.exponent, "-", color=COLOURS["learned"], label=label)
        axis.plot(n, height * (n / middle), "--", color=COLOURS["diffusion"], label="theory: n")
    axis.set_ylabel("training steps")
    axis.set_title("time until half is memorised")
    axis.legend(fontsize=8)


def _apart(axis: Axes, halves: Sequence[Row]) -> None:
    for memory, (style, colour) in MEMORIES.items():
        own = [row for row in halves if row["memory"] == memory]
        axis.plot(*_mean(own, "apart"), style, color=COLOURS[colour], ms=4, label=NAMES[memory])
    axis.set_ylim(bottom=0)
    axis.set_title("two halves of the data, the same noise")
    axis.set_ylabel("distance of samples per pixel")
    _by_number(axis, [row["n"] for row in halves])
    axis.legend(fontsize=8)


def _errors(axis: Axes, rows: Sequence[Row]) -> None:
    own = last(rows, "network")
    for name, style, label in (("error", "o-", "training digits"), ("held_out", "s--", "held-out digits")):
        axis.plot(*_mean(own, name), style, color=COLOURS["learned"], ms=4, label=label)
    axis.plot(*_mean(own, "gap"), "^:", color=COLOURS["diffusion"], ms=4, label="from the exact memory")
    axis.set_title("error of the networks' denoiser")
    axis.set_ylabel("rms per pixel")
    axis.set_ylim(bottom=0)
    _by_number(axis, [row["n"] for row in own])
    axis.legend(fontsize=8)


def _pictures(axis: Axes, pictures: Mapping[str, np.ndarray], sizes: Sequence[int]) -> None:
    chosen = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    strips, labels = [], []
    for n in chosen:
        for half in (0, 1):
            strips.append(pictures[f"network, {n}, {half}"])
            labels.append(f"n = {n}, {('first', 'second')[half]} half")
    draw_strips(axis, strips, labels)
    axis.tick_params(labelsize=8)
    axis.set_title("generated by the networks from the same noise")


def _by_number(axis: Axes, sizes: Sequence[int]) -> None:
    """The numbers of patterns themselves, on a logarithmic axis."""
    axis.set_xscale("log")
    sizes = sorted(set(sizes))
    # Labels that are nearer than half an octave run into each other.
    shown = [n for n, following in zip(sizes, [*sizes[1:], np.inf], strict=True) if following > 1.6 * n]
    axis.set_xticks(shown, [str(n) for n in shown])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("training patterns n")

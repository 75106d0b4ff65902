"""Where a figure is drawn: on axes of the caller's, or on those of a new figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dispersed.validation import InputError

Panels = np.ndarray
"""An array of matplotlib `Axes`."""


def panels(ax: Axes | Sequence[Axes] | Panels | None, shape: tuple[int, ...], **figure: Any) -> Panels:
    """An array of axes of this shape: `ax`, or a new figure's; `figure` goes to `plt.subplots`.

    Raises `InputError` if `ax` has another number of axes.
    """
    if ax is None:
        rows, columns = (1, 1, *shape)[-2:]
        return np.asarray(plt.subplots(rows, columns, squeeze=False, **figure)[1]).reshape(shape)
    given = np.array(ax, dtype=object)
    if given.size != np.prod(shape, dtype=int):
        wanted = " × ".join(map(str, shape)) or "one"
        raise InputError("ax", f"got {given.size} axes", f"{wanted} axes are accepted")
    return given.reshape(shape)


def legend_below(axes: Panels, ax: object, entries: tuple[Sequence[Any], Sequence[str]], columns: int) -> None:
    """One legend for all panels: below a figure of our own, in the first panel of a caller's."""
    if ax is None:
        axes.flat[0].figure.legend(*entries, loc="outside lower center", ncols=columns)
    else:
        axes.flat[0].legend(*entries, fontsize="small")


def draw_intervals(axis: Axes, x: Any, rows: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    """The values `name` of rows, over x, with their intervals."""
    y = np.array([row[name] for row in rows])
    spread = [y - [row["ci_low"] for row in rows], [row["ci_high"] for row in rows] - y]
    axis.errorbar(x, y, np.clip(spread, 0, None), **{"capsize": 2} | style)


def noise_axis(axis: Axes) -> None:
    """Noise levels along x, logarithmic, with plain numbers."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda sigma, _: f"{sigma:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("noise level σ")


def draw_strips(axis: Axes, strips: Sequence[np.ndarray], labels: Sequence[str] | None = None) -> None:
    """Rows of square images, one label a row; grey values from −1 (white) to 1, unknown pixels in blue."""
    side = round(strips[0].shape[-1] ** 0.5)
    gap = side // 4
    most = max(len(strip) for strip in strips)
    height, width = len(strips) * (side + gap) - gap, most * (side + gap) - gap
    canvas = np.zeros((height, width, 3)) + 1.0
    for i, strip in enumerate(strips):
        for j, state in enumerate(strip):
            image = np.asarray(state, dtype=float).reshape(side, side)
            shade = np.where(np.isnan(image)[..., None], UNKNOWN, (1 - np.clip(image, -1, 1)[..., None]) / 2)
            y, x = i * (side + gap), j * (side + gap)
            canvas[y : y + side, x : x + side] = shade
            frame = Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor="0.85", linewidth=0.6)
            axis.add_patch(frame)
    axis.imshow(canvas, interpolation="nearest")
    axis.set_xticks([])
    centres = np.arange(len(strips)) * (side + gap) + (side - 1) / 2
    axis.set_yticks(centres if labels is not None else [], labels)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


UNKNOWN = np.array([0.74, 0.84, 0.93])
"""The colour of pixels that are not known."""

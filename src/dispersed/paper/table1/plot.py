"""Table 1 as a picture: ours with intervals, the published values beside them."""

from collections.abc import Sequence
from typing import Any

from dispersed.paper.panels import Panels, draw_intervals, legend_below, panels
from dispersed.paper.style import COLOURS, house_style
from dispersed.paper.table1.measure import ALPHA, BETA, METHODS, N_PATTERNS, TASKS


def plot_table1(rows: Sequence[dict[str, Any]], ax: Panels | None = None) -> Panels:
    """Correlation with the modern Hopfield network against the number of patterns: two panels, one a task."""
    with house_style():
        axes = panels(ax, (2,), figsize=(9.5, 4.2), sharey=True)
        methods = list(METHODS)
        for panel, task in zip(axes, TASKS, strict=True):
            for position, method in enumerate(methods):
                cells = [row for row in rows if (row["task"], row["method"]) == (task, method)]
                x = [N_PATTERNS.index(row["n_patterns"]) + 0.12 * (position - (len(methods) - 1) / 2) for row in cells]
                style = {"fmt": "o", "markersize": 4, "color": COLOURS[method], "label": METHODS[method]}
                draw_intervals(panel, x, cells, "correlation", **style)
                published = [(at, row["published"]) for at, row in zip(x, cells, strict=True) if row["published"]]
                if published:
                    panel.scatter(*zip(*published, strict=True), marker="_", s=160, color="black", zorder=1)
            panel.set_title(f"{task} (α = {ALPHA:g})" if task == "denoising" else f"{task} (half of the units masked)")
            panel.set_xticks(range(len(N_PATTERNS)), [str(n) for n in N_PATTERNS])
            panel.set_xlabel("stored patterns N of d = 10 units")
        axes[0].set_ylabel(f"Pearson correlation with\nmodern Hopfield output (β = {BETA:g})")
        axes[0].scatter([], [], marker="_", s=160, color="black", label="published (Ambrogioni 2023, Table 1)")
        legend_below(axes, ax, axes[0].get_legend_handles_labels(), columns=2)
    return axes

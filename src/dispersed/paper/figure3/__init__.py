"""Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispersed.paper import departures
from dispersed.paper.experiment import Experiment

if TYPE_CHECKING:
    from dispersed.paper.findings import Findings


def find(folder: Path, seed: int, quick: bool) -> Findings:
    """The rows, their picture and what they say."""
    from dispersed.capacities import CellFile
    from dispersed.paper.capacity.measure import theories
    from dispersed.paper.capacity.plot import plot_figure3
    from dispersed.paper.figure3 import measure as figure3
    from dispersed.paper.findings import Findings
    from dispersed.paper.results import output_folder

    cells = CellFile(output_folder(folder / "cells") / "figure3.jsonl")
    before = len(cells)
    exact, errors = figure3.exact_capacities(seed, quick, cells)
    agreement = figure3.euler_agreement(exact, seed)
    learned, trainings = figure3.learned_dots(exact, seed, quick, cells)
    rows = exact + learned
    methods = figure3.compared()
    labels = {**{name: method.label for name, method in methods.items()}, "learned": "learned networks"}
    curves = [row for row in errors if row["method"] == "diffusion" and row["n_patterns"] in figure3.N_PATTERNS]
    axes = plot_figure3(rows, curves, labels, theories(methods, figure3.ALPHA, figure3.THRESHOLD))
    return Findings(
        rows,
        axes,
        figure3.sentences(rows, agreement),
        {"figure3_errors": errors, "figure3_trainings": trainings, "figure3_agreement": agreement},
        f"{before} cells were kept from an earlier run, whose time is not in this one." if before else "",
    )


EXPERIMENT = Experiment(
    name="figure3",
    place="Figure 3, Sec. 7 and Supp. A",
    title="Figure 3: capacity at 3 % mean Hamming error, α = 0.68",
    about="Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions."
    "\n\nFinished cells and trainings are kept in OUT/cells/figure3.jsonl: a run that was stopped goes on "
    "where it was.",
    paper="a) Median error of exact diffusion over dimensions, one curve a number of patterns; b) capacity in "
    "log scale of exact diffusion, modern and classical Hopfield networks with 95 % bands, and of trained "
    "diffusion as dots. Exact diffusion and modern Hopfield networks are expected to hold equally many.",
    picture="a) Curves of median error fall with the number of units, later the more patterns are stored. b) "
    "On a log scale the capacities of exact diffusion and modern Hopfield networks rise as one straight line, "
    "far above the nearly flat classical ones; dots of learned networks lie near that line.",
    find=find,
    full={"quick": False},
    quick={"quick": True},
    departs=departures.figure3,
)

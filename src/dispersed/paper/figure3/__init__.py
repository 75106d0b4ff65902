"""Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(
    folder: Path, seed: int, quick: bool, alpha: float, threshold: float, dimensions: list[int] | None
) -> Findings:
    from dispersed.capacities import CellFile
    from dispersed.paper.capacity.measure import theories
    from dispersed.paper.capacity.plot import plot_figure3
    from dispersed.paper.figure3 import measure as figure3
    from dispersed.paper.figure3.claims import CLAIMS
    from dispersed.paper.results import output_folder

    cells = CellFile(output_folder(folder / "cells") / "figure3.jsonl")
    before = len(cells)
    exact, errors = figure3.exact_capacities(
        seed, quick, cells, alpha=alpha, threshold=threshold, dimensions=dimensions
    )
    agreement = figure3.euler_agreement(exact, seed, alpha=alpha)
    learned, trainings = figure3.learned_dots(exact, seed, quick, cells, alpha=alpha, threshold=threshold)
    rows = exact + learned
    methods = figure3.compared(alpha)
    labels = {**{name: method.label for name, method in methods.items()}, "learned": "learned networks"}
    curves = [row for row in errors if row["method"] == "diffusion" and row["n_patterns"] in figure3.N_PATTERNS]
    axes = plot_figure3(rows, curves, labels, theories(methods, alpha, threshold), alpha, threshold)
    return Findings(
        rows,
        axes,
        CLAIMS,
        {"figure3_errors": errors, "figure3_trainings": trainings, "figure3_agreement": agreement},
        f"{before} cells are those of an earlier run, whose time is not in this one." if before else "",
    )


SETTINGS = {"alpha": 0.68, "threshold": 0.03, "dimensions": None}
"""Those of the paper; `dimensions` are all that the mode has."""

EXPERIMENT = Experiment(
    name="figure3",
    place="Figure 3, Sec. 7 and Supp. A",
    title="Figure 3: capacity, {threshold:.3g} mean Hamming error, α = {alpha:g}",
    about="Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions."
    "\n\nFinished cells and trainings are written to OUT/cells/figure3.jsonl: a run that was stopped goes on "
    "where it was.",
    paper="a) Median error of exact diffusion over dimensions, one curve a number of patterns; b) capacity in "
    "log scale of exact diffusion, modern and classical Hopfield networks with 95 % bands, and of trained "
    "diffusion as dots. Exact diffusion and modern Hopfield networks are expected to hold equally many.",
    picture="a) Curves of median error fall with the number of units, later the more patterns are stored. b) "
    "On a log scale the capacities of exact diffusion and modern Hopfield networks rise as one straight line, "
    "far above the nearly flat classical ones; dots of learned networks lie near that line.",
    find=find,
    full={"quick": False, **SETTINGS},
    quick={"quick": True, **SETTINGS},
)

"""The paper's θ, the signal level of cues: recall and capacity over noise, tolerance and dimension, beside C(θ)."""

from pathlib import Path
from typing import Any

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, **settings: Any) -> Findings:
    from dispersed.capacities import CellFile
    from dispersed.paper.results import output_folder
    from dispersed.paper.theta.claims import CLAIMS
    from dispersed.paper.theta.measure import theta
    from dispersed.paper.theta.plot import plot_theta

    cells = CellFile(output_folder(folder / "cells") / "theta.jsonl")
    rows, slopes, recalls = theta(seed, cells=cells, **settings)
    axes = plot_theta(rows, slopes, recalls)
    return Findings(rows, axes, CLAIMS, {"theta_slopes": slopes, "theta_recall": recalls})


EXPERIMENT = Experiment(
    name="theta",
    place="Sec. 7 and Supp. A, beyond the paper",
    title="The signal level θ: capacity over noise, tolerance and dimension",
    about="Recall and capacity of exact diffusion over signal level, tolerated error and dimension, beside theory.",
    paper="The paper fixes the signal level of cues at θ = 0.68 and the tolerated error at 3 %, and leaves open what "
    "other values do.",
    picture="a) On a log scale capacity rises with the number of units, the faster the higher the signal level. b) The "
    "slopes of these lines over the signal level, for three tolerances, below the curve of the channel's capacity. c) "
    "Heat map of capacity over signal level and tolerance. d) Fraction of units that recall corrects, over the signal "
    "level: largest at middle levels, which rise with the number of patterns.",
    find=find,
    full={
        "alphas": (0.3, 0.4, 0.5, 0.6, 0.68, 0.8),
        "dimensions": (8, 10, 12, 14, 16, 18),
        "precision": 0.05,
        "sets": 100,
    },
    quick={"alphas": (0.3, 0.5, 0.68, 0.8), "dimensions": (8, 11, 14), "precision": 0.15, "sets": 30},
)

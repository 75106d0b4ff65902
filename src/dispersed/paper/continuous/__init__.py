"""Capacity for continuous patterns: exact diffusion and dot products, beside theory at every dimension."""

from pathlib import Path
from typing import Any

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, **settings: Any) -> Findings:
    from dispersed.capacities import CellFile
    from dispersed.paper.continuous.claims import CLAIMS
    from dispersed.paper.continuous.measure import continuous
    from dispersed.paper.continuous.plot import plot_continuous
    from dispersed.paper.results import output_folder

    cells = CellFile(output_folder(folder / "cells") / "continuous.jsonl")
    rows, large, recalls = continuous(seed, cells=cells, **settings)
    tables = {"continuous_theory": large, "continuous_recall": recalls}
    return Findings(rows, plot_continuous(rows, large, recalls), CLAIMS, tables)


EXPERIMENT = Experiment(
    name="continuous",
    place="Secs. 3 and 7, beyond the paper",
    title="Continuous patterns: capacity by distance and by dot products",
    about="Capacity for Gaussian, spherical and correlated patterns, by distance and by dot products, beside theory.",
    paper="The paper measures ±1 patterns alone, whose norms are equal. It leaves open how exact diffusion and modern "
    "Hopfield networks compare where patterns are continuous.",
    picture="a) Rates, log capacity per unit, over dimensions: measured points lie on lines of theory, which fall "
    "slowly to the limits of the random energy model; dot products of Gaussian patterns lie below distances, and on "
    "the sphere both are one. b) Errors of whole recalls over the number of patterns, beside those of their decoders: "
    "only the modern Hopfield network's recall of Gaussian patterns is far above its decoder.",
    find=find,
    full={"dimensions": (4, 8, 12, 16, 20), "precision": 0.05, "sets": 100},
    quick={"dimensions": (4, 8, 12), "precision": 0.1, "sets": 40},
)

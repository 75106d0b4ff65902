"""Regimes of generative diffusion: where classes split and where patterns collapse, beside closed forms."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, patterns: int, cues: int) -> Findings:
    from dispersed.paper.regimes.claims import CLAIMS
    from dispersed.paper.regimes.measure import regimes_of_mixtures_and_digits
    from dispersed.paper.regimes.plot import plot_regimes_beside_theory

    mixtures, curves, digits = regimes_of_mixtures_and_digits(seed, patterns, cues)
    axes = plot_regimes_beside_theory(mixtures, curves, digits)
    return Findings(mixtures, axes, CLAIMS, {"regimes_cloning": curves, "regimes_digits": digits})


EXPERIMENT = Experiment(
    name="regimes",
    place="Secs. 3.1 and 8, beyond the paper",
    title="Regimes of diffusion: speciation, cloning and collapse",
    about="Where classes split and patterns collapse: Gaussian mixtures beside closed forms, and real digits.",
    paper="The paper leaves open where recall ends and generalisation begins. Later theory says it: classes split at "
    "one noise level, and below another the model only copies.",
    picture="Four panels: the probability that two recalls end in the same class rises from one half to one as noise "
    "falls, on the curves of theory in three dimensions; the log odds of the true pattern cross zero where theory "
    "says; for digits, certainty and coverage; and their effective number of patterns, local dimension and attractors.",
    find=find,
    full={"patterns": 20_000, "cues": 1000},
    quick={"patterns": 2000, "cues": 200},
)

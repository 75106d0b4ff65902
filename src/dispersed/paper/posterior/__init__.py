"""Probabilistic recall (Sec. 5.1): recalls of one cue against the exact posterior, and calibration."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, repeats: int, cues: int) -> Findings:
    from dispersed.paper.posterior.claims import CLAIMS
    from dispersed.paper.posterior.measure import posterior
    from dispersed.paper.posterior.plot import plot_posterior

    rows = posterior(repeats=repeats, cues=cues, seed=seed)
    return Findings(rows, plot_posterior(rows), CLAIMS)


EXPERIMENT = Experiment(
    name="posterior",
    place="Sec. 5.1, Eqs. 7 and 29",
    title="Probabilistic recall: the recalled distribution beside the exact posterior",
    about="Probabilistic recall (Sec. 5.1): recalls of one cue against the exact posterior, and calibration.",
    paper="Each stochastic denoising trajectory reaches one of the memories compatible with the cue, so that "
    "many of them cover the posterior distribution. Claimed, not measured.",
    picture="Three panels: frequencies of recalled patterns on top of bars of their exact probabilities; the "
    "bias of four solvers falling with the number of steps; observed against stated probabilities along the "
    "diagonal.",
    find=find,
    full={"repeats": 50, "cues": 400},
    quick={"repeats": 5, "cues": 150},
)

"""Score networks against the exact memory: gap by noise level, basins, attractors, recall."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, sets: int, steps: int, width: int) -> Findings:
    from dispersed.paper.learned.claims import CLAIMS
    from dispersed.paper.learned.measure import learned
    from dispersed.paper.learned.plot import plot_learned

    gaps, ends = learned(sets, steps, width, seed)
    return Findings(gaps, plot_learned(gaps), CLAIMS, {"learned_recall": ends})


EXPERIMENT = Experiment(
    name="learned",
    place="Sec. 4, Eqs. 9 and 10",
    title="Learned against exact: distance of the denoisers by noise level (Eq. 9), 8 patterns of 10 units",
    about="Score networks against the exact memory: gap by noise level, basins, attractors, recall.",
    paper="A network that minimises the denoising loss encodes the dynamics of a modern Hopfield network in "
    "its weights; where the loss is minimal it is the exact score.",
    picture="Two panels, one a network, show its distance from the exact denoiser by noise level after three "
    "lengths of training; a third shows the fraction of cues led back to their pattern, learned and exact.",
    find=find,
    full={"sets": 8, "steps": 16_000, "width": 800},
    quick={"sets": 2, "steps": 1920, "width": 128},
)

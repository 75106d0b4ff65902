"""Reconstructive memory (Eq. 25): digits recalled from a stored core, with the rest made up."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, events: int) -> Findings:
    from dispersed.paper.reconstruction.claims import CLAIMS
    from dispersed.paper.reconstruction.measure import reconstruction
    from dispersed.paper.reconstruction.plot import plot_reconstruction

    rows, pictures = reconstruction(seed, events)
    return Findings(rows, plot_reconstruction(rows, pictures), CLAIMS)


EXPERIMENT = Experiment(
    name="reconstruction",
    place="Sec. 6.1, Eq. 25",
    title="Reconstructive memory: the core is recalled, the rest made up",
    about="Reconstructive memory (Eq. 25): digits recalled from a stored core, with the rest made up.",
    paper="A stored low-dimensional core constrains some degrees of freedom, the others follow semantic "
    "memory: some features are recovered faithfully, others reconstructed, as broken glass in the memory of a "
    "car crash.",
    picture="Left, rows of eight digits: events, recalls from cores of 2, 8 and 32 components, and digits with "
    "a blank lower half that recall fills with ink. Right, errors of core and rest, and plausibility, against "
    "the size of the core.",
    find=find,
    full={"events": 200},
    quick={"events": 24},
)

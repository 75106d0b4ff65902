"""One continuum: digits recalled from cues that carry less and less, down to pure noise."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, cues: int) -> Findings:
    from dispersed.paper.continuum.claims import CLAIMS
    from dispersed.paper.continuum.measure import continuum
    from dispersed.paper.continuum.plot import plot_continuum

    rows, pictures = continuum(seed, cues)
    return Findings(rows, plot_continuum(rows, pictures), CLAIMS)


EXPERIMENT = Experiment(
    name="continuum",
    place="Sec. 6.1",
    title="From recall through reconstruction to generation",
    about="One continuum: digits recalled from cues that carry less and less, down to pure noise.",
    paper="Creative generation and memory recall are parts of a unified continuum. Claimed, not measured.",
    picture="Three memories side by side. As the signal level of the cue falls, recalled digits turn from the "
    "very image into another of the same digit and then into other digits; strips of recalled images below.",
    find=find,
    full={"cues": 300},
    quick={"cues": 60},
)

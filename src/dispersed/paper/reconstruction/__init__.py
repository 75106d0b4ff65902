"""Reconstructive memory (Eq. 25): digits recalled from a stored core, with the rest made up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispersed.paper import departures
from dispersed.paper.experiment import Experiment

if TYPE_CHECKING:
    from dispersed.paper.findings import Findings


def find(folder: Path, seed: int, events: int) -> Findings:
    """The rows, their picture and what they say."""
    from dispersed.paper.findings import Findings
    from dispersed.paper.reconstruction.measure import reconstruction, sentences
    from dispersed.paper.reconstruction.plot import plot_reconstruction

    rows, pictures = reconstruction(seed, events)
    return Findings(rows, plot_reconstruction(rows, pictures), sentences(rows))


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
    departs=departures.reconstruction,
)

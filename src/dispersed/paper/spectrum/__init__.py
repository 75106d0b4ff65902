"""From samples seen once to patterns seen repeatedly: episodic or semantic, at every noise level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispersed.paper.experiment import Experiment

if TYPE_CHECKING:
    from dispersed.paper.findings import Findings


def find(folder: Path, seed: int, probes: int) -> Findings:
    """The rows, their picture and what they say."""
    from dispersed.paper.findings import Findings
    from dispersed.paper.spectrum.measure import sentences, spectrum
    from dispersed.paper.spectrum.plot import plot_spectrum

    rows = spectrum(seed, probes)
    return Findings(rows, plot_spectrum(rows), sentences(rows))


EXPERIMENT = Experiment(
    name="spectrum",
    place="Secs. 6.1 and 6.2, Eqs. 12 and 24",
    title="The spectrum from episodic to semantic memory",
    about="From samples seen once to patterns seen repeatedly: episodic or semantic, at every noise level.",
    paper="Learning a density and learning patterns differ only in whether a pattern is sampled once or again "
    "and again; a memory is episodic if its space is localised, semantic if it is not.",
    picture="Three panels against the noise level: effective number of items, open directions, and distance to "
    "the nearest stored image. Digits seen more often stay single items up to more noise.",
    find=find,
    full={"probes": 60},
    quick={"probes": 16},
)

"""From samples seen once to patterns seen repeatedly: episodic or semantic, at every noise level."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, probes: int) -> Findings:
    from dispersed.paper.spectrum.claims import CLAIMS
    from dispersed.paper.spectrum.measure import spectrum
    from dispersed.paper.spectrum.plot import plot_spectrum

    rows = spectrum(seed, probes)
    return Findings(rows, plot_spectrum(rows), CLAIMS)


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

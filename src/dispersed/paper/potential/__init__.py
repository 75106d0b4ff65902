"""The theorem of Sec. 3.2: for any conservative noise the energy (Eq. 18) converges to Eq. 21."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, finest: int, paths: int) -> Findings:
    from dispersed.paper.potential.claims import CLAIMS
    from dispersed.paper.potential.measure import potential
    from dispersed.paper.potential.plot import plot_potential

    rows, pictures = potential(seed, finest, paths)
    return Findings(rows, plot_potential(rows, pictures), CLAIMS)


EXPERIMENT = Experiment(
    name="potential",
    place="Sec. 3.2, Eqs. 15 to 21",
    title="Any conservative noise: convergence of the energy of Eq. 18 to Eq. 21",
    about="The theorem of Sec. 3.2: for any conservative noise the energy (Eq. 18) converges to Eq. 21.",
    paper="For any conservative noise the energy becomes that of Brownian noise as t → T: the potential v does "
    "not diverge there, and is neglected.",
    picture="Three panels: energies of Eq. 18 that approach their limit as t falls; the largest difference "
    "from Eq. 21 falling as a power of t for four kinds of noise; ends of simulated paths over a ring-shaped "
    "density.",
    find=find,
    full={"finest": 5, "paths": 20_000},
    quick={"finest": 4, "paths": 5000},
)

"""Modern Hopfield network and exact diffusion over β and over patterns: where they are one, where not, and the
repair.
"""

from pathlib import Path
from typing import Any

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, **settings: Any) -> Findings:
    from dispersed.paper.equivalence.claims import CLAIMS
    from dispersed.paper.equivalence.measure import equivalence
    from dispersed.paper.equivalence.plot import plot_equivalence

    rows = equivalence(seed, **settings)
    return Findings(rows, plot_equivalence(rows), CLAIMS)


EXPERIMENT = Experiment(
    name="equivalence",
    place="Sec. 3, Eqs. 13 and 14, beyond the paper",
    title="Modern Hopfield network and exact diffusion, over β and over distributions of patterns",
    about="Hopfield against diffusion for β from 0.05 to 100 and six distributions of patterns, with and without the "
    "prior that makes them one.",
    paper="The energies of both are identical for patterns of equal norms; the paper says that other norms only shift "
    "the energy, and calls the equivalence asymptotic in β.",
    picture="a) Difference of one update over β: for ±1 and spherical patterns at round-off; for all others it rises "
    "to a few tenths, and is at round-off, too, with the prior. b) Fraction of recalls that end in one state: all for "
    "equal norms; for others it has a minimum at middle β, and from there on lies on the prediction from the energies. "
    "c) Fraction of cues recalled right: exact diffusion above the network wherever norms differ.",
    find=find,
    full={"betas": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0), "sets": 40},
    quick={"betas": (0.05, 0.2, 1.0, 5.0, 20.0, 100.0), "sets": 6},
)

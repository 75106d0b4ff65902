"""Every experiment, in the order in which they are run and shown.

Commands, `dispersed reproduce all` and the report all come from `EXPERIMENTS`. Nothing heavy is imported until an
experiment is run.
"""

from dispersed.paper import (
    continuous,
    continuum,
    digits,
    equivalence,
    figure1,
    figure2,
    figure3,
    learned,
    memorisation,
    plasticity,
    posterior,
    potential,
    reconstruction,
    regimes,
    replay,
    spectrum,
    table1,
    theta,
)
from dispersed.paper.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    package.EXPERIMENT.name: package.EXPERIMENT
    for package in (
        table1,
        figure1,
        figure2,
        figure3,
        digits,
        posterior,
        potential,
        reconstruction,
        spectrum,
        continuum,
        equivalence,
        theta,
        continuous,
        regimes,
        replay,
        learned,
        memorisation,
        plasticity,
    )
}
"""By name, in the order in which they are run and shown."""

IN_PAPER = ("table1", "figure1", "figure2", "figure3")
"""The table and figures of the paper; the others measure what it claims."""

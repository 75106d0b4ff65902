"""Synaptic learning taken literally (Eq. 22): online, node perturbation, rhythm, two-layer circuit."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, sets: int, samples: int) -> Findings:
    from dispersed.paper.plasticity.claims import CLAIMS
    from dispersed.paper.plasticity.measure import plasticity
    from dispersed.paper.plasticity.plot import plot_plasticity

    rows, scaling = plasticity(sets, samples, seed)
    return Findings(rows, plot_plasticity(rows, scaling), CLAIMS, {"plasticity_scaling": scaling})


EXPERIMENT = Experiment(
    name="plasticity",
    place="Secs. 4 and 8, Eq. 22",
    title="Synaptic learning (Eq. 22): agreement with the exact memory's recall at α = 0.68",
    about="Synaptic learning taken literally (Eq. 22): online, node perturbation, rhythm, two-layer circuit.",
    paper="The update of Eq. 22 may be what synapses do, its backpropagation obtained through injected noise "
    "and its two phases through the theta rhythm. Proposed, not measured.",
    picture="Three panels of agreement with exact recall: four learning rules against samples seen; networks "
    "under a rhythm, with plasticity that leaks into recall; a two-layer circuit against its hidden time "
    "constant. A fourth of the samples that two rules need against the units and the patterns of a network.",
    find=find,
    full={"sets": 8, "samples": 512_000},
    quick={"sets": 3, "samples": 128_000},
)

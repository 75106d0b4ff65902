"""Figure 1: energy landscapes of point, extended and semantic memories with their gradient fields."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int) -> Findings:
    from dispersed.paper.figure1.claims import CLAIMS
    from dispersed.paper.figure1.measure import figure1
    from dispersed.paper.figure1.plot import plot_figure1

    rows, landscapes = figure1(seed)
    return Findings(rows, plot_figure1(landscapes), CLAIMS)


EXPERIMENT = Experiment(
    name="figure1",
    place="Figure 1, Eqs. 12, 23 and 24",
    title="Figure 1: three kinds of memory in two dimensions",
    about="Figure 1: energy landscapes of point, extended and semantic memories with their gradient fields.",
    paper="Energy landscapes and gradient fields in two dimensions of a) classical point-like memories, "
    "b) extended localised memories, c) a non-localised (semantic) memory structure.",
    picture="Three landscapes of energy in colour with arrows of recall: in a) they point to five separate "
    "points, in b) to segments, a circle and a blob, in c) to a closed curve with three lobes. Red dots mark "
    "recalled states.",
    find=find,
)

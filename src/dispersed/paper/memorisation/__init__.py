"""Networks of real digits from memorisation to generalisation, beside the exact memory and that of patches."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, sizes: tuple[int, ...], steps: int, width: int, samples: int) -> Findings:
    from dispersed.paper.memorisation.claims import CLAIMS
    from dispersed.paper.memorisation.measure import memorisation
    from dispersed.paper.memorisation.plot import plot_memorisation
    from dispersed.paper.results import output_folder

    cells = output_folder(folder / "cells")
    rows, halves, pictures = memorisation(cells, seed, sizes, steps, width, samples)
    axes = plot_memorisation(rows, halves, pictures)
    note = f"Lengths of training that an earlier run had finished are read from {cells.name}/memorisation.jsonl."
    return Findings(rows, axes, CLAIMS, {"memorisation_halves": halves}, note)


EXPERIMENT = Experiment(
    name="memorisation",
    place="Secs. 4 and 8, beyond the paper",
    title="From memorisation to generalisation: networks of real digits",
    about="What networks of digits generate as training digits become more and as time goes on, beside exact memories.",
    paper="The paper's networks memorise all that they are shown. Later work says when they do not: with few training "
    "patterns samples are copies, with more of them spurious states, then new ones, and copies come with time.",
    picture="Six panels: fractions of memorised, spurious and generalised samples by the number of training digits; "
    "the memorised fraction by steps of training for each number; the time until half is memorised, on a line; how "
    "far samples of two halves are apart; errors on training and held-out digits; and digits from the same noise.",
    find=find,
    full={"sizes": (8, 16, 32, 64, 128, 256, 512, 768), "steps": 64_000, "width": 256, "samples": 260},
    quick={"sizes": (8, 16, 32, 64, 512), "steps": 12_800, "width": 256, "samples": 200},
)

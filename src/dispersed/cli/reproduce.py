"""`dispersed reproduce …`: the paper's tables and figures, with intervals, beside the published values."""

from pathlib import Path
from typing import Annotated

import typer

reproduce_app = typer.Typer(
    no_args_is_help=True,
    help="Reproduce the paper's tables and figures, with intervals, beside the published values.",
)

Out = Annotated[Path, typer.Option(help="Folder for results; made if missing.")]
Seed = Annotated[int, typer.Option(help="Seed of every random number; the same seed gives the same results.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer repeats, for a first look.")]


@reproduce_app.command("table1")
def table1(
    repeats: Annotated[int, typer.Option(help="Random pattern sets per cell; the paper has 100.")] = 100,
    seed: Seed = 0,
    out: Out = Path("results"),
) -> None:
    """Table 1: correlation of modern Hopfield recall with diffusion, classical networks and the truth."""
    from dispersed.cli.report import report
    from dispersed.experiments.results import output_folder
    from dispersed.experiments.table1 import table1, verdicts
    from dispersed.plots.table1 import plot_table1

    folder = output_folder(out)
    rows = table1(repeats, seed)
    report(
        folder,
        "table1",
        f"Table 1: Pearson correlation with modern Hopfield output, {repeats} repeats",
        rows,
        plot_table1(rows),
        verdicts(rows),
        f"dispersed reproduce table1 --repeats {repeats} --seed {seed}",
    )


@reproduce_app.command("digits")
def digits(seed: Seed = 0, out: Out = Path("results")) -> None:
    """Real handwritten digits recalled from noisy and from half-masked cues."""
    from dispersed.cli.report import report
    from dispersed.experiments.digits import digits, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.digits import plot_digits

    folder = output_folder(out)
    rows, pictures = digits(seed)
    report(
        folder,
        "digits",
        "Digits: 1,797 real handwritten digits stored, then recalled",
        rows,
        plot_digits(pictures),
        sentences(rows),
        f"dispersed reproduce digits --seed {seed}",
    )


@reproduce_app.command("learned")
def learned(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Score networks against the exact memory: gap by noise level, basins, attractors, recall."""
    from dispersed.cli.report import report
    from dispersed.experiments.learned import learned, sentences
    from dispersed.experiments.results import output_folder, write_rows
    from dispersed.plots.learned import plot_learned

    folder = output_folder(out)
    gaps, ends = learned(2, 3200, 128, seed) if quick else learned(seed=seed)
    write_rows(folder, "learned_recall", ends)
    report(
        folder,
        "learned",
        "Learned against exact: distance of the denoisers by noise level (Eq. 9), 8 patterns of 10 units",
        gaps,
        plot_learned(gaps),
        sentences(gaps, ends),
        f"dispersed reproduce learned --seed {seed}" + " --quick" * quick,
    )


@reproduce_app.command("synaptic")
def synaptic(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Synaptic learning taken literally (Eq. 22): online, node perturbation, rhythm, two-layer circuit."""
    from dispersed.cli.report import report
    from dispersed.experiments.results import output_folder
    from dispersed.experiments.synaptic import sentences, synaptic
    from dispersed.plots.synaptic import plot_synaptic

    folder = output_folder(out)
    rows = synaptic(3, 128_000, seed) if quick else synaptic(seed=seed)
    report(
        folder,
        "synaptic",
        "Synaptic learning (Eq. 22): agreement with the exact memory's recall at α = 0.68",
        rows,
        plot_synaptic(rows),
        sentences(rows),
        f"dispersed reproduce synaptic --seed {seed}" + " --quick" * quick,
    )


@reproduce_app.command("all")
def everything(out: Out = Path("results"), seed: Seed = 0, quick: Quick = False) -> None:
    """Every experiment, one after the other."""
    table1(repeats=20 if quick else 100, seed=seed, out=out)
    digits(seed=seed, out=out)
    learned(seed=seed, out=out, quick=quick)
    synaptic(seed=seed, out=out, quick=quick)

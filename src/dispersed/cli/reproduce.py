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


@reproduce_app.command("figure1")
def figure1(seed: Seed = 0, out: Out = Path("results")) -> None:
    """Figure 1: energy landscapes of point, extended and semantic memories with their gradient fields."""
    from dispersed.cli.report import report
    from dispersed.experiments.figure1 import figure1, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.figure1 import plot_figure1

    folder = output_folder(out)
    rows, panels = figure1(seed)
    report(
        folder,
        "figure1",
        "Figure 1: three kinds of memory in two dimensions",
        rows,
        plot_figure1(panels),
        sentences(rows),
        f"dispersed reproduce figure1 --seed {seed}",
    )


@reproduce_app.command("reconstruction")
def reconstruction(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Reconstructive memory (Eq. 25): digits recalled from a stored core, with the rest made up."""
    from dispersed.cli.report import report
    from dispersed.experiments.reconstruction import reconstruction, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.reconstruction import plot_reconstruction

    folder = output_folder(out)
    rows, pictures = reconstruction(seed, events=40 if quick else 200)
    report(
        folder,
        "reconstruction",
        "Reconstructive memory: the core is recalled, the rest made up",
        rows,
        plot_reconstruction(rows, pictures),
        sentences(rows),
        f"dispersed reproduce reconstruction --seed {seed}" + (" --quick" if quick else ""),
    )


@reproduce_app.command("spectrum")
def spectrum(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """From samples seen once to patterns seen repeatedly: episodic or semantic, at every noise level."""
    from dispersed.cli.report import report
    from dispersed.experiments.results import output_folder
    from dispersed.experiments.spectrum import sentences, spectrum
    from dispersed.plots.spectrum import plot_spectrum

    folder = output_folder(out)
    rows = spectrum(seed, probes=16 if quick else 60)
    report(
        folder,
        "spectrum",
        "The spectrum from episodic to semantic memory",
        rows,
        plot_spectrum(rows),
        sentences(rows),
        f"dispersed reproduce spectrum --seed {seed}" + (" --quick" if quick else ""),
    )


@reproduce_app.command("continuum")
def continuum(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """One continuum: digits recalled from cues that carry less and less, down to pure noise."""
    from dispersed.cli.report import report
    from dispersed.experiments.continuum import continuum, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.continuum import plot_continuum

    folder = output_folder(out)
    rows, pictures = continuum(seed, cues=60 if quick else 300)
    report(
        folder,
        "continuum",
        "From recall through reconstruction to generation",
        rows,
        plot_continuum(rows, pictures),
        sentences(rows),
        f"dispersed reproduce continuum --seed {seed}" + (" --quick" if quick else ""),
    )


@reproduce_app.command("all")
def everything(out: Out = Path("results"), seed: Seed = 0, quick: Quick = False) -> None:
    """Every experiment, one after the other."""
    table1(repeats=20 if quick else 100, seed=seed, out=out)
    digits(seed=seed, out=out)
    figure1(seed=seed, out=out)
    reconstruction(seed=seed, out=out, quick=quick)
    spectrum(seed=seed, out=out, quick=quick)
    continuum(seed=seed, out=out, quick=quick)

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


@reproduce_app.command("figure2")
def figure2(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Figure 2: denoising trajectories of exact and learned diffusion beside modern Hopfield updates."""
    from dispersed.cli.report import report
    from dispersed.experiments.figure2 import figure2, sentences
    from dispersed.experiments.results import output_folder, write_rows
    from dispersed.plots.figure2 import plot_figure2

    folder = output_folder(out)
    summary, trajectories = figure2(seed, training_steps=600 if quick else 3000)
    write_rows(folder, "figure2_trajectories", trajectories)
    report(
        folder,
        "figure2",
        "Figure 2: recall of 4 patterns of 5 units, by trajectories",
        summary,
        plot_figure2(trajectories),
        sentences(summary),
        f"dispersed reproduce figure2{' --quick' if quick else ''} --seed {seed}",
    )


@reproduce_app.command("figure3")
def figure3(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions.

    Finished cells and trainings are kept in OUT/cells/figure3.jsonl: a run that was stopped goes on where it was.
    """
    from dispersed.capacity import CellFile
    from dispersed.cli.report import report
    from dispersed.experiments.capacities import theories
    from dispersed.experiments.figure3 import (
        ALPHA,
        N_PATTERNS,
        THRESHOLD,
        compared,
        euler_agreement,
        exact_capacities,
        learned_dots,
        sentences,
    )
    from dispersed.experiments.results import output_folder, write_rows
    from dispersed.plots.capacity import plot_figure3

    folder = output_folder(out)
    cells = CellFile(output_folder(folder / "cells") / "figure3.jsonl")
    exact, errors = exact_capacities(seed, quick, cells)
    write_rows(folder, "figure3_errors", errors)
    agreement = euler_agreement(exact, seed)
    write_rows(folder, "figure3_agreement", agreement)
    learned, trainings = learned_dots(exact, seed, quick, cells)
    write_rows(folder, "figure3_trainings", trainings)
    rows = exact + learned
    labels = {**{name: method.label for name, method in compared().items()}, "learned": "learned networks"}
    curves = [row for row in errors if row["method"] == "diffusion" and row["n_patterns"] in N_PATTERNS]
    report(
        folder,
        "figure3",
        "Figure 3: capacity at 3 % mean Hamming error, α = 0.68",
        rows,
        plot_figure3(rows, curves, labels, theories(compared(), ALPHA, THRESHOLD)),
        sentences(rows, agreement),
        f"dispersed reproduce figure3{' --quick' if quick else ''} --seed {seed}",
    )


@reproduce_app.command("all")
def everything(out: Out = Path("results"), seed: Seed = 0, quick: Quick = False) -> None:
    """Every experiment, one after the other."""
    table1(repeats=20 if quick else 100, seed=seed, out=out)
    digits(seed=seed, out=out)
    figure2(seed=seed, out=out, quick=quick)
    figure3(seed=seed, out=out, quick=quick)

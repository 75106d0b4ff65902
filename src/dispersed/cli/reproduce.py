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


@reproduce_app.command("posterior")
def posterior(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Probabilistic recall (Sec. 5.1): recalls of one cue against the exact posterior, and calibration."""
    from dispersed.cli.report import report
    from dispersed.experiments.posterior import posterior, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.posterior import plot_posterior

    folder = output_folder(out)
    rows = posterior(repeats=10 if quick else 50, seed=seed)
    report(
        folder,
        "posterior",
        "Probabilistic recall: the recalled distribution beside the exact posterior",
        rows,
        plot_posterior(rows),
        sentences(rows),
        f"dispersed reproduce posterior --seed {seed}" + (" --quick" if quick else ""),
    )


@reproduce_app.command("potential")
def potential(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """The theorem of Sec. 3.2: for any conservative noise the energy (Eq. 18) converges to Eq. 21."""
    from dispersed.cli.report import report
    from dispersed.experiments.potential import potential, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.potential import plot_potential

    folder = output_folder(out)
    rows, pictures = potential(seed, **({"finest": 4, "paths": 5000} if quick else {}))
    report(
        folder,
        "potential",
        "Any conservative noise: convergence of the energy of Eq. 18 to Eq. 21",
        rows,
        plot_potential(rows, pictures),
        sentences(rows),
        f"dispersed reproduce potential --seed {seed}" + (" --quick" if quick else ""),
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
    from dispersed.capacities import CellFile
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


@reproduce_app.command("replay")
def replay(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
    """Consolidation (Sec. 6.2): memories trained on their own replays, against drift."""
    from dispersed.cli.report import report
    from dispersed.experiments.replay import replays, sentences
    from dispersed.experiments.results import output_folder
    from dispersed.plots.replay import plot_replay

    folder = output_folder(out)
    rows, pictures = replays(seed, **({"runs": 80, "networks": 3} if quick else {}))
    report(
        folder,
        "replay",
        "Consolidation and replay: memories trained on what they replay",
        rows,
        plot_replay(rows, pictures),
        sentences(rows),
        f"dispersed reproduce replay --seed {seed}" + (" --quick" if quick else ""),
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
    table1(repeats=100, seed=seed, out=out)
    digits(seed=seed, out=out)
    posterior(seed=seed, out=out, quick=quick)
    potential(seed=seed, out=out, quick=quick)
    figure2(seed=seed, out=out, quick=quick)
    figure3(seed=seed, out=out, quick=quick)
    figure1(seed=seed, out=out)
    reconstruction(seed=seed, out=out, quick=quick)
    spectrum(seed=seed, out=out, quick=quick)
    continuum(seed=seed, out=out, quick=quick)
    replay(seed=seed, out=out, quick=quick)
    learned(seed=seed, out=out, quick=quick)
    synaptic(seed=seed, out=out, quick=quick)

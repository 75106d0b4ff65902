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


@reproduce_app.command("all")
def everything(out: Out = Path("results"), seed: Seed = 0, quick: Quick = False) -> None:
    """Every experiment, one after the other."""
    table1(repeats=20 if quick else 100, seed=seed, out=out)
    digits(seed=seed, out=out)
    posterior(seed=seed, out=out, quick=quick)
    potential(seed=seed, out=out, quick=quick)
    replay(seed=seed, out=out, quick=quick)

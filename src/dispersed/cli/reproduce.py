"""`dispersed reproduce …`: the paper's tables and figures, with intervals, beside the published values."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.experiment import Experiment

reproduce_app = typer.Typer(
    no_args_is_help=True,
    help="Reproduce the paper's tables and figures, with intervals, beside the published values.",
)

MOST_REPEATS = 100_000
MOST_UNITS = 30
"""Units of the largest memory of Figure 3, which holds hundreds of patterns."""

Out = Annotated[Path, typer.Option(help="Folder for results; made if missing.")]
Seed = Annotated[int, typer.Option(help="Seed of every random number; the same seed gives the same results.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer repeats, for a first look.")]
Repeats = Annotated[int, typer.Option(help="Random pattern sets per cell; the paper has 100.")]
Dimensions = Annotated[str | None, typer.Option(help="Units: one number, a list 8,12,16 or a range 4:24.")]
Alpha = Annotated[float | None, typer.Option(help="Signal level of the cues, in (0, 1]; the paper's is 0.68.")]
Threshold = Annotated[float | None, typer.Option(help="Tolerated Hamming error, in (0, 1); the paper's is 0.03.")]
Again = Annotated[bool, typer.Option("--again", help="Compute again what is there already.")]


def _command(experiment: Experiment) -> Callable[..., None]:
    """The command of one experiment: with --quick if it has such a mode, and with the settings that it takes."""

    def with_quick(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
        _reproduce(experiment, out, seed, quick)

    def with_repeats(repeats: Repeats = 100, seed: Seed = 0, out: Out = Path("results")) -> None:
        from dispersed.validation import whole_number

        _reproduce(experiment, out, seed, changed={"repeats": whole_number("repeats", repeats, 2, MOST_REPEATS)})

    def with_settings(
        dimensions: Dimensions = None,
        alpha: Alpha = None,
        threshold: Threshold = None,
        seed: Seed = 0,
        out: Out = Path("results"),
        quick: Quick = False,
    ) -> None:
        from dispersed.cli.numbers import whole_numbers
        from dispersed.validation import probability, signal_level

        changed: dict[str, Any] = {}
        if dimensions is not None:
            changed["dimensions"] = whole_numbers("dimensions", dimensions, MOST_UNITS)
        if alpha is not None:
            signal_level(alpha)
            changed["alpha"] = alpha
        if threshold is not None:
            changed["threshold"] = probability("threshold", threshold)
        _reproduce(experiment, out, seed, quick, changed)

    def plain(seed: Seed = 0, out: Out = Path("results")) -> None:
        _reproduce(experiment, out, seed)

    if "alpha" in experiment.full:
        return with_settings
    if experiment.quick is not None:
        return with_quick
    return with_repeats if "repeats" in experiment.full else plain


for each in EXPERIMENTS.values():
    reproduce_app.command(each.name, help=each.about)(_command(each))


@reproduce_app.command("all")
def everything(out: Out = Path("results"), seed: Seed = 0, quick: Quick = False, again: Again = False) -> None:
    """Every experiment, and a page that shows them beside the paper.

    What OUT already holds, with the same settings and by the same code, is not computed again: a run that was stopped
    goes on where it was. The last line printed is the path of the page.
    """
    from dispersed.cli.terminal import say
    from dispersed.paper.report.page import write_page
    from dispersed.paper.results import output_folder
    from dispersed.paper.run import beside, is_done, run, run_quick
    from dispersed.progress import track
    from dispersed.validation import random_seed

    random_seed(seed)
    folder = output_folder(out)
    kept = [] if again else [e.name for e in EXPERIMENTS.values() if is_done(e, folder, seed, quick)]
    if kept:
        say(f"Kept from an earlier run: {', '.join(kept)}. With --again they are computed again.\n")
    names = [name for name in EXPERIMENTS if name not in kept]
    # In quick mode most time goes to compilers, on one core each; in full, an experiment uses all cores.
    if quick:
        found = track(beside(run_quick, [(name, folder, seed) for name in names]), "Experiments", total=len(names))
    else:
        found = (run(EXPERIMENTS[name], folder, seed, quick)[0] for name in names)
    for about in found:
        say("\n".join([about.title, *(verdict.marked for verdict in about.verdicts), f"{about.seconds:.0f} s\n"]))
    say(str(write_page(folder)))


def _reproduce(
    experiment: Experiment, out: Path, seed: int, quick: bool = False, changed: dict[str, Any] | None = None
) -> None:
    from dispersed.cli.terminal import say, show
    from dispersed.paper.results import output_folder
    from dispersed.paper.run import run
    from dispersed.validation import random_seed

    random_seed(seed)
    folder = output_folder(out)
    about, findings = run(experiment, folder, seed, quick, changed or {})
    show(about.title, findings.rows, [verdict.marked for verdict in about.verdicts])
    files = f"{folder / experiment.name}.json, .csv, .md, .png"
    say(f"Written: {files}; `dispersed report --out {folder}` makes a page of it.\n")

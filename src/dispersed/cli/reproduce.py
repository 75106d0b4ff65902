"""`dispersed reproduce …`: the paper's tables and figures, with intervals, beside the published values."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.experiment import Experiment

reproduce_app = typer.Typer(
    no_args_is_help=True,
    help="Reproduce the paper's tables and figures, with intervals, beside the published values.",
)

MOST_REPEATS = 100_000

Out = Annotated[Path, typer.Option(help="Folder for results; made if missing.")]
Seed = Annotated[int, typer.Option(help="Seed of every random number; the same seed gives the same results.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer repeats, for a first look.")]
Repeats = Annotated[int, typer.Option(help="Random pattern sets per cell; the paper has 100.")]
Again = Annotated[bool, typer.Option("--again", help="Compute again what is there already.")]


def _command(experiment: Experiment) -> Callable[..., None]:
    """The command of one experiment: with --quick if it has such a mode, with --repeats if it takes them."""

    def with_quick(seed: Seed = 0, out: Out = Path("results"), quick: Quick = False) -> None:
        _reproduce(experiment, out, seed, quick)

    def with_repeats(repeats: Repeats = 100, seed: Seed = 0, out: Out = Path("results")) -> None:
        _reproduce(experiment, out, seed, repeats=repeats)

    def plain(seed: Seed = 0, out: Out = Path("results")) -> None:
        _reproduce(experiment, out, seed)

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


def _reproduce(experiment: Experiment, out: Path, seed: int, quick: bool = False, repeats: int | None = None) -> None:
    from dispersed.cli.terminal import say, show
    from dispersed.paper.results import output_folder
    from dispersed.paper.run import run
    from dispersed.validation import random_seed, whole_number

    random_seed(seed)
    if repeats is not None:
        whole_number("repeats", repeats, 2, MOST_REPEATS)
    folder = output_folder(out)
    about, findings = run(experiment, folder, seed, quick, repeats)
    show(about.title, findings.rows, [verdict.marked for verdict in about.verdicts])
    files = f"{folder / experiment.name}.json, .csv, .md, .png"
    say(f"Written: {files}; `dispersed report --out {folder}` makes a page of it.\n")

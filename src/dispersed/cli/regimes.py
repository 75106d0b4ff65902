"""`dispersed regimes`: where the user's own patterns split, and where they collapse."""

from pathlib import Path
from typing import Annotated

import typer

from dispersed.cli.reading import BackgroundName, BackgroundOption, Header, Pages, ScaleOption, reading_options


def regimes_command(
    patterns: Annotated[
        Path,
        typer.Argument(
            help="Patterns: .npy, .npz, .csv, .tsv, .safetensors, .parquet, .arrow, an image, a folder of images, or a "
            "store."
        ),
    ],
    held_out: Annotated[
        Path | None,
        typer.Option(help="Further states of the same kind that are not stored, from the same kinds of files."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="The class of each pattern, in order: a text of one a line, .npy, or one column of .csv or .jsonl."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; made if missing.")] = Path("results"),
    cues: Annotated[int, typer.Option(help="Noisy patterns at each noise level, from 10 to 100,000.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    header: Header = None,
    scale: ScaleOption = None,
    pages: Pages = False,
    background: BackgroundOption = BackgroundName.white,
) -> None:
    """Find the noise at which classes split (speciation) and patterns collapse, in any set of patterns.

    Everything is of the exact diffusion model over the patterns: certainty, coverage of held-out states, cloning,
    effective number of patterns, local dimension and attractors at 24 noise levels, with 95 % intervals.
    """
    import time

    import jax

    from dispersed.cli.terminal import command_line, say, show
    from dispersed.paper.experiment import Findings
    from dispersed.paper.findings import write
    from dispersed.paper.regimes.plot import plot_regimes
    from dispersed.paper.results import output_folder
    from dispersed.reading import open_source, read_labels
    from dispersed.regime import MOST_CUES, regimes
    from dispersed.validation import random_seed, whole_number

    whole_number("cues", cues, 10, MOST_CUES)
    random_seed(seed)
    options = reading_options(header, scale, pages, background)
    source = open_source(patterns, "patterns", **options)
    fresh = None if held_out is None else open_source(held_out, "held-out", **options)
    classes = None if labels is None else read_labels(labels, source.shape[0])
    folder = output_folder(out)
    start = time.perf_counter()
    stored, others = source.all("patterns"), None if fresh is None else fresh.all("held-out")
    for each in (source, *(() if fresh is None else (fresh,))):
        say(each.about())
    found = regimes(stored, held_out=others, labels=classes, key=jax.random.key(seed), cues=cues)
    rows = [row | found.levels() for row in found.rows()]
    title = f"Regimes of {found.patterns} patterns of {found.dimension} units"
    about = write(
        folder,
        "regimes",
        title,
        Findings(rows, plot_regimes(rows), []),
        command_line(),
        {"seed": seed, "cues": cues},
        time.perf_counter() - start,
    )
    shown = ("sigma", "certainty", "covered", "cloning", "cloning_of_classes", "effective_patterns", "attractors")
    show(title, [{name: row[name] for name in shown if row[name] is not None} for row in rows], [])
    for name, none in {"speciation": "none above the collapse", "collapse": "none among these levels"}.items():
        value, low, high = getattr(found, name)
        at = f"σ = {value:.4g} [{low:.4g}, {high:.4g}]" if value == value else none
        say(f"{name.capitalize()}: {at}")
    say(f"Written: {folder / about.name}.json, .csv, .md, .png")

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
        Path | None, typer.Option(help="A file with the class of each pattern, one a line, in their order.")
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

    from dispersed.cli.terminal import say, show
    from dispersed.paper.experiment import Findings
    from dispersed.paper.findings import write
    from dispersed.paper.regimes.plot import plot_regimes
    from dispersed.paper.results import output_folder
    from dispersed.reading import open_source
    from dispersed.regime import regimes
    from dispersed.validation import InputError, random_seed, whole_number

    whole_number("cues", cues, 10, 100_000)
    random_seed(seed)
    options = reading_options(header, scale, pages, background)
    source = open_source(patterns, "patterns", **options)
    say(source.about())
    classes = None
    if labels is not None:
        try:
            classes = labels.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("labels", f"{str(labels)!r} cannot be read ({error})", "a text file in UTF-8") from None
        classes = [line.strip() for line in classes[: source.shape[0] + 1] if line.strip()]
    folder = output_folder(out)
    start = time.perf_counter()
    fresh = None if held_out is None else open_source(held_out, "held-out", **options).all("held-out")
    found = regimes(source.all("patterns"), held_out=fresh, labels=classes, key=jax.random.key(seed), cues=cues)
    rows = [row | found.levels() for row in found.rows()]
    title = f"Regimes of {found.patterns} patterns of {found.dimension} units"
    flags = f" {patterns}" + "".join(
        f" --{name} {value}" for name, value in (("held-out", held_out), ("labels", labels)) if value is not None
    )
    about = write(
        folder,
        "regimes",
        title,
        Findings(rows, plot_regimes(rows), []),
        f"dispersed regimes{flags} --cues {cues} --seed {seed}",
        {"seed": seed, "cues": cues},
        time.perf_counter() - start,
    )
    shown = ("sigma", "certainty", "covered", "cloning", "cloning_of_classes", "effective_patterns", "attractors")
    show(title, [{name: row[name] for name in shown if row[name] is not None} for row in rows], [])
    for name in ("speciation", "collapse"):
        value, low, high = getattr(found, name)
        at = f"σ = {value:.4g} [{low:.4g}, {high:.4g}]" if value == value else "none among these levels"
        say(f"{name.capitalize()}: {at}")
    say(f"Written: {folder / about.name}.json, .csv, .md, .png")

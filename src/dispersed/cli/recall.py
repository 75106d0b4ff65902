"""`dispersed recall`: the user's own patterns from the user's own cues."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from dispersed.cli.reading import (
    BackgroundName,
    BackgroundOption,
    Header,
    Pages,
    ScaleOption,
    reading_options,
)
from dispersed.names import registered_dynamics

DYNAMICS = registered_dynamics()
DynamicsName = enum.StrEnum("DynamicsName", {name: name for name in DYNAMICS})  # type: ignore[misc]


class ProcessName(enum.StrEnum):
    """The processes by the names used on the command line."""

    vp = "vp"
    ve = "ve"


def recall_command(
    patterns: Annotated[
        Path,
        typer.Argument(
            help="Stored patterns: .npy, .npz, .csv, .tsv, .safetensors, .parquet, .arrow, an image, a folder of "
            "images, or a store."
        ),
    ],
    cues: Annotated[
        Path, typer.Argument(help="Cues of the same size, from the same kinds of files, in the units of the patterns.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; made if missing.")] = Path("results"),
    alpha: Annotated[
        float | None,
        typer.Option(help="Signal level of the cues αy + √(1−α²)ε, in (0, 1]; of cues y + √(1−α²)/α ε under ve."),
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise standard deviation of the cues y + σε.")] = None,
    estimate_sigma: Annotated[
        bool,
        typer.Option(
            "--estimate-sigma",
            help="Estimate the noise of each cue y + σε, as is done with neither --alpha nor --sigma.",
        ),
    ] = False,
    process: Annotated[
        ProcessName | None,
        typer.Option(
            help="How the cues were made: vp scales the pattern, ve only adds noise. vp with --alpha, otherwise ve, "
            "also with --missing."
        ),
    ] = None,
    dynamics: Annotated[
        DynamicsName | None,
        typer.Option(
            help="; ".join(f"{name}: {entry.help}" for name, entry in DYNAMICS.items())
            + ". By default certified for scanned patterns (of a store, of an encoded file, 32,768 and more), and "
            "multistep for others."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the dynamics; its own default if not given.")] = None,
    missing: Annotated[
        float | None,
        typer.Option(help="Value that marks unobserved cue entries, nan too; the others come back as given."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Also write this many alternatives of each cue, with their probabilities.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random dynamics, below 2^32.")] = 0,
    header: Header = None,
    scale: ScaleOption = None,
    pages: Pages = False,
    background: BackgroundOption = BackgroundName.white,
) -> None:
    """Recall stored patterns from noisy or incomplete cues.

    What was read is said first: how many states of which shape, their range, and how they were scaled. Images are grey
    levels from −1, black, to +1, white; numbers of other files are taken as they are.

    Writes recalled.npy, the recalled states, and recall.json/.csv, one row per cue: the index of the recalled pattern,
    its labels or file, its probability p(index | cue), and, apart from that, whether and how the recall ended and its
    cost; for certified recall also a bound on the error of every evaluation. With --top, alternatives.json/.csv has the
    likeliest patterns behind each cue. Cues are read and results written piece by piece.
    """
    from dispersed.cli.recalling import recall_files

    recall_files(
        patterns,
        cues,
        out,
        alpha=alpha,
        sigma=sigma,
        estimated=estimate_sigma,
        process=process,
        dynamics=dynamics,
        steps=steps,
        missing=missing,
        top=top,
        seed=seed,
        reading=reading_options(header, scale, pages, background),
    )

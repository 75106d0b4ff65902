"""`dispersed store …`: a durable store of patterns and what is known about them."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from dispersed.cli.reading import BackgroundName, BackgroundOption, Header, Pages, ScaleOption, reading_options

store_app = typer.Typer(
    no_args_is_help=True,
    help="Keep patterns with their labels on the disk: added in batches, safe against crashes, opened without loading.",
)


class EncodingName(enum.StrEnum):
    """The encodings by the names used on the command line."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    bits = "bits"


Store = Annotated[Path, typer.Argument(metavar="STORE", help="The folder of the store.")]


@store_app.command("create")
def create(
    store: Store,
    dimension: Annotated[int, typer.Option(help="Units of a pattern.")],
    encoding: Annotated[
        EncodingName,
        typer.Option(help="float32; float16; int8: one byte a unit and a scale a pattern; bits: ±1, one bit a unit."),
    ] = EncodingName.float32,
) -> None:
    """Make a new, empty store."""
    from dispersed.storage import PatternStore, encoding_named

    chosen = encoding_named(encoding)
    made = PatternStore.create(store, dimension, chosen)
    size = chosen.row_bytes(dimension)
    _say(f"Made {str(made.path)!r}: patterns of {dimension} units as {chosen.name}, {size} bytes a pattern.")


@store_app.command("add")
def add(
    store: Store,
    files: Annotated[
        list[Path],
        typer.Argument(
            help=".npy, .npz, .csv, .tsv, .safetensors, .parquet, .arrow, images, folders of images, or other stores."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="What is known about the patterns of all files in order, a row each: .csv with column names, .jsonl, "
            "or .npy of one label a pattern."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Patterns added at once; a kill loses at most these.")] = 65536,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run was stopped; what the store has already is passed over.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Add files that the store has already once more.")] = False,
    header: Header = None,
    scale: ScaleOption = None,
    pages: Pages = False,
    background: BackgroundOption = BackgroundName.white,
) -> None:
    """Add patterns to a store, batch after batch; all files are checked before anything is added."""
    from dispersed.progress import track
    from dispersed.reading import add_files, open_source
    from dispersed.storage import PatternStore

    reading = reading_options(header, scale, pages, background)
    with PatternStore.open(store) as opened:
        sources = [open_source(path, "files", **reading) for path in files]
        added = add_files(opened, sources, labels, batch=batch, resume=resume, again=again, track=track)
        for source in sources:
            _say(source.about())
        _say(f"Added {added} patterns; {str(store)!r} now has {len(opened)}.")


@store_app.command("info")
def info(
    store: Store,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything and compare it with its checksums.")
    ] = False,
) -> None:
    """What is in a store, and whether it is as it was written: exit code 1 if not."""
    from rich.console import Console

    from dispersed.progress import track
    from dispersed.storage import PatternStore

    opened = PatternStore.open(store, salvage=True)
    size = opened.encoding.row_bytes(opened.dimension)
    columns = ", ".join(f"{name} ({kind})" for name, kind in opened.columns.items()) or "none"
    on_disk = sum(file.lstat().st_size for file in opened.path.rglob("*") if file.is_file())
    _say(
        f"{str(store)!r}: {len(opened)} patterns of {opened.dimension} units, "
        f"{opened.encoding.name}, {size} bytes each\n"
        f"batches: {len(opened.batches)}\n"
        f"columns: {columns}\n"
        f"on disk: {on_disk} bytes"
    )
    damage = opened.verify(lambda batches: track(batches, "Verify")) if verify else opened.damage
    for found in damage:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"dispersed: damaged: {found}")
    if damage:
        raise typer.Exit(1)
    if verify:
        _say("Everything is as it was written.")


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, markup=False).print(text)

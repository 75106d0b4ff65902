"""`dispersed audit`: what a generative model has copied from its training data."""

from pathlib import Path
from typing import Annotated

import typer

from dispersed.cli.reading import BackgroundName, BackgroundOption, Header, Pages, ScaleOption, reading_options


def audit_command(
    train: Annotated[
        Path,
        typer.Argument(
            help="What the model was trained on: .npy, .npz, .csv, .tsv, .safetensors, .parquet, .arrow, an image, a "
            "folder of images, or a store."
        ),
    ],
    samples: Annotated[Path, typer.Argument(help="What the model generated, from the same kinds of files.")],
    holdout: Annotated[
        Path | None,
        typer.Option(
            help="Further data of the same source that the model has not seen; nothing is guaranteed without."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; made if missing.")] = Path("results"),
    false_alarms: Annotated[
        float, typer.Option(help="Probability with which a new sample may be called a copy; at least 1/(held-out + 1).")
    ] = 0.01,
    regimes: Annotated[
        bool, typer.Option("--regimes", help="Also measure at which noise the training data can be memorised at all.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers of --regimes.")] = 0,
    header: Header = None,
    scale: ScaleOption = None,
    pages: Pages = False,
    background: BackgroundOption = BackgroundName.white,
) -> None:
    """Find the samples of a generative model that are copies of its training data, at a stated rate of false alarms.

    Writes OUT/audit.html, one page with pictures of the copies where states are grey images, and audit.json. A
    sample is a copy if held-out data hardly ever are as near to the training data, by distance and by the ratio of the
    distances to the nearest pattern and to the second; near-duplicates in the training data count as one.
    """
    import jax

    from dispersed.auditing.audit import audit
    from dispersed.auditing.page import SHOWN, as_json, notes, write_page
    from dispersed.cli.terminal import command_line, say, show
    from dispersed.paper.results import output_folder, write_json
    from dispersed.reading import open_source
    from dispersed.regime import regimes as regimes_of
    from dispersed.validation import random_seed

    random_seed(seed)
    options = reading_options(header, scale, pages, background)
    given = {"train": train, "samples": samples} | ({} if holdout is None else {"holdout": holdout})
    states = {}
    shape: tuple[int, ...] = ()
    for name, path in given.items():
        source = open_source(path, name, **options)
        states[name] = source.all(name)
        say(source.about())
        shape = max(shape, source.each, key=len)
    folder = output_folder(out)
    found = audit(states["train"], states["samples"], states.get("holdout"), false_alarms=false_alarms)
    map_of = []
    if regimes:
        measured = regimes_of(states["train"], states.get("holdout"), key=jax.random.key(seed))
        map_of = measured.rows()
    copies = found.copies[:SHOWN]
    beside = states["samples"][[copy.sample for copy in copies]], states["train"][[copy.pattern for copy in copies]]
    command = command_line()
    (folder / "audit.json").unlink(missing_ok=True)  # written last: where it stands, it belongs to the page
    page = write_page(folder / "audit.html", found, command, beside, map_of, shape)
    write_json(folder / "audit.json", {"command": command, **as_json(found), "regimes": map_of})
    show("Distance to the closest record", found.baselines(), [])
    for sentence in [*notes(found), found.verdict]:
        say(sentence)
    say(f"Written: {page}, audit.json")

"""The options that say how files are read, of every command that reads some."""

import enum
from typing import Annotated, Any

import typer


class BackgroundName(enum.StrEnum):
    """What lies behind transparent parts of images."""

    white = "white"
    black = "black"


Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether text files begin with a line of column names; otherwise a line without any number is one.",
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        metavar="LOW:HIGH|none",
        help="Which numbers become −1 and +1, such as 0:255; none leaves also the levels of images as they are.",
    ),
]
Pages = Annotated[bool, typer.Option("--pages", help="Read every page of an image as a state.")]
BackgroundOption = Annotated[BackgroundName, typer.Option(help="What lies behind transparent parts of images.")]


def reading_options(header: bool | None, scale: str | None, pages: bool, background: BackgroundName) -> dict[str, Any]:
    """The same as options of `dispersed.reading.open_source`."""
    return {"header": header, "scale": _scale(scale), "pages": pages, "background": background.value}


def _scale(text: str | None) -> Any:
    from dispersed.validation import InputError

    if text is None or text == "none":
        return text
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise InputError("scale", f"got {text!r}", "two numbers such as 0:255, or none, are accepted") from None
    return low, high

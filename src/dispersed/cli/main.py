"""`dispersed`: the commands, and the one place where errors become one line and an exit code."""

import io
import sys

import typer
from rich.console import Console

from dispersed.cli.audit import audit_command
from dispersed.cli.capacity import capacity_command
from dispersed.cli.doctor import doctor_command
from dispersed.cli.explore import explore_command
from dispersed.cli.recall import recall_command
from dispersed.cli.regimes import regimes_command
from dispersed.cli.report import report_command
from dispersed.cli.reproduce import reproduce_app
from dispersed.cli.store import store_app

LONGEST = 1000
"""Characters of the message about a misspelt command line."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""
    Associative memories and diffusion models as one family.

    A memory is a distribution of states; noise disperses it; recall denoises it.

    - `dispersed reproduce all` reproduces Ambrogioni (2023), "In search of dispersed memories".
    - `dispersed recall patterns.npy cues.npy --alpha 0.7` recalls your own patterns.
    - `dispersed capacity --method modern-hopfield --dimensions 4:16` measures how many patterns a memory holds.
    - `dispersed regimes patterns.npy` says at which noise classes split, and where only copies are left.
    - `dispersed audit train.npy samples.npy --holdout new.npy` finds what a trained model has copied.
    - `dispersed doctor` checks this installation.
    - `dispersed explore` shows memories in the browser, to drag and recall.
    """,
)
app.add_typer(reproduce_app, name="reproduce")
app.command("report")(report_command)
app.add_typer(store_app, name="store")
app.command("recall")(recall_command)
app.command("capacity")(capacity_command)
app.command("regimes")(regimes_command)
app.command("audit")(audit_command)
app.command("doctor")(doctor_command)
app.command("explore")(explore_command)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from dispersed import __version__

        typer.echo(f"dispersed {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 1, misspelt words in code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack σ
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code, line = _one_line(error)
        if line:
            Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"dispersed: {line}")
    sys.exit(code)


def _one_line(error: Exception) -> tuple[int, str]:
    """The exit code of what a user can mend, and what is said of it. Other errors are raised again."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # of the library that parses arguments
        message = " ".join(error.format_message().split()).replace("Value error, ", "")
        return int(error.exit_code), message if len(message) <= LONGEST else f"{message[:LONGEST]} …"
    if isinstance(error, MemoryError):
        return 1, "there is not enough memory for this; smaller sizes are needed"
    from dispersed.validation import InputError  # imports JAX, for which --help need not wait

    if isinstance(error, OSError) and error.strerror:  # of names too long, disks that fail and the like
        where = repr(str(error.filename)) if error.filename else "the output cannot be written"
        error = InputError("file", where, error.strerror)
    if not isinstance(error, InputError):
        raise error
    return 1, str(error)


if __name__ == "__main__":
    main()

"""`dispersed report`: one page of everything that has been reproduced."""

from pathlib import Path
from typing import Annotated

import typer


def report_command(out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("results")) -> None:
    """Write OUT/report.html, one page of all results in OUT beside the paper; it needs no network.

    Experiments that have not been run are named as such. The line printed is the path of the page.
    """
    from dispersed.cli.terminal import say
    from dispersed.paper.report.page import write_page

    say(str(write_page(out)))

"""Writes docs/cli.md from the commands themselves: `python docs/extensions/cli_reference.py`.

A test fails when the page and the commands differ.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "cli.md"
INTRODUCTION = """# Command line

Made from the commands by `make cli-reference`. Bad input ends in one line on standard error that says what was given
and what is accepted, with exit code 1; a misspelt command or option in exit code 2 and the nearest one that exists.

"""


def reference() -> str:
    """The page, as the commands now are."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "dispersed.cli.main",
        "utils",
        "docs",
        "--name",
        "dispersed",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = text.split("\n", 1)[1].lstrip()
    # Typer cuts the summaries in its lists of commands at the first dot, even that of "Eq. 5".
    summaries = dict(re.findall(r"^#+ `(dispersed .+)`\n\n(.+)$", text, re.MULTILINE))
    lines, group = text.split("\n"), "dispersed"
    for number, line in enumerate(lines):
        if heading := re.fullmatch(r"#+ `(dispersed .+)`", line):
            group = heading[1]
        elif (entry := re.match(r"\* `([\w-]+)`: ", line)) and (
            about := summaries.get(f"{group} {entry[1]}")
        ):
            lines[number] = f"{entry[0]}{about}"
    text = "\n".join(lines)
    text = re.sub(
        r" <([^>\n]+)>`", lambda kind: f"` ({kind[1].replace('|', ', ')})", text
    )
    return INTRODUCTION + text.strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference())
    print(f"Written: {PAGE}")

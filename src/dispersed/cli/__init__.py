"""The command line. No mathematics lives here."""

import sys

from dispersed.extras import MissingExtraError, optional_packages


def main() -> None:
    """Run the command line, or say in one line which extra is missing."""
    try:
        with optional_packages():
            from dispersed.cli.main import main as run

            run()
    except MissingExtraError as error:
        sys.exit(f"dispersed: {error}")

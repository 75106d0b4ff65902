"""`python -m dispersed`, where the command `dispersed` is not on the path."""

from dispersed.cli import main

main()

"""Pages that show what the package does or where its code is are read again when the package changes."""

from pathlib import Path

from sphinx.environment import BuildEnvironment

import dispersed


def depend_on_package(env: BuildEnvironment) -> None:
    """Every source file of the package is a dependency of the page that is being read."""
    for path in Path(dispersed.__file__).parent.rglob("*.py"):
        env.note_dependency(str(path))

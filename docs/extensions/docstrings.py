"""Docstrings are Markdown prose with indented equations; Sphinx's autodoc wants reStructuredText.

The two agree on paragraphs, lists, emphasis and doctests. What differs is turned over here: an indented block is an
equation, and the bars of p(j | x) are no markup. Fields get the shape they are declared with, and signatures their types, in
few words: `Array[..., d]` is an array with these axes.
"""

import builtins
import importlib
import inspect
import re
import types
import typing

from jaxtyping import AbstractArray
from sphinx import addnodes
from sphinx.application import Sphinx

import dispersed
from dispersed.types import ArrayLike


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


def short(annotation: object) -> str:
    """A type in few words, as Python: `Array[..., d]`, `ArrayLike | None`, `Callable`."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return (
            annotation.rpartition(".")[2] if annotation.isidentifier() else annotation
        )
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        if annotation.__name__.startswith("Key"):
            return "Key"
        axes = annotation.dim_str.split()
        known = [
            axis
            for axis in axes
            if axis == "..." or axis.isidentifier() or axis.isdigit()
        ]
        return f"Array[{', '.join(axes)}]" if axes and known == axes else "Array"
    parts = typing.get_args(annotation)
    if (
        isinstance(annotation, types.UnionType)
        or typing.get_origin(annotation) is typing.Union
    ):
        everything = set(typing.get_args(ArrayLike))
        names = ["ArrayLike"] if everything <= set(parts) else []
        names += [short(part) for part in parts if not (names and part in everything)]
        return " | ".join(dict.fromkeys(names))
    origin = typing.get_origin(annotation)
    if origin in (tuple, list, dict, type) and parts:
        return f"{origin.__name__}[{', '.join('...' if part is ... else short(part) for part in parts)}]"
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    kind = origin or annotation
    name = getattr(kind, "__name__", None) or str(annotation).rpartition(".")[2]
    if (
        getattr(dispersed, name, kind) is not kind
    ):  # another class of that name is the public one
        return f"{kind.__module__.rpartition('.')[2]}.{name}"
    return name if name.isidentifier() else "Any"


def default(value: object) -> str:
    """A default as it would be written, or `...` where that is no short Python."""
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    text = repr(value)
    try:
        compile(text, "default", "eval")
    except SyntaxError:
        return "..."
    return text if len(text) < 60 else "..."


def signature_of(what: str, obj: typing.Any) -> tuple[str, str | None] | None:
    """The signature to show, with short types; None where Python knows none."""
    try:
        signature = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    if len(signature.parameters) > 20:
        return "(**settings)", None  # the fields below have them
    hints = inspect.get_annotations(obj.__init__ if what == "class" else obj)
    shown, star = [], False
    for i, (name, parameter) in enumerate(signature.parameters.items()):
        if name == "self" and i == 0 and what == "method":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(
            parameter.kind, ""
        )
        annotation = (
            parameter.annotation
            if parameter.annotation is not parameter.empty
            else hints.get(name)
        )
        text = f"{stars}{name}" + (
            f": {short(annotation)}" if annotation is not None else ""
        )
        if parameter.default is not parameter.empty:
            text += (
                f" = {default(parameter.default)}"
                if annotation is not None
                else f"={default(parameter.default)}"
            )
        shown.append(text)
    returns = signature.return_annotation
    hidden = what == "class" or returns is signature.empty
    return f"({', '.join(shown)})", None if hidden else short(returns)


def setup(app: Sphinx) -> dict[str, bool]:
    def process(app, what, name, obj, options, lines):
        lines[:] = as_rst(lines)
        if (
            what == "attribute"
            and lines
            and (declared := shape(name)) not in ("", "()")
        ):
            lines[0] = f"``{declared}``: {lines[0]}"

    def types_in_signature(app, what, name, obj, options, signature, returns):
        return signature_of(what, obj) if signature else None

    def unlink_axes(app, document):
        """The axes of `Array[n, d]` are names of nothing that could be linked to."""
        for link in list(document.findall(addnodes.pending_xref)):
            target = link.get("reftarget", "")
            in_signature = isinstance(
                link.parent, (addnodes.desc_sig_name, addnodes.desc_returns)
            )
            if (
                in_signature
                and target.isidentifier()
                and target.islower()
                and target not in vars(builtins)
            ):
                link.replace_self(link.children)

    def hide_values(app, document):
        """The value of a constant is shown where it is short Python, and not as `<class ...>`."""
        for value in list(document.findall(addnodes.desc_annotation)):
            if value.astext().lstrip().startswith("=") and "<" in value.astext():
                value.parent.remove(value)

    app.connect("doctree-read", unlink_axes)
    app.connect("doctree-read", hide_values)
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", types_in_signature)
    return {"parallel_read_safe": True}

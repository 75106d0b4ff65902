"""Runs every ```python block of a page when the site is built, and puts what it gives below it.

The blocks of a page share one namespace, as the cells of a notebook do. Pages share the process that reads them: JAX is
imported once, and a program compiled for one page serves the next. A kernel for each page would do neither. Shown are
what a block prints, the value of its last expression, and the figures that it leaves open; a figure must have a title,
which is its text alternative too. An exception or a warning in a block fails the build.

Code that is shown but not run is marked ```py.
"""

import ast
import base64
import contextlib
import io
import traceback
import warnings
from html import escape
from typing import Any

from dependencies import depend_on_package
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform


class RunExamples(SphinxTransform):
    """Runs the blocks of one page in order."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        if self.env.docname.startswith("api/") or not self.config.run_examples:
            return  # in the reference they are doctests, which the tests run
        namespace: dict[str, Any] = {"__name__": "__main__"}
        blocks = [
            block
            for block in self.document.findall(nodes.literal_block)
            if block.get("language") == "python"
        ]
        if blocks:
            depend_on_package(self.env)
        for block in blocks:
            place = f"{self.env.doc2path(self.env.docname)}:{block.line or '?'}"
            try:
                results = run(block.astext(), namespace, place)
            except Exception as error:
                lines = "".join(traceback.format_exception(error)[-8:])
                raise ExtensionError(
                    f"{place}: this example fails\n\n{block.astext()}\n\n{lines}"
                ) from error
            if results:
                box = nodes.container("", *results, classes=["output"])
                block.parent.insert(block.parent.index(block) + 1, box)


def run(code: str, namespace: dict[str, Any], place: str) -> list[nodes.Node]:
    """What running `code` shows."""
    tree = ast.parse(code, place)
    last = (
        tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    )
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(tree, place, "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), place, "eval"), namespace)
    results: list[nodes.Node] = []
    figures = list(open_figures())
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    text = printed.getvalue().rstrip()
    if value is not None and html is None and not figures:
        text = f"{text}\n{value!r}".lstrip()
    if text:
        results.append(nodes.literal_block(text, text, language="text"))
    if html is not None:
        results.append(nodes.raw("", html, format="html"))
    results.extend(nodes.raw("", picture, format="html") for picture in figures)
    return results


def open_figures() -> Any:
    """Every open matplotlib figure as an image, closed afterwards."""
    import matplotlib.pyplot as plt

    for number in plt.get_fignums():
        figure = plt.figure(number)
        title = figure.get_suptitle()
        if not title:
            raise ValueError(
                "a figure of the documentation needs a suptitle: it is its text alternative"
            )
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=120, bbox_inches="tight")
        plt.close(figure)
        encoded = base64.b64encode(data.getvalue()).decode()
        yield f'<img alt="{escape(title)}" src="data:image/png;base64,{encoded}">'


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.add_config_value("run_examples", True, "env", bool)
    app.add_transform(RunExamples)
    return {"parallel_read_safe": True, "env_version": 1}

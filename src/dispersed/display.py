"""How objects show themselves: as one line in a terminal, as pictures or a table in a notebook."""

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.tracing import is_known

MOST = 24
"""States shown in a notebook."""
_HEAD = '<div style="display:flex;flex-wrap:wrap;gap:0.6em;font-size:80%;line-height:1.25">'


def place(array: Any) -> str:
    """The precision of an array, and where it is unless that is the CPU: `float32`, `float32 on cuda:0`."""
    name = str(array.dtype)
    if isinstance(array, jax.Array) and is_known(array):
        devices = sorted(array.devices(), key=lambda device: device.id)
        if len(devices) > 1:
            return f"{name} on {len(devices)} devices"
        if devices[0].platform != "cpu":
            return f"{name} on {devices[0]}"
    return name


def value(part: Any) -> str:
    """One field as it is shown: a number where it is known, an array by its shape, all else by its own repr."""
    if isinstance(part, tuple) and hasattr(part, "_fields"):  # an optimiser: two functions without a name
        return type(part).__name__
    if not isinstance(part, jax.Array | np.ndarray):
        return getattr(part, "__name__", None) or repr(part)
    if part.ndim == 0 and is_known(part) and not jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
        return f"{part.item():.6g}"
    return f"{place(part)}[{', '.join(map(str, part.shape))}]"


def one_line(self: Any) -> str:
    """The `__repr__` of a module: its kind and its fields, at most a line of them."""
    fields = ", ".join(f"{field.name}={value(getattr(self, field.name, None))}" for field in dataclasses.fields(self))
    return f"{type(self).__name__}({fields})"


def gallery(title: str, states: Any, columns: Mapping[str, Sequence[str]], count: int) -> str:
    """The first of `count` states, (m, d), in HTML: images where d is a square number and Pillow is
    installed, else rows of a table.

    `columns` say what of each state.
    """
    shown = np.asarray(states[:MOST], dtype=float)
    side = math.isqrt(shown.shape[1])
    body = _images(shown, side, columns) if side * side == shown.shape[1] and _pillow() else _table(shown, columns)
    rest = f"<div>and {count - MOST} more</div>" if count > MOST else ""
    return f"<div><div><code>{escape(title)}</code></div>{body}{rest}</div>"


def _pillow() -> bool:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _images(states: np.ndarray, side: int, columns: Mapping[str, Sequence[str]]) -> str:
    low, high = np.nanmin(states, initial=0), np.nanmax(states, initial=0)
    grey = np.nan_to_num((high - states) / (high - low if high > low else 1), nan=0.5)
    figures = []
    for number, levels in enumerate((255 * grey).astype(np.uint8).reshape(-1, side, side)):
        lines = [f"{name} {cells[number]}".strip() for name, cells in columns.items() if cells[number]]
        alt = escape(", ".join([f"state {number}", *lines]), quote=True)
        caption = "<br>".join(map(escape, lines))
        figures.append(
            f'<figure style="margin:0;width:6em"><img alt="{alt}" src="data:image/png;base64,{_png(levels)}" '
            f'style="width:6em;image-rendering:pixelated"><figcaption>{caption}</figcaption></figure>'
        )
    return f"{_HEAD}{''.join(figures)}</div>"


def _png(levels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(levels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def _table(states: np.ndarray, columns: Mapping[str, Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns, "x"))
    rows = []
    for number, state in enumerate(states):
        entries = ", ".join(f"{entry:.3g}" for entry in state[:8]) + (", …" if state.size > 8 else "")
        cells = (str(number), *(column[number] for column in columns.values()), entries)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

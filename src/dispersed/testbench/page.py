"""The verdicts of a test bench as one page of HTML that needs nothing else."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dispersed.testbench.check import Check

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccc}
td.n{text-align:right;font-variant-numeric:tabular-nums}.f{color:#b00020;font-weight:600}.p{color:#1b6e2e}"""
BARS, WIDTH, HEIGHT = 24, 192, 44


def page(checks: Sequence["Check"]) -> str:
    """A page of HTML: a sentence and a row for each check, with exact (line) beside sampled (bar) probabilities."""
    failed = sum(not one.passed for one in checks)
    title = f"{failed} of {len(checks)} checks failed" if failed else f"All {len(checks)} checks passed"
    rows = "".join(_row(one) for one in checks)
    heads = "".join(
        f"<th>{head}</th>"
        for head in ("problem", "verdict", "total variation", "of exact draws", "p", "no pattern", "sampled and exact")
    )
    sentences = "".join(f"<li>{html.escape(str(one))}</li>" for one in checks)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1><table><tr>{heads}</tr>{rows}</table><ul>{sentences}</ul></html>"
    )


def save_page(checks: Sequence["Check"], path: str | Path) -> None:
    """Write the page of these checks to a file."""
    Path(path).write_text(page(checks), encoding="utf-8")


def _row(check: "Check") -> str:
    verdict = '<td class="p">passed</td>' if check.passed else '<td class="f">FAILED</td>'
    p = f"{check.p_value:.2g}" if check.p_value > 1e-6 else "&lt; 1e-6"
    figures = (f"{check.total_variation:.3f}", f"{check.floor:.3f}", p, f"{check.stray:.1%}")
    cells = "".join(f'<td class="n">{figure}</td>' for figure in figures)
    return f"<tr><td>{html.escape(check.problem.name)}</td>{verdict}{cells}<td>{_bars(check)}</td></tr>"


def _bars(check: "Check") -> str:
    """The likeliest patterns, or the widest axes: bars as sampled, lines as they should be."""
    order = np.argsort(-check.exact)[:BARS]
    sampled, exact = (np.nan_to_num(values[order]) for values in (check.frequencies, check.exact))
    unit = max(float(sampled.max(initial=0)), float(exact.max(initial=0)), 1e-12) / HEIGHT
    step = WIDTH / len(order)
    drawn = "".join(
        f'<rect x="{i * step:.1f}" y="{HEIGHT - s / unit:.1f}" width="{0.8 * step:.1f}" height="{s / unit:.1f}" '
        f'fill="#8ab"/><path d="M{i * step:.1f} {HEIGHT - e / unit:.1f}h{0.8 * step:.1f}" stroke="#000"/>'
        for i, (s, e) in enumerate(zip(sampled, exact, strict=True))
    )
    label = html.escape(f"{check.problem.name}: sampled bars and exact lines")
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{drawn}</svg>'


__all__ = ["page", "save_page"]

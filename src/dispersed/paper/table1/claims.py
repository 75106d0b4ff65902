"""What is claimed of Table 1: that it is the published one, and what the paper's text says of it."""

from scipy import stats

from dispersed.paper.claim import Claim, Decision, Interval, Tables, claim, select
from dispersed.paper.table1.measure import METHODS, PUBLISHED, agrees, allowance


def _column(tables: Tables, method: str) -> list[Interval]:
    """The correlations of a method in every cell."""
    return [Interval.of(row, "correlation") for row in select(tables["table1"], method=method)]


def _range(column: list[Interval]) -> str:
    values = [interval.value for interval in column]
    return f"{min(values):.2f} to {max(values):.2f}"


@claim(
    "[|Only ]{agreed} of {compared} published values agree within the sampling error of two such experiments, √2 times "
    "half of our 95 % interval; chance alone takes up to {chance} out. Everything is computed in float64.",
    published=True,
)
def published(tables: Tables) -> Decision:
    compared = [agrees(row) for row in tables["table1"] if row["published"] is not None]
    chance = int(stats.binom.ppf(0.95, len(compared), 0.05))
    evidence = {"agreed": sum(compared), "compared": len(compared), "chance": chance}
    return len(compared) - sum(compared) <= chance, evidence


def _line(task: str, method: str) -> Claim:
    """That one line of the printed table is reproduced."""

    def decide(tables: Tables) -> Decision:
        rows = select(tables["table1"], task=task, method=method)
        return all(map(agrees, rows)), {
            "patterns": [row["n_patterns"] for row in rows],
            "ours": [Interval.of(row, "correlation") for row in rows],
            "printed": [row["published"] for row in rows],
            "apart": [row["correlation"] - row["published"] for row in rows],
            "allowed": [allowance(row) for row in rows],
        }

    text = (
        f"{task.capitalize()}, {METHODS[method]}: [the printed {{printed:.3f}} with {{patterns}} patterns are "
        "reproduced within sampling error|{ours:.3f} with {patterns} patterns, where the paper has {printed:.3f}: "
        "differences of {apart:+.3f}, where sampling allows ±{allowed:.3f}]."
    )
    return Claim(f"{task}_{method}", decide, text, published=True)


@claim(
    "Diffusion ({diffusion}), the true patterns ({truth}) and the classical network ({classical}) [are|are not] in "
    "this order of correlation in every cell, with disjoint intervals.",
    published=True,
)
def order(tables: Tables) -> Decision:
    columns = [_column(tables, method) for method in ("diffusion", "true_patterns", "classical")]
    holds = all(first > second > third for first, second, third in zip(*columns, strict=True))
    return holds, dict(zip(("diffusion", "truth", "classical"), map(_range, columns), strict=True))


@claim(
    "The text sets the classical network's self-coupling to zero; that gives {ours}, [as|where] {printed} is printed.",
    published=True,
)
def self_coupling(tables: Tables) -> Decision:
    rows = select(tables["table1"], method="classical_null_diagonal")
    column = _column(tables, "classical_null_diagonal")
    printed = [row["published"] for row in select(tables["table1"], method="classical")]
    agree = [agrees(row | {"published": value}) for row, value in zip(rows, printed, strict=True)]
    return all(agree), {"printed": f"{min(printed):.2f} to {max(printed):.2f}", "ours": _range(column)}


@claim(
    "In every cell SDE recall ({sde}) [correlates|does not correlate] less than the flow ({flow})[: it samples the "
    "posterior over patterns instead of following its mode (Sec. 5.1)|].",
)
def sampling(tables: Tables) -> Decision:
    flow, sde = (_column(tables, method) for method in ("diffusion", "diffusion_sde"))
    return all(a > b for a, b in zip(flow, sde, strict=True)), {"flow": _range(flow), "sde": _range(sde)}


CLAIMS = [published, *(_line(task, method) for task, method in PUBLISHED), order, self_coupling, sampling]

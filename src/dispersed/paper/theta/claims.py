"""What is claimed of the signal level θ of cues."""

from dispersed.paper.claim import Decision, Interval, Tables, claim, only, select
from dispersed.paper.results import Row
from dispersed.paper.theta.measure import THRESHOLDS

MIDDLE = THRESHOLDS[1]


@claim(
    "The growth of log capacity with d [does not exceed|exceeds] the channel's capacity C(θ), within intervals, at any "
    "signal level and tolerance: it is {least:.0%} to {most:.0%} of it at these dimensions."
)
def channel(tables: Tables) -> Decision:
    rows = tables["theta_slopes"]
    shares = [row["slope"] / row["channel"] for row in rows]
    return all(row["ci_low"] < row["channel"] for row in rows), {"least": min(shares), "most": max(shares)}


@claim(
    "Capacity grows [faster|no faster] with d the higher the signal level: at 3 % tolerated error its logarithm by "
    "{slow:.3f} a unit at θ = {first} and by {fast:.3f} at θ = {last}."
)
def growth(tables: Tables) -> Decision:
    rows = select(tables["theta_slopes"], threshold=MIDDLE)
    low, high = (min(rows, key=_alpha), max(rows, key=_alpha))
    slow, fast = (Interval.of(row, "slope") for row in (low, high))
    return fast > slow, {"slow": slow, "fast": fast, "first": low["alpha"], "last": high["alpha"]}


@claim(
    "Capacities [lie|do not lie] above the union bound for recall of the nearest pattern, within their intervals: at "
    "the largest d by a factor of {least:.2f} to {most:.2f}."
)
def union_bound(tables: Tables) -> Decision:
    rows = tables["theta"]
    last = max(row["dimension"] for row in rows)
    ratios = [row["capacity"] / row["union_bound"] for row in select(rows, dimension=last, beyond=False)]
    # A capacity that is a bound says nothing against a higher one.
    above = all(row["beyond"] or row["ci_high"] >= row["union_bound"] for row in rows)
    return above, {"least": min(ratios), "most": max(ratios)}


@claim(
    "A tolerance of 10 % instead of 1 % [buys|does not buy] more where cues are clean: at d = {dimension} it "
    "multiplies capacity by {noisy:.1f} at θ = {first} and by {clean:.1f} at θ = {last}."
)
def tolerance(tables: Tables) -> Decision:
    dimension = max(row["dimension"] for row in tables["theta"])
    rows = select(tables["theta"], dimension=dimension, beyond=False)
    alphas = sorted({row["alpha"] for row in rows if row["threshold"] == THRESHOLDS[-1]})
    noisy, clean = (_gain(rows, alpha) for alpha in (alphas[0], alphas[-1]))
    evidence = {"noisy": noisy, "clean": clean, "first": alphas[0], "last": alphas[-1]}
    return clean > noisy, {"dimension": dimension, **evidence}


def _gain(rows: list[Row], alpha: float) -> Interval:
    """By how much the widest tolerance multiplies the capacity that the narrowest leaves."""
    strict, wide = (only(rows, alpha=alpha, threshold=threshold) for threshold in (THRESHOLDS[0], THRESHOLDS[-1]))
    return Interval(
        wide["capacity"] / strict["capacity"], wide["ci_low"] / strict["ci_high"], wide["ci_high"] / strict["ci_low"]
    )


@claim(
    "To store the most, cues should be clean; to correct the most, they [should not|should, too]: with {patterns} "
    "patterns of {dimension} units recall corrects most units, {gain:.1%} of all, at θ = {best}, where {wrong:.0%} of "
    "the units of a cue are wrong. The best level rises with the number of patterns: {levels}."
)
def correction(tables: Tables) -> Decision:
    dimension = max(row["dimension"] for row in tables["theta_recall"])
    rows = select(tables["theta_recall"], dimension=dimension)
    best = {n: max(select(rows, n_patterns=n), key=_corrected) for n in sorted({row["n_patterns"] for row in rows})}
    few = min(best)
    levels = [row["alpha"] for row in best.values()]
    alphas = sorted({row["alpha"] for row in rows})
    inside = all(level < alphas[-1] for level in levels) and levels == sorted(levels) and levels[0] < levels[-1]
    return inside, {
        "patterns": few,
        "dimension": dimension,
        "gain": _corrected(best[few]),
        "best": levels[0],
        "wrong": best[few]["cue_error"],
        "levels": {f"{n} patterns": level for n, level in zip(best, levels, strict=True)},
    }


def _alpha(row: Row) -> float:
    return float(row["alpha"])


def _corrected(row: Row) -> float:
    """The fraction of units that recall corrects, less that which it spoils."""
    return float(row["cue_error"] - row["hamming_mean"])


CLAIMS = [channel, growth, union_bound, tolerance, correction]

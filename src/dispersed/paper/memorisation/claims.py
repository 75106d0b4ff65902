"""What is claimed of networks between memorisation and generalisation."""

import numpy as np

from dispersed.paper.claim import Decision, Interval, Tables, claim, select
from dispersed.paper.memorisation.measure import fitted, last


def _by_size(tables: Tables, memory: str, name: str, table: str = "memorisation") -> dict[int, float]:
    """A column after the longest training by n, the mean over the halves."""
    rows = last(tables["memorisation"], memory) if table == "memorisation" else select(tables[table], memory=memory)
    return {n: float(np.mean([row[name] for row in select(rows, n=n)])) for n in sorted({row["n"] for row in rows})}


@claim(
    "As training digits become more, what networks generate [passes|does not pass] from memorised through spurious to "
    "generalised: memorised {memorised:.0%} at n = {first}, spurious at most {spurious:.0%} at n = {middle}, "
    "generalised {generalised:.0%} at n = {final}.",
)
def order(tables: Tables) -> Decision:
    memorised, spurious, generalised = (
        _by_size(tables, "network", name) for name in ("memorised", "spurious", "generalised")
    )
    first, final = min(memorised), max(memorised)
    middle = max(spurious, key=lambda n: spurious[n])
    holds = memorised[first] > 0.5 and generalised[final] > 0.5 and first < middle < final
    numbers = {"memorised": memorised[first], "spurious": spurious[middle], "generalised": generalised[final]}
    return holds, numbers | {"first": first, "middle": middle, "final": final}


@claim(
    "The number of training steps until half of a network's samples are memorised grows with n to the power "
    "{exponent:.2f}: [the|not the] 1 of theory, within an interval above 0.",
)
def time(tables: Tables) -> Decision:
    fit = fitted(tables["memorisation_halves"])
    if fit.exponent is None or fit.low is None or fit.high is None:
        return False, {"exponent": Interval(float("nan"), float("nan"), float("nan"))}
    exponent = Interval(fit.exponent, fit.low, fit.high)
    return 1 in exponent and exponent.low > 0, {"exponent": exponent}


@claim(
    "Networks of disjoint halves [agree|do not agree] once n is large: from the same noise their digits are "
    "{few:.2f} a pixel apart at n = {first} and {many:.2f} at n = {final}, exact memories of as many {exact:.2f}.",
)
def halves(tables: Tables) -> Decision:
    apart, exact = (_by_size(tables, memory, "apart", "memorisation_halves") for memory in ("network", "exact"))
    first, final = min(apart), max(apart)
    numbers = {"few": apart[first], "many": apart[final], "exact": exact[final], "first": first, "final": final}
    return apart[final] < apart[first] / 2 and apart[final] < exact[final] / 2, numbers


@claim("The exact memory [generates nothing|does not generate nothing] but copies, at every n: at least {least:.1%}.")
def exact(tables: Tables) -> Decision:
    least = min(_by_size(tables, "exact", "memorised").values())
    return least > 0.99, {"least": least}


@claim(
    "The memory of patches [combines|does not combine] parts of digits into new ones: at n = {first} {local:.0%} of "
    "its samples are copies, where {network:.0%} of the networks' are, and at n = {final} {generalised:.0%} are "
    "neither copies nor repeated.",
)
def patches(tables: Tables) -> Decision:
    local, network = (_by_size(tables, memory, "memorised") for memory in ("local", "network"))
    generalised = _by_size(tables, "local", "generalised")
    first, final = min(local), max(local)
    numbers = {"local": local[first], "network": network[first], "generalised": generalised[final]}
    holds = local[first] < network[first] / 2 and generalised[final] > 0.9
    return holds, numbers | {"first": first, "final": final}


@claim(
    "A network that memorises [is|is not] better on its training digits than on others: after the longest training the "
    "error on those held out is {few:.2f} times that on those learned at n = {first}, and {many:.2f} times at "
    "n = {final}.",
)
def errors(tables: Tables) -> Decision:
    known, unseen = (_by_size(tables, "network", name) for name in ("error", "held_out"))
    ratio = {n: unseen[n] / known[n] for n in known}
    first, final = min(ratio), max(ratio)
    return ratio[first] > 1.1 and ratio[final] < ratio[first], {
        "few": ratio[first],
        "many": ratio[final],
        "first": first,
        "final": final,
    }


CLAIMS = [order, time, halves, exact, patches, errors]

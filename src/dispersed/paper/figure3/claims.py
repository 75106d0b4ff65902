"""What is claimed of Figure 3: how capacity grows, and which memories hold equally many patterns."""

import numpy as np

from dispersed.paper.claim import Decision, Interval, Tables, claim, select
from dispersed.paper.statistics import power_law


def _capacities(tables: Tables, method: str) -> dict[int, Interval]:
    return {row["dimension"]: Interval.of(row, "capacity") for row in select(tables["figure3"], method=method)}


@claim(
    "From d = {first} to {last} the capacity of exact diffusion [grows|does not grow] exponentially: from {few:.1f} to "
    "{many:.1f} patterns, by a factor of {factor:.2f} a unit.",
    published=True,
)
def growth(tables: Tables) -> Decision:
    found = _capacities(tables, "diffusion")
    first, last = min(found), max(found)
    # A power of exp(d) is an exponential of d.
    exponents = power_law(np.exp(list(found)), [interval.value for interval in found.values()])
    factor = Interval(*(float(np.exp(exponent)) for exponent in exponents))
    evidence = {"first": first, "last": last, "few": found[first], "many": found[last], "factor": factor}
    return factor.low > 1, evidence


@claim(
    "At d = {last} exact diffusion [holds|does not hold] more patterns ({diffusion:.1f}) than the classical network, "
    "{classical:.1f} with its self-coupling and {classical_null_diagonal:.1f} without.",
    published=True,
)
def classical(tables: Tables) -> Decision:
    found = {name: _capacities(tables, name) for name in ("diffusion", "classical", "classical_null_diagonal")}
    last = max(found["diffusion"])
    exact, *others = ends = [column[last] for column in found.values()]
    return all(exact > other for other in others), {"last": last, **dict(zip(found, ends, strict=True))}


@claim(
    "On the same patterns and cues the modern Hopfield network (β = 5) holds {ratios} times as many patterns as exact "
    "diffusion[, equally many within the intervals|: the intervals are disjoint at d = {apart}].",
    published=True,
)
def equal(tables: Tables) -> Decision:
    exact, modern = (_capacities(tables, method) for method in ("diffusion", "modern_hopfield"))
    apart = [d for d in exact if not modern[d].overlaps(exact[d])]
    ratios = [modern[d].value / exact[d].value for d in exact]
    return not apart, {"ratios": f"{min(ratios):.2f} to {max(ratios):.2f}", "apart": apart}


@claim(
    "The 20 steps of the exponential integrator of order 2 that recall exact diffusion here [are|are not] as good as "
    "the paper's 300 Euler steps: of {units} units, {different} have another sign.",
)
def euler(tables: Tables) -> Decision:
    rows = tables["figure3_agreement"]
    units = sum(row["units"] for row in rows)
    different = round(sum(row["units"] * (1 - row["same"]) for row in rows))
    return different < 1e-3 * units, {"units": units, "different": different}


@claim(
    "Smoothing over dimensions with a kernel of σ = 1.5, as in the paper, [bends|does not bend] the end of the curve: "
    "at d = {dimension} it makes {smoothed:.1f} of {capacity:.1f}.",
)
def smoothing(tables: Tables) -> Decision:
    last = max(select(tables["figure3"], method="diffusion"), key=lambda row: row["dimension"])
    capacity = Interval.of(last, "capacity")
    return last["smoothed"] not in capacity, last | {"capacity": capacity}


@claim(
    "Learned networks [hold|do not hold] as many patterns as exact diffusion ({exact:.1f}), within the intervals over "
    "repeats: {learned:.1f}.[| The protocol of Supp. A goes down from the exact capacity plus 4 to the first number "
    "that passes, which favours large ones; how long to train it does not say.]",
    published=True,
)
def learned(tables: Tables) -> Decision:
    learned, exact = (_capacities(tables, method) for method in ("learned", "diffusion"))
    evidence = {
        name: {f"d = {d}": found[d] for d in learned} for name, found in (("learned", learned), ("exact", exact))
    }
    return all(learned[d].overlaps(exact[d]) for d in learned), evidence


CLAIMS = [growth, classical, equal, euler, smoothing, learned]

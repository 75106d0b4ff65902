"""What is claimed of the equivalence of modern Hopfield networks and exact diffusion."""

from dispersed.paper.claim import Decision, Interval, Tables, claim, select
from dispersed.paper.equivalence.measure import RETRIEVAL
from dispersed.paper.results import Row

EQUAL_NORMS = ("±1", "sphere")
ROUND_OFF = 1e-7
"""Relative to the spread of patterns; exponents of a thousand lose four digits of sixteen."""


def _rows(tables: Tables, prior: str = "uniform", equal: bool = False) -> list[Row]:
    rows = select(tables["equivalence"], prior=prior)
    return [row for row in rows if (row["ensemble"] in EQUAL_NORMS) == equal]


@claim(
    "For patterns of equal norms, ±1 and on the sphere, both [are|are not] one at every β from {least} to {most}, not "
    "only as β grows: one update differs by at most {largest:.1e} of the spread of the patterns.",
    published=True,
)
def equal_norms(tables: Tables) -> Decision:
    rows = _rows(tables, equal=True)
    betas = [row["beta"] for row in rows]
    largest = max(row["output_difference"] for row in rows)
    same = largest < ROUND_OFF and all(row["same_end"] == 1 for row in rows)
    return same, {"least": min(betas), "most": max(betas), "largest": largest}


@claim(
    "Unequal norms [only shift the energy|do more than shift the energy]: the fraction of cues of which both recalls "
    "end in one state is, at the β where it is least, {least:.2f}.",
    published=True,
)
def unequal_norms(tables: Tables) -> Decision:
    rows = _rows(tables)
    least = {
        name: min(select(rows, ensemble=name), key=lambda row: row["same_end"])
        for name in dict.fromkeys(row["ensemble"] for row in rows)
    }
    evidence = {f"{name} (β = {row['beta']:g})": row["same_end"] for name, row in least.items()}
    return all(row["same_end"] > 0.99 for row in least.values()), {"least": evidence}


@claim(
    "The prior log w = ‖y‖²/2σ² [makes|does not make] diffusion the network for every distribution: one update then "
    "differs by at most {largest:.1e} of the spread."
)
def repaired(tables: Tables) -> Decision:
    largest = max(row["output_difference"] for row in select(tables["equivalence"], prior="repaired"))
    return largest < ROUND_OFF, {"largest": largest}


@claim(
    "Where β times the range of squared norms is small both agree, as the energies say: the distance of their "
    "responsibilities [is|is not] below tanh(βR/8) for every cue, and at β = {beta} it is {variation:.3f}."
)
def bound(tables: Tables) -> Decision:
    rows = _rows(tables)
    least = min(row["beta"] for row in rows)
    variation = {row["ensemble"]: row["variation"] for row in select(rows, beta=least)}
    return all(row["bound_holds"] for row in rows), {"beta": least, "variation": variation}


@claim(
    "Where recalls end [is|is not] predicted by the patterns that lead at the cue: from β = {beta:g} on in "
    "{predicted:.1%} of all cues both recalls end together if and only if both have one leading pattern."
)
def predicted(tables: Tables) -> Decision:
    rows = [row for row in _rows(tables) if row["beta"] >= RETRIEVAL]
    share = sum(row["predicted"] * row["cues"] for row in rows) / sum(row["cues"] for row in rows)
    return share > 0.9, {"beta": RETRIEVAL, "predicted": share}


@claim(
    "Where norms differ, exact diffusion [recalls|does not recall] more cues at their own noise than the network: from "
    "β = {beta:g} on {diffusion:.3f} beside {network:.3f}."
)
def recall_of_unequal_norms(tables: Tables) -> Decision:
    rows = [row for row in _rows(tables) if row["beta"] >= RETRIEVAL]
    cues = sum(row["cues"] for row in rows)
    diffusion, network = (
        Interval.fraction(sum(row[f"right_{kind}"] * row["cues"] for row in rows) / cues, cues)
        for kind in ("diffusion", "network")
    )
    return diffusion > network, {"beta": RETRIEVAL, "diffusion": diffusion, "network": network}


CLAIMS = [equal_norms, unequal_norms, repaired, bound, predicted, recall_of_unequal_norms]

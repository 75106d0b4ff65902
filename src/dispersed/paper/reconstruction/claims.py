"""What is claimed of reconstructive memory: the core is faithful, the rest plausible and made up."""

import math

from dispersed.paper.claim import Decision, Interval, Tables, claim, only
from dispersed.paper.results import Row

PLAUSIBLE = 5.0
"""The difference of log density from real digits, in nats, below which an image is as plausible as they are."""


def _recalled(tables: Tables, memory: str) -> Row:
    """Fidelity with 8 of 64 numbers stored."""
    return only(tables["reconstruction"], task="fidelity", memory=memory, core=8)


@claim(
    "With {core} of 64 numbers stored, recall [returns|does not return] the core faithfully: to {core_error:.2%} of "
    "its standard deviation.",
    published=True,
)
def core(tables: Tables) -> Decision:
    row = _recalled(tables, "conditioned")
    return row["core_error"] < 0.01, row


@claim(
    "The rest [is|is not] made up: its error is {rest_error:.2f} of its standard deviation, where the best guess from "
    "the core has {guess:.2f} and an unrelated digit {unrelated:.2f}; {same_digit:.0%} of the recalled images show the "
    "event's digit.",
    published=True,
)
def rest(tables: Tables) -> Decision:
    row, guess = _recalled(tables, "conditioned"), _recalled(tables, "conditional_mean")["rest_error"]
    return guess < row["rest_error"] < math.sqrt(2), row | {"guess": guess, "unrelated": math.sqrt(2)}


@claim(
    "Recalled images [are|are not] as plausible as real ones: their log density under semantic memory is "
    "{plausibility:+.1f} nats beside the events'.",
    published=True,
)
def plausible(tables: Tables) -> Decision:
    row = _recalled(tables, "conditioned")
    return abs(row["plausibility"]) < PLAUSIBLE, row


@claim(
    "Eq. 25 as printed[, a sum, reconstructs too| adds core and semantic memory as alternatives instead of letting one "
    "constrain the other]: recalled images are {plausibility:+.1f} nats from the plausibility of real digits, and the "
    "core is off by {core_error:.1%} of its standard deviation.",
    published=True,
)
def printed(tables: Tables) -> Decision:
    row = _recalled(tables, "printed")
    return abs(row["plausibility"]) < PLAUSIBLE and row["core_error"] < 0.05, row


@claim(
    "Broken glass [is|is not] seen: of events whose lower half was blank, recall from the upper half brings back "
    "{ink:.0%} of the ink that a whole digit has there, which correlates by {match:.2f} with lower halves that were "
    "never stored; a pattern memory of the same events brings back {stored:.0%}, Eq. 25 as printed {printed:.0%}, a "
    "grey that correlates by {grey_match:.2f}.",
    published=True,
)
def broken_glass(tables: Tables) -> Decision:
    memories = ("conditioned", "pattern_memory", "printed")
    rows = [only(tables["reconstruction"], task="broken_glass", memory=memory) for memory in memories]
    ink, stored, printed = (Interval.of(row, "ink", "ink") for row in rows)
    match, _, grey_match = (row["ink_match"] for row in rows)
    evidence = {"ink": ink, "stored": stored, "printed": printed, "match": match, "grey_match": grey_match}
    return ink > stored and match > max(0.2, grey_match), evidence


CLAIMS = [core, rest, plausible, printed, broken_glass]

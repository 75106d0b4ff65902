"""What is claimed of replay: what drift alone does, what feeds back, and what is left of an event."""

import itertools
from typing import Any

from dispersed.paper.claim import Decision, Interval, Tables, claim, only, select
from dispersed.paper.replay.measure import EVENTS, NETWORK_REPLAYS, NOVELTY, SHARPNESS
from dispersed.paper.results import Row


def _feedback(tables: Tables, kind: str) -> dict[str, Any]:
    """How often event 0 is the last one under a kind of replay, and when one is."""
    row = only(tables["replay"], part="feedback", kind=kind)
    return row | {"wins": Interval.of(row, "wins", "wins"), "time": Interval.of(row, "fixation_time", "time")}


def _last(tables: Tables, part: str) -> dict[str, Row]:
    """The last generation of every kind."""
    return {row["kind"]: row for row in select(tables["replay"], part=part)}


@claim(
    "Neutral replay [is|is not] the drift of theory: event 0 is the last one in {wins:.3f} of {runs} runs (theory 1/N "
    "= {wins_expected:.3f}), after {time:.1f} generations (theory {time_expected:.1f})."
)
def drift(tables: Tables) -> Decision:
    found = _feedback(tables, "neutral")
    return found["wins_expected"] in found["wins"] and found["time_expected"] in found["time"], found


@claim(
    "Training on one's own replays [is|is not] by itself a positive feedback: one event is alone after {time:.1f} "
    "generations, by drift after {time_expected:.1f}.",
    published=True,
)
def positive_feedback(tables: Tables) -> Decision:
    found = _feedback(tables, "neutral")
    return found["time"].high < found["time_expected"], found


@claim(
    f"Replay sharper than what was learned (γ = {SHARPNESS:g}) [feeds|does not feed] back on itself: one event is "
    f"alone "
    "after {time:.1f} generations, by neutral replay after {neutral:.1f}; event 0 is that one in {wins:.3f} of the "
    "runs.",
    published=True,
)
def sharper(tables: Tables) -> Decision:
    found, neutral = _feedback(tables, "sharp"), _feedback(tables, "neutral")["time"]
    return neutral > found["time"], found | {"neutral": neutral}


@claim(
    f"Replaying event 0 with an advantage of {NOVELTY:g} [makes|does not make] it the last one as often as theory "
    f"says, {{wins_expected:.3f}}, and more often than chance, 1/{EVENTS}: in {{wins:.3f}} of the runs."
)
def novelty(tables: Tables) -> Decision:
    found = _feedback(tables, "novelty")
    return found["wins_expected"] in found["wins"] and found["wins"].low > 1 / EVENTS, found


@claim(
    "Interleaved replay [protects|does not protect] what was learned first: seven events later its probability is, "
    "with {weights:.3f}.",
    published=True,
)
def interleaving(tables: Tables) -> Decision:
    rows = _last(tables, "forgetting").values()
    weights = {f"{float(row['kind']):.0%} replay": Interval.of(row, "value") for row in rows}
    return all(more > less for less, more in itertools.pairwise(weights.values())), {"weights": weights}


@claim("What is left of the first event ({weights:.3f}) [is|is not] what theory says: {theory:.3f}.")
def forgetting(tables: Tables) -> Decision:
    rows = _last(tables, "forgetting").values()
    weights, theory = [Interval.of(row, "value") for row in rows], [row["expected"] for row in rows]
    holds = all(expected in weight for expected, weight in zip(theory, weights, strict=True))
    return holds, {"weights": weights, "theory": theory}


@claim(
    "Replayed by their upper half alone, eight digits [keep|do not keep] that core: after {generation} generations "
    "(noise 0.05 a generation) it differs from the event by {core_rms:.3f} rms, the rest by {rest_rms:.2f}; "
    "{frozen:.0f} of 64 units are frozen, and {same_digit:.0%} of the reconstructions show the same digit, the others "
    "are false memories.",
    published=True,
)
def core(tables: Tables) -> Decision:
    last = _last(tables, "core")["upper half"]
    return last["core_rms"] < last["rest_rms"] / 2, last


@claim(
    f"In score networks, {{generation}} generations on their own {NETWORK_REPLAYS} replays [leave|do not leave] the "
    "diversity that drift alone does: {diversity:.3f}, by drift {expected:.3f}."
)
def network_drift(tables: Tables) -> Decision:
    row = _last(tables, "network")["drift"]
    diversity = Interval.of(row, "value")
    return row["expected"] in diversity, row | {"diversity": diversity}


@claim(
    "Networks that train on their own replays alone [lose|do not lose] the events: replays lie {distance:.3f} from the "
    "nearest one, and {interleaved:.3f} when half of each training is the events themselves."
)
def network_interleaved(tables: Tables) -> Decision:
    rows = _last(tables, "network")
    distance, interleaved = (rows[kind]["distance"] for kind in ("drift", "interleaved"))
    return interleaved < distance, {"distance": distance, "interleaved": interleaved}


@claim(
    "A network that trains on replays among which event 0 is chosen twice as often [raises|does not raise] its "
    "probability from "
    f"one in {EVENTS}: to {{first:.3f}} (exact sampling: {{first_expected:.3f}}).",
    published=True,
)
def network_novelty(tables: Tables) -> Decision:
    row = _last(tables, "network")["novelty"]
    first = Interval.of(row, "first_event", "first")
    return first.low > 1 / EVENTS, row | {"first": first}


CLAIMS = [
    drift,
    positive_feedback,
    sharper,
    novelty,
    interleaving,
    forgetting,
    core,
    network_drift,
    network_interleaved,
    network_novelty,
]

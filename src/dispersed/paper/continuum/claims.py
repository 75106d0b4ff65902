"""What is claimed of the continuum between recall and generation."""

from dispersed.paper.claim import Claim, Decision, Tables, claim, select
from dispersed.paper.continuum.measure import MEMORIES


def _passage(memory: str) -> Claim:
    """That recall by a memory turns from faithful through reconstructive into generative as the cue fades."""

    def decide(tables: Tables) -> Decision:
        rows = sorted(select(tables["continuum"], memory=memory), key=lambda row: -row["alpha"])
        first, last, middle = rows[0], rows[-1], max(rows, key=lambda row: row["same_digit"])
        evidence = {
            "first": first["alpha"],
            "middle": middle["alpha"],
            "last": last["alpha"],
            "same_image": first["same_image"],
            "same_digit": middle["same_digit"],
            "other_digit": last["other_digit"],
        }
        between = last["alpha"] < middle["alpha"] < first["alpha"]
        return between and min(first["same_image"], last["other_digit"]) > 0.5, evidence

    return Claim(
        memory,
        decide,
        f"{MEMORIES[memory].capitalize()}: as the cue fades recall [turns|does not turn] into reconstruction and then "
        f"into "
        "generation. At α = {first:g}, {same_image:.0%} of the cues bring back the very image; another image of the "
        "digit is most frequent at α = {middle:g}, {same_digit:.0%}; at α = {last:g}, {other_digit:.0%} bring back "
        "another digit (by chance 90 %).",
        published=True,
    )


@claim(
    "Free generation by the exact memory (novelty {exact:.2f}) and by the smoothed memory ({smoothed:.2f}) [are|are "
    "not] a copy of something stored and something about as new as a stored neighbour is."
)
def novelty(tables: Tables) -> Decision:
    least = min(row["alpha"] for row in tables["continuum"])
    found = {row["memory"]: row["novelty"] for row in select(tables["continuum"], alpha=least)}
    return found["exact"] < 0.05 and found["smoothed"] > 0.5, found


CLAIMS = [*map(_passage, MEMORIES), novelty]

"""What is claimed of the three landscapes of Figure 1: how many directions each kind of memory leaves open."""

from dispersed.paper.claim import Claim, Decision, Tables, only

OPEN = {
    "points": (0, "Point memories ({equation}) leave"),
    "extended": (1, "Extended memories ({equation}), segments, a circle and a blob about a line, leave"),
    "semantic": (1, "The semantic memory ({equation}), a density on a curve, leaves"),
}
"""The dimension of each memory, and what a sentence about it begins with."""


def _landscape(memory: str) -> Claim:
    def decide(tables: Tables) -> Decision:
        row = only(tables["figure1"], memory=memory)
        near = abs(row["local_dimension"] - OPEN[memory][0]) < 0.2 and row["largest_distance"] < 0.05
        return near, row

    text = (
        f"{OPEN[memory][1]} {{local_dimension:.2f}} directions open[|, not {OPEN[memory][0]}, or recall misses them]: "
        "recalled states, in {cells} cells of side 0.1, are at most {largest_distance:.3f} from a memory."
    )
    return Claim(memory, decide, text, published=True)


CLAIMS = list(map(_landscape, OPEN))

"""What is claimed of Figure 2: that all trajectories end at the same states."""

import numpy as np

from dispersed.paper.claim import Claim, Decision, Tables, claim, only, select
from dispersed.paper.figure2.measure import ALPHA, CUES, METHODS, PATTERNS

REASONS = {
    "diffusion": "",
    "diffusion_sde": ": one sample of the SDE is a draw from the posterior over patterns (Sec. 5.1)",
    "learned": "",
}
"""Why a kind of recall need not end where the Hopfield updates do."""


def _same(method: str) -> Claim:
    def decide(tables: Tables) -> Decision:
        same = only(tables["figure2"], method=method)["same_as_hopfield"]
        return same >= 0.95, {"other": 1 - same}

    text = (
        f"Recall by {METHODS[method]}, from {PATTERNS * CUES} cues at α = {ALPHA} [ends|does not end] where four "
        f"modern Hopfield updates do: {{other:.1%}} of the signs differ[|{REASONS[method]}]."
    )
    return Claim(method, decide, text, published=True)


@claim(
    "A single Hopfield update [is|is not] enough for the cue shown: after it the state is {left:.1e} per unit from "
    "that after four.",
    published=True,
)
def single_update(tables: Tables) -> Decision:
    path = select(tables["figure2_trajectories"], method="modern_hopfield")
    states = np.array([[value for name, value in row.items() if name.startswith("unit_")] for row in path])
    left = float(np.sqrt(np.mean((states[1] - states[-1]) ** 2)))
    return left < 0.1, {"left": left}


CLAIMS = [*map(_same, REASONS), single_update]

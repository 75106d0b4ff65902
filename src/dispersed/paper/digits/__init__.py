"""Real handwritten digits recalled from noisy and from half-masked cues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispersed.paper import departures
from dispersed.paper.experiment import Experiment

if TYPE_CHECKING:
    from dispersed.paper.findings import Findings


def find(folder: Path, seed: int, cues: int) -> Findings:
    """The rows, their picture and what they say."""
    from dispersed.paper.digits.measure import digits, sentences
    from dispersed.paper.digits.plot import plot_digits
    from dispersed.paper.findings import Findings

    rows, pictures = digits(seed, cues)
    return Findings(rows, plot_digits(pictures), sentences(rows))


EXPERIMENT = Experiment(
    name="digits",
    place="Secs. 3 and 7, on real data",
    title="Digits: 1,797 real handwritten digits stored, then recalled",
    about="Real handwritten digits recalled from noisy and from half-masked cues.",
    paper="The paper recalls random binary patterns only. Its methods, on real images.",
    picture="Rows of eight handwritten digits: stored, noisy at α = 0.68, recalled by five dynamics; then with "
    "the lower half masked, and completed by the paper's zero mask and by taking the seen pixels as evidence.",
    find=find,
    full={"cues": 60},
    quick={"cues": 24},
    departs=departures.digits,
)

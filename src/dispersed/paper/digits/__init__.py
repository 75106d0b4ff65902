"""Real handwritten digits recalled from noisy and from half-masked cues."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, cues: int) -> Findings:
    from dispersed.paper.digits.claims import CLAIMS
    from dispersed.paper.digits.measure import digits
    from dispersed.paper.digits.plot import plot_digits

    rows, pictures = digits(seed, cues)
    return Findings(rows, plot_digits(pictures), CLAIMS)


EXPERIMENT = Experiment(
    name="digits",
    place="Secs. 3 and 7, on real data",
    title="Digits: 1,797 real handwritten digits stored, then recalled",
    about="Real handwritten digits recalled from noisy and from half-masked cues.",
    paper="The paper recalls random binary patterns only. Its methods, on real images.",
    picture="Rows of eight handwritten digits: stored, noisy at α = 0.68, recalled by five dynamics; then with "
    "the lower half masked, and completed by the paper's zero mask and by taking the observed pixels as evidence.",
    find=find,
    full={"cues": 60},
    quick={"cues": 24},
)

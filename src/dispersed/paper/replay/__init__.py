"""Consolidation (Sec. 6.2): memories trained on their own replays, against drift."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, runs: int, networks: int) -> Findings:
    from dispersed.paper.replay.claims import CLAIMS
    from dispersed.paper.replay.measure import replays
    from dispersed.paper.replay.plot import plot_replay

    rows, pictures = replays(seed, runs, networks)
    return Findings(rows, plot_replay(rows, pictures), CLAIMS)


EXPERIMENT = Experiment(
    name="replay",
    place="Sec. 6.2",
    title="Consolidation and replay: memories trained on what they replay",
    about="Consolidation (Sec. 6.2): memories trained on their own replays, against drift.",
    paper="Training on self-generated samples is a positive feedback by which a single event becomes a "
    "localised episodic memory; if only some features are replayed faithfully, a low-dimensional core is left. "
    "Claimed, not measured.",
    picture="Six panels: one history of drift among eight events; diversity falling by generation; the first "
    "event forgotten unless replay is interleaved; error of core and rest under partial replay; a digit 5 and "
    "what became of it; diversity in score networks.",
    find=find,
    full={"runs": 300, "networks": 6},
    quick={"runs": 40, "networks": 2},
)

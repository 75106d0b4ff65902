"""Consolidation (Sec. 6.2): memories trained on their own replays, against drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dispersed.paper import departures
from dispersed.paper.experiment import Experiment

if TYPE_CHECKING:
    from dispersed.paper.findings import Findings


def find(folder: Path, seed: int, runs: int, networks: int) -> Findings:
    """The rows, their picture and what they say."""
    from dispersed.paper.findings import Findings
    from dispersed.paper.replay.measure import replays, sentences
    from dispersed.paper.replay.plot import plot_replay

    rows, pictures = replays(seed, runs, networks)
    return Findings(rows, plot_replay(rows, pictures), sentences(rows))


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
    departs=departures.replay,
)

"""Running an experiment of the catalogue, unless its results are there already."""

import time
from pathlib import Path
from typing import Any

from dispersed.report.catalogue import Experiment
from dispersed.report.findings import About, Findings, leave, read_about
from dispersed.report.provenance import code


def settings_of(experiment: Experiment, seed: int, quick: bool, repeats: int | None) -> dict[str, Any]:
    """All that decides what comes out."""
    settings = experiment.settings(quick) | {"seed": seed}
    return settings if repeats is None else settings | {"repeats": repeats}


def is_done(experiment: Experiment, folder: Path, seed: int, quick: bool) -> bool:
    """Whether `folder` holds these very results: same settings and seed, computed by the same code."""
    about = read_about(folder, experiment.name)
    return about is not None and (about.settings, about.code) == (settings_of(experiment, seed, quick, None), code())


def run(
    experiment: Experiment, folder: Path, seed: int, quick: bool, repeats: int | None = None
) -> tuple[About, Findings]:
    """Compute the results and leave them in `folder`."""
    settings = settings_of(experiment, seed, quick, repeats)
    start = time.perf_counter()
    findings = experiment.find(folder, **settings)
    seconds = time.perf_counter() - start
    command = experiment.command(seed, quick, repeats)
    title = experiment.title.format(**settings)
    return leave(folder, experiment.name, title, findings, command, settings, seconds), findings

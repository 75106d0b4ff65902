"""Running experiments of the catalogue, one or all, unless their results are there already."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from dispersed.machine import processor_cores
from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.experiment import Experiment, Findings
from dispersed.paper.findings import About, read_about, write
from dispersed.paper.provenance import code

Result = TypeVar("Result")
NOTHING: Mapping[str, Any] = MappingProxyType({})


def settings_of(experiment: Experiment, seed: int, quick: bool, changed: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """All that decides what comes out: the settings of the experiment, and those that were `changed`."""
    return experiment.settings(quick) | {"seed": seed} | dict(changed)


def is_done(experiment: Experiment, folder: Path, seed: int, quick: bool) -> bool:
    """Whether `folder` holds these very results: same settings and seed, computed by the same code."""
    about = read_about(folder, experiment.name)
    return about is not None and (about.settings, about.code) == (settings_of(experiment, seed, quick), code())


def run(
    experiment: Experiment,
    folder: Path,
    seed: int,
    quick: bool,
    changed: Mapping[str, Any] = NOTHING,
    note: str = "",
) -> tuple[About, Findings]:
    """Compute the results and write them into `folder`."""
    settings = settings_of(experiment, seed, quick, changed)
    start = time.perf_counter()
    findings = experiment.find(folder, **settings)
    findings = replace(findings, note=" ".join(filter(None, [note, findings.note])))
    seconds = time.perf_counter() - start
    command = experiment.command(seed, quick, changed)
    title = experiment.title.format(**settings)
    return write(folder, experiment.name, title, findings, command, settings, seconds), findings


def run_quick(name: str, folder: Path, seed: int) -> About:
    """Run one experiment in quick mode, while others run beside it."""
    return run(EXPERIMENTS[name], folder, seed, quick=True, note="Others ran beside it.")[0]


def beside(function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """`function` of the arguments of every job, in processes side by side; each result as it is finished.

    After an error or an interrupt no further job is begun.
    """
    # Forking a process in which JAX has started threads may lock up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processor_cores(), MOST_BESIDE), context, initializer=_begin_worker) as pool:
        try:
            for future in as_completed([pool.submit(function, *job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


MOST_BESIDE = 4
"""Processes at once: each takes about a gigabyte of memory."""


def _begin_worker() -> None:
    # The progress bars of several processes would overwrite each other, and an interrupt is told once, by the parent.
    os.environ["TTY_COMPATIBLE"] = "0"
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """No worker goes on, and writes, after the command that began it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

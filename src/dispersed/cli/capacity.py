"""`dispersed capacity`: how many patterns a kind of memory holds."""

import contextlib
import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dispersed.paper.experiment import Findings

MOST_UNITS, MOST_SETS, MOST_PATTERNS, MOST_DEGREE = 1000, 100_000, 1 << 20, 64
"""The largest numbers that are accepted: closed forms of more units or of higher degrees overflow."""


class Measure(enum.StrEnum):
    """What counts as an error."""

    hamming = "hamming"
    pattern = "pattern"
    nearest = "nearest"
    overlap = "overlap"
    square = "square"


MEASURED = {
    "hamming": "fraction of wrong units",
    "pattern": "fraction of cues with any wrong unit",
    "nearest": "fraction of states to which another pattern is nearer",
    "overlap": "fraction of states whose cosine with the right pattern is below 0.9",
    "square": "squared error of a unit",
}


class Statistic(enum.StrEnum):
    """How errors of pattern sets are averaged."""

    mean = "mean"
    median = "median"


def capacity_command(
    method: Annotated[
        list[str],
        typer.Option(help="Kind of memory, such as modern-hopfield; may be repeated. ? lists them."),
    ],
    dimensions: Annotated[
        str | None,
        typer.Option(help="Units: one number, a list 8,12,16 or a range 4:24; 10 by default, of a file those it has."),
    ] = None,
    ensemble: Annotated[
        str,
        typer.Option(
            help="Patterns: rademacher (±1), sparse:ACTIVITY (0/1), gaussian, spherical, manifold:LATENT, or a file of "
            "patterns, of which sets are drawn."
        ),
    ] = "rademacher",
    alpha: Annotated[str, typer.Option(help="Signal level of the cues, in (0, 1], or a list of them.")] = "0.68",
    mask_rate: Annotated[
        float | None,
        typer.Option(help="Instead of noise, set each entry to zero at this rate; recall is then told --alpha."),
    ] = None,
    flip_rate: Annotated[
        float | None,
        typer.Option(help="Instead of noise, flip each unit at this rate; recall is told the level that fits."),
    ] = None,
    threshold: Annotated[str, typer.Option(help="Tolerated error, in (0, 1), or a list.")] = "0.03",
    measure: Annotated[Measure, typer.Option(help=" ".join(f"{name}: {text}." for name, text in MEASURED.items()))] = (
        Measure.hamming
    ),
    statistic: Annotated[Statistic, typer.Option(help="Average over pattern sets.")] = Statistic.mean,
    sets: Annotated[int, typer.Option(help="Random pattern sets per cell.")] = 140,
    precision: Annotated[
        float | None,
        typer.Option(help="More sets where the error crosses the threshold, until half of the interval is this part."),
    ] = None,
    max_patterns: Annotated[int, typer.Option(help="Where to stop; a larger capacity is reported as a bound.")] = 4096,
    beta: Annotated[float, typer.Option(help="Inverse temperature of modern-hopfield.")] = 5.0,
    degree: Annotated[int, typer.Option(help="Degree of dense-polynomial.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for results; made if missing.")] = Path("results"),
) -> None:
    """Estimate how many random patterns a memory holds before its recall error crosses a threshold.

    Writes capacity.json/.csv/.md/.png with 95 % intervals and capacity_errors.json/.csv, the error grid. Columns
    `smoothed` average over neighbouring dimensions by a Gaussian kernel of σ = 1.5, as in the paper's Figure 3. Lists
    of --alpha or --threshold make a heat map. Finished cells are stored in OUT/cells/capacity.jsonl: a run that was
    stopped goes on where it was.
    """
    import time

    import numpy as np

    from dispersed.capacities import CellFile, Sparse
    from dispersed.capacities.capacity import check_target
    from dispersed.capacities.methods import methods
    from dispersed.cli.numbers import numbers, whole_numbers
    from dispersed.cli.terminal import command_line, say, show
    from dispersed.paper.findings import write
    from dispersed.paper.results import output_folder
    from dispersed.validation import InputError, random_seed, signal_level, whole_number

    alphas, thresholds = numbers("alpha", alpha), numbers("threshold", threshold)
    whole_number("sets", sets, 2, MOST_SETS)
    whole_number("max-patterns", max_patterns, 1, MOST_PATTERNS)
    whole_number("degree", degree, 2, MOST_DEGREE)
    random_seed(seed)
    patterns = _ensemble(ensemble)
    units = str(patterns.shape[1] if isinstance(patterns, np.ndarray) else 10) if dimensions is None else dimensions
    wanted = whole_numbers("dimensions", units, MOST_UNITS)
    if mask_rate is not None and flip_rate is not None:
        raise InputError("mask-rate, flip-rate", "got both", "at most one of them is accepted")
    if flip_rate is not None and len(alphas) > 1:
        raise InputError("alpha", f"got {alpha!r} with --flip-rate", "recall from flips is told the level that fits")
    corruption, cue = _corruption(alphas, mask_rate, flip_rate, 0.5 if isinstance(patterns, Sparse) else 0.0)
    for limit in thresholds:
        check_target(measure.value, limit, statistic.value, precision)
    for level in alphas:
        signal_level(level)
    known = {name.replace("_", "-").removesuffix(f"-{degree}"): name for name in methods(beta, degree)}
    for name in method:
        if name not in known:
            raise InputError("method", f"got {name!r}", f"{', '.join(known)} are accepted")
    by_products = precision is not None and patterns is None and mask_rate is None and flip_rate is None

    def chosen(level: float) -> dict[str, Any]:
        available = methods(beta, degree, level if by_products else None)
        return {known[name]: available[known[name]] for name in method}

    folder = output_folder(out)
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "measure": measure.value,
        "statistic": statistic.value,
        "sets": sets,
        "max_patterns": max_patterns,
        "seed": seed,
        "mask_rate": mask_rate,
        "corruption": corruption,
        "ensemble": patterns,
        "precision": precision,
        "cells": CellFile(output_folder(folder / "cells") / "capacity.jsonl"),
    }
    with _said_of_ensemble(ensemble):
        if len(alphas) == len(thresholds) == 1:
            findings = _curves(chosen(alphas[0]), wanted, alphas[0], thresholds[0], settings)
            title = f"Capacity at {thresholds[0]:.3g} {statistic} {measure} error, {cue}"
        else:
            findings = _maps(chosen, wanted, alphas, thresholds, settings)
            title = f"Capacity over {statistic} {measure} error and noise, {cue}"
    seconds = time.perf_counter() - start
    about = write(folder, "capacity", title, findings, command_line(), {"seed": seed}, seconds)
    show(title, findings.rows, [verdict.marked for verdict in about.verdicts])
    say(f"Written: {folder / 'capacity'}.json, .csv, .md, .png\n")


def _corruption(
    alphas: list[float], mask_rate: float | None, flip_rate: float | None, middle: float
) -> tuple[Any, str]:
    """The corruption of cues where it is neither noise nor a mask, else None, and how cues are described."""
    from dispersed.capacities import Flip
    from dispersed.validation import probability

    if flip_rate is not None:
        return Flip(probability("flip-rate", flip_rate), middle=middle), f"units flipped at rate {flip_rate:g}"
    if mask_rate is not None:
        return None, f"entries masked at rate {mask_rate:g}"
    return None, f"α = {', '.join(f'{level:g}' for level in alphas)}"


def _curves(kinds: dict[str, Any], dimensions: list[int], alpha: float, threshold: float, settings: Any) -> "Findings":
    """Capacity over dimensions, at one noise level and threshold, beside theory where there is one."""
    from dispersed.paper.capacity.claims import measured
    from dispersed.paper.capacity.measure import capacities, theories
    from dispersed.paper.capacity.plot import plot_capacity
    from dispersed.paper.experiment import Findings

    rows, errors = capacities(kinds, dimensions, alpha=alpha, threshold=threshold, **settings)
    noisy = all(settings[other] is None for other in ("mask_rate", "corruption", "ensemble"))
    comparable = noisy and (settings["measure"], settings["statistic"]) == (Measure.hamming, Statistic.mean)
    curves = theories(kinds, alpha if comparable else 1.0, threshold)
    labels = {name: kind.label for name, kind in kinds.items()}
    axes = plot_capacity(rows, errors, labels, curves, f"{settings['measure']}_{settings['statistic']}", threshold)
    return Findings(rows, axes, [measured(*named) for named in labels.items()], {"capacity_errors": errors})


def _maps(
    chosen: Callable[[float], dict[str, Any]],
    dimensions: list[int],
    alphas: list[float],
    thresholds: list[float],
    settings: Any,
) -> "Findings":
    """Capacity over noise levels and thresholds, of the methods `chosen` for each level."""
    from dispersed.paper.capacity.claims import mapped
    from dispersed.paper.capacity.measure import capacity_maps
    from dispersed.paper.capacity.plot import plot_capacity_map
    from dispersed.paper.experiment import Findings

    rows, errors = capacity_maps(chosen, dimensions, alphas, thresholds, **settings)
    labels = {name: kind.label for name, kind in chosen(alphas[0]).items()}
    axes = plot_capacity_map(rows, labels)
    return Findings(rows, axes, [mapped(*named) for named in labels.items()], {"capacity_errors": errors})


@contextlib.contextmanager
def _said_of_ensemble(text: str) -> Iterator[None]:
    """What a memory does not accept as patterns is said of the option that they come from."""
    from dispersed.validation import InputError

    try:
        yield
    except InputError as error:
        argument, given, accepted = error._parts
        if argument != "patterns":
            raise
        accepted += "; rademacher has −1 and +1, sparse:ACTIVITY 0 and 1"
        raise InputError("ensemble", f"{text!r}: {given}", accepted) from None


def _ensemble(text: str) -> Any:
    """The ensemble of that name, with the number after its colon, or the patterns of that file; None for ±1."""
    from dispersed.capacities import Gaussian, HiddenManifold, Sparse, Spherical
    from dispersed.reading import read_states
    from dispersed.validation import InputError

    name, _, number = text.partition(":")
    plain = {"rademacher": None, "gaussian": Gaussian(), "spherical": Spherical()}
    if text in plain:
        return plain[text]
    if name in ("sparse", "manifold"):
        try:
            return Sparse(float(number or 0.1)) if name == "sparse" else HiddenManifold(int(number or 4))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError("ensemble", f"got {text!r}", f"{name}:NUMBER is accepted") from None
    if not Path(text).exists():
        names = "rademacher, sparse:ACTIVITY, gaussian, spherical, manifold:LATENT and files of patterns are accepted"
        raise InputError("ensemble", f"got {text!r}", names)
    return read_states(Path(text))

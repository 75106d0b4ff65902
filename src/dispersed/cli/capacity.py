"""`dispersed capacity`: how many patterns a kind of memory holds."""

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

MOST_UNITS, MOST_SETS, MOST_PATTERNS, MOST_DEGREE = 1000, 100_000, 1 << 20, 64
"""The largest numbers that are accepted: closed forms of more units or of higher degrees overflow."""


class Measure(enum.StrEnum):
    """What counts as an error."""

    hamming = "hamming"
    pattern = "pattern"


class Statistic(enum.StrEnum):
    """How errors of pattern sets are averaged."""

    mean = "mean"
    median = "median"


def capacity_command(
    method: Annotated[
        list[str],
        typer.Option(help="Kind of memory, such as modern-hopfield; may be repeated. ? lists them."),
    ],
    dimensions: Annotated[str, typer.Option(help="Units: one number, a list 8,12,16 or a range 4:24.")] = "10",
    alpha: Annotated[float, typer.Option(help="Signal level of the cues, in (0, 1].")] = 0.68,
    mask_rate: Annotated[
        float | None,
        typer.Option(help="Instead of noise, set each entry to zero at this rate; recall is then told --alpha."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Tolerated error, in (0, 1).")] = 0.03,
    measure: Annotated[
        Measure, typer.Option(help="hamming: fraction of wrong units. pattern: fraction of cues with any wrong unit.")
    ] = Measure.hamming,
    statistic: Annotated[Statistic, typer.Option(help="Average over pattern sets.")] = Statistic.mean,
    sets: Annotated[int, typer.Option(help="Random pattern sets per cell.")] = 140,
    max_patterns: Annotated[int, typer.Option(help="Where to stop; a larger capacity is reported as a bound.")] = 4096,
    beta: Annotated[float, typer.Option(help="Inverse temperature of modern-hopfield.")] = 5.0,
    degree: Annotated[int, typer.Option(help="Degree of dense-polynomial.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for results; made if missing.")] = Path("results"),
) -> None:
    """Estimate how many random ±1 patterns a memory holds before its recall error crosses a threshold.

    Writes capacity.json/.csv/.md/.png with 95 % intervals and capacity_errors.json/.csv, the error grid: mean and
    median, Hamming and whole-pattern error. Columns `smoothed` average over neighbouring dimensions by a
    Gaussian kernel of σ = 1.5, as in the paper's Figure 3. Finished cells are stored in OUT/cells/capacity.jsonl: a run
    that was stopped goes on where it was.
    """
    import time

    from dispersed.capacities import CellFile
    from dispersed.capacities.methods import methods
    from dispersed.cli.terminal import say, show
    from dispersed.paper.capacity.claims import measured
    from dispersed.paper.capacity.measure import capacities, theories
    from dispersed.paper.capacity.plot import plot_capacity
    from dispersed.paper.experiment import Findings
    from dispersed.paper.findings import write
    from dispersed.paper.results import output_folder
    from dispersed.validation import InputError, random_seed, whole_number

    wanted = _dimensions(dimensions)
    whole_number("sets", sets, 2, MOST_SETS)
    whole_number("max-patterns", max_patterns, 1, MOST_PATTERNS)
    whole_number("degree", degree, 2, MOST_DEGREE)
    random_seed(seed)
    available = methods(beta, degree)
    known = {name.replace("_", "-").removesuffix(f"-{degree}"): name for name in available}
    for name in method:
        if name not in known:
            raise InputError("method", f"got {name!r}", f"{', '.join(known)} are accepted")
    names = [known[name] for name in method]
    chosen = {name: available[name] for name in names}
    folder = output_folder(out)
    start = time.perf_counter()
    rows, errors = capacities(
        chosen,
        wanted,
        alpha=alpha,
        mask_rate=mask_rate,
        threshold=threshold,
        measure=measure.value,
        statistic=statistic.value,
        sets=sets,
        max_patterns=max_patterns,
        seed=seed,
        cells=CellFile(output_folder(folder / "cells") / "capacity.jsonl"),
    )
    cue = f"α = {alpha:g}" if mask_rate is None else f"entries masked at rate {mask_rate:g}"
    comparable = mask_rate is None and measure is Measure.hamming and statistic is Statistic.mean
    labels = {name: kind.label for name, kind in chosen.items()}
    curves = theories(chosen, alpha if comparable else 1.0, threshold)
    flags = "".join(f" --method {name}" for name in method) + f" --dimensions {dimensions} --alpha {alpha}"
    if mask_rate is not None:
        flags += f" --mask-rate {mask_rate}"
    flags += f" --threshold {threshold} --measure {measure} --statistic {statistic} --sets {sets}"
    flags += f" --max-patterns {max_patterns} --beta {beta} --degree {degree} --seed {seed}"
    title = f"Capacity at {threshold:.3g} {statistic} {measure} error, {cue}"
    axes = plot_capacity(rows, errors, labels, curves, f"{measure}_{statistic}", threshold)
    findings = Findings(rows, axes, [measured(*named) for named in labels.items()], {"capacity_errors": errors})
    command = f"dispersed capacity{flags}"
    about = write(folder, "capacity", title, findings, command, {"seed": seed}, time.perf_counter() - start)
    show(title, rows, [verdict.marked for verdict in about.verdicts])
    say(f"Written: {folder / 'capacity'}.json, .csv, .md, .png\n")


def _dimensions(text: str) -> list[int]:
    """The numbers that `text` names, ascending."""
    from dispersed.validation import InputError

    accepted = f"one number, a list such as 8,12,16 or a range such as 4:24 is accepted, of 1 to {MOST_UNITS}"
    try:
        if ":" in text:
            first, last = map(int, text.split(":"))
            found: Sequence[int] = range(first, last + 1)
        else:
            found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError("dimensions", f"got {text!r}", accepted) from None
    if not found or found[0] < 1 or found[-1] > MOST_UNITS:
        raise InputError("dimensions", f"got {text!r}", accepted)
    return list(found)

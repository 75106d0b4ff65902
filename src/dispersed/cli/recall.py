"""`dispersed recall`: the user's own patterns from the user's own cues."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class DynamicsName(enum.StrEnum):
    """The dynamics by the names used on the command line."""

    exponential = "exponential"
    flow = "flow"
    sde = "sde"
    iteration = "iteration"
    one_step = "one-step"


def recall_command(
    patterns: Annotated[Path, typer.Argument(help="Stored patterns: .npy, .npz, .csv, or a folder of images.")],
    cues: Annotated[Path, typer.Argument(help="Cues of the same size, in the units of the patterns.")],
    out: Annotated[Path, typer.Option(help="Folder for recalled.npy and recall.json/.csv.")] = Path("results"),
    dynamics: Annotated[
        DynamicsName,
        typer.Option(
            help="exponential: few steps, the default. flow: the paper's ODE. sde: a posterior sample. "
            "iteration: Hopfield. one-step: posterior mean."
        ),
    ] = DynamicsName.exponential,
    alpha: Annotated[float, typer.Option(help="Signal level of the cues, in (0, 1]: noise std is √(1−α²)/α.")] = 0.68,
    steps: Annotated[int | None, typer.Option(help="Steps of the dynamics; its own default if not given.")] = None,
    missing: Annotated[
        float | None,
        typer.Option(help="Value that marks unobserved cue entries; the others are then evidence, kept as given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for sde.")] = 0,
) -> None:
    """Recall stored patterns from noisy or incomplete cues.

    A cue is y + σε with σ = √(1−α²)/α, in the units of the patterns: scale the data so that the spread of
    the patterns is of order one. Writes recalled.npy, the recalled states, and recall.json/.csv, one row
    per cue: the recalled pattern, its probability given the cue, whether and how the recall ended, evaluations spent.
    """
    import jax
    import numpy as np
    from rich.console import Console

    from dispersed import PatternMemory, noise, recall
    from dispersed.dynamics import ExponentialIntegrator, Iteration, OneStep, ProbabilityFlow, ReverseSDE
    from dispersed.experiments.progress import track
    from dispersed.experiments.results import output_folder, write_atomically, write_rows
    from dispersed.files import read_states
    from dispersed.validation import InputError, at_least

    at_least("seed", seed, 0)
    sigma = noise.sigma_from_alpha(alpha)
    kinds = {
        DynamicsName.exponential: ExponentialIntegrator,
        DynamicsName.flow: ProbabilityFlow,
        DynamicsName.sde: ReverseSDE,
        DynamicsName.iteration: Iteration,
        DynamicsName.one_step: OneStep,
    }
    if steps is not None and dynamics is DynamicsName.one_step:
        raise InputError("steps", f"got {steps} for one-step", "one-step takes none")
    chosen = kinds[dynamics]() if steps is None else kinds[dynamics](steps=steps)
    stored, given = read_states(patterns, "patterns"), read_states(cues, "cues")
    if given.shape[1] != stored.shape[1]:
        shapes = f"got {given.shape[1]} entries a cue for patterns of {stored.shape[1]}"
        raise InputError("cues", shapes, "cues and patterns of one size are accepted")
    known = None if missing is None else ~(np.isnan(given) if np.isnan(missing) else given == missing)
    if known is not None:
        given = np.where(known, given, 0)
    folder = output_folder(out)
    memory = PatternMemory(stored)
    # One compiled program serves every batch: the last one is filled up with copies.
    size = min(256, len(given))
    key = jax.random.key(seed)
    batches = []
    for number, start in enumerate(track(range(0, len(given), size), "Recall")):
        rows = np.minimum(np.arange(start, start + size), len(given) - 1)
        result = recall(
            memory,
            given[rows],
            chosen,
            sigma=sigma,
            known=None if known is None else known[rows],
            key=jax.random.fold_in(key, number),
        )
        batches.append(jax.tree.map(np.asarray, result))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(given)], *batches)

    def as_array(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, joined.x)

    write_atomically(folder / "recalled.npy", as_array)
    write_rows(folder, "recall", joined.rows())
    certain, settled = np.mean(joined.probability > 0.99), np.mean(np.asarray(joined.converged))
    Console(highlight=False, soft_wrap=True).print(
        f"Recalled {len(given)} cues from {len(stored)} patterns of {stored.shape[1]} units: "
        f"{certain:.1%} with one memory above 99 % given the cue, {settled:.1%} converged.\n"
        f"Written: {folder}/recalled.npy, recall.json, recall.csv"
    )

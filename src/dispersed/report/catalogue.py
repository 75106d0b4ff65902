"""Every experiment: what it is, what the paper says of it, how it is run in full and in quick mode.

Commands, `dispersed reproduce all` and the report all come from `EXPERIMENTS`. Nothing heavy is imported until an
experiment is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispersed.report import departures

if TYPE_CHECKING:
    from dispersed.report.findings import Findings


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str
    """Of the command and of the files."""
    place: str
    """The table, figure, section and equations of the paper that it is about."""
    title: str
    """`{…}` is filled in from the settings."""
    about: str
    """What the command does, in one line."""
    paper: str
    """What the paper shows or claims."""
    picture: str
    """What is to be seen in the picture, for who cannot see it."""
    find: Callable[..., Findings]
    """From the folder of results, the seed and the settings to what was found."""
    full: Mapping[str, Any] = field(default_factory=dict)
    """Settings in full."""
    quick: Mapping[str, Any] | None = None
    """Settings in quick mode; None if it is quick in full."""
    departs: Callable[[departures.Tables], list[str]] = departures.none
    """What differs from the paper, in sentences, from the tables on disk by name."""

    def settings(self, quick: bool) -> dict[str, Any]:
        return dict(self.full if self.quick is None or not quick else self.quick)

    def command(self, seed: int, quick: bool, repeats: int | None = None) -> str:
        """The line that runs it."""
        flags = " --quick" * (quick and self.quick is not None)
        flags += "" if repeats is None else f" --repeats {repeats}"
        return f"dispersed reproduce {self.name}{flags} --seed {seed}"


def _table1(folder: Path, seed: int, repeats: int) -> Findings:
    from dispersed.experiments.table1 import table1, verdicts
    from dispersed.plots.table1 import plot_table1
    from dispersed.report.findings import Findings

    rows = table1(repeats, seed)
    return Findings(rows, plot_table1(rows), verdicts(rows))


def _figure1(folder: Path, seed: int) -> Findings:
    from dispersed.experiments.figure1 import figure1, sentences
    from dispersed.plots.figure1 import plot_figure1
    from dispersed.report.findings import Findings

    rows, landscapes = figure1(seed)
    return Findings(rows, plot_figure1(landscapes), sentences(rows))


def _figure2(folder: Path, seed: int, training_steps: int) -> Findings:
    from dispersed.experiments.figure2 import figure2, sentences
    from dispersed.plots.figure2 import plot_figure2
    from dispersed.report.findings import Findings

    rows, trajectories = figure2(seed, training_steps)
    return Findings(rows, plot_figure2(trajectories), sentences(rows), {"figure2_trajectories": trajectories})


def _figure3(folder: Path, seed: int, quick: bool) -> Findings:
    from dispersed.capacities import CellFile
    from dispersed.experiments import figure3
    from dispersed.experiments.capacities import theories
    from dispersed.experiments.results import output_folder
    from dispersed.plots.capacity import plot_figure3
    from dispersed.report.findings import Findings

    cells = CellFile(output_folder(folder / "cells") / "figure3.jsonl")
    before = len(cells)
    exact, errors = figure3.exact_capacities(seed, quick, cells)
    agreement = figure3.euler_agreement(exact, seed)
    learned, trainings = figure3.learned_dots(exact, seed, quick, cells)
    rows = exact + learned
    methods = figure3.compared()
    labels = {**{name: method.label for name, method in methods.items()}, "learned": "learned networks"}
    curves = [row for row in errors if row["method"] == "diffusion" and row["n_patterns"] in figure3.N_PATTERNS]
    axes = plot_figure3(rows, curves, labels, theories(methods, figure3.ALPHA, figure3.THRESHOLD))
    return Findings(
        rows,
        axes,
        figure3.sentences(rows, agreement),
        {"figure3_errors": errors, "figure3_trainings": trainings, "figure3_agreement": agreement},
        f"{before} cells were kept from an earlier run, whose time is not in this one." if before else "",
    )


def _digits(folder: Path, seed: int, cues: int) -> Findings:
    from dispersed.experiments.digits import digits, sentences
    from dispersed.plots.digits import plot_digits
    from dispersed.report.findings import Findings

    rows, pictures = digits(seed, cues)
    return Findings(rows, plot_digits(pictures), sentences(rows))


def _posterior(folder: Path, seed: int, repeats: int, cues: int) -> Findings:
    from dispersed.experiments.posterior import posterior, sentences
    from dispersed.plots.posterior import plot_posterior
    from dispersed.report.findings import Findings

    rows = posterior(repeats=repeats, cues=cues, seed=seed)
    return Findings(rows, plot_posterior(rows), sentences(rows))


def _potential(folder: Path, seed: int, finest: int, paths: int) -> Findings:
    from dispersed.experiments.potential import potential, sentences
    from dispersed.plots.potential import plot_potential
    from dispersed.report.findings import Findings

    rows, pictures = potential(seed, finest, paths)
    return Findings(rows, plot_potential(rows, pictures), sentences(rows))


def _reconstruction(folder: Path, seed: int, events: int) -> Findings:
    from dispersed.experiments.reconstruction import reconstruction, sentences
    from dispersed.plots.reconstruction import plot_reconstruction
    from dispersed.report.findings import Findings

    rows, pictures = reconstruction(seed, events)
    return Findings(rows, plot_reconstruction(rows, pictures), sentences(rows))


def _spectrum(folder: Path, seed: int, probes: int) -> Findings:
    from dispersed.experiments.spectrum import sentences, spectrum
    from dispersed.plots.spectrum import plot_spectrum
    from dispersed.report.findings import Findings

    rows = spectrum(seed, probes)
    return Findings(rows, plot_spectrum(rows), sentences(rows))


def _continuum(folder: Path, seed: int, cues: int) -> Findings:
    from dispersed.experiments.continuum import continuum, sentences
    from dispersed.plots.continuum import plot_continuum
    from dispersed.report.findings import Findings

    rows, pictures = continuum(seed, cues)
    return Findings(rows, plot_continuum(rows, pictures), sentences(rows))


def _replay(folder: Path, seed: int, runs: int, networks: int) -> Findings:
    from dispersed.experiments.replay import replays, sentences
    from dispersed.plots.replay import plot_replay
    from dispersed.report.findings import Findings

    rows, pictures = replays(seed, runs, networks)
    return Findings(rows, plot_replay(rows, pictures), sentences(rows))


def _learned(folder: Path, seed: int, sets: int, steps: int, width: int) -> Findings:
    from dispersed.experiments.learned import learned, sentences
    from dispersed.plots.learned import plot_learned
    from dispersed.report.findings import Findings

    gaps, ends = learned(sets, steps, width, seed)
    return Findings(gaps, plot_learned(gaps), sentences(gaps, ends), {"learned_recall": ends})


def _synaptic(folder: Path, seed: int, sets: int, samples: int) -> Findings:
    from dispersed.experiments.synaptic import sentences, synaptic
    from dispersed.plots.synaptic import plot_synaptic
    from dispersed.report.findings import Findings

    rows = synaptic(sets, samples, seed)
    return Findings(rows, plot_synaptic(rows), sentences(rows))


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="table1",
            place="Table 1, Sec. 7 and Supp. A",
            title="Table 1: Pearson correlation with modern Hopfield output, {repeats} repeats",
            about="Table 1: correlation of modern Hopfield recall with diffusion, classical networks and the truth.",
            paper="Diffusion recall correlates with modern Hopfield output almost perfectly (0.989 to 0.996), "
            "classical Hopfield networks at about 0.7, the true patterns at 0.8 to 0.9; for 10, 20 and 30 random "
            "patterns of ten ±1 units, in denoising (θ = 0.68) and in completion (each unit set to zero with "
            "probability ½).",
            picture="Two panels, denoising and completion, show the correlation of each method with modern Hopfield "
            "output against 10, 20 and 30 stored patterns, with 95 % intervals, and the published values as black "
            "bars.",
            find=_table1,
            full={"repeats": 100},
            departs=departures.table1,
        ),
        Experiment(
            name="figure1",
            place="Figure 1, Eqs. 12, 23 and 24",
            title="Figure 1: three kinds of memory in two dimensions",
            about="Figure 1: energy landscapes of point, extended and semantic memories with their gradient fields.",
            paper="Energy landscapes and gradient fields in two dimensions of a) classical point-like memories, "
            "b) extended localised memories, c) a non-localised (semantic) memory structure.",
            picture="Three landscapes of energy in colour with arrows of recall: in a) they point to five separate "
            "points, in b) to segments, a circle and a blob, in c) to a closed curve with three lobes. Red dots mark "
            "recalled states.",
            find=_figure1,
            departs=departures.figure1,
        ),
        Experiment(
            name="figure2",
            place="Figure 2, Sec. 7",
            title="Figure 2: recall of 4 patterns of 5 units, by trajectories",
            about="Figure 2: denoising trajectories of exact and learned diffusion beside modern Hopfield updates.",
            paper="Trajectories of five units, four stored patterns: a) diffusion (ODE and SDE, 2000 Euler steps) "
            "overlaid with four modern Hopfield updates, b) exact and learned deterministic diffusion. “All algorithms "
            "approximately converge to the same target points”; the Hopfield iteration does so in a single update, "
            "diffusion smoothly.",
            picture="Two panels of the states of five units against time. In a) smooth curves of the flow and jagged "
            "ones of the SDE end at plus or minus one, where squares of the Hopfield updates are from the first one "
            "on. In b) dashed curves of the learned flow follow those of the exact one.",
            find=_figure2,
            full={"training_steps": 3000},
            quick={"training_steps": 600},
            departs=departures.figure2,
        ),
        Experiment(
            name="figure3",
            place="Figure 3, Sec. 7 and Supp. A",
            title="Figure 3: capacity at 3 % mean Hamming error, α = 0.68",
            about="Figure 3: error of exact diffusion and capacity of every memory, learned ones too, over dimensions."
            "\n\nFinished cells and trainings are kept in OUT/cells/figure3.jsonl: a run that was stopped goes on "
            "where it was.",
            paper="a) Median error of exact diffusion over dimensions, one curve a number of patterns; b) capacity in "
            "log scale of exact diffusion, modern and classical Hopfield networks with 95 % bands, and of trained "
            "diffusion as dots. Exact diffusion and modern Hopfield networks are expected to hold equally many.",
            picture="a) Curves of median error fall with the number of units, later the more patterns are stored. b) "
            "On a log scale the capacities of exact diffusion and modern Hopfield networks rise as one straight line, "
            "far above the nearly flat classical ones; dots of learned networks lie near that line.",
            find=_figure3,
            full={"quick": False},
            quick={"quick": True},
            departs=departures.figure3,
        ),
        Experiment(
            name="digits",
            place="Secs. 3 and 7, on real data",
            title="Digits: 1,797 real handwritten digits stored, then recalled",
            about="Real handwritten digits recalled from noisy and from half-masked cues.",
            paper="The paper recalls random binary patterns only. Its methods, on real images.",
            picture="Rows of eight handwritten digits: stored, noisy at α = 0.68, recalled by five dynamics; then with "
            "the lower half masked, and completed by the paper's zero mask and by taking the seen pixels as evidence.",
            find=_digits,
            full={"cues": 60},
            quick={"cues": 24},
            departs=departures.digits,
        ),
        Experiment(
            name="posterior",
            place="Sec. 5.1, Eqs. 7 and 29",
            title="Probabilistic recall: the recalled distribution beside the exact posterior",
            about="Probabilistic recall (Sec. 5.1): recalls of one cue against the exact posterior, and calibration.",
            paper="Each stochastic denoising trajectory reaches one of the memories compatible with the cue, so that "
            "many of them cover the posterior distribution. Claimed, not measured.",
            picture="Three panels: frequencies of recalled patterns on top of bars of their exact probabilities; the "
            "bias of four solvers falling with the number of steps; observed against stated probabilities along the "
            "diagonal.",
            find=_posterior,
            full={"repeats": 50, "cues": 400},
            quick={"repeats": 5, "cues": 150},
            departs=departures.posterior,
        ),
        Experiment(
            name="potential",
            place="Sec. 3.2, Eqs. 15 to 21",
            title="Any conservative noise: convergence of the energy of Eq. 18 to Eq. 21",
            about="The theorem of Sec. 3.2: for any conservative noise the energy (Eq. 18) converges to Eq. 21.",
            paper="For any conservative noise the energy becomes that of Brownian noise as t → T: the potential v does "
            "not diverge there, and is neglected.",
            picture="Three panels: energies of Eq. 18 that approach their limit as t falls; the largest difference "
            "from Eq. 21 falling as a power of t for four kinds of noise; ends of simulated paths over a ring-shaped "
            "density.",
            find=_potential,
            full={"finest": 5, "paths": 20_000},
            quick={"finest": 4, "paths": 5000},
            departs=departures.potential,
        ),
        Experiment(
            name="reconstruction",
            place="Sec. 6.1, Eq. 25",
            title="Reconstructive memory: the core is recalled, the rest made up",
            about="Reconstructive memory (Eq. 25): digits recalled from a stored core, with the rest made up.",
            paper="A stored low-dimensional core constrains some degrees of freedom, the others follow semantic "
            "memory: some features are recovered faithfully, others reconstructed, as broken glass in the memory of a "
            "car crash.",
            picture="Left, rows of eight digits: events, recalls from cores of 2, 8 and 32 components, and digits with "
            "a blank lower half that recall fills with ink. Right, errors of core and rest, and plausibility, against "
            "the size of the core.",
            find=_reconstruction,
            full={"events": 200},
            quick={"events": 24},
            departs=departures.reconstruction,
        ),
        Experiment(
            name="spectrum",
            place="Secs. 6.1 and 6.2, Eqs. 12 and 24",
            title="The spectrum from episodic to semantic memory",
            about="From samples seen once to patterns seen repeatedly: episodic or semantic, at every noise level.",
            paper="Learning a density and learning patterns differ only in whether a pattern is sampled once or again "
            "and again; a memory is episodic if its space is localised, semantic if it is not.",
            picture="Three panels against the noise level: effective number of items, open directions, and distance to "
            "the nearest stored image. Digits seen more often stay single items up to more noise.",
            find=_spectrum,
            full={"probes": 60},
            quick={"probes": 16},
        ),
        Experiment(
            name="continuum",
            place="Sec. 6.1",
            title="From recall through reconstruction to generation",
            about="One continuum: digits recalled from cues that carry less and less, down to pure noise.",
            paper="Creative generation and memory recall are parts of a unified continuum. Claimed, not measured.",
            picture="Three memories side by side. As the signal level of the cue falls, recalled digits turn from the "
            "very image into another of the same digit and then into other digits; strips of recalled images below.",
            find=_continuum,
            full={"cues": 300},
            quick={"cues": 60},
        ),
        Experiment(
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
            find=_replay,
            full={"runs": 300, "networks": 6},
            quick={"runs": 40, "networks": 2},
            departs=departures.replay,
        ),
        Experiment(
            name="learned",
            place="Sec. 4, Eqs. 9 and 10",
            title="Learned against exact: distance of the denoisers by noise level (Eq. 9), 8 patterns of 10 units",
            about="Score networks against the exact memory: gap by noise level, basins, attractors, recall.",
            paper="A network that minimises the denoising loss encodes the dynamics of a modern Hopfield network in "
            "its weights; where the loss is minimal it is the exact score.",
            picture="Two panels, one a network, show its distance from the exact denoiser by noise level after three "
            "lengths of training; a third shows the share of cues led back to their pattern, learned and exact.",
            find=_learned,
            full={"sets": 8, "steps": 16_000, "width": 800},
            quick={"sets": 2, "steps": 1920, "width": 128},
            departs=departures.learned,
        ),
        Experiment(
            name="synaptic",
            place="Secs. 4 and 8, Eq. 22",
            title="Synaptic learning (Eq. 22): agreement with the exact memory's recall at α = 0.68",
            about="Synaptic learning taken literally (Eq. 22): online, node perturbation, rhythm, two-layer circuit.",
            paper="The update of Eq. 22 may be what synapses do, its backpropagation obtained through injected noise "
            "and its two phases through the theta rhythm. Proposed, not measured.",
            picture="Three panels of agreement with exact recall: four learning rules against samples seen; networks "
            "under a rhythm, with plasticity that leaks into recall; a two-layer circuit against its hidden time "
            "constant.",
            find=_synaptic,
            full={"sets": 8, "samples": 512_000},
            quick={"sets": 3, "samples": 128_000},
            departs=departures.synaptic,
        ),
    )
}
"""By name, in the order in which they are run and shown."""

IN_PAPER = ("table1", "figure1", "figure2", "figure3")
"""The table and figures of the paper; the others measure what it claims."""

"""Figure 2: denoising trajectories of exact and learned diffusion beside modern Hopfield updates."""

from pathlib import Path

from dispersed.paper.experiment import Experiment, Findings


def find(folder: Path, seed: int, training_steps: int) -> Findings:
    from dispersed.paper.figure2.claims import CLAIMS
    from dispersed.paper.figure2.measure import figure2
    from dispersed.paper.figure2.plot import plot_figure2

    rows, trajectories = figure2(seed, training_steps)
    return Findings(rows, plot_figure2(trajectories), CLAIMS, {"figure2_trajectories": trajectories})


EXPERIMENT = Experiment(
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
    find=find,
    full={"training_steps": 3000},
    quick={"training_steps": 600},
)

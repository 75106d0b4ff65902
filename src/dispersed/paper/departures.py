"""What does not come out as the paper has it, in sentences, with the numbers of the results at hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Tables = Mapping[str, Sequence[dict[str, Any]]]
"""The tables of an experiment by name."""


def none(tables: Tables) -> list[str]:
    """Nothing differs."""
    return []


def table1(tables: Tables) -> list[str]:
    from dispersed.paper.table1.measure import differences

    return differences(tables["table1"])


def figure1(tables: Tables) -> list[str]:
    return ["The paper does not say which memories it draws; these are our own, and no number can be compared."]


def figure2(tables: Tables) -> list[str]:
    summary = {row["method"]: row for row in tables["figure2"]}
    path = [row for row in tables["figure2_trajectories"] if row["method"] == "modern_hopfield"]
    states = [[value for name, value in row.items() if name.startswith("unit_")] for row in path]
    left = math.sqrt(sum((a - b) ** 2 for a, b in zip(states[1], states[-1], strict=True)) / len(states[-1]))
    sde, learned = summary["diffusion_sde"], summary["learned"]
    return [
        f"Not all algorithms end at the same points: one sample of the SDE agrees with the Hopfield updates in "
        f"{sde['same_as_hopfield']:.1%} of the signs, for it samples the posterior; the learned flow in "
        f"{learned['same_as_hopfield']:.1%}.",
        f"“A single iteration” holds for the cue shown: after one update it is {left:.1e} per unit from the fourth.",
        "The paper does not say from which noise its trajectories start: ours start at θ = 0.68.",
    ]


def figure3(tables: Tables) -> list[str]:
    rows = tables["figure3"]
    exact = {row["dimension"]: row for row in rows if row["method"] == "diffusion"}
    modern = {row["dimension"]: row for row in rows if row["method"] == "modern_hopfield"}
    ratios = [modern[d]["capacity"] / exact[d]["capacity"] for d in exact]
    last = max(exact)
    lines = [
        "The paper prints no values of Figure 3, so only order and growth can be compared.",
        f"Modern Hopfield networks at β = 5 hold {min(ratios):.2f} to {max(ratios):.2f} times as many patterns as "
        "exact diffusion, not exactly as many.",
        "Smoothing over dimensions with a kernel of σ = 1.5, as in the paper, bends the ends of the curves: at d = "
        f"{last} it makes {exact[last]['smoothed']:.1f} of {exact[last]['capacity']:.1f}.",
    ]
    for row in rows:
        if row["method"] == "learned":
            d = row["dimension"]
            lines.append(
                f"Learned networks of d = {d} hold {row['capacity']:.1f} [{row['ci_low']:.1f}, {row['ci_high']:.1f}] "
                f"patterns, exact diffusion {exact[d]['capacity']:.1f} [{exact[d]['ci_low']:.1f}, "
                f"{exact[d]['ci_high']:.1f}]. The protocol of Supp. A goes down from the exact capacity plus 4 to the "
                "first number that passes, which favours large ones; how long to train it does not say."
            )
    return lines


def digits(tables: Tables) -> list[str]:
    found = {(row["task"], row["method"]): row["exact"] for row in tables["digits"] if row["alpha"] in (None, 0.68)}
    return [
        "Completion from a zero mask, as in the paper, brings back the very image of "
        f"{found['zero_mask', 'flow']:.0%} of half-masked digits; the seen pixels taken as evidence, of "
        f"{found['evidence', 'flow']:.0%}."
    ]


def posterior(tables: Tables) -> list[str]:
    from dispersed.paper.posterior.measure import METHODS

    return [
        f"{METHODS[row['method']]}: the measured weak order {row['order']:.2f} [{row['ci_low']:.2f}, "
        f"{row['ci_high']:.2f}] misses the declared {row['declared']}: these steps are not small enough for it."
        for row in tables["posterior"]
        if row["part"] == "order" and not row["ci_low"] <= row["declared"] <= row["ci_high"]
    ]


def potential(tables: Tables) -> list[str]:
    rates = [row["exponent"] for row in tables["potential"] if row["part"] == "rate" and row["compared"] == "eq21"]
    return [
        "The theorem holds, but not because v(x) is negligible: it cancels against the kernel, and leaves each pattern "
        f"a weight exp(−v(y)/σ²). Eq. 21, which lacks it, is met as t^{min(rates):.2f} to t^{max(rates):.2f}; with it, "
        "at constant σ, about as t²."
    ]


def reconstruction(tables: Tables) -> list[str]:
    found = {(row["task"], row["memory"], row["core"]): row for row in tables["reconstruction"]}
    meant, printed = (found["fidelity", memory, 8] for memory in ("conditioned", "printed"))
    return [
        "Eq. 25 as printed adds core and semantic memory as alternatives instead of letting one constrain the other: "
        f"with a core of 8 numbers its recalls are {printed['plausibility']:+.0f} nats from the plausibility of real "
        f"digits, and the core is off by {printed['core_error']:.0%} of its spread; conditioned on the core, "
        f"{meant['plausibility']:+.1f} nats and {meant['core_error']:.1%}."
    ]


def replay(tables: Tables) -> list[str]:
    feedback = {row["kind"]: row for row in tables["replay"] if row["part"] == "feedback"}
    neutral, sharp = feedback["neutral"], feedback["sharp"]
    return [
        "Training on one's own replays is not by itself a positive feedback: on average no event gains, and which one "
        f"survives is chance, event 0 in {neutral['wins']:.3f} [{neutral['wins_low']:.3f}, {neutral['wins_high']:.3f}] "
        f"of the runs where drift has {neutral['wins_expected']:.3f}. It needs replay that is sharper than what was "
        f"learned ({sharp['fixation_time']:.0f} instead of {neutral['fixation_time']:.0f} generations), or a bias."
    ]


def learned(tables: Tables) -> list[str]:
    return [
        f"The {row['network']} network agrees with exact recall in {row['agreement']:.1%} of the signs, and from pure "
        f"noise {row['spurious']:.1%} of its recalls end in no stored pattern."
        for row in tables["learned_recall"]
        if row["part"] == "network"
    ]


def synaptic(tables: Tables) -> list[str]:
    from dispersed.paper.synaptic.measure import RULES

    lines = []
    for part, name in RULES.items():
        rows = [row for row in tables["synaptic"] if row["part"] == part and not row["leak"]]
        last = max(rows, key=lambda row: row["samples"])
        if last["agreement"] < 0.95:
            lines.append(
                f"{name[0].upper()}{name[1:]} does not reach 95 % agreement with exact recall in {last['samples']:,} "
                f"samples, but {_percent(last)}."
            )
    rhythm = [row for row in tables["synaptic"] if row["part"] == "rhythm"]
    samples = max(row["samples"] for row in rhythm)
    worst = min((row for row in rhythm if row["samples"] == samples), key=lambda row: row["agreement"])
    lines.append(
        f"A rhythm that gates plasticity imperfectly spoils what it learns: agreement {_percent(worst)} at a leak of "
        f"{worst['leak']:g}" + (", where the network diverges." if worst["distance"] is None else ".")
    )
    return lines


def _percent(row: Mapping[str, Any]) -> str:
    return f"{row['agreement']:.1%} [{row['ci_low']:.1%}, {row['ci_high']:.1%}]"

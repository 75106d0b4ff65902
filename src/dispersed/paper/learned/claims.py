"""What is claimed of trained networks: that they become the exact memory of their patterns."""

import itertools

import numpy as np

from dispersed.paper.claim import Claim, Decision, Interval, Tables, only, select
from dispersed.paper.learned.measure import ALPHA, NETWORKS


def _gap(network: str, label: str) -> Claim:
    def decide(tables: Tables) -> Decision:
        rows = select(tables["learned"], network=network)
        lengths = sorted({row["steps"] for row in rows})
        means = [float(np.sqrt(np.mean([row["gap"] ** 2 for row in select(rows, steps=n)]))) for n in lengths]
        worst = max(select(rows, steps=lengths[-1]), key=lambda row: row["gap"])
        course = {f"{steps:,} steps": mean for steps, mean in zip(lengths, means, strict=True)}
        return all(after < before for before, after in itertools.pairwise(means)), worst | {"course": course}

    text = (
        f"{label} [approaches|does not approach] the exact denoiser with training: the distance per unit is, "
        "after {course:.3f}; it is largest at σ = {sigma:.2f}: {gap:.3f}, beside a posterior standard deviation of "
        "{posterior:.3f}."
    )
    return Claim(f"{network}_gap", decide, text, published=True)


def _recall(network: str, label: str) -> Claim:
    def decide(tables: Tables) -> Decision:
        agreement = Interval.of(only(tables["learned_recall"], part="network", network=network), "agreement")
        return agreement.low >= 0.95, {"agreement": agreement}

    text = (
        f"{label} [recalls|does not recall] like the exact memory: at α = {ALPHA} {{agreement:.1%}} of the signs agree."
    )
    return Claim(f"{network}_recall", decide, text, published=True)


def _attractors(network: str, label: str) -> Claim:
    def decide(tables: Tables) -> Decision:
        row = only(tables["learned_recall"], part="network", network=network)
        # Of no recalls that end in no pattern, none is a mixture.
        return row["stored"] == row["distinct"] and row["spurious"] < 0.05, row | {"mixtures": row["mixtures"] or 0.0}

    text = (
        f"From pure noise {label[0].lower()}{label[1:]} [ends|does not end] at its patterns alone: at {{stored:.2f}} "
        "of the {distinct:.2f} distinct ones of a set, and in {spurious:.1%} of the recalls at none[|, {mixtures:.0%} "
        "of these at mixtures of them]."
    )
    return Claim(f"{network}_attractors", decide, text, published=True)


CLAIMS = [
    made(network, f"The {label.removeprefix('the ')}")
    for network, label in NETWORKS.items()
    for made in (_gap, _recall, _attractors)
]

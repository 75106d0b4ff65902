"""What is claimed of synaptic learning: that rules a brain might afford store memories that recall like the exact."""

import math

from dispersed.paper.claim import Claim, Decision, Interval, Tables, claim, only, select
from dispersed.paper.plasticity.measure import ENOUGH, RAMPS, RULES, SCALED
from dispersed.paper.results import Row
from dispersed.paper.statistics import power_law


def _rule(part: str) -> Claim:
    """That a rule learns to recall like the exact memory."""

    def decide(tables: Tables) -> Decision:
        rows = [row for row in select(tables["plasticity"], part=part) if not row["leak"]]
        last = max(rows, key=lambda row: row["samples"])
        needed = min((row["samples"] for row in rows if row["agreement"] >= ENOUGH), default=0)
        cue = only(tables["plasticity"], part="cue")["agreement"]
        evidence = last | {"agreement": Interval.of(last, "agreement"), "needed": needed, "cue": cue}
        return last["agreement"] >= ENOUGH, evidence

    text = (
        f"{RULES[part][0].upper()}{RULES[part][1:]}: after {{samples:,}} samples recall agrees with the exact memory "
        f"in "
        "{agreement:.1%} of the signs, and [in 95 % after {needed:,}|not in 95 %]; those of the noisy cues do in "
        "{cue:.1%}."
    )
    return Claim(part, decide, text, published=True)


@claim(
    "Under a rhythm, plasticity that leaks into the denoising phase [does no harm|spoils what is learned, for the "
    "network learns from its own recall]: the agreement is, at {agreement:.1%}.",
    published=True,
)
def leak(tables: Tables) -> Decision:
    rows = select(tables["plasticity"], part="rhythm")
    ends = select(rows, samples=max(row["samples"] for row in rows))
    gated, *leaking = (Interval.of(row, "agreement") for row in ends)
    diverged = ["" if row["distance"] is not None else " (diverged)" for row in ends]
    names = [f"leak {row['leak']:g}{end}" for row, end in zip(ends, diverged, strict=True)]
    harmless = not any(diverged) and not any(gated > interval for interval in leaking)
    return harmless, {"agreement": dict(zip(names, [gated, *leaking], strict=True))}


def _circuit(ramp: float) -> Claim:
    """That a two-layer circuit whose hidden neurons are fast recalls as diffusion does."""

    def decide(tables: Tables) -> Decision:
        rows = sorted(select(tables["plasticity"], part="circuit", ramp=ramp), key=lambda row: row["hidden"])
        agreement = {f"{row['hidden']:g} τ_v": Interval.of(row, "agreement") for row in rows[:1] + rows[3::2]}
        return rows[0]["ci_low"] >= ENOUGH, {"agreement": agreement}

    text = (
        f"The two-layer circuit whose σ falls by e in {1 / ramp:g} τ_v [recalls|does not recall] as diffusion does "
        f"where its "
        "hidden neurons are fast: the agreement is, by their time constant, at {agreement:.1%}."
    )
    return Claim(f"circuit_{ramp:g}", decide, text, published=True)


def _grown(tables: Tables, part: str) -> list[Row]:
    return select(tables["plasticity_scaling"], part=part)


@claim(
    "Node perturbation needs more samples than Eq. 22 [in every network|but not in every network]: {ratio:.3g} times "
    "as many, in the mean of those that learn by both.",
)
def cost_of_perturbation(tables: Tables) -> Decision:
    online, perturbed = (
        {(row["dimension"], row["patterns"], row["set"]): row["needed"] or math.inf for row in _grown(tables, part)}
        for part in SCALED
    )
    pairs = [(online[network], perturbed[network]) for network in online]
    logs = [math.log(many / few) for few, many in pairs if math.isfinite(few) and math.isfinite(many)]
    ratio = math.exp(sum(logs) / len(logs)) if logs else math.nan
    return all(few < many for few, many in pairs), {"ratio": ratio}


def _grows(part: str, name: str, grown: str, kept: str, at: int, slower: bool) -> Claim:
    """Whether the samples needed grow more slowly, or faster, than the units or the patterns of a network."""

    def decide(tables: Tables) -> Decision:
        rows = [row for row in _grown(tables, part) if row[kept] == at]
        learned = [row for row in rows if row["needed"] is not None]
        exponent = Interval(*power_law([row[grown] for row in learned], [row["needed"] for row in learned]))
        evidence = {"exponent": exponent, "learned": len(learned), "all": len(rows)}
        return (exponent.high < 1 if slower else exponent.low > 1), evidence

    than, not_than = ("more slowly than", "no more slowly than") if slower else ("faster than", "no faster than")
    text = (
        f"Samples needed by {RULES[part].split(',')[0]} grow [{than}|{not_than}] the number of {name}: their exponent "
        "is {exponent:.2f}, of the {learned} networks of {all} that learned."
    )
    return Claim(f"{part}_{name}", decide, text)


GROWING = [
    claim
    for part in SCALED
    for claim in (
        _grows(part, "units", "dimension", "patterns", 8, slower=True),
        _grows(part, "patterns", "patterns", "dimension", 20, slower=False),
    )
]


CLAIMS = [*map(_rule, RULES), leak, *map(_circuit, RAMPS), cost_of_perturbation, *GROWING]

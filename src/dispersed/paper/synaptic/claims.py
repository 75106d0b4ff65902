"""What is claimed of synaptic learning: that rules a brain might afford store memories that recall like the exact."""

from dispersed.paper.claim import Claim, Decision, Interval, Tables, claim, only, select
from dispersed.paper.synaptic.measure import RAMPS, RULES

ENOUGH = 0.95
"""The agreement of signs from which on a memory counts as learned."""


def _rule(part: str) -> Claim:
    """That a rule learns to recall like the exact memory."""

    def decide(tables: Tables) -> Decision:
        rows = [row for row in select(tables["synaptic"], part=part) if not row["leak"]]
        last = max(rows, key=lambda row: row["samples"])
        needed = min((row["samples"] for row in rows if row["agreement"] >= ENOUGH), default=0)
        cue = only(tables["synaptic"], part="cue")["agreement"]
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
    rows = select(tables["synaptic"], part="rhythm")
    ends = select(rows, samples=max(row["samples"] for row in rows))
    gated, *leaking = (Interval.of(row, "agreement") for row in ends)
    diverged = ["" if row["distance"] is not None else " (diverged)" for row in ends]
    names = [f"leak {row['leak']:g}{end}" for row, end in zip(ends, diverged, strict=True)]
    harmless = not any(diverged) and not any(gated > interval for interval in leaking)
    return harmless, {"agreement": dict(zip(names, [gated, *leaking], strict=True))}


def _circuit(ramp: float) -> Claim:
    """That a two-layer circuit whose hidden neurons are fast recalls as diffusion does."""

    def decide(tables: Tables) -> Decision:
        rows = sorted(select(tables["synaptic"], part="circuit", ramp=ramp), key=lambda row: row["hidden"])
        agreement = {f"{row['hidden']:g} τ_v": Interval.of(row, "agreement") for row in rows[:1] + rows[3::2]}
        return rows[0]["ci_low"] >= ENOUGH, {"agreement": agreement}

    text = (
        f"The two-layer circuit whose σ falls by e in {1 / ramp:g} τ_v [recalls|does not recall] as diffusion does "
        f"where its "
        "hidden neurons are fast: the agreement is, by their time constant, at {agreement:.1%}."
    )
    return Claim(f"circuit_{ramp:g}", decide, text, published=True)


CLAIMS = [*map(_rule, RULES), leak, *map(_circuit, RAMPS)]

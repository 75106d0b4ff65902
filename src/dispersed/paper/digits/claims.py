"""What is claimed of the recall of real digits."""

from dispersed.paper.claim import Decision, Interval, Tables, claim, only, select


def _exact(tables: Tables, task: str, alpha: float | None, method: str) -> Interval:
    """The fraction of cues of which the very image is recalled."""
    row = only(tables["digits"], task=task, alpha=alpha, method=method)
    return Interval.fraction(row["exact"], row["cues"])


@claim(
    "From noise at α = 0.68, 20 steps of the exponential integrator of order 2 recall the very image of {few:.0%} of "
    "the cues, within the intervals [as many as|not as many as] 300 Euler steps of the flow: {flow:.0%}.",
)
def few_steps(tables: Tables) -> Decision:
    few, flow = (_exact(tables, "noise", 0.68, method) for method in ("exponential", "flow"))
    return few.overlaps(flow), {"few": few, "flow": flow}


@claim(
    "From the upper half of an image, the paper's zero mask brings back the very image of {zero:.0%} of the digits, "
    "within the intervals [as many as|fewer than] the observed pixels taken as evidence: {evidence:.0%}.",
    published=True,
)
def zero_mask(tables: Tables) -> Decision:
    zero, evidence = _exact(tables, "zero_mask", 0.68, "flow"), _exact(tables, "evidence", None, "flow")
    return zero.overlaps(evidence), {"zero": zero, "evidence": evidence}


@claim(
    "With the observed pixels taken as evidence, [every|not every] dynamics completes every digit[|: {exact:.0%}].",
)
def evidence(tables: Tables) -> Decision:
    exact = {row["method"]: row["exact"] for row in select(tables["digits"], task="evidence")}
    return min(exact.values()) == 1, {"exact": exact}


CLAIMS = [few_steps, zero_mask, evidence]

"""What is claimed of probabilistic recall: it samples the posterior, with biases of the declared orders, calibrated."""

from scipy import stats

from dispersed.paper.claim import Claim, Decision, Interval, Tables, claim, only, select
from dispersed.paper.posterior.measure import METHODS, PATTERNS, STEPS_ENOUGH

LEVEL = 0.01
"""The p-value below which a test rejects."""


@claim(
    f"{{samples}} recalls of one cue by the reverse SDE of {STEPS_ENOUGH} steps [sample|do not sample] the exact "
    f"posterior over {PATTERNS} memories: the total variation is {{ve:.4f}} in VE and {{vp:.4f}} in VP time, where "
    f"independent "
    "draws of the posterior itself would give {sampling_floor:.4f}.",
    published=True,
)
def one_cue(tables: Tables) -> Decision:
    rows = {row["method"]: row for row in select(tables["posterior"], part="recall")}
    ve, vp = (rows[method]["total_variation"] for method in ("sde_ve", "sde_vp"))
    return max(ve, vp) < 0.05, rows["sde_ve"] | {"ve": ve, "vp": vp}


@claim(
    "[The bias of every sampler falls|Not every sampler's bias falls] with its number of steps as its weak order "
    "says[|; steps may be too coarse, or recalls too few]: {orders:.2f}."
)
def orders(tables: Tables) -> Decision:
    rows = select(tables["posterior"], part="order")
    found = {f"{METHODS[row['method']]}, declared {row['declared']}": Interval.of(row, "order") for row in rows}
    fall = all(order.low > 0 for order in found.values())
    declared = all(row["declared"] in order for row, order in zip(rows, found.values(), strict=True))
    return fall and declared, {"orders": found}


def _calibrated(method: str, what: str, published: bool) -> Claim:
    def decide(tables: Tables) -> Decision:
        curve = select(tables["posterior"], part="calibration", method=method)[0]
        return curve["p_value"] >= LEVEL, curve | {"doubt": only(tables["posterior"], part="cues")["effective_number"]}

    return Claim(
        f"calibrated_{method}",
        decide,
        f"Over {{cues}} cues, with {{doubt:.1f}} memories effectively in doubt, {what} [are|are not] calibrated: their "
        "calibration error is {gap:.3f}, where {expected_gap:.3f} is expected (χ² test p = {p_value:.2g}).",
        published=published,
    )


@claim(
    "The recalls of those cues [have|do not have] the exact posterior: their total variation is {total_variation:.4f} "
    "on average, that of exact draws {sampling_floor:.4f}; χ² = {statistic:.0f} with {freedom} degrees of freedom (p = "
    "{p_value:.2g}).",
    published=True,
)
def many_cues(tables: Tables) -> Decision:
    row = only(tables["posterior"], part="cues")
    p_value = float(stats.chi2.sf(row["statistic"], row["freedom"]))
    return p_value >= LEVEL, row | {"p_value": p_value}


CLAIMS = [
    one_cue,
    orders,
    _calibrated("exact", "exact posteriors", False),
    _calibrated("recalled", "the frequencies of 400 recalls a cue", True),
    many_cues,
]

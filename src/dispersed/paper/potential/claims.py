"""What is claimed of the theorem of Sec. 3.2: that the energy converges, and what becomes of the potential."""

from dispersed.paper.claim import Decision, Interval, Tables, claim, only, select
from dispersed.paper.potential.measure import LABELS

VARYING = LABELS["double_well_sigma_t"]
"""The process whose σ depends on time."""


def _exponents(tables: Tables, compared: str) -> dict[str, Interval]:
    rows = select(tables["potential"], part="rate", compared=compared)
    return {LABELS[row["potential"]].split(", v")[0]: Interval.of(row, "exponent") for row in rows}


def _converge(exponents: dict[str, Interval]) -> Decision:
    return all(exponent.low > 0 for exponent in exponents.values()), {"exponents": exponents}


@claim(
    "The energy of Eq. 18, times t and up to a constant, [is|is not] seen to converge to Eq. 21 for every noise; the "
    "exponents of t (expected: 1) are {exponents:.2f}.",
    published=True,
)
def limit(tables: Tables) -> Decision:
    return _converge(_exponents(tables, "eq21"))


@claim(
    "The potential v(x) [is|is not] negligible in the limit: with the weights exp(−v(y)/σ²) that it leaves to the "
    "patterns the exponents at constant σ (expected: 2) are {weighted:.2f}, [not all|all] larger than without, "
    "{printed:.2f}.",
    published=True,
)
def negligible(tables: Tables) -> Decision:
    printed, weighted = (_exponents(tables, compared) for compared in ("eq21", "eq21_weighted"))
    constant = [name for name in printed if name != VARYING]
    found = {"printed": [printed[name] for name in constant], "weighted": {name: weighted[name] for name in constant}}
    return not all(weighted[name] > printed[name] for name in constant), found


@claim(
    "The linearised kernel (Eq. 19), which is the true one for Ornstein–Uhlenbeck, [is|is not] seen to converge to it "
    "for the others; the exponents of t are {exponents:.2f}.",
)
def linearised(tables: Tables) -> Decision:
    return _converge(_exponents(tables, "linearised"))


@claim(
    "{paths} simulated paths in two dimensions [have|do not have] the Fokker–Planck density: χ² = {statistic:.0f} with "
    "{freedom} degrees of freedom, p = {p_value:.2g}.",
)
def paths(tables: Tables) -> Decision:
    row = only(tables["potential"], part="paths")
    return row["p_value"] >= 0.01, row


CLAIMS = [limit, negligible, linearised, paths]

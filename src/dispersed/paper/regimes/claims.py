"""What is claimed of the regimes of mixtures and of digits."""

from dispersed.paper.claim import Decision, Interval, Tables, claim, select
from dispersed.paper.regimes.measure import DIMENSIONS


@claim(
    "Classes split [where theory says|elsewhere than theory says]: the slope of D at the mean reaches 1 at σ, by "
    "dimension, {measured:.2f}; theory has {expected:.2f} for all."
)
def speciation(tables: Tables) -> Decision:
    rows = tables["regimes"]
    found = {f"d = {row['dimension']}": Interval.of(row, "speciation", "speciation") for row in rows}
    expected = rows[0]["speciation_expected"]
    # The theory is of infinitely many patterns: what is measured is that of a sample.
    return all(abs(value.value / expected - 1) < 0.05 for value in found.values()), {
        "measured": found,
        "expected": expected,
    }


@claim(
    "Recalls from one state [agree|do not agree] on the class as often as theory says: the largest difference of φ(σ) "
    "is {largest:.3f}, of {levels} levels in {dimensions} dimensions."
)
def cloning(tables: Tables) -> Decision:
    rows = tables["regimes_cloning"]
    gaps = [abs(row["cloning_of_classes"] - row["cloning_of_classes_expected"]) for row in rows]
    # Five standard errors of the mean over cues, whose interval has four of them.
    allowed = [0.01 + 1.25 * (row["cloning_of_classes_high"] - row["cloning_of_classes_low"]) for row in rows]
    levels = len(select(rows, dimension=rows[0]["dimension"]))
    fits = all(gap <= most for gap, most in zip(gaps, allowed, strict=True))
    return fits, {"largest": max(gaps), "levels": levels, "dimensions": len(DIMENSIONS)}


@claim(
    "Mixtures [collapse|do not collapse] where theory says for finite sets, with the ln 2 by which their log odds are "
    "shifted: {measured:.3f}; expected {expected:.3f}."
)
def collapse(tables: Tables) -> Decision:
    rows = tables["regimes"]
    measured = {f"d = {row['dimension']}": Interval.of(row, "collapse", "collapse") for row in rows}
    expected = [row["collapse_expected"] for row in rows]
    near = [abs(found.value / theory - 1) < 0.05 for found, theory in zip(measured.values(), expected, strict=True)]
    return all(near), {"measured": measured, "expected": expected}


@claim(
    "Digits [have|do not have] a regime in which the class is decided and the image is not: at σ = {sigma:.2f} two "
    "recalls agree on the digit in {classes:.0%} and on the image in {images:.0%}."
)
def digits(tables: Tables) -> Decision:
    rows = tables["regimes_digits"]
    row = max(rows, key=lambda row: row["cloning_of_classes"] - row["cloning"])
    found = {"sigma": row["sigma"], "classes": row["cloning_of_classes"], "images": row["cloning"]}
    return row["cloning_of_classes_low"] > 0.5 > row["cloning_high"], found


CLAIMS = [speciation, cloning, collapse, digits]

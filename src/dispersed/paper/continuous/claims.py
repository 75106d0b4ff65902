"""What is claimed of capacity for continuous patterns."""

import itertools
from collections.abc import Sequence

from dispersed.paper.claim import Decision, Interval, Tables, claim, only, select
from dispersed.paper.results import Row


@claim(
    "Theory at each d [predicts|does not predict] the capacities: {inside} of {compared} lie within their 95 % "
    "intervals, and the largest difference is {largest:.0%}."
)
def finite(tables: Tables) -> Decision:
    rows = [row for row in tables["continuous"] if row["expected"] is not None]
    found = [Interval.of(row, "capacity") for row in rows]
    expected = [row["expected"] for row in rows]
    # Twice the interval is four standard errors, of many comparisons at once.
    twice = [Interval(i.value, 2 * i.low - i.value, 2 * i.high - i.value) for i in found]
    evidence = {
        "inside": sum(theory in interval for theory, interval in zip(expected, found, strict=True)),
        "compared": len(rows),
        "largest": max(abs(i.value / theory - 1) for theory, i in zip(expected, found, strict=True)),
    }
    return all(theory in interval for theory, interval in zip(expected, twice, strict=True)), evidence


@claim(
    "Of Gaussian patterns exact diffusion, which knows distances, [holds more|does not hold more] than dot products "
    "can: at d = {dimension} {distance:.0f} beside {product:.0f}."
)
def gaussian(tables: Tables) -> Decision:
    return _by_decoder(tables, "gaussian")


@claim(
    "Correlated units [hold|do not hold] fewer patterns than independent ones, by distance and by dot product: at "
    "d = {dimension} {distance:.0f} and {product:.0f}, beside {plain_distance:.0f} and {plain_product:.0f}."
)
def correlated(tables: Tables) -> Decision:
    _, plain = _by_decoder(tables, "gaussian")
    _, found = _by_decoder(tables, "correlated")
    fewer = all(plain[decoder] > found[decoder] for decoder in ("distance", "product"))
    return fewer, found | {"plain_distance": plain["distance"], "plain_product": plain["product"]}


def _by_decoder(tables: Tables, ensemble: str) -> Decision:
    rows = select(tables["continuous"], ensemble=ensemble)
    last = max(row["dimension"] for row in rows)
    distance, product = (
        Interval.of(only(rows, dimension=last, decoder=decoder), "capacity") for decoder in ("distance", "dot product")
    )
    return distance > product, {"dimension": last, "distance": distance, "product": product}


@claim(
    "On the sphere, where norms are equal, both decoders [are|are not] one: of {cues} cues they name the same pattern "
    "in {same:.1%}, of Gaussian patterns in {other:.0%}."
)
def equal_norms(tables: Tables) -> Decision:
    rows = select(tables["continuous_recall"], memory="exact diffusion")
    same, other = (
        sum(row["decoders_agree"] * row["cues"] for row in select(rows, ensemble=name))
        / sum(row["cues"] for row in select(rows, ensemble=name))
        for name in ("spherical", "gaussian")
    )
    cues = sum(row["cues"] for row in select(rows, ensemble="spherical"))
    return same > 0.999, {"cues": cues, "same": same, "other": other}


@claim(
    "Rates [come|do not come] down to those of the random energy model only in high dimension: of Gaussian patterns by "
    "distance the limit is {limit:.3f}, theory has {large:.3f} at d = {many} and {small:.3f} at d = {few}."
)
def limit(tables: Tables) -> Decision:
    few = _theory(tables["continuous"])
    many = _theory(tables["continuous_theory"])
    gaps = {d: row["expected_rate"] - row["limit"] for d, row in (few | many).items()}
    first, last = min(gaps), max(gaps)
    falls = [gap for _, gap in sorted(gaps.items())]
    closer = all(a > b for a, b in itertools.pairwise(falls)) and abs(gaps[last]) < 0.15 * gaps[first]
    return closer, {
        "limit": few[first]["limit"],
        "large": many[last]["expected_rate"],
        "many": last,
        "small": few[first]["expected_rate"],
        "few": first,
    }


def _theory(rows: Sequence[Row]) -> dict[int, Row]:
    return {row["dimension"]: row for row in select(rows, ensemble="gaussian", decoder="distance")}


@claim(
    "Exact diffusion [ends|does not end] at the pattern nearest to the cue, of Gaussian and of spherical patterns: in "
    "{as_decoded:.1%} of the cues, in the worst case."
)
def diffusion_recall(tables: Tables) -> Decision:
    worst = min(row["as_decoded"] for row in select(tables["continuous_recall"], memory="exact diffusion"))
    return worst > 0.95, {"as_decoded": worst}


@claim(
    "The modern Hopfield network at the temperature of the noise [loses|does not lose] Gaussian patterns that its "
    "first dot product had found: with {patterns} patterns of {units} units its recall errs in {error:.2f}, its "
    "decoder in {decoder:.2f}; on the sphere in {sphere:.2f} and {sphere_decoder:.2f}."
)
def hopfield_recall(tables: Tables) -> Decision:
    rows = select(tables["continuous_recall"], memory="modern Hopfield")
    most = max(row["n_patterns"] for row in rows)
    gaussian, sphere = (only(rows, ensemble=name, n_patterns=most) for name in ("gaussian", "spherical"))
    error = Interval.of(gaussian, "error")
    evidence = {
        "patterns": most,
        "units": gaussian["dimension"],
        "error": error,
        "decoder": gaussian["decoder_error"],
        "sphere": sphere["error"],
        "sphere_decoder": sphere["decoder_error"],
    }
    return error.low > gaussian["decoder_error"], evidence


CLAIMS = [finite, gaussian, correlated, equal_norms, limit, diffusion_recall, hopfield_recall]

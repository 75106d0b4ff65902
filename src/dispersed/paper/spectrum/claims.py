"""What is claimed of the passage from episodic to semantic memory."""

import itertools

import numpy as np

from dispersed.paper.claim import Decision, Tables, claim, select
from dispersed.paper.results import Row
from dispersed.paper.spectrum.measure import REPEATS, transition


def _at(tables: Tables, memory: str, sigma: float) -> Row:
    """The row of a memory seen once whose level is nearest to `sigma`."""
    rows = select(tables["spectrum"], memory=memory, repeats=1)
    return min(rows, key=lambda row: abs(np.log(row["sigma"] / sigma)))


@claim(
    "What is seen more often [is|is not] an episode from more noise: fewer than two stored items answer for a digit "
    "below a σ of, {levels:.2f}.",
    published=True,
)
def seen_more_often(tables: Tables) -> Decision:
    levels = {f"seen {repeats}×": transition(list(tables["spectrum"]), "exact", repeats) for repeats in REPEATS}
    return all(low < high for low, high in itertools.pairwise(levels.values())), {"levels": levels}


@claim(
    "At σ = {sigma:g} the exact memory is [localised, and densities are not|not localised, or densities are]: open "
    "directions, of 64, are {local_dimension:.1f}; the denoised state is from the nearest stored image, "
    "{distance:.2f}.",
    published=True,
)
def localised(tables: Tables) -> Decision:
    small = min(row["sigma"] for row in tables["spectrum"])
    rows = {name: _at(tables, name, small) for name in ("exact", "gaussians", "smoothed")}
    exact, *others = (row["local_dimension"] for row in rows.values())
    found = {field: {name: row[field] for name, row in rows.items()} for field in ("local_dimension", "distance")}
    return exact < 0.5 and min(others) > 1, found | {"sigma": small}


@claim(
    "At σ = {sigma:.2f} semantic memory, a mixture of Gaussians, [is|is not] a structure of fewer dimensions than the "
    "image has pixels, 64: {local_dimension:.0f}.",
    published=True,
)
def dimension(tables: Tables) -> Decision:
    row = _at(tables, "gaussians", 0.3)
    return 1 < row["local_dimension"] < 32, row


CLAIMS = [seen_more_often, localised, dimension]

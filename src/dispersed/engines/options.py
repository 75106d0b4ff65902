"""Every constant of the engines that is a choice and no proof: none of them can make an answer wrong, only slow."""

import dataclasses

from dispersed.validation import InputError

TILE = 32
"""Patterns that share one word of a bitmask and one tile maximum."""


@dataclasses.dataclass(frozen=True)
class ScanOptions:
    """How a scan spends time and memory.

    No field has any influence on whether a bound holds. The defaults were found by trial on two cores of a server.
    """

    block_patterns: int = 1 << 17
    """The number of patterns in a block, which one call of a compiled scan goes through."""
    streamed_block_bytes: int = 1 << 25
    """The size in bytes of a block that is read from a disk, about."""
    resident_block_bytes: int = 1 << 27
    """The size in bytes of a block in memory, at most about: the last one is copied to fill it up."""
    chunk_patterns: int = 4096
    """The largest number of patterns that are decoded at once."""
    cached_logits: int = 1 << 19
    """The number of logits that stay in the caches, and so the most that are computed at once."""
    cached_units: int = 1 << 19
    """The number of decoded units that stay in the caches, and so the most that are decoded at once."""
    states_per_pass: int = 1 << 11
    """The number of states that share one pass over all patterns, so that their bitmasks stay small."""

    few_states: int = 16
    """The number of states up to which a pass takes as long as reading the patterns, so that shorter codes pay."""
    sample_patterns: int = 1024
    """The number of patterns from which the distribution of all logits is guessed."""
    sample_depth: float = 20.0
    """The number of nats below the largest logit down to which patterns of the sample count as candidates."""
    depth_levels: int = 64
    """The number of levels of depth, between the largest logit and the screening depth, at which tiles can be cut."""
    trusted_roundoff: float = 0.6
    """The round-off of a logit in nats beyond which a sum of weights says nothing."""
    pending_tiles: int = 1 << 18
    """The number of tiles whose bitmasks are read together."""
    cheap_states: int = 4
    """The number of states up to which a screen in vain has cost little."""
    candidate_fraction: float = 1 / 32
    """The fraction of all patterns beyond which candidates are given up for a full scan."""
    least_candidates: int = 64
    """The number of candidates that are never given up for a full scan."""
    tail_fraction: float = 1 / 20
    """The fraction of the tolerance that excluded patterns may contribute to the error of a mean."""
    most_tail: float = 1e-2
    """The largest weight of the excluded patterns, relative to that of the leading one."""

    dominance: float = 8.0
    """The number of nats by which a dominant term may weigh less than all others together."""
    dominant_fraction: float = 1 / 64
    """The fraction of all patterns that may be dominant terms if all weigh alike."""
    condensation: float = 1.3
    """The deviation of the logits, in units of √(2 log n), beyond which few patterns carry nearly all weight."""
    condensed_rest: float = 1e-3
    """The weight that is left to all others then, about."""
    small_set: int = 1 << 13
    """The number of patterns up to which sums in double precision take hardly longer than in single precision."""
    spare_tiles: int = 8
    """The number of tiles that are examined for the leading patterns beyond those that are requested."""
    product_units: int = 1 << 19
    """The number of units of patterns that are multiplied at once on the host: as many as stay in the caches."""
    difference_units: int = 1 << 18
    """The number of units of patterns that are subtracted at once on the host: as many as stay in the caches."""

    by_differences: int = 256
    """The number of candidates up to which they are weighed by differences at once."""
    stacked_units: int = 1 << 25
    """The number of units of candidates that are stacked at once."""
    small_stack: int = 1 << 18
    """The number of units of stacked candidates up to which it takes longer to compile a program than to run it."""
    stacked_states: int = 256
    """The number of states whose candidates are stacked at once."""

    last_level: float = 0.05
    """The largest last noise level of a certified flow in units of the spread."""
    small_shortlist: int = 256
    """The length of a shortlist below which shortening it further is not worth a call."""
    stride: int = 4
    """The number of steps of a certified flow between two shortenings of its shortlist."""
    lead_margin: float = 3.0
    """The number of nats by which the leading pattern may weigh less than its shortlist."""
    flow_tail: float = 1e-3
    """The factor by which less is excluded where a flow is to go on: what is excluded grows."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = field.type in (int, "int")
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not 0 < value < 1e300
            ):
                raise InputError(field.name, f"got {value!r}", f"positive {'whole ' * whole}numbers are accepted")

    def rows(self, count: int) -> int:
        """The next number of rows that is so often even that they can be gone through in chunks of any size."""
        unit = TILE
        while 16 * unit < count and unit < self.chunk_patterns:
            unit *= 2
        return -(-max(count, 1) // unit) * unit

    def chunk(self, rows: int, states: int, d: int) -> int:
        """The number of patterns of d units to go through at once, of as many rows as `rows` returns, so that neither
        they nor their logits are too many for the caches: all of them, or a power of two of tiles.
        """

        def fits(size: int) -> bool:
            return size <= self.chunk_patterns and size * states <= self.cached_logits and size * d <= self.cached_units

        if fits(rows):
            return rows
        size = TILE
        while rows % (2 * size) == 0 and fits(2 * size):
            size *= 2
        return size

    def most_candidates(self, n: int) -> int:
        """The number of candidates among n patterns beyond which it is cheaper to sum all."""
        return max(int(n * self.candidate_fraction), self.least_candidates)

"""What was left out: bounded at the place of the screen, along the way, and to the end of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.engines.shortlist import (
    EnclosingBall,
    Shortlist,
    in_certified_basin,
    log_tail_mass_at,
    required_size,
    shortened,
    shortlist_posterior,
)
from tests.engines.oracle import exact

N, D = 200, 5


@pytest.fixture
def split(x64, rng):
    """Patterns split into those kept and those left out of a screen at x₀, σ₀, with exact A and r."""

    def make(sigma, keep):
        patterns, log_w = rng.normal(size=(N, D)), rng.normal(size=N)
        x = patterns[0] + sigma * rng.normal(size=D)
        distance = np.linalg.norm(patterns - x, axis=1)
        likely = np.argsort(distance**2 / (2 * sigma**2) - log_w)
        kept, out = likely[:keep], likely[keep:]
        log_tail_mass = np.logaddexp.reduce(log_w[out] - distance[out] ** 2 / (2 * sigma**2))
        arrays = (kept, patterns[kept], log_w[kept], x, sigma, log_tail_mass, distance[out].min())
        return Shortlist(*map(jnp.asarray, arrays)), patterns, log_w, out

    return make


def ball(patterns):
    centre = patterns.mean(axis=0)
    radius = np.linalg.norm(patterns - centre, axis=1).max()
    return EnclosingBall(jnp.asarray(centre), jnp.asarray(radius), jnp.asarray(np.linalg.norm(patterns, axis=1).max()))


def test_what_was_left_out_stays_below_its_bound_wherever_the_state_goes(split, rng):
    bound = jax.jit(log_tail_mass_at)
    tight = []
    for sigma in (0.3, 1.0, 5.0):
        kept, patterns, log_w, out = split(sigma, 40)
        for _ in range(60):
            level = sigma * rng.uniform(0.02, 1)
            x = np.asarray(kept.x) + rng.exponential(0.5) * sigma * rng.normal(size=D) / np.sqrt(D)
            truth = np.logaddexp.reduce(log_w[out] - np.sum((patterns[out] - x) ** 2, axis=1) / (2 * level**2))
            most = float(bound(kept, jnp.asarray(x), jnp.asarray(level)))
            assert truth <= most + 1e-9
            tight.append(most - truth)
        np.testing.assert_allclose(bound(kept, kept.x, kept.sigma), kept.log_tail_mass, rtol=1e-9)
    assert np.median(tight) < 60


def test_along_the_flow_to_a_pattern_the_others_only_fade(split):
    kept, _, _, _ = split(0.5, 40)
    c = kept.y[0]
    assert kept.excluded_distance > jnp.linalg.norm(kept.x - c)
    ratios = []
    for s in np.linspace(1, 0.01, 30):
        x, sigma = c + s * (kept.x - c), s * kept.sigma
        ratios.append(float(log_tail_mass_at(kept, x, sigma) + jnp.sum((x - c) ** 2) / (2 * sigma**2)))
    assert (np.diff(ratios) < 1e-9).all()


def test_the_view_is_the_posterior_of_all_within_its_bound(split, rng):
    look = jax.jit(shortlist_posterior)
    for sigma, keep in ((0.3, 20), (1.0, 100), (1.0, N - 1)):
        kept, patterns, log_w, _ = split(sigma, keep)
        for level in (sigma, 0.7 * sigma, 0.1 * sigma):
            x = np.asarray(kept.x) + 0.05 * rng.normal(size=D) * (level < sigma)
            seen = look(kept, jnp.asarray(x), jnp.asarray(level), ball(patterns))
            _, mean, _ = exact(patterns, log_w, x, level)
            assert np.linalg.norm(np.asarray(seen.mean) - mean.astype(float)) <= seen.bound


def test_keeping_fewer_keeps_the_bounds(split):
    kept, patterns, log_w, _ = split(1.0, 120)
    x, sigma = kept.x * 0.98, jnp.asarray(0.8)
    seen = shortlist_posterior(kept, x, sigma, ball(patterns))
    few = shortened(kept, x, sigma, seen, 30)
    left = np.setdiff1d(np.arange(N), np.asarray(few.index))
    for y, level in ((x, 0.8), (x * 0.99, 0.5), (x * 0.9, 0.3)):
        truth = np.logaddexp.reduce(
            log_w[left] - np.sum((patterns[left] - np.asarray(y)) ** 2, axis=1) / (2 * level**2)
        )
        assert truth <= log_tail_mass_at(few, y, jnp.asarray(level)) + 1e-9
    count = int(required_size(seen, jnp.asarray(1e-3)))
    weights = np.sort(np.exp(np.asarray(seen.logits)))[::-1]
    assert weights[count:].sum() <= 1e-3 < weights[count - 1 :].sum()


def test_an_owned_basin_is_where_the_exact_flow_ends(x64, rng):
    """The flow over all patterns, by many small steps, from states that are owned and from states that are not."""
    patterns = rng.normal(size=(60, D))
    everything = ball(patterns)

    def flow(x, sigma):
        h = np.log(sigma / 1e-3) / 2000
        for _ in range(2000):
            squares = np.sum((patterns - x) ** 2, axis=1)
            share = np.exp(-(squares - squares.min()) / (2 * sigma**2))
            x = x + (1 - np.exp(-h)) * (share @ patterns / share.sum() - x)
            sigma *= np.exp(-h)
        return np.linalg.norm(patterns - x, axis=1).argmin()

    @jax.jit
    def decide(kept):
        seen = shortlist_posterior(kept, kept.x, kept.sigma, everything)
        return in_certified_basin(kept, seen, kept.x, kept.sigma, everything), seen.lead

    verdicts = []
    for _ in range(60):
        sigma = rng.uniform(0.1, 0.8)
        x = patterns[rng.integers(60)] + sigma * rng.normal(size=D)
        squares = np.sum((patterns - x) ** 2, axis=1)
        order = np.argsort(squares)
        kept, out = order[:25], order[25:]
        rest = np.logaddexp.reduce(-squares[out] / (2 * sigma**2))
        arrays = (kept, patterns[kept], np.zeros(25), x, sigma, rest, np.sqrt(squares[out].min()))
        proven, lead = decide(Shortlist(*map(jnp.asarray, arrays)))
        if proven:
            assert flow(x, sigma) == kept[int(lead)]
        verdicts.append(bool(proven))
    assert 10 < sum(verdicts) < 60


def test_duplicates_share_a_basin_and_near_ties_own_none(x64, rng):
    patterns = np.concatenate([np.repeat(rng.normal(size=(1, D)), 3, axis=0), 20 + rng.normal(size=(5, D))])
    everything = ball(patterns)

    def decided(y, x, sigma):
        arrays = (np.arange(len(y)), y, np.zeros(len(y)), x, sigma, -np.inf, 1e100)
        kept = Shortlist(*map(jnp.asarray, arrays))
        return bool(
            in_certified_basin(
                kept, shortlist_posterior(kept, kept.x, kept.sigma, everything), kept.x, kept.sigma, everything
            )
        )

    assert decided(patterns, patterns[0] + 0.1, 0.3)
    tied = patterns.copy()
    tied[1] += 0.1
    tied[2] += 0.2
    assert not decided(tied, (tied[0] + tied[1]) / 2, 0.3)

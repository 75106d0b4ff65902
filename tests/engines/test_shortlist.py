"""What was excluded is bounded at the place of the screen, along the way, and to the end of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.engines.candidate_screening import FAR
from dispersed.engines.roundoff import gamma
from dispersed.engines.shortlist import (
    DRIFT,
    EnclosingBall,
    Shortlist,
    in_certified_basin,
    log_tail_mass_at,
    required_size,
    shortened,
    shortlist_posterior,
    transported_tail,
)
from tests.engines.oracle import exact

N, D = 200, 5
look = jax.jit(shortlist_posterior)
basin = jax.jit(in_certified_basin)
tail_at = jax.jit(log_tail_mass_at)


@pytest.fixture
def split(x64, rng):
    """Patterns split into a shortlist and those excluded at x₀, σ₀, with exact A and r."""

    def make(sigma, keep):
        patterns, log_w = rng.normal(size=(N, D)), rng.normal(size=N)
        x = patterns[0] + sigma * rng.normal(size=D)
        distance = np.linalg.norm(patterns - x, axis=1)
        likely = np.argsort(distance**2 / (2 * sigma**2) - log_w)
        short, out = likely[:keep], likely[keep:]
        tail = np.logaddexp.reduce(log_w[out] - distance[out] ** 2 / (2 * sigma**2))
        arrays = (short, patterns[short], log_w[short], x, sigma, tail, distance[out].min())
        return Shortlist(*map(jnp.asarray, arrays)), patterns, log_w, out

    return make


def ball(patterns, flush=0.0):
    centre = patterns.mean(axis=0)
    radius = np.linalg.norm(patterns - centre, axis=1).max()
    return EnclosingBall(*map(jnp.asarray, (centre, radius, flush)))


def shortlist(y, x, sigma, log_w=None, tail=-np.inf, distance=FAR):
    log_w = np.zeros(len(y)) if log_w is None else log_w
    return Shortlist(*map(jnp.asarray, (np.arange(len(y)), y, log_w, x, sigma, tail, distance)))


def test_the_tail_stays_below_its_bound_wherever_the_state_goes(split, rng):
    tight = []
    for sigma in (0.3, 1.0, 5.0):
        short, patterns, log_w, out = split(sigma, 40)
        for _ in range(60):
            level = sigma * rng.uniform(0.02, 1)
            x = np.asarray(short.x) + rng.exponential(0.5) * sigma * rng.normal(size=D) / np.sqrt(D)
            truth = np.logaddexp.reduce(log_w[out] - np.sum((patterns[out] - x) ** 2, axis=1) / (2 * level**2))
            most = float(tail_at(short, jnp.asarray(x), jnp.asarray(level)))
            assert truth <= most + 1e-9
            tight.append(most - truth)
        assert tail_at(short, short.x, short.sigma) == short.log_tail_mass
    assert np.median(tight) < 60


def test_a_tail_on_the_way_is_attained():
    """On the sphere: one excluded pattern straight ahead. Inside it: one at the distance that is worst."""
    before, reach = 1.0, 3.0
    for delta, sigma in ((0.5, 0.4), (1.5, 0.6), (0.0, 0.2), (2.0, 0.3)):
        assert 1 - delta / reach >= sigma**2
        truth = -((reach - delta) ** 2) / (2 * sigma**2)
        bound = transported_tail(-(reach**2) / 2, reach, delta, before, sigma, 5, np)
        assert 0 <= bound - truth < 1e-11
    for delta, sigma in ((0.5, 0.95), (1.0, 0.9), (2.0, 0.8)):
        reach = 1e-3
        assert 1 - delta / reach < sigma**2
        # The square that was left away in the inequality vanishes at a = b/(1 − s).
        far = delta / (1 - sigma**2)
        truth = -((far - delta) ** 2) / (2 * sigma**2)
        bound = transported_tail(-(far**2) / 2, reach, delta, before, sigma, 5, np)
        assert 0 <= bound - truth < 1e-10
    assert transported_tail(-2.0, 3.0, 0.0, 1.0, 1.0, 5, np) == -2.0
    assert transported_tail(-np.inf, FAR, 1.0, 1.0, 0.5, 5, np) == -np.inf
    assert transported_tail(np.inf, 3.0, 0.1, 1.0, 0.5, 5, np) == np.inf
    assert transported_tail(-2.0, 0.0, 0.1, 1.0, 1.0, 5, np) > 1e100


def test_round_off_of_a_distance_is_part_of_a_transported_tail():
    """δ, r and the squares are each off by γ_{d+8} at most, and all of them the wrong way."""
    d = 10**7
    g = gamma(d + 8, float)
    delta, reach, before, sigma = 0.5 * (1 + g), 3.0 * (1 - g), 1.0, 0.4
    near = reach - delta
    expected = -5.0 - ((near / sigma) ** 2 * (1 - g) - (reach / before) ** 2 * (1 + g)) / 2
    np.testing.assert_allclose(transported_tail(-5.0, 3.0, 0.5, before, sigma, d, np), expected, rtol=1e-13)
    expected = -5.0 + delta**2 / (2 * (1 - 0.81)) * (1 + g)
    np.testing.assert_allclose(transported_tail(-5.0, 0.1, 0.5, before, 0.9, d, np), expected, rtol=1e-13)


def test_along_the_flow_to_a_pattern_the_others_only_fade(split):
    short, _, _, _ = split(0.5, 40)
    c = short.y[0]
    assert short.excluded_distance > jnp.linalg.norm(short.x - c)
    ratios = []
    for s in np.linspace(1, 0.01, 30):
        x, sigma = c + s * (short.x - c), s * short.sigma
        ratios.append(float(tail_at(short, x, sigma) + jnp.sum((x - c) ** 2) / (2 * sigma**2)))
    assert (np.diff(ratios) < 1e-9).all()


def test_the_posterior_is_that_of_all_within_its_bound(split, rng):
    for sigma, keep in ((0.3, 20), (1.0, 100), (1.0, N - 1)):
        short, patterns, log_w, _ = split(sigma, keep)
        for level in (sigma, 0.7 * sigma, 0.1 * sigma):
            x = np.asarray(short.x) + 0.05 * rng.normal(size=D) * (level < sigma)
            seen = look(short, jnp.asarray(x), jnp.asarray(level), ball(patterns))
            _, mean, _ = exact(patterns, log_w, x, level)
            assert np.linalg.norm(np.asarray(seen.mean) - mean.astype(float)) <= seen.bound
            logits = log_w - np.sum((patterns - x) ** 2, axis=1) / (2 * level**2)
            np.testing.assert_allclose(seen.log_lead, logits[np.asarray(short.index)].max(), rtol=1e-12)
            np.testing.assert_allclose(seen.log_mass, np.logaddexp.reduce(logits[np.asarray(short.index)]), rtol=1e-12)


@pytest.mark.parametrize("weight", [1e-3, 0.3, 3.0])
def test_what_an_excluded_pattern_can_do_is_attained(x64, weight):
    """All that was excluded lies opposite to the shortlist: the mean moves by as much as the bound says."""
    y, out = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]])
    x, sigma = np.array([0.0, 0.0]), 1.0
    short = shortlist(y, x, sigma, tail=np.log(weight) - 0.5, distance=1.0)
    seen = look(short, short.x, short.sigma, ball(np.concatenate([y, out])))
    true = (y[0] + weight * out[0]) / (1 + weight)
    moved = np.linalg.norm(np.asarray(seen.mean) - true)
    assert moved <= seen.bound < moved * (1 + 1e-9) + 1e-14


def formula(y, log_w, x, sigma, flush, tail, centre, radius):
    """The bound as the documentation states it, term by term."""
    d, k = y.shape[1], len(y)
    logits = log_w - np.sum((x - y) ** 2, axis=1) / (2 * sigma**2)
    lead = int(np.argmax(logits))
    far, away = np.linalg.norm(y - y[lead], axis=1), np.linalg.norm(x - y[lead])
    ell = ((2 * (y - y[lead]) @ (x - y[lead]) - far**2) / (2 * sigma**2)) + log_w - log_w[lead]
    e = gamma(d + 8, float) * ((2 * far * away + far**2) / (2 * sigma**2) + abs(log_w) + abs(log_w[lead]))
    e += 4 * flush * (away + far + flush) / sigma**2 + gamma(40, float) + gamma(4, float) * np.abs(ell)
    h, w = -np.exp(ell + e) * np.expm1(-2 * e), np.exp(ell)
    moved = w @ (y - y[lead]) / w.sum()
    mean, length = y[lead] + moved, np.linalg.norm(moved)
    bound = h @ (far + length) / (w.sum() - h.sum())
    bound += gamma(k + 8, float) * (w @ far / w.sum() + length)
    bound += gamma(8, float) * (np.linalg.norm(y[lead]) + np.linalg.norm(mean)) + flush
    slack = 2 * gamma(d + 8, float) * (away**2 / (2 * sigma**2) + abs(log_w[lead])) + e[lead]
    log_mass = np.log(w.sum()) + logits[lead]
    missing = 1 / (1 + np.exp(log_mass - tail - slack))
    return e, bound + missing * (radius + np.linalg.norm(mean - centre))


CASES = {
    "few": (1.0, 1.0, 0.0, 1.0),
    "far states": (1e7, 30.0, 0.0, 1.0),
    "low noise": (1.0, 1e-6, 0.0, 1.0),
    "large weights": (1.0, 1.0, 0.0, 1e9),
    "flushed": (1.0, 1.0, 1e-5, 1.0),
    "flushed much": (1e-3, 1.0, 1e-2, 1.0),
    "hopeless": (1e9, 1e-2, 0.0, 1.0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tail", [-np.inf, -40.0])
def test_every_term_of_the_bound(x64, rng, name, tail):
    """Cases in which different terms are the largest."""
    move, sigma, flush, weigh = CASES[name]
    y, log_w = rng.normal(size=(40, 6)), weigh * rng.normal(size=40)
    y[3] = y[7] + 1e-9
    x = move * rng.normal(size=6)
    tail = tail - np.sum((x - y) ** 2, axis=1).min() / (2 * sigma**2) if tail > -np.inf else tail
    short = shortlist(y, x, sigma, log_w, tail, 1.0)
    seen = look(short, short.x, short.sigma, EnclosingBall(*map(jnp.asarray, (x * 0, 4.0, flush))))
    with np.errstate(over="ignore", invalid="ignore"):
        errors, bound = formula(y, log_w, x, sigma, flush, tail, x * 0, 4.0)
    np.testing.assert_allclose(seen.errors, errors, rtol=1e-6)
    if bound > 0 and np.isfinite(bound):
        np.testing.assert_allclose(seen.bound, bound, rtol=1e-4)
    else:
        assert seen.bound == np.inf


def test_patterns_without_weight_are_no_part_of_it(x64):
    """Padding is a copy of the first pattern, and one of no weight may be the nearest."""
    y = np.array([[5.0, 0.0], [1.0, 0.0], [0.0, 0.0], [5.0, 0.0]])
    log_w = np.array([0.0, 0.0, -np.inf, -np.inf])
    short = shortlist(y, np.zeros(2), 1.0, log_w)
    seen = look(short, short.x, short.sigma, ball(y))
    assert seen.lead == 1
    assert seen.bound < 1e-13
    assert basin(short, seen, short.x, short.sigma, ball(y))


@pytest.fixture
def decide():
    @jax.jit
    def run(short, around):
        seen = shortlist_posterior(short, short.x, short.sigma, around)
        return in_certified_basin(short, seen, short.x, short.sigma, around), seen.lead

    return run


def test_a_shorter_shortlist_holds_its_bounds(split):
    short, patterns, log_w, _ = split(1.0, 120)
    x, sigma = short.x * 0.98, jnp.asarray(0.8)
    seen = look(short, x, sigma, ball(patterns))
    one = jax.tree.map(lambda a: np.asarray(a)[None], (short, x, sigma, seen))
    few = jax.tree.map(lambda a: a[0], shortened(*one, 30, 0.0))
    out = np.setdiff1d(np.arange(N), few.index)
    for y, level in ((x, 0.8), (x * 0.99, 0.5), (x * 0.9, 0.3)):
        terms = log_w[out] - np.sum((patterns[out] - np.asarray(y)) ** 2, axis=1) / (2 * level**2)
        assert np.logaddexp.reduce(terms) <= tail_at(few, jnp.asarray(y), jnp.asarray(level)) + 1e-9
    # What had been excluded before is known less well after the move; what is excluded now, exactly.
    here = np.setdiff1d(np.asarray(short.index), few.index)
    terms = log_w[here] - np.sum((patterns[here] - np.asarray(x)) ** 2, axis=1) / (2 * 0.8**2)
    expected = np.logaddexp(np.logaddexp.reduce(terms), float(seen.log_tail_mass))
    assert 0 <= few.log_tail_mass - expected < 1e-10
    nearest = np.linalg.norm(patterns[here] - np.asarray(x), axis=1).min()
    before = float(short.excluded_distance) - np.linalg.norm(np.asarray(x - short.x))
    np.testing.assert_allclose(few.excluded_distance, min(nearest, before), rtol=1e-10)
    flushed = shortened(*one, 30, 0.25)
    np.testing.assert_allclose(flushed.excluded_distance[0], min(nearest - 0.25, before), rtol=1e-10)
    np.testing.assert_array_equal(few.y, patterns[few.index])
    np.testing.assert_array_equal(few.log_weights, log_w[few.index])
    assert (few.sigma, few.index[0]) == (0.8, short.index[seen.lead])
    count = int(required_size(one[3], 1e-3)[0])
    weights = np.sort(np.exp(np.asarray(seen.logits)))[::-1]
    assert weights[count:].sum() <= 1e-3 < weights[count - 1 :].sum()


def test_a_certified_basin_is_where_the_exact_flow_ends(x64, rng, decide):
    """The flow over all patterns, by many small steps, from states that are certified and from states that are not."""
    patterns = rng.normal(size=(60, D))
    everything = ball(patterns)

    def flow(x, sigma):
        h = np.log(sigma / 1e-3) / 2000
        for _ in range(2000):
            squares = np.sum((patterns - x) ** 2, axis=1)
            p = np.exp(-(squares - squares.min()) / (2 * sigma**2))
            x = x + (1 - np.exp(-h)) * (p @ patterns / p.sum() - x)
            sigma *= np.exp(-h)
        return np.linalg.norm(patterns - x, axis=1).argmin()

    verdicts = []
    for _ in range(60):
        sigma = rng.uniform(0.1, 0.8)
        x = patterns[rng.integers(60)] + sigma * rng.normal(size=D)
        squares = np.sum((patterns - x) ** 2, axis=1)
        order = np.argsort(squares)
        short, out = order[:25], order[25:]
        tail = np.logaddexp.reduce(-squares[out] / (2 * sigma**2))
        proven, lead = decide(shortlist(patterns[short], x, sigma, None, tail, np.sqrt(squares[out].min())), everything)
        if proven:
            assert flow(x, sigma) == short[int(lead)]
        verdicts.append(bool(proven))
    assert 10 < sum(verdicts) < 60


def way(delta, log_weight, gap, drift):
    """Δ e^{−g + Δη}/(γ − Δη)."""
    return delta * np.exp(log_weight + delta * drift) / (gap - delta * drift) if gap > delta * drift else np.inf


@pytest.mark.parametrize("case", ["inside", "outside", "both"])
@pytest.mark.parametrize("prior", [-3.0, 0.0, 3.0])
def test_a_basin_is_certified_up_to_the_very_margin(x64, decide, case, prior):
    """Just inside the inequality it is, just outside it is not; with every term in turn."""
    c, other = np.array([0.0, 0.0]), np.array([2.0, 0.0])
    # The pattern lies 1 from the centre, and others at most 2.
    around = EnclosingBall(*map(jnp.asarray, (np.array([1.0, 0.0]), 2.0, 0.0)))

    def margin(sigma, shift):
        """How much of what is allowed the way takes, for a state at `shift` of the way, as in the documentation."""
        x = shift * other
        furthest = 3.0 / sigma
        drift = DRIFT / furthest
        total, log_w, tail, reach = 0.0, np.zeros(1), -np.inf, FAR
        if case != "outside":
            gap = (np.sum((x - other) ** 2) - np.sum(x**2)) / (2 * sigma**2)
            total += way(2 / sigma, prior - gap, gap, drift)
            log_w = np.array([0.0, prior])
        if case != "inside":
            reach, tail = 2.5, prior - 2.5**2 / (2 * sigma**2)
            gap = (2.5**2 - np.sum(x**2)) / (2 * sigma**2)
            total += way(furthest, tail + np.sum(x**2) / (2 * sigma**2), gap, drift)
        y = np.stack([c, other])[: len(log_w)]
        return total / drift, shortlist(y, x, sigma, log_w, tail, reach)

    # Where the margin is met exactly, by bisection in the noise level.
    low, high = 0.05, 3.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if margin(middle, 0.1)[0] < 1 else (low, middle)
    assert 0.1 < low < 2.9
    for factor, expected in ((1 - 1e-6, True), (1 + 1e-6, False)):
        assert bool(decide(margin(low * factor, 0.1)[1], around)[0]) is expected


def test_duplicates_have_one_basin_and_near_ties_none(x64, rng, decide):
    patterns = np.concatenate([np.repeat(rng.normal(size=(1, D)), 3, axis=0), 20 + rng.normal(size=(5, D))])
    assert decide(shortlist(patterns, patterns[0] + 0.1, 0.3), ball(patterns))[0]
    tied = patterns.copy()
    tied[1] += 0.1
    tied[2] += 0.2
    assert not decide(shortlist(tied, (tied[0] + tied[1]) / 2, 0.3), ball(patterns))[0]


def test_patterns_that_are_all_equal_have_one_basin(x64, decide):
    y = np.ones((3, 2))
    assert decide(shortlist(y, np.zeros(2), 0.3), ball(y))[0]
    assert decide(shortlist(y[:1], np.zeros(2), 1e-9), ball(y))[0]

"""The certified flow: its steps, its noise levels, and what it claims."""

import jax
import numpy as np
import pytest
from benchmarks import references
from scipy.integrate import quad
from scipy.special import softmax

from dispersed import Dense, PatternMemory, Scanned, recall
from dispersed.dynamics.result import ending_names
from dispersed.engines.certified_flow import FlowSolver, FlowState
from dispersed.multistep import moments
from dispersed.validation import InputError
from tests.engines.oracle import exact, families, placed


def flow(held, x, sigma, steps=20, tol=1e-4, sigma_min=0.05):
    return FlowSolver(held, steps, sigma_min, tol).solve(x, np.broadcast_to(sigma, len(x)))


@pytest.mark.parametrize("options", [{}, {"by_differences": 4}])
def test_a_certified_basin_is_where_the_exact_flow_over_all_patterns_ends(rng, options):
    patterns = rng.normal(size=(60, 5)).astype(np.float32)
    sigma = rng.uniform(0.05, 1.0, 40)
    x = patterns[:40] + sigma[:, None] * rng.normal(size=(40, 5))
    end = flow(placed(patterns, **options), x, sigma, steps=300, sigma_min=1e-3)
    assert (end.bound <= 1e-4).all()
    assert end.certified.mean() > 0.9
    np.testing.assert_array_equal(end.x[end.certified], patterns[end.pattern[end.certified]])
    y, agree = patterns.astype(float), 0
    for i in np.flatnonzero(end.certified):
        last = references.followed(y, None, x[i], sigma[i], 400)
        agree += np.linalg.norm(y - last, axis=1).argmin() == end.pattern[i]
    # The steps before the proof are not exact: a state near a border may have crossed it.
    assert agree >= end.certified.sum() - 1


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e12, 1e30])
def test_a_flow_does_not_depend_on_the_unit(rng, scale):
    y = rng.normal(size=(60, 5)).astype(np.float32)
    sigma = np.array([0.0, 0.3, 0.5, 2.0]) + 1e-5
    x = y[:4] + sigma[:, None] * rng.normal(size=(4, 5))
    unit = flow(placed(y, by_differences=4), x, sigma)
    scaled = placed((y * np.float64(scale)).astype(np.float32), by_differences=4)
    end = flow(scaled, x * scale, sigma * scale, 20, 1e-4 * scale, 0.05 * scale)
    np.testing.assert_array_equal(end.pattern, unit.pattern)
    np.testing.assert_array_equal(end.certified, unit.certified)
    np.testing.assert_allclose(end.x / scale, unit.x, atol=1e-3)


@pytest.mark.parametrize("sigma", [1e-30, 1e-9, 1e-3, 1.0, 1e3, 1e12, 1e30])
@pytest.mark.parametrize("kind", ["one", "equal", "usual", "heavy"])
def test_every_recall_names_a_pattern(rng, kind, sigma):
    y = rng.normal(size=(60, 5)).astype(np.float32)
    log_w = None
    if kind == "one":
        y = y[:1]
    elif kind == "equal":
        y[:] = y[0]
    elif kind == "heavy":
        log_w = rng.uniform(-700, 0, 60)
        log_w[::3] = -np.inf
    held = placed(y, log_weights=log_w, by_differences=4)
    x = y[: min(4, len(y))] + sigma * rng.normal(size=(min(4, len(y)), 5))
    end = flow(held, x, sigma)
    assert ((end.pattern >= 0) & (end.pattern < len(y))).all()
    if log_w is not None:
        assert (log_w[end.pattern] > -np.inf).all()
    for part in (end.x, end.bound, end.responsibility):
        assert np.isfinite(part).all()
    assert ((end.responsibility > 0) & (end.responsibility <= 1)).all()
    if kind == "one":
        assert end.certified.all()
    if kind in ("one", "equal"):
        np.testing.assert_allclose(end.x, y[end.pattern], rtol=1e-6)


@pytest.mark.parametrize("sigma", [3.0, 1e2, 1e5, 1e12])
def test_a_flow_from_far_away_begins_with_the_mean_by_the_weights(rng, sigma):
    """It ends where one of many more steps over all patterns does, from any level, whatever the weights."""
    y = rng.normal(size=(400, 2)).astype(np.float32)
    y[:200] += 6
    log_w = np.r_[np.full(200, np.log(1e-3)), np.zeros(200)]
    held = placed(y, log_weights=log_w)
    x = y[-1] + sigma * rng.normal(size=(40, 2))
    end = flow(held, x, sigma, steps=16, sigma_min=None)
    y, mean = y.astype(float), np.exp(held.prior) @ y
    level = min(sigma, 1e4)  # the flow is a straight line before
    x = mean + level / sigma * (x - mean)
    for _ in range(2000):
        p = softmax(held.prior - ((x[:, None] - y) ** 2).sum(axis=2) / 2 / level**2, axis=1)
        x, level = p @ y + 0.99 * (x - p @ y), 0.99 * level
    last = np.linalg.norm(y - x[:, None], axis=2)
    assert last.min(axis=1).max() < 1e-3
    # Steps of first order may end at a neighbour of it, a few hundredths away.
    assert np.linalg.norm(y[end.pattern] - y[last.argmin(axis=1)], axis=1).mean() < 0.1


@pytest.mark.parametrize("copies", [1, 3, 3000])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_one_pattern_is_an_attractor_by_any_tolerance(rng, copies, offset):
    memory = PatternMemory(np.tile(rng.normal(size=(1, 5)) + offset, (copies, 1)), engine=Scanned())
    found = recall(memory, np.asarray(memory.patterns)[:1] + rng.normal(size=(4, 5)), sigma=1.0)
    assert np.asarray(found.certificate.certified).all()
    assert (np.asarray(found.certificate.sums) == 0).all()


@pytest.mark.parametrize(("n", "d"), [(300, 1), (20_000, 1), (2000, 2)])
def test_it_ends_as_the_flow_of_dense_patterns_does(rng, n, d):
    """At an attractor, at a saddle or at no fixed point, where many patterns matter to the end."""
    y = rng.normal(size=(n, d)).astype(np.float32)
    x = y[:12] + 0.5 * rng.normal(size=(12, d))
    dense, scanned = (recall(PatternMemory(y, engine=engine), x, sigma=0.5) for engine in (Dense(), Scanned()))
    names = [np.array(ending_names(found.result)) for found in (dense, scanned)]
    open_ones = ~np.asarray(scanned.certificate.certified)
    np.testing.assert_array_equal(names[0][open_ones], names[1][open_ones])
    if d == 1:
        assert {"saddle", "converged"} <= set(names[1])


KINDS = {"all equal": 1, "two": 2, "eight": 8, "one of many": 60}
"""How many distinct patterns there are."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_many_equal_patterns_are_one(rng, kind, weighted):
    """Recalled with a proof and few scans, the first of those that weigh most named, with its own responsibility."""
    distinct = rng.normal(size=(KINDS[kind], 5))
    if kind == "one of many":
        y = np.concatenate([distinct, np.repeat(distinct[:1], 540, axis=0)]).astype(np.float32)
        y = y[rng.permutation(600)]
    else:
        y = distinct[rng.integers(len(distinct), size=600)].astype(np.float32)
    log_w = None
    if weighted:
        log_w = np.where(rng.random(600) < 0.5, np.log(2), 0.0)
        log_w[(rng.random(600) < 0.3) & ~(y == distinct[-1].astype(np.float32)).all(axis=1)] = -np.inf
    held = placed(y, log_weights=log_w)
    x = distinct[[0, -1]] + 0.1 * rng.normal(size=(2, 5))
    for sigma in (0.1, 3.0):
        end = flow(held, x, sigma)
        named = y[end.pattern]
        np.testing.assert_array_equal(end.x[end.certified], named[end.certified])
        if sigma == 0.1:
            np.testing.assert_allclose(named, distinct[[0, -1]], rtol=1e-6)
        assert end.certified.all()
        assert (end.bound <= 1e-4).all()
        if sigma == 0.1 or kind != "one of many":
            assert (end.screens <= 2).all()
            assert (end.sums == 0).all()
        for pattern, responsibility in zip(end.pattern, end.responsibility, strict=True):
            equal = np.flatnonzero((y == y[pattern]).all(axis=1))
            weight = np.exp(log_w[equal]) if weighted else np.ones(len(equal))
            assert pattern == equal[weight.argmax()]
            assert responsibility <= weight.max() / weight.sum() * (1 + 1e-9)
            assert responsibility > 0.5 * weight.max() / weight.sum()


@pytest.mark.parametrize("options", [{}, {"by_differences": 4}, {"by_differences": 4, "small_set": 1}])
def test_the_probability_is_that_of_the_cue_at_its_own_level(rng, options):
    """However it was first evaluated: over a shortlist, by a scan in single or double precision, or distinct patterns
    alone.
    """
    sets = list(families(rng, 600, 5))
    y = rng.normal(size=(4, 5)).astype(np.float32)
    sets.append(("four", y[rng.integers(4, size=600)], rng.exponential(size=600)))
    evaluated = np.zeros(2, int)
    for name, y, weights in sets:
        held = placed(y, None if (weights == 1).all() else weights, **options)
        log_w = np.log(np.maximum(weights / weights.sum(), 1e-300))
        sigma = held.spread * np.repeat([0.01, 0.1, 0.3, 1.0, 100.0], 2)
        x = y[weights > 0][:10] + sigma[:, None] * rng.normal(size=(10, 5))
        # Of the steps only the first evaluates the cue: few will do.
        end = flow(held, x, sigma, steps=5, tol=1e-5 * held.spread)
        p = [float(exact(y, log_w, *cue)[2][k]) for *cue, k in zip(x, sigma, end.pattern, strict=True)]
        np.testing.assert_allclose(end.probability, p, rtol=1e-5, atol=1e-12, err_msg=name)
        evaluated += [(end.sums == 0).sum(), (end.sums > 0).sum()]
    assert (evaluated > 20).all(), evaluated


def test_unresolved_flows_end_with_the_posterior_mean(rng):
    """Two patterns nearer to each other than the last noise level stay a mixture, and nothing is claimed of them."""
    y = 2 * rng.normal(size=(60, 5)).astype(np.float32)
    y[1] = y[0] + 0.01
    end = flow(placed(y), y[:1] + 0.005 + 0.1 * rng.normal(size=(1, 5)), 0.1)
    assert not end.certified[0]
    assert end.converged[0]
    assert end.pattern[0] in (0, 1)
    assert 0.3 < end.responsibility[0] < 0.7
    np.testing.assert_allclose(end.x[0], (y[0] + y[1]) / 2, atol=5e-3)
    assert end.steps[0] == end.evaluations[0] == 20


def test_what_cannot_be_integrated_is_refused(rng):
    held = placed(rng.normal(size=(10, 3)))
    with pytest.raises(InputError, match="x: got an entry of nan"):
        flow(held, np.full((1, 3), np.nan), 1.0)
    with pytest.raises(InputError, match="sigma: got 0;"):
        flow(held, np.zeros((1, 3)), 0.0)


@jax.jit
def flowed(path, steps, s):
    """One step of the flow of a Gaussian of standard deviation s."""
    return path.after(path.x * s**2 / (s**2 + path.sigma**2), steps)


@pytest.mark.parametrize("from_infinity", [False, True])
def test_its_steps_are_of_order_two(x64, from_infinity):
    """On a Gaussian, whose flow is z ∝ √(s² + σ²), from noise far above its spread."""

    def end(steps, from_infinity):
        start, last, spread, s = 40.0, 0.2, 2.0, 1.5
        first = np.log1p(spread / start)
        h = (np.log1p(spread / last) - first) / (steps - 1)
        numbers = map(np.asarray, (first, h, spread, 0.3, from_infinity))
        none, zero = np.zeros(()), np.asarray(0)
        mean = np.zeros(1)
        path = FlowState(mean + start, mean, mean, zero, *numbers, zero, none, zero, zero, none, zero, none)
        for _ in range(steps - 1):
            path = flowed(path, steps, s)
        np.testing.assert_allclose(path.sigma, last)
        return np.asarray(path.x).item() - start * np.sqrt((s**2 + last**2) / (s**2 + start**2))

    errors = [abs(end(steps, from_infinity)) for steps in (33, 65, 129)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.8).all(), orders
    if from_infinity:
        assert errors[0] < abs(end(33, False)) / 5


CASES = [(40.0, 7.0, 0.3), (0.5, 0.4, 0.3), (1e-3, 8e-4, 2.0), (2.0, 1.9, 5.0), (1e9, 9e8, 1.0), (5.0, 4.9999, 1e-3)]


@pytest.mark.parametrize(("a", "b", "kappa"), CASES)
def test_a_step_is_exact_for_a_quadratic(x64, a, b, kappa):
    """D = p + q w + r w² with w = κ/(σ + κ): what the step integrates is this polynomial, by quadrature here."""

    def integrand(t, n):
        sigma = a + (b - a) * t
        return (kappa * (a - sigma) / ((sigma + kappa) * (a + kappa))) ** n / sigma**2 * (a - b) * b

    expected = [quad(integrand, 0, 1, args=(n,), epsabs=0, epsrel=1e-13)[0] for n in range(3)]
    np.testing.assert_allclose(jax.jit(moments)(a, b, kappa), expected, rtol=1e-9)

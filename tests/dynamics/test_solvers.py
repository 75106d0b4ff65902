"""Solvers that step: published coefficients, orders, grids, a solver of one's own, and how recalls end."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    VE,
    VP,
    ClassicalHopfield,
    GaussianMemory,
    InputError,
    Mixture,
    ModernHopfield,
    Observation,
    PatternMemory,
    Result,
    Solver,
    condition,
    recall,
)
from dispersed.dynamics import (
    DDIM,
    AncestralSampling,
    DPMSolver2M,
    DPMSolver3M,
    ExponentialIntegrator,
    Heun,
    Iteration,
    MultistepFlow,
    OneStep,
    ProbabilityFlow,
    karras,
    log_one_plus_snr,
    log_sigma,
    uniform_time,
)
from dispersed.dynamics.result import ending_names
from dispersed.engines import Scanned
from dispersed.engines.dense import DensePatterns

S, LAST, FIRST = 0.7, 0.3, 2.0
"""The standard deviation of a Gaussian memory, the last and the first noise level."""


def denoised(z, sigma):
    return S**2 / (S**2 + sigma**2) * z


def published_2m(z, sigmas):
    """Algorithm 2 of Lu et al. (2022) with α = 1."""
    lam = -np.log(sigmas)
    model = [denoised(z, sigmas[0])]
    for i in range(1, len(sigmas)):
        h = lam[i] - lam[i - 1]
        d = model[-1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * model[-1] - 1 / (2 * r) * model[-2]
        z = sigmas[i] / sigmas[i - 1] * z - (np.exp(-h) - 1) * d
        model.append(denoised(z, sigmas[i]))
    return z


def published_3m(z, sigmas):
    """`multistep_dpm_solver_third_update` of the authors' code for data prediction, with α = 1."""
    lam = -np.log(sigmas)
    model = []
    for i in range(1, len(sigmas)):
        model.append(denoised(z, sigmas[i - 1]))
        h = lam[i] - lam[i - 1]
        if i < 3:
            d = model[-1]
            if i == 2:
                r = (lam[1] - lam[0]) / h
                d = d + (model[-1] - model[-2]) / (2 * r)
            z = sigmas[i] / sigmas[i - 1] * z - (np.exp(-h) - 1) * d
            continue
        r0, r1 = (lam[i - 1] - lam[i - 2]) / h, (lam[i - 2] - lam[i - 3]) / h
        d10, d11 = (model[-1] - model[-2]) / r0, (model[-2] - model[-3]) / r1
        d1 = d10 + r0 / (r0 + r1) * (d10 - d11)
        d2 = (d10 - d11) / (r0 + r1)
        phi1 = np.exp(-h) - 1
        phi2 = phi1 / h + 1
        phi3 = phi2 / h - 0.5
        z = sigmas[i] / sigmas[i - 1] * z - phi1 * model[-1] + phi2 * d1 - phi3 * d2
    return z


def edm(z, sigmas):
    """Algorithm 1 of Karras et al. (2022) with s = 1, σ = t."""
    for t, following in itertools.pairwise(sigmas):
        d = (z - denoised(z, t)) / t
        euler = z + (following - t) * d
        z = z + (following - t) * (d / 2 + (euler - denoised(euler, following)) / following / 2)
    return z


def ddim(z, sigmas):
    for t, following in itertools.pairwise(sigmas):
        z = denoised(z, t) + following / t * (z - denoised(z, t))
    return z


@pytest.mark.parametrize("grid", [log_sigma, karras])
@pytest.mark.parametrize(
    ("solver", "reference"),
    [(DDIM, ddim), (DPMSolver2M, published_2m), (DPMSolver3M, published_3m), (Heun, edm)],
)
def test_the_published_coefficients_on_a_gaussian(x64, solver, reference, grid):
    memory = GaussianMemory(np.zeros(2), S * np.eye(2))
    z = np.array([1.3, -0.4])
    found = recall(memory, z[None], solver(9, sigma_min=LAST, grid=grid), sigma=FIRST, trajectory=True)
    path, sigmas = np.asarray(found.trajectory)[0], np.asarray(found.sigmas)[0]
    np.testing.assert_allclose(path[-2], reference(z, sigmas[:-1]), rtol=1e-12)


def exact(z, sigmas):
    return z * np.sqrt((S**2 + sigmas[-1] ** 2) / (S**2 + sigmas[0] ** 2))


@pytest.mark.parametrize(
    ("make", "order", "margin"),
    [
        (DDIM, 1, 0.1),
        (DPMSolver2M, 2, 0.1),
        (DPMSolver3M, 2, 0.2),
        (Heun, 2, 0.1),
        (MultistepFlow, 2, 0.1),
        (lambda n, **k: ExponentialIntegrator(n, 1, **k), 1, 0.1),
        (lambda n, **k: ExponentialIntegrator(n, 2, **k), 2, 0.1),
        (lambda n, **k: ExponentialIntegrator(n, 3, **k), 3, 0.15),
        (lambda n, **k: ExponentialIntegrator(n, 3, grid=karras, **k), 3, 0.3),
    ],
)
def test_measured_orders_are_the_declared_ones(x64, make, order, margin):
    memory = GaussianMemory(np.zeros(1), S * np.eye(1))
    steps, errors = np.array([129, 513]), []
    for n in steps:
        found = recall(memory, [[1.3]], make(int(n), sigma_min=LAST), sigma=FIRST, trajectory=True)
        errors.append(abs(np.asarray(found.trajectory)[0, -2] - exact(1.3, np.array([FIRST, LAST]))).item())
    assert -np.polyfit(np.log(steps - 1), np.log(errors), 1)[0] == pytest.approx(order, abs=margin)


class Midpoint(Solver):
    """A solver of one's own: the midpoint rule in log σ."""

    def step(self, memory, z, sigma, following, carry, key):
        middle = jnp.sqrt(sigma * following)
        half = z + jnp.log(middle / sigma) * (z - memory.denoise(z, sigma))
        return z + jnp.log(following / sigma) * (half - memory.denoise(half, middle)), carry


def test_a_solver_of_ones_own_is_counted_kept_and_differentiated(x64, rng):
    memory, cues = PatternMemory(rng.standard_normal((30, 8))), rng.standard_normal((4, 8))
    found = recall(memory, cues, Midpoint(15), sigma=1.0, trajectory=True)
    np.testing.assert_array_equal(found.evaluations, 2 * 14 + 2)
    assert found.trajectory.shape == (4, 16, 8)
    np.testing.assert_array_equal(found.index, recall(memory, cues, Heun(60), sigma=1.0).index)

    def loss(cue):
        return recall(memory, cue, Midpoint(5, sigma_min=0.6), sigma=1.0).x.sum()

    both = jax.jit(jax.value_and_grad(loss))
    (value, gradient), h = both(cues[0]), 1e-5
    up, down = (float(both(cues[0] + step)[0]) for step in (h, -h))
    np.testing.assert_allclose(np.sum(gradient), (up - down) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(value, loss(cues[0]), rtol=1e-9)


@pytest.mark.parametrize(
    "solver", [DDIM(30), Heun(30), ExponentialIntegrator(30, 3), MultistepFlow(30), ProbabilityFlow(steps=200)]
)
def test_recall_stops_where_one_pattern_has_all_probability(rng, solver):
    """And ends where all steps do, state by state, at any level and for prior weights that oppose the evidence."""
    y = rng.standard_normal((60, 5))
    for weights in (None, np.exp(rng.uniform(-6, 6, 60)), np.where(np.arange(60) == 0, 1.0, 1e-12)):
        memory = PatternMemory(y, weights)
        for sigma in (0.05, 0.5, 2.0, 20.0):
            cues = y[:25] + sigma * rng.standard_normal((25, 5))
            early = recall(memory, cues, solver, sigma=sigma)
            full = recall(memory, cues, solver, sigma=sigma, trajectory=True)
            np.testing.assert_array_equal(early.index, full.index)
            np.testing.assert_allclose(early.x, full.x, atol=2e-4)
            evaluations = np.asarray(early.evaluations)
            assert (evaluations <= np.asarray(full.evaluations)).all()
            if weights is None and sigma == 0.05:
                assert evaluations.mean() < 0.4 * np.mean(full.evaluations)
            alone = recall(memory, cues[3:4], solver, sigma=sigma)
            assert int(alone.evaluations[0]) == evaluations[3]


def test_a_prior_that_outweighs_the_evidence_stops_nothing(x64):
    """At high noise all probability is with the heavy pattern, at low noise with the one that the cue is at."""
    memory = PatternMemory([[0.0], [1.0]], log_weights=[0.0, -60.0])
    start = recall(memory, [1.0], ExponentialIntegrator(200), sigma=0.2).x
    full = recall(memory, [1.0], ExponentialIntegrator(200), sigma=0.2, trajectory=True).x
    np.testing.assert_allclose(start, full, atol=1e-9)


@pytest.mark.parametrize("ratio", [13.0, 15.6, 60.0])
def test_a_prior_that_less_noise_overrules_stops_nothing(ratio):
    """To single precision all probability is with the first pattern, until less noise says that it is the other."""
    memory = PatternMemory([[0.0], [0.099]], log_weights=[0.0, -ratio])
    dynamics = ExponentialIntegrator(80, sigma_min=0.0099)
    early, every = (recall(memory, [5.66], dynamics, sigma=1.0, trajectory=keep) for keep in (False, True))
    assert int(early.index) == int(every.index)
    np.testing.assert_allclose(early.x, every.x, atol=1e-6)


def test_known_entries_that_less_noise_understands_otherwise_are_completed_alike():
    memory = PatternMemory([[0.0, 0.0], [1.0, 1.0]], log_weights=[0.0, -15.6])
    settings = {"sigma": 2.0, "known": [True, False]}
    early, every = (recall(memory, [1.0, 1.0], DDIM(40), **settings, trajectory=keep) for keep in (False, True))
    assert int(early.index) == int(every.index) == 1
    np.testing.assert_allclose(early.x, every.x, atol=1e-6)
    assert int(early.evaluations) <= 4


class Looping(Solver):
    """Steps with an inner loop, whose values belong to another program."""

    def step(self, memory, z, sigma, following, carry, key):
        levels = jnp.geomspace(sigma, following, 4)

        def inner(z, pair):
            return pair[1] / pair[0] * (z - memory.denoise(z, pair[0])) + memory.denoise(z, pair[0]), None

        return jax.lax.scan(inner, z, (levels[:-1], levels[1:]))[0], carry


def test_a_solver_may_loop_within_a_step(rng):
    memory = PatternMemory(rng.standard_normal((30, 8)))
    cues = rng.standard_normal((4, 8))
    found = recall(memory, cues, Looping(12), sigma=1.0)
    np.testing.assert_array_equal(found.index, recall(memory, cues, DDIM(34), sigma=1.0).index)


def test_a_pattern_that_all_steps_lead_to_is_recalled_to_the_last_digit(rng):
    """Far from the origin, where means are off by round-off, and where most states are decided at once."""
    for offset in (0.0, 1000.0):
        y = (offset + rng.standard_normal((40, 6))).astype(np.float32)
        for sigma in (0.02, 0.5, 30.0):
            cues = y + sigma * rng.standard_normal((40, 6))
            found = recall(PatternMemory(y), cues, sigma=sigma)
            assert np.asarray(found.converged).all()
            exact = np.asarray(found.responsibility) == 1
            assert exact.mean() > 0.7
            np.testing.assert_array_equal(np.asarray(found.x)[exact], y[np.asarray(found.index)][exact])


def test_patterns_that_lie_closer_than_the_last_level_are_recalled_alike_by_few_and_by_all_steps():
    """From their far side one of two has all probability until the state is there, where both are alike."""
    memory = PatternMemory([[0.0, 0.0], [1e-4, 0.0], [5.0, 5.0]])
    cues = [[-40.0, 0.0], [0.0, 0.0], [40.0, 0.0]]
    for dynamics in (MultistepFlow(), DDIM(30)):
        early, every = (recall(memory, cues, dynamics, sigma=0.01, trajectory=keep) for keep in (False, True))
        np.testing.assert_array_equal(early.index, every.index)
        np.testing.assert_allclose(early.x, every.x, atol=1e-7)
        # Those are of their last levels, which differ.
        np.testing.assert_allclose(early.responsibility, every.responsibility, atol=0.01)
        np.testing.assert_allclose(early.probability, every.probability, rtol=1e-5)
        assert early.responsibility[0] < 0.9 < early.probability[0]


class AtAnotherState(Solver):
    """Never evaluates the memory at the state that a step starts from."""

    def step(self, memory, z, sigma, following, carry, key):
        d = memory.denoise(z + 0.3, sigma)
        return d + following / sigma * (z - d), carry


class AtAnotherLevel(Solver):
    """Nor at its level."""

    def step(self, memory, z, sigma, following, carry, key):
        d = memory.denoise(z, 0.9 * sigma)
        return d + following / sigma * (z - d), carry


@pytest.mark.parametrize(
    ("dynamics", "trajectory", "evaluations"),
    [
        (DDIM(8), False, 2),
        (MultistepFlow(8), False, 2),
        (Midpoint(8), False, 2),
        (OneStep(), False, 2),
        (AtAnotherState(8), False, 3),
        (AtAnotherLevel(8), False, 3),
        (ProbabilityFlow(steps=8), False, 3),
        (DDIM(8), True, 3),
    ],
)
def test_the_probability_is_that_of_the_cue_whatever_evaluates_it(
    x64, rng, monkeypatch, dynamics, trajectory, evaluations
):
    """And the end of a recall evaluates the cue only where no step has."""
    levels, followed = [], DensePatterns.followed
    monkeypatch.setattr(DensePatterns, "followed", lambda *given: levels.append(len(given[2])) or followed(*given))
    y, weights = rng.standard_normal((17, 3)), rng.uniform(0.5, 2, 17)
    cues, sigma = rng.standard_normal((12, 3)), np.linspace(0.3, 1.5, 12)
    found = recall(PatternMemory(y, weights), cues, dynamics, sigma=sigma, trajectory=trajectory)
    logits = np.log(weights) - np.sum((cues[:, None] - y) ** 2, axis=2) / (2 * sigma[:, None] ** 2)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probability, p[np.arange(12), found.index], rtol=1e-9)
    assert (np.asarray(found.index) != p.argmax(axis=1)).any() or isinstance(dynamics, OneStep)
    assert levels == [evaluations]


@functools.partial(jax.jit, static_argnums=(0, 3))
def levels_of(grid, first, last, steps, process, spread):
    return grid(first, last, steps, process, spread)


def test_grids(x64):
    first, last, spread = 80.0, 0.002, 3.0
    even = levels_of(log_sigma, first, last, 9, VE(), spread)
    np.testing.assert_allclose(even, np.geomspace(80, 0.002, 9), rtol=1e-12)
    i = np.arange(9)
    expected = (80 ** (1 / 7) + i / 8 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(levels_of(karras, first, last, 9, VE(), spread), expected, rtol=1e-12)
    bounded = np.log1p(0.6 * 3 / np.asarray(levels_of(log_one_plus_snr, first, last, 9, VE(), spread)))
    np.testing.assert_allclose(np.diff(bounded), np.diff(bounded)[0], rtol=1e-9)
    process = VP(3.0)
    times = np.log1p(np.asarray(levels_of(uniform_time, first, last, 9, process, spread)) ** 2) / 3
    np.testing.assert_allclose(np.diff(times), np.diff(times)[0], rtol=1e-9)
    for grid in (log_sigma, log_one_plus_snr, karras, uniform_time):
        levels = np.asarray(levels_of(grid, first, last, 9, process, spread))
        np.testing.assert_allclose(levels[[0, -1]], [80, 0.002], rtol=1e-9)
    for extreme in (1e-30, 1e30):
        with jax.enable_x64(False):
            ends = np.float32(extreme), np.float32(extreme / 1e4)
            both = [np.asarray(levels_of(grid, *ends, 5, process, ends[0])) for grid in (karras, log_one_plus_snr)]
        for levels in both:
            np.testing.assert_allclose(levels[[0, -1]], [extreme, extreme / 1e4], rtol=1e-4)
            assert (np.diff(levels) < 0).all()


@pytest.mark.parametrize("levels", [np.linspace(0.1, 1, 5), np.linspace(1, -1, 5), np.full(5, np.nan), np.zeros(5)])
def test_grids_that_do_not_fall_above_zero_are_refused(levels):
    memory = PatternMemory(np.eye(3, dtype=np.float32))
    solver = DDIM(5, grid=lambda *_: jnp.asarray(levels, jnp.float32))
    for run in (recall, jax.jit(recall, static_argnums=2)):
        with pytest.raises(InputError, match=r"^grid: returned \[.*; noise levels above 0 that do not rise"):
            run(memory, jnp.ones(3), solver, sigma=0.5)


def test_bad_settings_get_one_line():
    for make in (lambda: DDIM(1), lambda: DDIM(-3), lambda: Heun(sigma_min=-0.5)):
        with pytest.raises(InputError) as error:
            make()
        assert "\n" not in str(error.value)


THREE = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, -1], [-1, -1, 1, 1, 1, 1]]


@pytest.mark.parametrize("double", [False, True])
def test_a_saddle_is_no_attractor(double):
    """In single precision an update stays on a ridge that in double precision it leaves."""
    with jax.enable_x64(double):
        for memory, level in ((ModernHopfield(THREE, 5.0), {}), (PatternMemory(THREE), {"sigma": 5**-0.5})):
            found = recall(memory, [[1.0, 1, 1, 1, 1, 0], [1.0, 1, 1, 1, 1, 0.2]], Iteration(), **level)
            # The second pattern and the first differ in the last unit, and nothing else favours one of them.
            last, (ending, away) = abs(np.asarray(found.x)[0, -1]), ending_names(found.result)
            assert (last < 1e-3) == (ending == "saddle")
            assert bool(found.converged[0]) == (last > 0.99)
            assert away == "converged"
    assert Result[Result.saddle].startswith("stopped at a fixed point that is no attractor")


def test_flows_tell_saddles_too(x64):
    """On the line between two memories a flow ends between them; beside it, at one."""
    points = PatternMemory([[1.0, 0.0], [-1.0, 0.0]])
    densities = Mixture([GaussianMemory([1.0, 0.0], 0.001 * np.eye(2)), GaussianMemory([-1.0, 0.0], 0.001 * np.eye(2))])
    flows = (ExponentialIntegrator(), Heun(), ProbabilityFlow(steps=30))
    for memory, dynamics in (*((points, flow) for flow in flows), (densities, flows[0])):
        found = recall(memory, [[0.0, 0.3], [0.05, 0.3]], dynamics, sigma=1.0)
        between, beside = (name == "saddle" for name in ending_names(found.result))
        assert (between, beside) == (True, False), dynamics
        assert found.converged.tolist() == [False, True]


def test_attractors_are_never_called_saddles(rng):
    """Fixed points of random networks that a small change does not leave, and the other way round."""
    patterns = rng.standard_normal((12, 10))
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    cues = rng.standard_normal((200, 10))
    network = ModernHopfield(patterns, 6.0)
    found = recall(network, cues, Iteration(500, tol=1e-6))
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacfwd(network.update)))(found.x))
    steepest = np.abs(np.linalg.eigvals(jacobians)).max(axis=1)
    decided = abs(steepest - 1) > 0.02
    settled = np.asarray(found.result != Result.exhausted) & decided
    assert settled.mean() > 0.8
    np.testing.assert_array_equal(np.asarray(found.result == Result.saddle)[settled], steepest[settled] > 1)


def test_ends_have_names(rng):
    network = ClassicalHopfield([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    cycle = recall(network, [1.0, 1, 1, -1], Iteration())
    memory = PatternMemory(rng.standard_normal((20, 5)))
    few = recall(memory, rng.standard_normal(5), Iteration(1, tol=0.0), sigma=1.0)
    assert ending_names(few.result) == ["exhausted"]
    assert not bool(few.converged)
    assert Result[few.result] == "all steps were taken before a fixed point was reached"
    assert cycle.rows()[0]["result"] in ("cycle", "converged")


@pytest.mark.parametrize("engine", [None, Scanned()])
@pytest.mark.parametrize("dynamics", [None, AncestralSampling(8)])
def test_certainty_is_that_of_the_cue(rng, engine, dynamics):
    """p(index | cue) at the cue's own level, however sure the last level is; and the alternatives."""
    y, weights = rng.standard_normal((40, 6)), rng.uniform(0.5, 2, 40)
    memory = PatternMemory(y, weights, engine=engine)
    cues = y[:10] + 0.8 * rng.standard_normal((10, 6))
    sigma = np.linspace(0.5, 1.5, 10)
    found = recall(memory, cues, dynamics, sigma=sigma, key=jax.random.key(0))
    logits = np.log(weights) - ((cues[:, None] - y) ** 2).sum(-1) / (2 * sigma[:, None] ** 2)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probability, p[np.arange(10), np.asarray(found.index)], rtol=1e-4, atol=1e-7)
    assert (np.asarray(found.probability) < 0.9).any()
    alternatives = found.alternatives(3)
    np.testing.assert_array_equal(alternatives.index, np.argsort(-p, axis=1)[:, :3])
    np.testing.assert_allclose(alternatives.responsibilities, -np.sort(-p, axis=1)[:, :3], rtol=1e-4, atol=1e-7)


def test_certainty_of_known_entries(rng):
    y = np.sign(rng.standard_normal((30, 12)))
    known = np.arange(12) < 5
    cues = y[:6] + 0.3 * rng.standard_normal((6, 12))
    found = recall(PatternMemory(y), cues, sigma=0.8, known=known)
    logits = -((cues[:, None, :5] - y[:, :5]) ** 2).sum(-1) / (2 * 0.8**2)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probability, p[np.arange(6), np.asarray(found.index)], rtol=1e-4)
    best = found.alternatives(2)
    np.testing.assert_allclose(best.responsibilities, -np.sort(-p, axis=1)[:, :2], rtol=1e-4)
    after = condition(PatternMemory(y), Observation(cues[0], mask=known, sigma=0.8))
    np.testing.assert_allclose(after.weights, p[0], rtol=1e-4, atol=1e-7)


def test_a_recall_that_left_its_program_says_what_to_call(rng):
    memory = PatternMemory(rng.standard_normal((5, 3)))
    found = jax.jit(lambda cue: recall(memory, cue, OneStep(), sigma=1.0))(np.zeros(3))
    with pytest.raises(InputError, match=r"memory\.posterior"):
        found.alternatives(2)
    with pytest.raises(InputError, match="k: got 0"):
        recall(memory, np.zeros(3), OneStep(), sigma=1.0).alternatives(0)
    assert recall(ModernHopfield(rng.standard_normal((5, 3)), 1.0), np.zeros(3)).probability is None

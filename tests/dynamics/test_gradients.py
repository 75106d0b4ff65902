"""Reverse mode through every dynamics, against forward mode and finite differences; fixed points by unrolling."""

import functools

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import VP, Circuit, GaussianMemory, Mixture, ModernHopfield, PatternMemory, recall
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
    ReverseSDE,
)

PATTERNS = np.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 0.5], [0.2, -1.0, 1.0], [1.0, -0.5, 0.3]])
CUE = np.array([0.3, 0.4, 0.2])
DIRECTION = np.array([0.6, -0.3, 0.7])
BOTH_MODES = {
    "one step": OneStep(),
    "DDIM": DDIM(6, sigma_min=0.4),
    "2M": DPMSolver2M(6, sigma_min=0.4),
    "3M": DPMSolver3M(6, sigma_min=0.4),
    "third order": ExponentialIntegrator(6, order=3, sigma_min=0.4),
    "Heun": Heun(6, sigma_min=0.4),
    "MultistepFlow": MultistepFlow(6, sigma_min=0.4),
    "Euler": ProbabilityFlow(steps=6),
    "diffrax Tsit5": ProbabilityFlow(dfx.Tsit5(), steps=4, sigma_min=0.4),
}
REVERSE_ONLY = {"adaptive": ProbabilityFlow(dfx.Tsit5(), tol=1e-6, sigma_min=0.4), "circuit": Circuit(sigma_min=0.4)}
RANDOM = {"ancestral": AncestralSampling(5, sigma_min=0.4), "SDE": ReverseSDE(steps=5, sigma_min=0.4)}


def outcome(dynamics, patterns, cue, sigma):
    """A number that depends on all of patterns, cue and level."""
    found = recall(PatternMemory(patterns), cue, dynamics, sigma=sigma, process=VP(), key=jax.random.key(3))
    return found.x @ jnp.arange(1.0, 4.0)


@pytest.mark.parametrize("name", [*BOTH_MODES, *REVERSE_ONLY])
def test_reverse_mode_is_forward_mode_and_finite_differences(x64, name):
    dynamics = {**BOTH_MODES, **REVERSE_ONLY}[name]
    change = (0.3 * np.sin(np.arange(12.0)).reshape(4, 3), DIRECTION, 0.5)
    at = (PATTERNS, CUE, np.array(1.0))

    @jax.jit
    def both(patterns, cue, sigma):
        value, gradients = jax.value_and_grad(outcome, argnums=(1, 2, 3))(dynamics, patterns, cue, sigma)
        return value, sum(jnp.vdot(g, c) for g, c in zip(gradients, change, strict=True))

    def along(step):
        return float(both(*(a + step * c for a, c in zip(at, change, strict=True)))[0])

    reverse = float(both(*at)[1])
    # Adaptive steps are chosen anew on both sides of a difference.
    h = 3e-2 if name in REVERSE_ONLY else 1e-4
    finite = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    np.testing.assert_allclose(reverse, finite, rtol=1e-2 if name in REVERSE_ONLY else 1e-7)
    assert abs(reverse) > 1e-3
    if name in BOTH_MODES:
        forward = jax.jit(lambda *along: jax.jvp(functools.partial(outcome, dynamics), at, along)[1])
        np.testing.assert_allclose(reverse, forward(*map(np.asarray, change)), rtol=1e-10)


def test_a_recall_that_stops_early_has_the_derivatives_of_all_steps(x64):
    """Of a batch whose states stop after different numbers of steps, at the patterns, the cues and their levels."""
    y = np.random.default_rng(0).standard_normal((12, 4))
    y[3] = y[2] + 0.2  # two that no level tells apart for certain
    cues = y[:3] + 0.4 * np.random.default_rng(1).standard_normal((3, 4))
    levels = np.array([0.05, 0.4, 1.5])

    def end(patterns, cues, levels, trajectory=False):
        found = recall(PatternMemory(patterns), cues, DDIM(8, sigma_min=0.2), sigma=levels, trajectory=trajectory)
        return jnp.sum(found.x * jnp.cos(jnp.arange(12.0)).reshape(3, 4)), found.steps

    slopes = jax.jit(jax.grad(end, (0, 1, 2), has_aux=True), static_argnames="trajectory")
    early, steps = slopes(y, cues, levels)
    full, every = slopes(y, cues, levels, trajectory=True)
    assert len(set(np.asarray(steps))) > 1
    assert (np.asarray(steps) <= np.asarray(every)).all()
    assert (np.asarray(steps) < np.asarray(every)).any()
    for found, expected in zip(early, full, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("name", RANDOM)
def test_samplers_of_a_density_are_differentiated_at_fixed_noise(x64, name):
    """Of patterns the last step is a draw among them, which has no derivative in the cue."""

    def value(mean, cue):
        parts = [GaussianMemory(mean, 0.4 * np.eye(3)), GaussianMemory(-mean, 0.3 * np.eye(3))]
        found = recall(Mixture(parts), cue, RANDOM[name], sigma=1.0, key=jax.random.key(3))
        return found.x @ jnp.arange(1.0, 4.0)

    mean = np.array([1.0, -0.5, 0.2])
    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
    _, (of_mean, of_cue) = both(mean, CUE)
    h = 1e-5
    finite = (both(mean, CUE + h * DIRECTION)[0] - both(mean, CUE - h * DIRECTION)[0]) / (2 * h)
    np.testing.assert_allclose(np.asarray(of_cue) @ DIRECTION, finite, rtol=1e-6, atol=1e-8)
    finite = (both(mean + h * DIRECTION, CUE)[0] - both(mean - h * DIRECTION, CUE)[0]) / (2 * h)
    np.testing.assert_allclose(np.asarray(of_mean) @ DIRECTION, finite, rtol=1e-6)
    assert abs(finite) > 1e-3


@pytest.mark.parametrize("kind", ["memory", "network"])
def test_fixed_points_by_the_implicit_function_theorem(x64, kind):
    """At the memory they depend on smoothly, as many unrolled updates have it; at the cue not at all."""

    def make(patterns):
        return PatternMemory(patterns) if kind == "memory" else ModernHopfield(patterns, 2.0)

    def update(patterns, x):
        memory = make(patterns)
        return memory.denoise(x, 0.7) if kind == "memory" else memory.update(x)

    @jax.jit
    def implicit(patterns, cue):
        level = {"sigma": 0.7} if kind == "memory" else {}
        found = recall(make(patterns), cue, Iteration(400, tol=1e-13), **level)
        return found.x @ jnp.arange(1.0, 4.0)

    @jax.jit
    def unrolled(patterns, cue):
        x = jax.lax.scan(lambda x, _: (update(patterns, x), None), cue, length=100)[0]
        return x @ jnp.arange(1.0, 4.0)

    cue = jnp.asarray(PATTERNS[0] + 0.1)
    of_memory, of_cue = jax.jit(jax.grad(implicit, argnums=(0, 1)))(jnp.asarray(PATTERNS), cue)
    expected, expected_of_cue = jax.jit(jax.grad(unrolled, argnums=(0, 1)))(jnp.asarray(PATTERNS), cue)
    np.testing.assert_allclose(of_memory, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(of_cue, expected_of_cue, atol=1e-6)
    forward = jax.jit(lambda y: jax.jvp(lambda y: implicit(y, cue), (y,), (jnp.ones((4, 3)),))[1])(PATTERNS)
    np.testing.assert_allclose(forward, of_memory.sum(), rtol=1e-6)


def test_reverse_mode_needs_the_memory_of_one_step(rng):
    """Of 40 more steps only the states passed through are kept, not what each needs for its derivative."""
    memory, cues = PatternMemory(rng.standard_normal((500, 16))), rng.standard_normal((20, 16))

    def temporary(steps):
        def loss(cues):
            return recall(memory, cues, DDIM(steps), sigma=1.0).x.sum()

        compiled = jax.jit(jax.grad(loss)).lower(jnp.asarray(cues)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = temporary(10), temporary(50)
    # One array of logits for each of the 40 steps would be 1.6 MB.
    assert many - few < 40 * 20 * 500 * 4 / 10


def test_the_result_of_a_recall_is_no_obstacle(x64):
    """Whole recalls pass through filtered transformations, their results included."""
    memory = PatternMemory(PATTERNS)

    def loss(cue):
        found = recall(memory, cue, DDIM(5), sigma=1.0)
        return found.x.sum() + found.probability, found

    both = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))
    (_, found), gradient = both(jnp.asarray(CUE))
    h = 1e-6
    (up, _), (down, _) = (both(jnp.asarray(CUE + step * DIRECTION))[0] for step in (h, -h))
    np.testing.assert_allclose(np.asarray(gradient) @ DIRECTION, (up - down) / (2 * h), rtol=1e-5)
    assert bool(found.converged)

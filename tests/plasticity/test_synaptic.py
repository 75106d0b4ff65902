"""Learning rules against the gradients they stand for, and the circuit against diffusion and Hopfield recall."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.dynamics import Circuit, ExponentialIntegrator, Iteration, ProbabilityFlow, recall
from dispersed.learning import noise_network
from dispersed.learning.levels import LogUniform
from dispersed.memories import LearnedMemory, ModernHopfield, PatternMemory
from dispersed.plasticity.online import doublings, learn, online_update, sgd
from dispersed.plasticity.perturbation import NodePerturbation, decorrelate, perturbable
from dispersed.plasticity.rhythm import Rhythm, live
from dispersed.processes import VP
from dispersed.validation import InputError


class Linear(eqx.Module):
    w: jax.Array

    def __call__(self, z, sigma):
        return self.w @ z


@pytest.fixture
def patterns(rng):
    return jnp.asarray(np.sign(rng.standard_normal((6, 8))), dtype=jnp.float32)


def squared_error(memory, y, noise, sigma):
    """½‖δ − s‖², with δ what the network is to tell."""
    wanted = y if memory.predicts == "pattern" else noise
    return jnp.sum((wanted - memory.estimate(y + sigma * noise, sigma)) ** 2) / 2


def test_online_update_of_a_linear_network_is_the_delta_rule(rng):
    """Eq. 22 for s = Wx: W + η (δ − Wx) xᵀ. The printed sign would ascend."""
    y, noise, sigma, rate = *jnp.asarray(rng.standard_normal((2, 3))), jnp.asarray(0.6), 0.01
    w = jnp.asarray(rng.standard_normal((3, 3)))
    z = y + sigma * noise
    for predicts, wanted in (("pattern", y), ("noise", noise)):
        memory = LearnedMemory(Linear(w), 3, predicts, "VE")
        changed = online_update(memory, y, noise, sigma, rate)
        np.testing.assert_allclose(changed.model.w, w + rate * jnp.outer(wanted - w @ z, z), rtol=1e-5)
        assert squared_error(changed, y, noise, sigma) < squared_error(memory, y, noise, sigma)


@pytest.mark.parametrize("decorrelated", [False, True])
def test_node_perturbation_is_the_gradient_in_the_mean(decorrelated, rng):
    """The mean of 40,000 perturbations differs from the true gradient by no more than its standard error allows."""
    memory = perturbable(noise_network(4, 6, 2, key=jax.random.key(1)))
    if decorrelated:  # lateral matrices other than the identity
        mixed = tuple(R + 0.3 * jnp.asarray(rng.standard_normal(R.shape), R.dtype) for R in memory.model.lateral)
        memory = eqx.tree_at(lambda m: m.model.lateral, memory, mixed)
    y, noise, sigma = jnp.array([1.0, -1, 1, 1]), jnp.array([0.3, 1.2, -0.7, 0.1]), jnp.asarray(0.7)
    rule = NodePerturbation(noise=1e-3)

    @jax.jit
    def draw(keys):
        return jax.vmap(lambda key: rule.direction(memory, y, noise, sigma, key)[0])(keys)

    samples = draw(jax.random.split(jax.random.key(2), 40_000))
    wanted = eqx.filter_jit(eqx.filter_grad(lambda m: -squared_error(m, y, noise, sigma)))(memory).model.layers
    scores, wanted_size, missed = [], 0.0, 0.0
    for drawn, true in zip(jax.tree.leaves(samples), jax.tree.leaves(wanted), strict=True):
        drawn, true = np.asarray(drawn, dtype=float), np.asarray(true, dtype=float)
        error = drawn.std(axis=0) / np.sqrt(len(drawn))
        live_ones = error > 0  # synapses of silent inputs do not change, and their gradient is zero
        assert (true[~live_ones] == 0).all()
        scores.append(((drawn.mean(axis=0) - true) / np.where(live_ones, error, 1))[live_ones])
        wanted_size += np.sum(true**2)
        missed += np.sum((drawn.mean(axis=0) - true) ** 2)
    scores = np.concatenate(scores)
    assert np.abs(scores).max() < 5
    assert np.mean(scores**2) < 3  # scores of one layer are correlated: they share ξ
    assert missed < 0.05 * wanted_size  # the estimate is precise enough for the test to mean something


def test_decorrelation_removes_correlations(rng):
    """Under R ← R − ε (x*x*ᵀ − diag) R correlated inputs end up nearly uncorrelated."""
    mixing = np.eye(4) + 0.5
    inputs = jnp.asarray(rng.standard_normal((20_000, 4)) @ mixing.T, dtype=jnp.float32)

    def step(lateral, x):
        return decorrelate(lateral, lateral @ x, 1e-3), None

    lateral, _ = jax.lax.scan(step, jnp.eye(4), inputs)

    def correlation(x):
        c = np.corrcoef(np.asarray(x).T)
        return np.abs(c - np.eye(4)).max()

    assert correlation(inputs) > 0.6
    assert correlation(inputs @ lateral.T) < 0.1
    x = inputs[0]
    by_hand = jnp.eye(4) - 0.1 * (jnp.outer(x, x) - jnp.diag(x**2))
    np.testing.assert_allclose(decorrelate(jnp.eye(4), x, 0.1), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["online", "perturbation", "rhythm"])
def test_every_rule_learns_to_recall(part, patterns):
    """From single samples, recall comes closer to the exact memory's than the cue's own signs are."""
    network = noise_network(8, 32, 1, key=jax.random.key(0))
    key = jax.random.key(1)
    if part == "online":
        memory = learn(network, sgd, patterns, LogUniform(0.1, 2.0), jnp.full(8000, 0.01), key)
    elif part == "perturbation":
        rule = NodePerturbation()
        memory = learn(perturbable(network), rule, patterns, LogUniform(0.1, 2.0), jnp.full(60_000, 5e-4), key)
    else:
        memory, kept = live(network, Rhythm(), patterns, jnp.full(800, 0.01), key)
        assert float(kept[-100:].mean()) > float(kept[:20].mean())
    cues = VP().corrupt(jnp.tile(patterns, (60, 1)), alpha=0.68, key=jax.random.key(2))
    exact = jnp.sign(recall(PatternMemory(patterns), cues, alpha=0.68).x)

    def agreement(x):
        return float(jnp.mean(jnp.sign(x) == exact))

    assert agreement(recall(memory, cues, alpha=0.68).x) > agreement(cues) + 0.04


def test_rhythm_denoises_with_the_probability_flow(patterns):
    """With the exact memory's denoiser in its place, a cycle of the rhythm is a recall by the flow."""
    exact = PatternMemory(patterns)
    memory = LearnedMemory(lambda z, sigma: exact.denoise(z, sigma), 8, "pattern", "VE")
    rhythm = Rhythm(half=30)
    key = jax.random.key(3)
    _, end = rhythm.cycle(memory, patterns[0], key, jnp.asarray(0.0))
    levels = np.asarray(rhythm.levels)
    assert (np.diff(levels) > 0).all()
    assert levels[-1] == 2
    before = np.append(0, levels[:-1])
    steps = np.sqrt(levels**2 - before**2)[:, None] * np.asarray(jax.random.normal(key, (30, 8)))
    turning = patterns[0] + steps.sum(axis=0)
    flow = recall(exact, turning, ExponentialIntegrator(60), sigma=2.0).x
    np.testing.assert_allclose(end, flow, atol=0.05)


@pytest.mark.parametrize("half", [1000, 20_000])
def test_levels_of_a_slow_rhythm_keep_their_digits(half, patterns):
    """½σ_max(1 − cos φ) = σ_max sin²(φ/2), without cancellation; the first is not 0, by which noise is divided."""
    levels = np.asarray(Rhythm(half=half).levels, float)
    np.testing.assert_allclose(levels, 2 * np.sin(np.pi / 2 * np.arange(1, half + 1) / half) ** 2, rtol=2e-6)
    memory = noise_network(8, 6, 1, key=jax.random.key(1))
    changed, end = Rhythm(half=half).cycle(memory, patterns[0], jax.random.key(0), jnp.asarray(1e-6))
    assert np.isfinite(end).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(changed, eqx.is_array)))


def test_learning_without_input_errors():
    assert sum(doublings(10_000, 1000)) * 1000 >= 10_000
    for make, message in (
        (lambda: Rhythm(leak=1.5), "leak: got 1.5"),
        (lambda: Rhythm(sigma_max=0.0), "sigma_max: got 0.0"),
        (lambda: Circuit(hidden=-1.0), "hidden: got -1"),
        (lambda: perturbable(LearnedMemory(jnp.tanh, 3)), "a memory around a Perceptron is accepted"),
    ):
        with pytest.raises(InputError, match=message):
            make()


def test_circuit_fixed_points_are_the_modern_hopfield_networks(patterns):
    """Whatever the hidden time constant, the visible layer ends where the modern Hopfield iteration ends."""
    network = ModernHopfield(patterns, beta=2.0)
    cues = VP().corrupt(patterns, alpha=0.9, key=jax.random.key(0))
    for hidden in (0.05, 1.0):
        found = recall(network, cues, Circuit(hidden, duration=60.0))
        assert bool(found.converged.all())
        np.testing.assert_allclose(network.update(found.x), found.x, atol=1e-4)
    np.testing.assert_allclose(recall(network, cues, Circuit(0.05)).x, recall(network, cues, Iteration()).x, atol=1e-3)


def test_circuit_with_a_fast_hidden_layer_is_diffusion(rng):
    """At ramp 1 the distance from the probability flow is of first order in τ_h, unequal norms and priors included."""
    patterns = jnp.asarray(rng.standard_normal((5, 4)), dtype=jnp.float32)
    memory = PatternMemory(patterns, weights=jnp.array([1.0, 2, 3, 1, 1]))
    cues = patterns + 0.8 * jnp.asarray(rng.standard_normal((5, 4)), dtype=jnp.float32)
    # Both are stopped at the same level, where the flow still carries noise, by comparing states on the way.
    last = 0.3

    def circuit(hidden):
        return recall(memory, cues, Circuit(hidden, sigma_min=last), sigma=0.8).x

    path = recall(memory, cues, ExponentialIntegrator(400, order=3, sigma_min=last), sigma=0.8, trajectory=True)
    flow = path.trajectory[:, -2]
    assert float(path.sigmas[0, -2]) == pytest.approx(last, rel=1e-4)
    distance = [float(jnp.abs(circuit(hidden) - flow).max()) for hidden in (0.08, 0.04, 0.02)]
    assert distance[2] < 0.05
    for coarse, fine in itertools.pairwise(distance):
        assert 1.5 < coarse / fine < 2.7


@pytest.mark.slow
def test_circuit_recalls_like_diffusion_and_fails_when_its_hidden_layer_is_slow(patterns):
    memory = PatternMemory(patterns)
    cues = VP().corrupt(jnp.tile(patterns, (20, 1)), alpha=0.68, key=jax.random.key(5))
    exact = jnp.sign(recall(memory, cues, ProbabilityFlow(), alpha=0.68).x)

    def agreement(circuit):
        return float(jnp.mean(jnp.sign(recall(memory, cues, circuit, alpha=0.68).x) == exact))

    assert agreement(Circuit(0.01)) > 0.99
    assert agreement(Circuit(100.0, ramp=0.1)) < 0.95
    shown = recall(memory, cues[0], Circuit(points=12), alpha=0.68, trajectory=True)
    assert shown.trajectory.shape == (13, 8)
    assert bool((jnp.diff(shown.sigmas) < 0).all())

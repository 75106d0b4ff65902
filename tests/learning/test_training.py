"""Denoising training against closed forms, finite differences, and the exact memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dispersed
from dispersed.dynamics import ExponentialIntegrator, ProbabilityFlow, recall
from dispersed.learning import (
    DivergedError,
    LogNormal,
    LogUniform,
    Recipe,
    UniformTime,
    UnitOutput,
    noise_network,
    preconditioned_network,
    total_noise,
    train,
    train_ensemble,
    unit_noise,
)
from dispersed.learning.loss import denoising_loss, draw_noise
from dispersed.learning.networks import LevelLinear
from dispersed.learning.training import check_network
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.processes import VP
from dispersed.validation import InputError


class Linear(eqx.Module):
    """ŷ = Wz: a network whose loss and gradient are known in closed form."""

    w: jax.Array

    def __call__(self, z, sigma):
        return self.w @ z


def linear(d=3):
    return LearnedMemory(Linear(jnp.arange(d * d, dtype=float).reshape(d, d) / 10), d, "pattern", "VE")


@pytest.fixture
def patterns(rng):
    return jnp.asarray(np.sign(rng.standard_normal((8, 10))), dtype=jnp.float32)


def test_loss_and_gradient_of_a_linear_network(rng, x64):
    """½ Σ w mean λ‖Wz − y‖² has the gradient Σ w mean λ (Wz − y) zᵀ, and finite differences agree."""
    n, k, d = 4, 5, 3
    y, eps = rng.standard_normal((n, d)), rng.standard_normal((n, k, d))
    sigma, w = rng.uniform(0.1, 2, (n, k)), np.array([0.1, 0.2, 0.3, 0.4])
    memory = linear()
    W = np.asarray(memory.model.w)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(memory):
        return denoising_loss(memory, *map(jnp.asarray, (y, w, eps, sigma)), unit_noise)

    z = y[:, None] + sigma[..., None] * eps
    error = z @ W.T - y[:, None]
    share = w[:, None] / k / sigma**2
    value, slope = loss(memory)
    gradient = slope.model.w
    np.testing.assert_allclose(value, 0.5 * np.sum(share * np.sum(error**2, -1)), rtol=1e-12)
    np.testing.assert_allclose(gradient, np.einsum("nk,nki,nkj->ij", share, error, z), rtol=1e-10)
    h = 1e-6
    for i, j in ((0, 0), (1, 2)):
        step = h * np.outer(np.eye(d)[i], np.eye(d)[j])
        up, down = (loss(eqx.tree_at(lambda m: m.model.w, memory, jnp.asarray(W + s * step)))[0] for s in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * h), gradient[i, j], rtol=1e-7)


def test_both_predictions_give_the_same_denoiser_and_loss(key, rng, x64):
    """A noise network and the pattern network made of it agree in D_σ, score and error."""
    net = noise_network(4, 8, 1, key=key)

    def pattern(z, sigma):
        alpha = 1 / jnp.sqrt(1 + sigma**2)
        return z - sigma * net.model(alpha * z, alpha)

    other = LearnedMemory(pattern, 4, "pattern", "VE")
    z = rng.standard_normal((5, 4))
    denoised = np.asarray(net.denoise(z, 0.7))
    np.testing.assert_allclose(denoised, other.denoise(z, 0.7), rtol=1e-12)
    y, eps = (z[2] - 0.7 * z[1]), z[1]
    error, others = (jax.jit(memory.error)(y, eps, 0.7) for memory in (net, other))
    np.testing.assert_allclose(error, others, atol=1e-12)
    np.testing.assert_allclose(error, denoised[2] - y, atol=1e-12)
    np.testing.assert_allclose(net.score(z, 0.7), (denoised - z) / 0.49, rtol=1e-10)


def test_level_is_concatenated_to_the_input(key):
    layer = LevelLinear(3, 2, key=key)
    whole = np.column_stack([layer.weight, layer.level_weight]).astype(float)
    x = np.array([0.3, -1.0, 2.0])
    found = eqx.filter_jit(layer)(x, jnp.asarray(0.4))
    np.testing.assert_allclose(found, whole @ np.append(x, 0.4) + np.asarray(layer.bias), rtol=1e-6)


def test_preconditioning_identities(key, rng):
    """c_in gives inputs, and c_out targets, of rms one at every σ; c_skip z is the best linear denoiser."""
    spread = 0.7
    coefficients, weight = map(
        eqx.filter_jit, (preconditioned_network(2, 4, 1, spread, key=key).model.coefficients, UnitOutput(spread))
    )
    y = spread * rng.standard_normal(200_000)
    eps = rng.standard_normal(200_000)
    for sigma in (0.02, 0.5, 3.0):
        skip, out, into, level = (float(c) for c in coefficients(jnp.asarray(sigma)))
        z = y + sigma * eps
        assert np.std(into * z) == pytest.approx(1, rel=0.01)
        assert np.std((y - skip * z) / out) == pytest.approx(1, rel=0.01)
        assert skip == pytest.approx((y @ z) / (z @ z), rel=0.02)
        assert level == pytest.approx(np.log(sigma) / 4, rel=1e-6)
        assert float(weight(jnp.asarray(sigma))) == pytest.approx(1 / out**2, rel=1e-5)


@pytest.mark.parametrize("levels", [LogUniform(0.1, 3.0), LogNormal(-1.0, 0.5), UniformTime(VP(0.8), 0.1, 1.2)])
def test_levels_are_drawn_from_their_distribution(levels, key):
    """Stratified draws have the quantiles that the distribution states, and unit noise."""
    sigma, noise = map(np.asarray, jax.jit(draw_noise, static_argnums=(2, 3, 4))(levels, key, 4000, 3, 5))
    u, quantile = np.array([0.1, 0.35, 0.5, 0.8, 0.95]), eqx.filter_jit(levels.quantile)
    np.testing.assert_allclose(np.quantile(sigma, u), quantile(u), rtol=0.05)
    lower, upper = (np.asarray(quantile((np.arange(5) + end) / 5)) for end in (0, 1))
    assert ((sigma >= lower * 0.999) & (sigma <= upper * 1.001)).all()
    assert noise.std() == pytest.approx(1, rel=0.01)
    assert abs(np.corrcoef(np.log(sigma).ravel(), noise[..., 0].ravel())[0, 1]) < 0.03


def test_levels_over_more_than_the_range_of_their_ratio():
    """log σ is uniform, also where `high`/`low` is no number in single precision."""
    quantiles = LogUniform(1e-20, 1e20).quantile(jnp.array([0.0, 0.25, 0.5, 1.0]))
    np.testing.assert_allclose(quantiles, [1e-20, 1e-10, 1.0, 1e20], rtol=1e-5)


def test_weightings_are_those_of_equation_9():
    sigma = jnp.array([0.1, 1.0, 2.0])
    np.testing.assert_allclose(total_noise(sigma), 1)
    np.testing.assert_allclose(np.asarray(unit_noise(sigma)) * sigma**2, 1, rtol=1e-6)


@pytest.mark.slow
def test_training_is_plain_adam_on_the_loss(patterns, key):
    """The compiled loop takes the steps that a plain Python loop takes."""
    recipe = Recipe(6, draws=4, levels=LogUniform(0.1, 1.0), average=0.5)
    first = noise_network(10, 16, 1, key=key)
    trained = train(first, patterns, recipe, key=key, check_every=4)
    memory, optimiser = first, optax.adam(1e-3)
    state = optimiser.init(eqx.filter(memory, eqx.is_inexact_array))
    average = eqx.filter(first, eqx.is_inexact_array)
    for step in range(6):
        for_noise = jax.random.split(jax.random.fold_in(key, step))[1]
        sigma, noise = draw_noise(recipe.levels, for_noise, 8, 10, 4)
        value, gradient = eqx.filter_value_and_grad(denoising_loss)(
            memory, patterns, jnp.full(8, 1 / 8), noise, sigma, unit_noise
        )
        np.testing.assert_allclose(trained.curve.loss[step], value, rtol=1e-5)
        updates, state = optimiser.update(gradient, state)
        memory = eqx.apply_updates(memory, updates)
        decay = min(0.5, (1 + step) / (10 + step))
        weights = eqx.filter(memory, eqx.is_inexact_array)
        average = jax.tree.map(lambda a, w, decay=decay: decay * a + (1 - decay) * w, average, weights)
    for ours, theirs in zip(
        jax.tree.leaves(eqx.filter(trained.memory, eqx.is_inexact_array)), jax.tree.leaves(average), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_trained_score_approaches_the_exact_one_and_recalls_like_it(patterns, key):
    """The acceptance test: 8 patterns of 10 units, sign agreement of at least 0.98 over fresh cues at α = 0.68."""
    network = preconditioned_network(10, 128, key=key)
    trained = train(network, patterns, Recipe(3000, average=0.99), key=jax.random.key(1))
    gap = np.asarray(trained.curve.gap)
    assert gap[-1] < gap[9] < gap[2] < gap[0]
    assert gap[-1] < gap[0] / 2
    cues = VP().corrupt(np.tile(patterns, (200, 1)), alpha=0.68, key=jax.random.key(2))
    exact = recall(PatternMemory(patterns), cues, ExponentialIntegrator(), alpha=0.68).x
    for dynamics in (ExponentialIntegrator(), ProbabilityFlow(steps=50)):
        learned = recall(trained.memory, cues, dynamics, alpha=0.68)
        assert np.mean(np.sign(learned.x) == np.sign(exact)) >= 0.98
        assert learned.index is None  # no list of patterns is kept


def test_loss_minimum_is_the_exact_denoiser(key):
    """At one level and one unit the posterior mean is tanh(z/σ²); a network trained there comes close to it."""
    sigma = 0.8
    levels = LogUniform(sigma * 0.999, sigma * 1.001)
    network = preconditioned_network(1, 32, 2, key=key)
    trained = train(network, np.array([[1.0], [-1.0]]), Recipe(3000, draws=64, levels=levels, average=0.99), key=key)
    z = np.linspace(-2, 2, 41, dtype=np.float32)[:, None]
    assert np.abs(np.asarray(trained.memory.denoise(z, sigma)) - np.tanh(z / sigma**2)).max() < 0.05
    floor = np.sqrt(1 - np.mean(np.tanh((1 + sigma * np.random.default_rng(0).standard_normal(10**6)) / sigma**2)))
    assert float(np.asarray(trained.curve.error)[-1]) == pytest.approx(floor, rel=0.25)


@pytest.mark.slow
def test_streams_weights_and_early_stop(patterns, key):
    recipe = Recipe(400, draws=2, levels=LogUniform(0.1, 1.0), optimiser=optax.adam(1e-2))
    network = noise_network(10, 16, 1, key=key)
    streamed = train(network, lambda key: jax.random.choice(key, patterns, (4,)), recipe, key=key)
    assert streamed.curve.gap is None
    assert float(streamed.curve.error[-1]) < float(streamed.curve.error[0])
    # A pattern of weight zero is not learned: its values do not matter.
    weights = jnp.array([1.0] * 7 + [0.0])
    a, b = (train(network, p, recipe, key=key, weights=weights) for p in (patterns, patterns.at[7].mul(-1)))
    assert bool((a.curve.loss == b.curve.loss).all())
    # At a learning rate that only makes noise, training stops early and returns its best network.
    wild = Recipe(3000, draws=2, levels=LogUniform(0.1, 1.0), optimiser=optax.sgd(0.3))
    stopped = train(network, patterns, wild, key=key, patience=3, check_every=20)
    assert stopped.curve.loss.size < 3000
    assert int(jnp.argmin(stopped.curve.error)) == stopped.curve.error.size - 4


@pytest.mark.slow
def test_ensemble_is_its_members_trained_alone(patterns, key):
    """Member i depends on its patterns and number alone, and is what `train` makes of them."""
    sets = jnp.stack([patterns, patterns[::-1] * jnp.sign(jnp.arange(10) - 4.5), jnp.roll(patterns, 1, axis=1)])
    recipe = Recipe(30, draws=4)

    def make(key):
        return noise_network(10, 24, 2, key=key)

    all_three = train_ensemble(sets, recipe, key=key, network=make, check_every=15)
    two = train_ensemble(sets[:2], recipe, key=key, network=make, check_every=15)
    np.testing.assert_allclose(two.curve.loss, all_three.curve.loss[:2], rtol=1e-4)
    for_network, for_steps = jax.random.split(jax.random.fold_in(key, 1))
    alone = train(make(for_network), sets[1], recipe, key=for_steps, check_every=15)
    np.testing.assert_allclose(alone.curve.loss, all_three[1].curve.loss, rtol=1e-4)
    np.testing.assert_allclose(alone.curve.gap, all_three[1].curve.gap, rtol=1e-3)
    assert len(all_three) == 3
    cues = VP().corrupt(sets, alpha=0.8, key=key)
    together = all_three.recall(cues, alpha=0.8).x
    np.testing.assert_allclose(together[1], recall(all_three[1].memory, cues[1], alpha=0.8).x, atol=1e-3)


@pytest.mark.slow
def test_large_networks_are_trained_one_after_the_other_with_the_same_result(patterns, key, monkeypatch):
    sets = jnp.stack([patterns, -patterns, patterns[::-1]])
    recipe = Recipe(10, draws=2)

    def run():
        return train_ensemble(sets, recipe, key=key, network=lambda k: noise_network(10, 20, 1, key=k), check_every=10)

    side_by_side = run()
    monkeypatch.setattr("dispersed.learning.across.TOGETHER", 1)
    jax.clear_caches()
    np.testing.assert_allclose(run().curve.loss, side_by_side.curve.loss, rtol=1e-5)


def test_second_training_compiles_nothing(patterns, key):
    from dispersed.learning.loop import stretch

    recipe = Recipe(7, draws=2)
    network = noise_network(10, 12, 1, key=key)
    train(network, patterns, recipe, key=key, check_every=3)
    before = stretch.jitted()._cached._cache_size()
    train(network, patterns, Recipe(11, draws=2), key=jax.random.key(9), check_every=3)
    assert stretch.jitted()._cached._cache_size() == before


def test_divergence_names_the_step(patterns, key):
    recipe = Recipe(50, draws=2, optimiser=optax.sgd(1e6))
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step \d+; no checkpoint was kept") as caught:
        train(noise_network(10, 16, 1, key=key), patterns, recipe, key=key, check_every=10)
    assert 0 < caught.value.step < 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patterns": np.ones((3, 4))}, r"patterns: got shape \(3, 4\); the network has 10 units"),
        ({"patterns": np.full((3, 10), np.nan)}, "patterns: got 30 NaN"),
        ({"weights": np.array([1.0, -1.0])}, "weights: got shape"),
        ({"memory": LearnedMemory(lambda x, a: x, 10)}, "has no weights"),
        ({"patience": 0}, "patience: got 0"),
        ({"check_every": 0}, "check_every: got 0"),
        ({"checkpoint": "/nowhere/at/all"}, "checkpoint: got '/nowhere/at/all'; a path in a folder that exists"),
        ({"patterns": lambda key: jnp.ones((2, 3))}, r"patterns: draws batches of shape \(2, 3\)"),
    ],
)
def test_bad_input_is_named(patterns, key, change, message):
    arguments = {"memory": noise_network(10, 4, 1, key=key), "patterns": patterns, "recipe": Recipe(2), **change}
    with pytest.raises(InputError, match=message):
        train(**arguments, key=key)


def test_bad_recipes_networks_and_sets_are_named(key):
    for make, message in (
        (lambda: Recipe(0), "steps: got 0"),
        (lambda: Recipe(average=1.0), "average: got 1.0"),
        (lambda: check_network(PatternMemory(np.ones((1, 10)))), "memory: got PatternMemory; a LearnedMemory"),
        (lambda: LogUniform(2.0, 1.0), "low, high: got 2 and 1"),
        (lambda: LearnedMemory(jnp.tanh, 10, "score"), "predicts: got 'score'"),
        (lambda: LearnedMemory(jnp.tanh, 10, "noise", "EDM"), "coordinates: got 'EDM'"),
        (lambda: train_ensemble(np.ones((2, 3)), key=key), r"patterns: got shape \(2, 3\)"),
        (lambda: train_ensemble(np.ones((1, 2, 3)), key=key, weights=np.zeros((1, 2))), "not all zero"),
    ):
        with pytest.raises(InputError, match=message):
            make()
    assert dispersed.LearnedMemory is LearnedMemory

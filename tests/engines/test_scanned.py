"""Scanned and sharded patterns are the memory that dense ones are, for every dynamics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import (
    CertifiedFlow,
    Dense,
    ExponentialIntegrator,
    InputError,
    Iteration,
    PatternMemory,
    Scanned,
    Sharded,
    recall,
)
from dispersed.engines import candidate_screening, ladder
from dispersed.storage import Bits, Float16, InMemory


@pytest.fixture
def patterns(rng):
    return rng.normal(size=(300, 12)).astype(np.float32)


def scanned(patterns, *weights):
    return PatternMemory(patterns, *weights, engine=Scanned())


@pytest.mark.parametrize("engine", [Scanned(), Sharded()])
def test_it_has_the_methods_of_a_memory(patterns, rng, engine):
    memory, dense = PatternMemory(patterns, engine=engine), PatternMemory(patterns, engine=Dense())
    x = patterns[:4] + 0.6 * rng.normal(size=(4, 12)).astype(np.float32)
    sigma = np.array([0.2, 0.6, 3.0, 40.0], np.float32)
    for name in ("denoise", "log_density", "energy", "score"):
        expected = getattr(dense, name)(x, sigma)
        np.testing.assert_allclose(getattr(memory, name)(x, sigma), expected, rtol=1e-4, atol=1e-4)
    state, level = memory.prior_start()
    np.testing.assert_allclose(state, patterns.mean(axis=0), atol=1e-6)
    assert level > 10


@pytest.mark.parametrize("offset", [0, 4])
def test_patterns_are_copied_once_and_no_change_of_the_array_changes_them(rng, offset):
    """Wherever the array lies in memory; blocks but the last, and what the host reads, are views of the copy."""
    n, d = 3000, 16
    raw = np.empty(n * d * 4 + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    y = raw[start : start + n * d * 4].view(np.float32).reshape(n, d)
    y[:] = rng.normal(size=(n, d))
    before = y.copy()
    held = scanned(y).held
    y[:] = 0
    np.testing.assert_array_equal(held.patterns, before)
    np.testing.assert_array_equal(held.placed.patterns(np.arange(n)), before)
    inside = np.asarray(held.patterns)
    blocks = [np.asarray(block.rows.codes) for block in held.placed.blocks()]
    assert np.shares_memory(blocks[0], inside)
    np.testing.assert_array_equal(np.concatenate(blocks)[:n], before)


def test_weights_and_gradients(patterns, rng):
    weights = np.where(rng.random(300) < 0.3, 0, rng.exponential(size=300))
    memory, dense = scanned(patterns, weights), PatternMemory(patterns, weights)
    x = patterns[:4] + 0.6 * rng.normal(size=(4, 12)).astype(np.float32)
    np.testing.assert_allclose(memory.denoise(x, 0.7), dense.denoise(x, 0.7), atol=1e-5)
    slope = jax.jit(jax.vmap(jax.grad(memory.log_density), in_axes=(0, None)))(x, 0.7)
    np.testing.assert_allclose(slope, dense.score(x, 0.7), rtol=1e-4, atol=1e-4)
    index, responsibility = memory.nearest(x, 0.7)
    expected, share = dense.nearest(x, 0.7)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(responsibility, share, atol=1e-5)
    found = memory.posterior(x, 0.7)
    np.testing.assert_allclose(found.log_density, dense.log_density(x, 0.7), rtol=1e-5)


def test_any_dynamics_recalls_and_completes(patterns, rng, key):
    memory, dense = scanned(patterns), PatternMemory(patterns)
    x = patterns[:5] + 0.4 * rng.normal(size=(5, 12)).astype(np.float32)
    known = np.arange(12) < 8
    for arguments in ({"known": None}, {"known": known}):
        ours, theirs = (recall(m, x, ExponentialIntegrator(8), sigma=0.4, **arguments) for m in (memory, dense))
        np.testing.assert_array_equal(ours.index, theirs.index)
        np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    np.testing.assert_allclose(
        recall(memory, x, Iteration(5), sigma=0.4).x, recall(dense, x, Iteration(5), sigma=0.4).x, atol=1e-4
    )
    coded = scanned(InMemory(patterns, Float16()))
    drawn = recall(coded, x, dispersed.AncestralSampling(3), sigma=0.4, known=known, key=key)
    rows = np.asarray(patterns, np.float16)[np.asarray(drawn.index)]
    np.testing.assert_allclose(drawn.x, np.where(known, x, rows), atol=1e-5)
    logits = -((x[:, None, :8] - patterns[None, :, :8]) ** 2).sum(-1) / (2 * 0.4**2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    p = weights[np.arange(5), np.asarray(drawn.index)] / weights.sum(1)
    assert (p > 1e-3).all()


def slopes(memory, x):
    """Of a part of the denoiser in the state, and of the log density in the noise level."""
    pull = jax.grad(lambda x: memory.denoise(x, 0.6) @ jnp.arange(12.0))
    slope = jax.grad(lambda s, x: memory.log_density(x, s))
    return jax.jit(jax.vmap(lambda x: (pull(x), slope(jnp.float32(0.6), x))))(x)


def test_encoded_patterns_serve_programs_by_scans_on_the_host(rng):
    """Methods, their gradients and samples, against the same patterns in memory as numbers."""
    patterns = np.sign(rng.normal(size=(300, 12))).astype(np.float32)
    weights = np.where(rng.random(300) < 0.3, 0, rng.exponential(size=300))
    for prior in ((), (weights,)):
        coded, dense = scanned(InMemory(patterns, Bits()), *prior), PatternMemory(patterns, *prior, engine=Dense())
        x = patterns[:4] + 0.6 * rng.normal(size=(4, 12)).astype(np.float32)
        for name in ("responsibilities", "jacobian", "hessian"):
            np.testing.assert_allclose(getattr(coded, name)(x, 0.6), getattr(dense, name)(x, 0.6), atol=2e-5)
        np.testing.assert_array_equal(coded.project(x), dense.project(x))
        inside = jax.jit(coded.denoise)(x, 0.6)
        np.testing.assert_allclose(inside, dense.denoise(x, 0.6), atol=1e-5)
        (pull, slope), (expected, steepness) = slopes(coded, x), slopes(dense, x)
        np.testing.assert_allclose(pull, expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(slope, steepness, rtol=1e-4)
        drawn = coded.sample(jax.random.key(0), 4000)
        np.testing.assert_array_equal(drawn, dense.sample(jax.random.key(0), 4000))
        start, spread = coded.prior_start()
        np.testing.assert_allclose(start, dense.prior_start()[0], atol=1e-6)
        np.testing.assert_allclose(spread, dense.prior_start()[1], rtol=1e-5)


def test_certified_recall_ends_where_the_flow_does(rng):
    """At a load where many cues are near a border, and from cues of every noise at once."""
    patterns = np.sign(rng.normal(size=(300, 12)))
    dense = PatternMemory(patterns.astype(np.float32))
    alpha = rng.uniform(0.5, 0.95, size=16).astype(np.float32)
    x = alpha[:, None] * patterns[:16] + np.sqrt(1 - alpha[:, None] ** 2) * rng.normal(size=(16, 12))
    certified = recall(scanned(InMemory(patterns, Bits())), x, CertifiedFlow(), alpha=alpha)
    plain = recall(dense, x, ExponentialIntegrator(20), alpha=alpha)
    np.testing.assert_array_equal(certified.index, plain.index)
    np.testing.assert_allclose(certified.x, plain.x, atol=1e-3)
    proof = jax.tree.map(np.asarray, certified.certificate)
    assert (proof.bound <= 1e-4).all()
    assert proof.certified.mean() > 0.9
    assert (np.asarray(certified.evaluations) <= 20).all()
    assert (
        np.asarray(certified.x)[np.asarray(proof.certified)]
        == patterns[np.asarray(certified.index)[np.asarray(proof.certified)]]
    ).all()
    # A cue is recalled alike alone and in a batch.
    alone = recall(scanned(InMemory(patterns, Bits())), x[7], CertifiedFlow(), alpha=alpha[7])
    assert int(alone.index) == np.asarray(certified.index)[7]
    assert bool(alone.certificate.certified) == proof.certified[7]  # on which way depends on what else is asked at once


def test_a_certified_recall_takes_no_pass_that_it_does_not_count(rng, monkeypatch):
    patterns = np.sign(rng.normal(size=(2000, 24))).astype(np.float32)
    passes = {"screen": 0, "full_scan": 0}

    def counted(module, name):
        function = getattr(module, name)

        def call(placed, states, *arguments):
            passes[name] += len(states.x)
            return function(placed, states, *arguments)

        monkeypatch.setattr(module, name, call)

    counted(candidate_screening, "screen")
    counted(ladder, "full_scan")
    for sigma in (0.5, 3.0):
        x = patterns[:12] + sigma * rng.normal(size=(12, 24))
        passes.update(screen=0, full_scan=0)
        proof = jax.tree.map(np.asarray, recall(scanned(patterns), x, CertifiedFlow(), sigma=sigma).certificate)
        assert proof.certified.all()
        assert passes == {"screen": proof.screens.sum(), "full_scan": proof.sums.sum()}
        assert passes["screen" if sigma < 1 else "full_scan"] > 0


@pytest.mark.slow
def test_recalls_from_between_two_patterns_come_to_an_end(rng):
    """At any noise, where what a screen keeps may be more than the leading pattern tells."""
    patterns = rng.normal(size=(300, 2)).astype(np.float32)
    sigma = 10 ** rng.uniform(-2, 1, size=60)
    x = patterns[:60] + sigma[:, None] * rng.normal(size=(60, 2))
    x[::3] = (patterns[:20] + patterns[100:120]) / 2
    result = recall(scanned(patterns), x, CertifiedFlow(40, 0.02 * sigma.min()), sigma=sigma)
    assert result.certificate.certified.mean() > 0.9
    assert (result.evaluations <= 40).all()


def test_unresolved_recalls_end_with_tweedies_step(rng):
    """Two patterns nearer to each other than the last noise level stay a mixture, and nothing is claimed of them."""
    patterns = rng.normal(size=(300, 12)).astype(np.float32)
    patterns[1] = patterns[0] + 0.001
    x = patterns[:1] + 0.0005 + 0.1 * rng.normal(size=(1, 12)).astype(np.float32)
    certified = recall(scanned(patterns), x, CertifiedFlow(), sigma=0.1)
    plain = recall(PatternMemory(patterns), x, sigma=0.1)
    assert not certified.certificate.certified[0]
    np.testing.assert_allclose(certified.x, plain.x, atol=1e-4)
    np.testing.assert_allclose(certified.responsibility, plain.responsibility, atol=1e-2)


def test_certified_recall_inside_a_program_is_the_plain_flow(patterns):
    memory = scanned(patterns)
    x = patterns[:3]
    inside = jax.jit(lambda x: recall(memory, x, CertifiedFlow(), sigma=0.3).x)(x)
    np.testing.assert_allclose(inside, recall(memory, x, CertifiedFlow(), sigma=0.3).x, atol=1e-4)
    kept = recall(memory, x, CertifiedFlow(), sigma=0.3, trajectory=True)
    assert kept.trajectory.shape == (3, 17, 12)
    with pytest.raises(InputError, match="cannot recall"):
        recall(PatternMemory(patterns, engine=Dense()), x, CertifiedFlow(), sigma=0.3)

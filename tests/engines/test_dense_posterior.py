"""The posterior by products: the bound on their round-off, what follows from it, and blocks of states."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed.engines import dense_logits as dense


def of(y, log_w=None):
    y = jnp.asarray(y, jnp.float32)
    log_w = np.full(len(y), -np.log(len(y))) if log_w is None else log_w
    return y, jnp.asarray(log_w, jnp.float32), dense.products(y, True)


def exact_logits(y, log_w, x, sigma):
    y, log_w, x = (np.asarray(part, np.float64) for part in (y, log_w, x))
    logits = log_w - np.sum((x[:, None] - y) ** 2, axis=2) / 2 / sigma**2
    return logits - logits.max(axis=1, keepdims=True)


@pytest.mark.parametrize("spread", [1.0, 4.0])
@pytest.mark.parametrize("prior", [0.0, 1.0, 3000.0])
def test_logits_are_off_by_no_more_than_the_bound(rng, spread, prior):
    y, log_w, known = of(spread * rng.standard_normal((50, 30)), -prior * rng.random(50))
    x = y[:40] + 0.3 * jnp.asarray(rng.standard_normal((40, 30)), jnp.float32)
    level = jnp.full(40, 1.5 * spread)
    logits = np.asarray(dense._product_logits(known, log_w, x, level), np.float64)
    error = np.abs(logits - exact_logits(y, log_w, x, float(level[0])))
    off = np.asarray(dense._round_off(known, log_w, x, level), np.float64)
    near = logits > -110
    # Both a logit and the leading one, which it is relative to, may be off by that.
    assert (np.where(near, error, 0).max(axis=1) <= 2 * off).all()
    # Worst cases are above typical ones by the number of terms and by how far patterns are from the largest.
    assert off.max() <= 500 * error[near].max()


def test_a_pattern_of_little_weight_that_leads_is_rounded_as_its_log_weight():
    _, log_w, known = of([[100.0, 0], [0, 0]], [0.0, -5000.0])
    x, level = jnp.array([[0.0, 0.0]]), jnp.ones(1) * 0.9
    assert dense._product_logits(known, log_w, x, level)[0, 1] == 0
    # Half a unit in the last place of 5,000, twice.
    assert dense._round_off(known, log_w, x, level)[0] >= 2.0**-11
    near = of([[1.0, 0], [0, 0]], [0.0, 0.0])
    assert dense._round_off(near[2], near[1], x, level)[0] < 2e-5


@pytest.mark.parametrize(
    ("gap", "off", "enough"),
    [
        (0.0, 4.9e-4, True),  # ties whose weights are off by less than a thousandth, whatever the round-off
        (0.0, 6e-4, False),
        (6.0, 0.15, True),  # e^−6 (e^{2·.15} − 1) < .001
        (6.0, 0.2, False),
        (30.0, 10.0, True),
        (30.0, 12.0, False),
        (200.0, 33.0, True),  # what underflows counts as the least that does not
        (200.0, 36.0, False),
    ],
)
def test_products_suffice_where_others_share_little(gap, off, enough):
    by = dense.weighed(jnp.array([[-gap, 0.0, -1e6]]))
    assert bool(dense._sufficient(by, jnp.array([off]))[0]) == enough


def test_two_that_tie_share_whatever_the_others_weigh():
    by = dense.weighed(jnp.array([[0.0, 0.0, -200.0], [-1e-9, 0.0, -200.0]]))
    assert not dense._sufficient(by, jnp.full(2, 1e-2)).any()


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9])
def test_a_first_pattern_far_from_all_others_takes_no_digits(rng, far):
    near = rng.standard_normal((6, 5))
    y = np.concatenate([np.full((1, 5), far), near, near[2:3] + 1e-3]).astype(np.float32)
    x = ((y[3] + y[-1].astype(float)) / 2 + 1e-5 * near[0]).astype(np.float32)
    level = np.float32(1e-3)
    exact = np.exp(exact_logits(y, np.zeros(8), x[None], float(level))[0])
    # In single precision: memories that are mapped have no products in common.
    found = jax.vmap(lambda y: dispersed.PatternMemory(y).responsibilities(x, level))(np.stack([y, y]))
    np.testing.assert_allclose(found[0], exact / exact.sum(), atol=1e-6)


@pytest.mark.parametrize("method", ["denoise", "nearest", "responsibilities"])
def test_batches_in_blocks_are_what_they_are_at_once(rng, monkeypatch, method):
    monkeypatch.setattr(dense, "SMALL", 0)
    y = rng.standard_normal((40, 6)).astype(np.float32)
    memory = dispersed.PatternMemory(y)
    # States on and between patterns: some of a block need more than products.
    x = np.concatenate([y[:3], (y[:2] + y[2:4]) / 2, y[5:7] + 0.5])
    level = np.array([1.0, 0.01, 1e-3, 1e-3, 0.01, 0.5, 3.0], np.float32)
    jax.clear_caches()
    whole = getattr(memory, method)(x, level)
    for block, many in ((0, 3), (0, 1), (120, 1)):
        monkeypatch.setattr(dense, "BLOCK", block)
        monkeypatch.setattr(dense, "MANY", many)
        jax.clear_caches()
        blocks = getattr(memory, method)(x, level)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), whole, blocks)
    jax.clear_caches()


@pytest.mark.parametrize("hard", [0, 1, 7, 8, 9, 23, 40])
@pytest.mark.parametrize("own", [False, True])
def test_states_for_which_products_fail_are_weighed_anew_and_no_others_change(rng, hard, own):
    y, level = rng.standard_normal((300, 64)).astype(np.float32), np.float32(0.02)
    x = y[:40].astype(float)
    between = rng.permutation(40)[:hard]
    x[between] = (x[between] + y[between + 100]) / 2
    x = x.astype(np.float32)
    log_w = rng.uniform(-1, 0, (40, 300)).astype(np.float32)
    held = dispersed.PatternMemory(y).held.prepared()
    shares = _with_own_weights(held, log_w, x, level) if own else _with_equal_weights(held, x, level)
    exact = np.exp(exact_logits(y, log_w if own else np.zeros(300), x, float(level)))
    np.testing.assert_allclose(shares, exact / exact.sum(axis=1, keepdims=True), atol=2e-6)


@jax.jit
def _with_equal_weights(held, x, level):
    return jax.vmap(held.responsibilities, (0, None))(x, level)


@jax.jit
def _with_own_weights(held, log_w, x, level):
    def one(log_w, x):
        return eqx.tree_at(lambda held: held.log_weights, held, log_w).responsibilities(x, level)

    return jax.vmap(one)(log_w, x)


@pytest.mark.parametrize("sigma", [0.02, 0.3, 2.0])
def test_log_odds_of_two_patterns_are_those_of_their_responsibilities(rng, sigma):
    y = rng.standard_normal((20, 64)).astype(np.float32)
    held = dispersed.PatternMemory(y, rng.random(20) + 0.1).held
    x = ((y[3] + y[7]) / 2).astype(np.float32)
    i, j = jnp.int32(3), jnp.int32(7)
    log_w = np.log(np.exp(np.asarray(held.log_weights, np.float64)))
    exact = exact_logits(y, log_w, x[None], np.float32(sigma).astype(float))[0]
    found = held.log_odds(i, j, jnp.asarray(x), jnp.float32(sigma))
    np.testing.assert_allclose(found, exact[3] - exact[7], rtol=1e-5, atol=1e-5)
    assert held.log_odds(i, i, jnp.asarray(x), jnp.float32(sigma)) == 0
    slope = jax.grad(lambda x: held.log_odds(i, j, x, jnp.float32(sigma)))(jnp.asarray(x))
    np.testing.assert_allclose(slope, (y[3] - y[7]) / sigma**2, rtol=1e-4)

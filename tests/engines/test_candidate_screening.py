"""A screen keeps what matters and says at least how much it left out, and how near, in whatever order patterns lie."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from dispersed import StoredMemory
from dispersed.engines import candidate_screening as screening_module
from dispersed.engines import certified_posterior as posterior_module
from dispersed.engines import full_scan as scan_module
from dispersed.engines import online_softmax as softmax_module
from dispersed.engines import placed_patterns as placed_module
from dispersed.engines.candidate_screening import sample_logits, screen, screening_depth
from dispersed.engines.certified_posterior import max_candidates, posterior, screen_states
from dispersed.engines.online_softmax import CHUNK, DECODED, LOGITS, TILE, chunk_size, padded_rows, scan_block
from dispersed.storage import Bits, InMemory, Int8, open_patterns, save_patterns
from tests.engines.oracle import exact, families

SHARE = 1e-5


def held_against_all(patterns, log_w, x, sigma, found):
    """Each `Found` against all that it left out; of how many states something is known."""
    known = 0
    for i, kept in enumerate(found):
        if kept is None:
            continue
        assert len(np.unique(kept.indices)) == len(kept.indices)
        out = np.setdiff1d(np.arange(len(patterns)), kept.indices)
        out = out[log_w[out] > -np.inf]
        if not len(out):
            assert kept.log_tail_mass == -np.inf
            continue
        distance = np.linalg.norm(patterns[out].astype(float) - x[i], axis=1)
        rest = np.logaddexp.reduce(log_w[out] - distance**2 / (2 * sigma[i] ** 2))
        lead = np.max(log_w - np.linalg.norm(patterns.astype(float) - x[i], axis=1) ** 2 / (2 * sigma[i] ** 2))
        assert rest <= kept.log_tail_mass
        assert kept.log_tail_mass <= lead + np.log(4 * SHARE) + 1e-9
        assert kept.excluded_distance <= distance.min()
        known += 1
    return known


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks of few patterns: the best changes as they come."""
    monkeypatch.setattr(placed_module, "BLOCK", 128)
    monkeypatch.setattr(softmax_module, "CHUNK", 64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["as drawn", "nearest first", "nearest last"])
def test_what_is_left_out_is_bounded_in_any_order(rng, small_blocks, order, weighted):
    n, d = 1500, 8
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    if order != "as drawn":
        away = np.linalg.norm(patterns - patterns[0], axis=1)
        patterns = patterns[np.argsort(away if order == "nearest first" else -away)]
    log_w = rng.normal(scale=3, size=n) if weighted else np.zeros(n)
    log_w[::7] = -np.inf if weighted else 0
    placed = StoredMemory(patterns, log_weights=log_w if weighted else None).placed
    log_w = log_w - np.logaddexp.reduce(log_w) if weighted else log_w
    sigma = 10 ** rng.uniform(-1.5, -0.3, size=40)
    near = patterns[0 if order == "nearest first" else -1]
    x = near + sigma[:, None] * rng.normal(size=(40, d))
    found = screen(placed, x, sigma, SHARE, n // 4)
    assert held_against_all(patterns, log_w, x, sigma, found) > 30


def test_a_guess_that_is_far_too_high_costs_time_only(rng, small_blocks, monkeypatch):
    """The first patterns scatter widely, all others lie in one place."""
    monkeypatch.setattr(screening_module, "SAMPLE_SIZE", 64)
    patterns = rng.normal(size=(1000, 8)).astype(np.float32)
    patterns[:64] *= 30
    sigma = np.full(9, 0.4)
    x = patterns[500:509] + sigma[:, None] * rng.normal(size=(9, 8))
    placed = StoredMemory(patterns).placed
    logits = x @ patterns.T - np.sum(patterns**2, axis=1) / 2
    assert (sample_logits(placed, x, sigma).best(1000) > 5 * np.max(logits, axis=1)).all()
    found = screen(placed, x, sigma, SHARE, 1000)
    assert all(len(kept.indices) for kept in found)
    assert held_against_all(patterns, np.zeros(1000), x, sigma, found) == 9


def test_too_many_are_given_up(rng, small_blocks):
    placed = StoredMemory(rng.normal(size=(1000, 8)).astype(np.float32)).placed
    assert screen(placed, rng.normal(size=(5, 8)), np.full(5, 100.0), SHARE, 50) == [None] * 5


def decoded(rows, d):
    return np.asarray(rows.encoding.decode(rows.codes, rows.scale, d))[: rows.count]


def test_patterns_in_a_quarter_of_the_bytes_serve_few_states(rng, small_blocks):
    """The screen reads int8; what rounding to it changes joins the bound. Its memory stays that of the patterns."""
    n, d = 1500, 16
    binary = rng.choice(np.float32([-1, 1]), (n, d))
    for patterns in (binary, rng.normal(size=(n, d)).astype(np.float32)):
        placed = StoredMemory(patterns).placed
        short = np.concatenate([decoded(block.rows, d) for block in placed.quantized.blocks])
        error = np.linalg.norm(short.astype(float) - patterns, axis=1).max()
        assert error <= placed.quantized.error <= 1.001 * error
        sigma = np.full(4, 0.4)
        x = patterns[:4] + sigma[:, None] * rng.normal(size=(4, d))
        found = screen(placed, x, sigma, SHARE, n)
        assert held_against_all(patterns, np.zeros(n), x, sigma, found) == 4
        answer = posterior(placed, x, sigma, 1e-4, 4)
        for i in range(4):
            _, mean, _ = exact(patterns, np.full(n, -np.log(n)), x[i], sigma[i])
            assert np.linalg.norm(answer.mean[i] - mean.astype(float)) <= answer.bound[i] <= 1e-4


def test_codes_that_blur_too_much_are_not_used(rng, small_blocks, monkeypatch):
    """Where patterns differ by little more than what int8 rounds away, they themselves are read."""
    used = []
    asked = screening_module.scan_block

    def recorded(rows, *rest):
        used.append(rows.encoding.name)
        return asked(rows, *rest)

    monkeypatch.setattr(screening_module, "scanned", recorded)
    patterns = rng.normal(size=(1500, 16)).astype(np.float32)
    close = (5 + 0.01 * patterns).astype(np.float32)
    for stored, sigma, expected in ((patterns, 0.5, "int8"), (patterns, 0.02, "int8"), (close, 0.002, "float32")):
        used.clear()
        x = stored[:2] + sigma * rng.normal(size=(2, 16))
        found = screen(StoredMemory(stored).placed, x, np.full(2, sigma), SHARE, 1500)
        assert set(used) == {expected}
        assert held_against_all(stored, np.zeros(1500), x, np.full(2, sigma), found) == 2


def test_there_is_no_shorter_copy_of_what_is_short_or_on_a_disk(rng, tmp_path):
    patterns = rng.choice(np.float32([-1, 1]), (100, 8))
    assert StoredMemory(InMemory(patterns, Int8())).placed.quantized is None
    assert StoredMemory(InMemory(patterns, Bits())).placed.quantized is None
    save_patterns(tmp_path / "patterns.safetensors", patterns)
    assert StoredMemory(open_patterns(tmp_path / "patterns.safetensors")).placed.quantized is None


def test_what_is_weighed_by_products_keeps_its_bound(rng, monkeypatch):
    """As if all that is kept were much."""
    monkeypatch.setattr(posterior_module, "BY_DIFFERENCES", 0)
    pruned = 0
    for name, patterns, weights in families(rng, 400, 6):
        sigma = 10 ** rng.uniform(-2, 0, size=20) * np.median(np.abs(patterns))
        x = patterns[rng.integers(400, size=20)] + sigma[:, None] * rng.normal(size=(20, 6))
        memory = StoredMemory(patterns, weights)
        found = memory.posterior(x, sigma, tol=1e-4 * memory.placed.statistics.radius)
        with np.errstate(divide="ignore"):
            log_w = np.log(weights / weights.sum())
        for i in range(20):
            log_mass, mean, share = exact(patterns, log_w, x[i], sigma[i])
            own = 1e-17 * np.abs(patterns).max() * (1 + abs(float(log_mass)))
            assert np.linalg.norm((found.mean[i] - mean).astype(float)) <= found.bound[i] + own, (name, sigma[i])
            assert found.responsibilities[i, 0] >= share.max() - 1e-4
            pruned += found.path[i] == "pruned"
    assert pruned > 100


def test_the_likeliest_patterns_are_named_where_all_matter(rng, small_blocks):
    n, d = 1000, 6
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    x = rng.normal(size=(7, d))
    found = StoredMemory(patterns).posterior(x, 20.0, leading=5)
    assert (found.path == "scan").all()
    distance = np.linalg.norm(patterns - x[:, None], axis=2)
    np.testing.assert_array_equal(found.index, np.argsort(distance, axis=1)[:, :5])
    share = np.exp(-(distance**2) / 800)
    share /= share.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.responsibilities, -np.sort(-share, axis=1)[:, :5], rtol=1e-6)


def test_no_more_than_most_states_are_screened_to_find_out_that_they_keep_too_much(rng):
    """At high noise the first patterns tell that nearly all of them matter."""
    placed = StoredMemory(rng.normal(size=(4000, 6)).astype(np.float32)).placed
    x = rng.normal(size=(12, 6))
    assert not screen_states(placed, x, np.full(12, 5.0), SHARE)[1].any()
    found, tried = screen_states(placed, x, np.full(12, 0.02), SHARE)
    assert tried.all()
    assert all(len(kept.indices) <= max_candidates(placed) for kept in found)


@pytest.mark.parametrize("rows", [1, 31, 57, 900, 1797, 5000, 20_000, 300_000])
def test_blocks_are_gone_through_in_parts_that_fit(rows):
    height = padded_rows(rows)
    assert rows <= height < rows * 1.07 + TILE
    for states, d in ((1, 1), (64, 64), (1024, 64), (3, 3072), (4096, 100_000)):
        size = chunk_size(height, states, d)
        assert height % size == 0
        assert size == TILE or (size <= CHUNK and size * states <= LOGITS and size * d <= DECODED)
        bigger = 2 * size
        assert height % bigger or bigger > CHUNK or bigger * states > LOGITS or bigger * d > DECODED


def test_many_states_are_asked_in_groups(rng, monkeypatch):
    """Neither what is found nor its order depends on how many share a pass."""
    memory = StoredMemory(rng.normal(size=(600, 6)).astype(np.float32))
    sigma = np.where(np.arange(20) % 2, 0.1, 3.0)
    x = rng.normal(size=(20, 6))
    whole = memory.posterior(x, sigma)
    for module in (posterior_module, scan_module):
        monkeypatch.setattr(module, "STATES_PER_PASS", 3)
    parts = memory.posterior(x, sigma)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4)
    np.testing.assert_array_equal(parts.index[:, 0], whole.index[:, 0])
    assert set(whole.path) == {"pruned", "scan"}


def test_depth_is_deeper_where_sums_cannot_be_trusted():
    exact_logits, vague = screening_depth(1e-6, 10_000, np.array([0.0, 10.0]))
    np.testing.assert_allclose(exact_logits, np.log(1e6) + np.log(1e4) / 2)
    np.testing.assert_allclose(vague, np.log(1e6) + np.log(1e4) + 20)


def test_products_are_asked_for_in_the_precision_of_their_numbers(rng):
    """A GPU would round float32 to eleven bits before multiplying, and no bound would hold."""
    placed = StoredMemory(rng.normal(size=(64, 8)).astype(np.float32)).placed
    rows = dataclasses.replace(next(placed.blocks()).rows, height=None)
    arrays = (jnp.ones((2, 8)), jnp.ones(2), jnp.zeros(8), jnp.zeros(2), jnp.ones(2))
    found = []

    def look(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                found.append(equation.params["precision"])
            for inner in jaxprs_in_params(equation.params):
                look(inner)

    look(jax.make_jaxpr(lambda *states: scan_block.__wrapped__(rows, *states, True))(*arrays).jaxpr)
    assert len(found) == 3
    assert all(precision == (jax.lax.Precision.HIGHEST,) * 2 for precision in found)

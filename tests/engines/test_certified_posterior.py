"""The certified posterior against extended precision: right, and as right as it says."""

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import InputError, StoredMemory
from dispersed.engines import online_softmax as softmax_module
from dispersed.engines import placed_patterns as placed_module
from dispersed.engines.bitmask import chunk_starts, words
from dispersed.engines.certified_posterior import screen_states
from dispersed.engines.full_scan import full_scan
from dispersed.engines.online_softmax import TILE, EncodedRows, SoftmaxSums, block_sums, empty_sums, merge
from dispersed.engines.roundoff import logit_error, mean_error
from dispersed.storage import Bits, Float16, Float32, InMemory, Int8, open_patterns, save_patterns
from tests.engines.oracle import exact, families

N, D, CUES = 600, 6, 30


def with_log(weights):
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum())


def cues(rng, patterns, sigma):
    """Near patterns, between them, and far away."""
    chosen = patterns[rng.integers(len(patterns), size=CUES)]
    x = chosen + sigma[:, None] * rng.normal(size=chosen.shape)
    x[::5] = (chosen[::5] + patterns[rng.integers(len(patterns), size=len(x[::5]))]) / 2
    x[1::9] *= 30
    return x


def test_no_certificate_is_ever_exceeded_and_none_says_nothing(rng):
    """Of every kind of pattern set and noise from 1e-4 to 1e3; `python -m benchmarks.bound` has ten thousand cases."""
    ratios, pruned = [], 0
    for name, patterns, weights in families(rng, N, D):
        memory = StoredMemory(patterns, weights)
        spread = np.where(np.arange(CUES) % 2, rng.uniform(-4, 3, size=CUES), rng.uniform(-1.2, -0.3, size=CUES))
        sigma = 10**spread * np.median(np.abs(patterns))
        x = cues(rng, patterns, sigma)
        found = memory.posterior(x, sigma, tol=1e-4 * memory.placed.statistics.radius)
        for i in range(CUES):
            log_mass, mean, share = exact(patterns, with_log(weights), x[i], sigma[i])
            error = float(np.sqrt(((found.mean[i] - mean) ** 2).sum()))
            # The oracle itself is off by this much.
            own = 1e-17 * np.abs(patterns).max() * (1 + abs(float(log_mass)))
            assert error <= found.bound[i] + own, (name, sigma[i], found.path[i])
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), rtol=1e-9, atol=1e-4)
            # What was left out may weigh as much as moves the mean by the tolerance.
            named = found.index[i][found.index[i] >= 0]
            np.testing.assert_allclose(found.responsibilities[i, : len(named)], share[named].astype(float), atol=1e-4)
            assert found.responsibilities[i, 0] >= share.max() - 1e-4
            if found.path[i] == "pruned":
                pruned += 1
                if error > 1e4 * own:
                    ratios.append(found.bound[i] / error)
    assert pruned > 150
    assert len(ratios) > 10
    assert np.median(ratios) < 100


@pytest.mark.parametrize("encoding", [Float32(), Float16(), Int8(), Bits()])
def test_every_encoding_and_kind_of_storage_is_the_memory_of_its_decoded_patterns(rng, tmp_path, encoding):
    patterns = np.sign(rng.normal(size=(N, D)))
    if encoding.name != "bits":
        patterns = patterns * rng.uniform(0.5, 2, size=(N, D))
    held = InMemory(patterns.astype(np.float32), encoding)
    path = tmp_path / "patterns.safetensors"
    save_patterns(path, patterns.astype(np.float32), encoding)
    decoded = held.rows(np.arange(N))
    sigma = np.array([0.05, 0.5, 5.0])
    x = decoded[:3] + sigma[:, None] * rng.normal(size=(3, D))
    for storage in (held, open_patterns(path)):
        found = StoredMemory(storage).posterior(x, sigma)
        for i in range(3):
            log_mass, mean, _ = exact(decoded, np.full(N, -np.log(N)), x[i], sigma[i])
            assert np.linalg.norm(found.mean[i] - mean.astype(float)) <= found.bound[i] <= 1e-4
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), atol=1e-5)


def test_a_tolerance_is_met_or_refused(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    memory = StoredMemory(patterns)
    x = patterns[:8] + 0.3 * rng.normal(size=(8, D))
    for tol in (1e-1, 1e-3, 1e-9):
        assert (memory.posterior(x, 0.3, tol=tol).bound <= tol).all()
    with pytest.raises(InputError, match="double precision certifies"):
        memory.posterior(x, 0.3, tol=1e-17)
    loose, tight = memory.posterior(x, 1.0, tol=0.3), memory.posterior(x, 1.0, tol=1e-10)
    assert (tight.path == "scan").all()
    assert (loose.patterns_weighed <= tight.patterns_weighed).all()
    np.testing.assert_allclose(loose.mean, tight.mean, atol=0.3)


def test_entropy_counts_the_patterns_that_share_a_state(rng):
    patterns = np.repeat(10 * np.eye(4, dtype=np.float32), 5, axis=0)
    found = StoredMemory(patterns).posterior(10 * np.eye(4), 0.5)
    np.testing.assert_allclose(found.effective_patterns, 5, rtol=1e-9)
    far = StoredMemory(patterns).posterior(np.zeros(4), 1e4)
    np.testing.assert_allclose(far.effective_patterns, 20, rtol=1e-6)


def test_results_do_not_depend_on_the_size_of_blocks(rng, monkeypatch):
    patterns = rng.normal(size=(500, D)).astype(np.float32)
    x, sigma = rng.normal(size=(12, D)), 10 ** rng.uniform(-1, 1, size=12)
    whole = StoredMemory(patterns).posterior(x, sigma)
    monkeypatch.setattr(placed_module, "BLOCK", 64)
    monkeypatch.setattr(softmax_module, "CHUNK", 32)
    blocks = StoredMemory(patterns)
    assert len(list(blocks.placed.blocks())) == 8
    parts = blocks.posterior(x, sigma)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4)
    np.testing.assert_array_equal(parts.index[:, 0], whole.index[:, 0])
    np.testing.assert_allclose(parts.log_normaliser, whole.log_normaliser, atol=1e-5)


def test_sums_are_a_monoid(x64, rng):
    patterns, x = jnp.asarray(rng.normal(size=(96, D))), jnp.asarray(rng.normal(size=(3, D)))
    beta, none = jnp.full(3, 2.0), empty_sums(3, D, x.dtype)

    def part(low, high):
        rows = EncodedRows(patterns[low:high], None, None, jnp.zeros(()), jnp.asarray(high - low), Float32())
        return block_sums(rows, x, beta, jnp.zeros(D))

    a, b, c = part(0, 32), part(32, 64), part(64, 96)
    whole = part(0, 96)
    for one in (
        merge(merge(a, b), c),
        merge(a, merge(b, c)),
        merge(none, merge(merge(c, a), merge(none, b))),
    ):
        for name in ("log_mass", "mean", "entropy"):
            np.testing.assert_allclose(getattr(one, name), getattr(whole, name), rtol=1e-12)
    assert isinstance(merge(none, none), SoftmaxSums)
    np.testing.assert_array_equal(merge(none, none).mass, 0)


def test_sums_in_single_precision_keep_their_bound(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    memory = StoredMemory(patterns)
    x, sigma = patterns[:20] + 0.5 * rng.normal(size=(20, D)), np.full(20, 0.5)
    single, double = (full_scan(memory.placed, x, sigma, dtype) for dtype in (np.float32, np.float64))
    off = np.linalg.norm(single.mean - double.mean, axis=1)
    assert (off <= single.bound).all()
    assert off.max() > 100 * double.bound.max()


@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_sum_weighs_apart_leaves_little_and_says_how_much(rng, weighted):
    """Few patterns carry nearly all: single precision certifies four digits more than its logits have."""
    n, d, sigma = 20_000, 32, 0.7
    patterns = rng.choice(np.float32([-1, 1]), (n, d))
    log_w = rng.normal(size=n) if weighted else np.zeros(n)
    log_w -= np.log(np.exp(log_w).sum())
    placed = StoredMemory(patterns, log_weights=log_w if weighted else None).placed
    x, levels = patterns[:8] + sigma * rng.normal(size=(8, d)), np.full(8, sigma)
    total = full_scan(placed, x, levels, np.float32)
    all_gather = mean_error(
        logit_error(d, np.float32, 1 / levels**2, np.linalg.norm(x, axis=1), 0.1, d**0.5, 20.0), 1, np.float32, 6, 6
    )
    better = 0
    for i in range(8):
        log_mass, mean, _ = exact(patterns, log_w, x[i], sigma)
        assert np.linalg.norm(total.mean[i] - mean) <= total.bound[i]
        np.testing.assert_allclose(total.log_mass[i] - (0 if weighted else np.log(n)), float(log_mass), rtol=1e-5)
        better += total.bound[i] < all_gather[i] / 100
        kept = total.found[i]
        if kept is None:
            continue
        out = np.setdiff1d(np.arange(n), kept.indices)
        distance = np.linalg.norm(patterns[out] - x[i], axis=1)
        logits = (log_w if weighted else np.zeros(n))[out] - distance**2 / (2 * sigma**2)
        assert np.logaddexp.reduce(logits) <= kept.log_tail_mass
        assert kept.log_tail_mass < np.logaddexp.reduce(logits) + 0.1
        assert kept.excluded_distance <= distance.min()
        assert kept.excluded_distance > 0.5 * distance.min()
    assert better >= 4


def test_what_underflows_is_not_taken_for_nothing(rng):
    """Far below the leading pattern what was left out is still bounded: it may matter elsewhere."""
    n, d = 400, 16
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    log_w = np.log(rng.gamma(0.3, size=n) + 1e-30)
    placed = StoredMemory(patterns, log_weights=log_w).placed
    log_w -= np.logaddexp.reduce(log_w)
    sigma = 10 ** rng.uniform(-2, -0.5, size=30)
    x = patterns[:30] + sigma[:, None] * rng.normal(size=(30, d))
    sums = full_scan(placed, x, sigma, np.float32).found
    for found in (screen_states(placed, x, sigma, 1e-6)[0], sums):
        assert sum(kept is not None for kept in found) > 20
        for i, kept in enumerate(found):
            if kept is not None:
                out = np.setdiff1d(np.arange(n), kept.indices)
                distance = np.linalg.norm(patterns[out] - x[i], axis=1)
                assert np.logaddexp.reduce(log_w[out] - distance**2 / (2 * sigma[i] ** 2)) <= kept.log_tail_mass
                assert kept.excluded_distance <= distance.min()


def test_weights_off_by_any_factor_are_no_weights(rng):
    """Patterns 10⁵ from the origin: single precision cannot tell them apart, and says so."""
    patterns = (1e5 + rng.normal(size=(300, D))).astype(np.float32)
    total = full_scan(StoredMemory(patterns).placed, patterns[:9] + rng.normal(size=(9, D)), np.ones(9), np.float32)
    assert np.isinf(total.bound).all()
    assert all(kept is None or kept.log_tail_mass == np.inf for kept in total.found)


def test_marks_are_read_as_they_were_made(rng):
    """One bit a pattern; states that only fill the batch up are left out."""
    marked = rng.random((3, 4, 2, TILE)) < 0.05
    bits = (marked * (np.uint32(1) << np.arange(TILE, dtype=np.uint32))).sum(axis=3, dtype=np.uint32)
    found, where = words(bits, 3, chunk_starts(1000, bits))
    np.testing.assert_array_equal(bits[where], found.marks)
    np.testing.assert_array_equal(found.counts, marked[where].sum(axis=1))
    state, index = found.patterns()
    chunk, owner, tile, bit = np.nonzero(marked[:, :3])
    expected = set(zip(owner.tolist(), (1000 + (chunk * 2 + tile) * TILE + bit).tolist(), strict=True))
    assert set(zip(state.tolist(), index.tolist(), strict=True)) == expected


def test_bad_input_is_named(rng):
    memory = StoredMemory(rng.normal(size=(20, D)).astype(np.float32))
    with pytest.raises(InputError, match="states of 6 units"):
        memory.posterior(np.zeros(5), 1.0)
    with pytest.raises(InputError, match="sigma"):
        memory.posterior(np.zeros(6), 0.0)
    with pytest.raises(InputError, match="NaN"):
        memory.posterior(np.full(6, np.nan), 1.0)
    with pytest.raises(InputError, match="not be negative"):
        StoredMemory(np.zeros((2, 3)), [-1, 2])
    with pytest.raises(InputError, match="at most one"):
        StoredMemory(np.zeros((2, 3)), [1, 2], log_weights=[0, 0])

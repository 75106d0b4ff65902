"""Batches: what each step sees, wherever the data lie, and the same after an interruption."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import InputError, PatternMemory, save_patterns
from dispersed.learning import Recipe, noise_network, train, train_ensemble
from dispersed.learning.feed import Iterated, Shuffled
from dispersed.storage import Float32, InMemory

PATTERNS = np.sign(np.random.default_rng(0).standard_normal((7, 6))).astype(np.float32)
UNSEEN = np.sign(np.random.default_rng(1).standard_normal((5, 6))).astype(np.float32)
KEY = jax.random.key(3)


def learn(patterns, steps=12, batch=3, **arguments):
    network = noise_network(6, 8, 1, key=jax.random.key(0))
    recipe = Recipe(steps, draws=2, average=0.9, batch=batch)
    return train(network, patterns, recipe, key=KEY, check_every=4, held_out=UNSEEN, **arguments)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def whole():
    return learn(PATTERNS)


def test_an_epoch_shows_every_pattern_once_in_a_new_order():
    feed = Shuffled(PATTERNS + np.arange(7)[:, None], None, 3, KEY)
    seen = np.concatenate([rows for rows, _ in feed.batches(0, 14)])
    epochs = seen.reshape(6, 7, 6)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[:, 0]), np.sort(PATTERNS[:, 0] + np.arange(7)))
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in feed.batches(5, 3)]), seen[15:24])


def test_weights_are_those_of_the_mean_over_an_epoch():
    prior = np.array([0.5, 0, 0.1, 0.1, 0.1, 0.1, 0.1])
    feed = Shuffled(np.arange(7.0)[:, None], prior, 4, KEY)
    total = np.zeros(7)
    for rows, weights in feed.batches(0, 6):
        np.add.at(total, rows[:, 0].astype(int), weights / 6)
    np.testing.assert_allclose(total, prior, atol=1e-7)


def test_an_array_a_file_and_a_store_are_the_same_data(tmp_path, whole):
    path = save_patterns(tmp_path / "patterns.npy", PATTERNS)
    mapped = np.load(path, mmap_mode="r")
    for patterns in (jnp.asarray(PATTERNS), mapped, path, InMemory(PATTERNS, Float32()), PATTERNS.astype(np.int8)):
        assert same(learn(patterns, 4).curve.loss, whole.curve.loss[:4])


def test_batches_resume_bit_for_bit(tmp_path, whole):
    path = tmp_path / "run.checkpoint"
    learn(PATTERNS, 8, checkpoint=path)
    assert same(learn(PATTERNS, checkpoint=path), whole)
    with pytest.raises(InputError, match="with patterns = "):
        learn(-PATTERNS, checkpoint=path)
    with pytest.raises(InputError, match="with batch = 3"):
        learn(PATTERNS, batch=4, checkpoint=path)


def test_held_out_error_and_gap_are_those_of_the_network(whole):
    """By the probe's own definition: fresh noise at 32 levels of each pattern."""
    curve = whole.curve
    assert curve.error.shape == curve.gap.shape == curve.held_out.shape == (3,)
    rng = np.random.default_rng(5)
    levels = Recipe().levels.quantile((jnp.arange(32) + 0.5) / 32)
    for expected, known in ((curve.held_out[-1], UNSEEN), (curve.error[-1], PATTERNS)):
        y = np.repeat(known, 200, axis=0)[:, None]
        z = y + np.asarray(levels)[:, None] * rng.standard_normal((len(y), 32, 6)).astype(np.float32)
        squares = np.mean((whole.memory.denoise(z, levels) - y) ** 2)
        assert float(expected) == pytest.approx(np.sqrt(squares), rel=0.15)
    exact = PatternMemory(PATTERNS).denoise(z, levels)
    gap = np.sqrt(np.mean((whole.memory.denoise(z, levels) - exact) ** 2))
    assert float(curve.gap[-1]) == pytest.approx(gap, rel=0.15)


def test_iterables_of_batches(tmp_path):
    """Begun again when they end; smaller last batches; a resumed training goes on at the right one."""
    parts = {"batches": [PATTERNS[:3], PATTERNS[3:6], PATTERNS[6:]]}
    batches = parts.values()

    class Loader:
        def __iter__(self):
            return iter(next(iter(batches)))

    found = learn(Loader(), batch=None)
    assert found.curve.gap is None
    path = tmp_path / "run.checkpoint"
    learn(Loader(), 8, None, checkpoint=path)
    assert same(learn(Loader(), batch=None, checkpoint=path), found)
    feed = Iterated(Loader(), 6)
    *_, (rows, weights) = feed.batches(0, 3)
    np.testing.assert_array_equal(rows[:1], PATTERNS[6:])
    np.testing.assert_array_equal(weights, [1, 0, 0])
    endless = (PATTERNS[:3] for _ in itertools.count())
    assert same(learn(endless, 4, None).curve.loss, learn((PATTERNS[:3] for _ in range(4)), 4, None).curve.loss)


def test_a_member_of_an_ensemble_is_trained_alone_on_its_batches():
    """Also where sets are filled up with patterns of weight zero."""
    sets = np.stack([PATTERNS, np.where(np.arange(7)[:, None] < 4, -PATTERNS, 9)])
    weights = np.array([[1.0] * 7, [1.0] * 4 + [0] * 3])
    recipe = Recipe(8, draws=2, batch=3)

    def make(key):
        return noise_network(6, 8, 1, key=key)

    both = train_ensemble(sets, recipe, key=KEY, network=make, weights=weights, check_every=4)
    for_network, for_steps = jax.random.split(jax.random.fold_in(KEY, 1))
    alone = train(make(for_network), -PATTERNS[:4], recipe, key=for_steps, check_every=4)
    np.testing.assert_allclose(alone.curve.loss, both[1].curve.loss, rtol=1e-4)


@pytest.mark.parametrize(
    ("patterns", "arguments", "message"),
    [
        (PATTERNS, {"batch": 0}, "batch: got 0"),
        (PATTERNS[:, :4], {}, r"patterns: got shape \(7, 4\); the network has 6 units"),
        (np.full((7, 6), np.nan), {}, "NaN"),
        (iter([PATTERNS]), {}, "batch: got batch for a stream"),
        (iter([PATTERNS]), {"batch": None}, "got batches for 1 steps"),
        (iter([]), {"batch": None}, "got batches for 0 steps"),
        (iter([PATTERNS[:2], PATTERNS]), {"batch": None}, "got a batch of 7 after one of 2"),
        (iter([PATTERNS[:, :3]]), {"batch": None}, r"got a batch of shape \(7, 3\)"),
        (PATTERNS, {"weights": np.ones(3)}, "weights: got shape"),
    ],
)
def test_what_is_refused(patterns, arguments, message):
    with pytest.raises(InputError, match=message):
        learn(patterns, **arguments)
    with pytest.raises(InputError, match="held_out: got shape"):
        train(noise_network(6, 8, 1, key=KEY), PATTERNS, Recipe(1), key=KEY, held_out=UNSEEN[:, :2])

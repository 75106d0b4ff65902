"""Which engine serves which patterns, if the user does not say."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import Dense, PatternMemory, PatternStore, Scanned, save_patterns
from dispersed.engines import choice
from dispersed.storage import Bits, InMemory, Int8

SIGNS = np.sign(np.random.default_rng(0).standard_normal((40, 8))).astype(np.float32)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(choice, "MANY", 32)


def test_by_number_storage_and_place(tmp_path):
    path = save_patterns(tmp_path / "patterns.npy", SIGNS[:8])
    for patterns, kind in [
        (SIGNS[:8], Dense),
        (SIGNS, Scanned),
        (SIGNS.tolist(), Scanned),
        (InMemory(SIGNS[:8]), Dense),
        (InMemory(SIGNS[:8], Bits()), Scanned),
        (path, Scanned),
        (str(path), Scanned),
    ]:
        assert isinstance(PatternMemory(patterns).engine, kind)


@pytest.mark.parametrize(("room", "kind"), [(0, Scanned), (40 * 8 * 16 - 1, Scanned), (40 * 8 * 16, Dense)])
def test_accelerators_multiply_with_what_they_have_room_for(monkeypatch, room, kind):
    monkeypatch.setattr(choice, "_room", lambda: room)
    for patterns in (SIGNS, jnp.asarray(SIGNS), InMemory(SIGNS)):
        assert isinstance(PatternMemory(patterns).engine, kind)
    assert isinstance(PatternMemory(InMemory(SIGNS, Bits())).engine, Scanned)


@pytest.mark.parametrize(
    ("platform", "stats", "room"),
    [("cpu", {"bytes_limit": 9}, 0), ("gpu", {"bytes_limit": 9}, 9), ("gpu", None, 0), ("gpu", RuntimeError, 0)],
)
def test_the_room_of_a_device_that_does_not_say_is_none(monkeypatch, platform, stats, room):
    def memory_stats():
        if stats is RuntimeError:
            raise stats
        return stats

    device = types.SimpleNamespace(platform=platform, memory_stats=memory_stats)
    monkeypatch.setattr(choice.jax, "local_devices", lambda: [device])
    assert choice._room() == room


def test_double_precision_is_not_rounded():
    with jax.enable_x64(True):
        fine = 1 + 1e-10 * SIGNS.astype(float)
        memory = PatternMemory(fine)
        assert isinstance(memory.engine, Dense)
        np.testing.assert_allclose(memory.denoise(fine[:3], 1e-11), fine[:3], rtol=0, atol=1e-15)


def test_patterns_of_a_program_are_dense():
    def mean(patterns, x):
        return PatternMemory(patterns).denoise(x, 0.5)

    np.testing.assert_allclose(
        jax.jit(mean)(jnp.asarray(SIGNS), SIGNS[0]), PatternMemory(SIGNS).denoise(SIGNS[0], 0.5), atol=1e-5
    )


def test_the_folder_of_a_store_is_a_path(tmp_path):
    with PatternStore.create(tmp_path / "store", 8, Int8()) as store:
        store.append(SIGNS[:8])
        for patterns in (store, tmp_path / "store", str(tmp_path / "store")):
            memory = PatternMemory(patterns)
            assert isinstance(memory.engine, Scanned)
            np.testing.assert_array_equal(memory.patterns, store.storage.rows(range(8)))

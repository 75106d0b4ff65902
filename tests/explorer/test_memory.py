"""Programs are dropped above the limit of resident memory, and not below."""

import jax
import pytest

from dispersed.explorer import memory


@pytest.mark.parametrize(("limit", "kept"), [(1 << 40, 1), (0, 0)])
def test_programs_are_dropped_above_the_limit(monkeypatch, limit, kept):
    monkeypatch.setattr(memory, "LIMIT", limit)
    program = jax.jit(lambda x: x + 1)
    program(1.0)
    memory.confine()
    assert program._cache_size() == kept
    assert program(1.0) == 2
    assert memory.resident() > 1 << 20

"""Programs are dropped above the limit of resident memory, and not below."""

import os

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


@pytest.mark.parametrize(
    ("flag", "set_"), [("--xla_cpu_parallel_codegen_split_count=1", True), ("--xla_no_such_flag=true", False)]
)
def test_flags_that_the_compiler_does_not_know_are_left_out(monkeypatch, flag, set_):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setattr(memory, "FLAG", flag)
    memory.compile_in_little_memory()
    assert (flag in os.environ["XLA_FLAGS"].split()) is set_
    assert "--xla_backend_optimization_level=0" in os.environ["XLA_FLAGS"].split()

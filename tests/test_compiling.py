"""What is compiled with how much effort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import compiling


def doubled(x):
    return 2 * x


def test_small_problems_are_compiled_without_optimisation():
    easily, fully = compiling.compiled(doubled, 10.0, 1.0), compiling.compiled(doubled, 1e9, 1.0)
    assert easily is not fully
    assert easily is compiling.compiled(doubled, float(compiling.SMALL), jnp.ones(3))
    assert fully is compiling.compiled(doubled, np.inf, 1.0)
    np.testing.assert_array_equal(easily(jnp.ones(3)), fully(jnp.ones(3)))


def test_parts_of_a_larger_program_are_compiled_as_that_is():
    fully = compiling.compiled(doubled, 1e9, 1.0)
    seen = []

    def inside(x):
        seen.append(compiling.compiled(doubled, 10.0, x))
        seen.append(compiling.compiled(doubled, 10.0, 1.0))
        return x

    jax.jit(inside)(1.0)
    jax.eval_shape(inside, 1.0)
    assert all(one is fully for one in seen)
    jax.grad(lambda x: seen.append(compiling.compiled(doubled, 10.0, x)) or x)(1.0)
    assert seen[-1] is fully


def test_settings_that_a_compiler_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(compiling, "EASY", {"xla_no_such_setting": True, "xla_backend_optimization_level": 0})
    assert compiling._known_settings.__wrapped__() == {"xla_backend_optimization_level": 0}


@pytest.mark.parametrize("where", ["program", "map", "slope", "loop"])
def test_small_recalls_are_found_anywhere(where):
    memory = dispersed.PatternMemory(np.eye(3, dtype=np.float32))
    x = jnp.array([0.9, 0.2, 0.1])

    def recalled(x):
        return dispersed.recall(memory, x, sigma=0.5).x

    expected = recalled(x)
    found = {
        "program": lambda: jax.jit(recalled)(x),
        "map": lambda: jax.vmap(recalled)(x[None])[0],
        "slope": lambda: jax.jvp(recalled, (x,), (x,))[0],
        "loop": lambda: jax.lax.scan(lambda _, x: (0.0, recalled(x)), 0.0, x[None])[1][0],
    }[where]()
    np.testing.assert_allclose(found, expected, atol=1e-6)

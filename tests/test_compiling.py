"""What is compiled with how much effort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import compiling
from dispersed.tracing import as_array

from .programs import compilations


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


@compiling.one_program
def scaled(x, *, by, power):
    assert isinstance(power, int)
    return jnp.sin(by * x**power) + jnp.cos(x)


def test_one_program_is_what_it_was():
    x = jnp.linspace(0, 1, 13)
    with compilations() as found:
        together = scaled(x, by=2.0, power=3)
    assert len(found.compiled) == 1
    np.testing.assert_allclose(together, np.sin(2 * np.asarray(x) ** 3) + np.cos(x), rtol=1e-6)
    with compilations() as found:
        scaled(together, by=2.0, power=3)
    assert not found.compiled
    # As a part of another program it is no call of its own.
    inside = str(jax.make_jaxpr(lambda x: scaled(x, by=2.0, power=3))(x))
    assert "sin" in inside
    assert "jit[" not in inside
    np.testing.assert_allclose(
        jax.grad(lambda y: scaled(y, by=2.0, power=1))(0.5), 2 * np.cos(1.0) - np.sin(0.5), rtol=1e-6
    )


def test_errors_of_one_program_are_its_own():
    @compiling.one_program
    def refuses(x):
        raise dispersed.InputError("x", "got it", "another is accepted")

    with pytest.raises(dispersed.InputError) as error:
        refuses(jnp.ones(3))
    assert str(error.value) == "x: got it; another is accepted"


def test_arrays_of_a_new_shape_compile_nothing(rng):
    given = rng.standard_normal((7, 3))
    aligned = np.frombuffer(memoryview(bytearray(1 << 16)), np.uint8)
    aligned = aligned[-aligned.ctypes.data % 64 :][: 4 * 3000].view(np.float32).reshape(1000, 3)
    with compilations() as found:
        array = as_array(given)
        narrow = as_array(given, jnp.float16)
    assert not found.compiled
    assert array.dtype == jnp.float32
    assert narrow.dtype == jnp.float16
    before, of_aligned = np.array(array), as_array(aligned)
    given[:], aligned[:] = 0, 1
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(of_aligned, np.zeros((1000, 3)))
    with jax.enable_x64(True):
        assert as_array(before.astype(float)).dtype == jnp.float64
    np.testing.assert_array_equal(jax.jit(lambda: as_array(before) + 1)(), before + 1)


N, D = 23, 6
"""Numbers of patterns and units that no other test has."""


def first_uses():
    """What a user does with states of a new size for the first time, and the programs that this may compile."""
    rng, key = np.random.default_rng(0), jax.random.key(0)
    y = rng.standard_normal((N, D)).astype(np.float32)
    memory, cues = dispersed.PatternMemory(y), y[:2] + np.float32(0.25)
    yield "memory of patterns", 0, lambda: dispersed.PatternMemory(y[1:])
    yield "recall", 1, lambda: dispersed.recall(memory, cues, sigma=0.5)
    yield "recall of one", 2, lambda: dispersed.recall(memory, cues[0], sigma=0.5)
    found = dispersed.recall(memory, cues, sigma=0.5)
    yield "converged", 1, lambda: found.converged
    yield "its summary", 1, lambda: repr(found)
    yield "many recalls", 5, lambda: dispersed.recall_many(memory, cues[0], sigma=0.5, samples=9, key=key)
    many = dispersed.recall_many(memory, cues[0], sigma=0.5, samples=9, key=key)
    yield "their total variation", 1, lambda: many.total_variation
    yield "the one expected", 1, lambda: many.expected_total_variation
    yield "their test", 1, lambda: many.chi_squared()
    yield "their intervals", 1, lambda: many.intervals()
    yield "the leading ones", 1, lambda: many.top(2)
    yield "noisy patterns", 3, lambda: dispersed.VP().corrupt(y, alpha=0.7, key=key)
    yield "the prior", 3, memory.prior_start
    yield "network", 0, lambda: dispersed.ModernHopfield(y, 2.0)
    yield "dense network", 0, lambda: dispersed.DenseHopfield(np.sign(y))
    mean, spread = np.zeros(D), np.diag(np.arange(1.0, D + 1))
    normal = dispersed.GaussianMemory(mean, spread)
    yield "Gaussian", 0, lambda: dispersed.GaussianMemory(mean, spread)
    yield "its prior", 1, normal.prior_start
    seen = dispersed.Observation(mean, np.arange(D) < 2, sigma=0.1)
    yield "measurement", 0, lambda: dispersed.Observation(mean, np.arange(D) < 2, sigma=0.1)
    yield "Gaussian measured", 2, lambda: dispersed.condition(normal, seen)
    yield "patterns measured", 2, lambda: dispersed.condition(memory, seen)
    mixture = dispersed.Mixture([normal, dispersed.GaussianMemory(mean + 1, spread)])
    yield "mixture", 0, lambda: dispersed.Mixture([normal, dispersed.GaussianMemory(mean + 1, spread)])
    yield "mixture measured", 2, lambda: dispersed.condition(mixture, seen)
    yield "segment", 1, lambda: dispersed.Segment(mean, mean + 1)
    yield "box", 0, lambda: dispersed.Box(mean, mean + 1)
    yield "subspace", 1, lambda: dispersed.Subspace(mean, spread[:2], low=-1.0, high=1.0)


def test_first_uses_compile_few_programs():
    for name, most, use in first_uses():
        with compilations() as found:
            use()
        assert len(found.compiled) <= most, (name, found.compiled)

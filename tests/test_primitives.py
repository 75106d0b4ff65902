"""Operations with rules of their own for batches and derivatives, wherever a program is divided."""

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.primitives import primitive

MAPPED = []


def squares(weights, x):
    """‖x‖² of each state, and the index of its largest unit."""
    return jnp.sum(weights["each"] * x**2, axis=-1), jnp.argmax(x, axis=-1)


def like(weights, x):
    return jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), jax.ShapeDtypeStruct(x.shape[:-1], jnp.argmax(x).dtype)


def mapped(size, batched, weights, x):
    MAPPED.append((size, batched[0]["each"], batched[1]))
    assert not batched[0]["each"]
    return operation(weights, x)


def slopes(arguments, tangents):
    (weights, x), (dweights, dx) = arguments, tangents
    found, index = operation(weights, x)
    slope = jnp.zeros_like(found)
    if dx is not None:
        slope += jnp.sum(2 * weights["each"] * x * dx, axis=-1)
    if dweights["each"] is not None:
        slope += jnp.sum(dweights["each"] * x**2, axis=-1)
    return (found, index), (slope, np.zeros(index.shape, jax.dtypes.float0))


operation = primitive("squares", squares, like, mapped, slopes)
WEIGHTS = {"each": jnp.array([1.0, 2.0, 3.0])}
X = jnp.array([[1.0, -1.0, 2.0], [0.5, 0.25, 0.0]])


def test_one_call_is_the_function():
    for call in (operation, jax.jit(operation)):
        for found, expected in zip(call(WEIGHTS, X), squares(WEIGHTS, X), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_map_is_one_operation():
    MAPPED.clear()
    found, index = jax.jit(jax.vmap(operation, (None, 0)))(WEIGHTS, X)
    np.testing.assert_array_equal(found, squares(WEIGHTS, X)[0])
    np.testing.assert_array_equal(index, [2, 0])
    assert MAPPED == [(2, False, True)]


def test_derivatives_of_every_order_and_mode_through_steps_that_are_recomputed():
    def steps(weights, x):
        def step(x, _):
            return jnp.sin(x + operation({"each": weights}, x)[0]), None

        return jnp.sum(jax.lax.scan(jax.checkpoint(step), x, length=2)[0])

    def plain(weights, x):
        for _ in range(2):
            x = jnp.sin(x + jnp.sum(weights * x**2))
        return jnp.sum(x)

    for argument in (0, 1):
        for derivative in (jax.grad, jax.jacfwd):
            for second in (jax.jacrev, jax.jacfwd):
                found, expected = (
                    jax.jit(second(derivative(function, argument), argument))(WEIGHTS["each"], X[0])
                    for function in (steps, plain)
                )
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_precision_is_that_of_where_it_is_called():
    """Also where the program around it is made in another one."""

    def third(x):
        return x * jnp.full((), 1 / 3)  # of the type that is the default

    def unused(*_):
        raise NotImplementedError

    in_its_own = primitive("third", third, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), unused, unused)

    def program(x):
        with jax.enable_x64(True):
            wide = in_its_own(jax.lax.convert_element_type(x, jnp.float64))
            return jax.lax.convert_element_type(3 * wide - 1, jnp.float32)

    assert abs(jax.jit(program)(jnp.float32(1.0))) < 1e-15

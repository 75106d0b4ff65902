"""Every matrix product of the library asks for full precision, on every device, whatever is made of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import Circuit, EnergyNetwork, Iteration, ModernHopfield, Observation, PatternMemory, condition, recall
from dispersed.dynamics import AncestralSampling, ProbabilityFlow
from dispersed.engines import Sharded
from dispersed.layers import Hopfield
from dispersed.learning import noise_network
from dispersed.precision import full_precision
from tests.precision import multiplies_in_full_precision

Y = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
X = jnp.ones((2, 3))


def flow(y, x):
    return recall(PatternMemory(y), x, sigma=1.0).x


def drawn(y, x):
    return recall(PatternMemory(y), x, AncestralSampling(3), sigma=1.0, key=jax.random.key(0)).x


def adaptive(y, x):
    return recall(PatternMemory(y), x, ProbabilityFlow(), sigma=1.0).x


def iterated(y, x):
    return recall(ModernHopfield(y, 2.0), x, Iteration()).x


def settled(y, x):
    return recall(ModernHopfield(y, 2.0), x, Circuit()).x


def measured(y, x):
    seen = Observation(x[0, :2], operator=lambda state: state[1:] * 2, sigma=0.1)
    return condition(PatternMemory(y), seen).denoise(x, 0.5)


def of_an_energy(y, x):
    return recall(EnergyNetwork(lambda state: jnp.sum((jnp.asarray(Y) @ state) ** 2), 3), x).x


def over_devices(y, x):
    return PatternMemory(Y, engine=Sharded()).denoise(x, 0.5)


def attended(y, x):
    return Hopfield(3, key=jax.random.key(0))(x, y)


PROGRAMS = [flow, drawn, adaptive, iterated, settled, measured, of_an_energy, over_devices, attended]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("derived", ["value", "reverse", "value, mapped", "compiled, reverse"])
def test_programs_multiply_in_full_precision(program, derived):
    def slopes(function):
        # An elementwise start of the reverse pass: products of the test's own would be counted.
        return lambda y, x: jax.vjp(lambda x: function(y, x), x)[1](jnp.ones_like(x))

    made = {
        "value": program,
        "reverse": slopes(program),
        "value, mapped": lambda y, x: jax.vmap(program, (None, 0))(y, x[None]),
        "compiled, reverse": slopes(jax.jit(program)),
    }[derived]
    multiplies_in_full_precision(jax.jit(made).lower(Y, X))


def test_what_is_left_to_the_device_is_noticed():
    def product(x, y):
        return x @ y.T

    lowered = jax.jit(product).lower(X, Y)
    with pytest.raises(AssertionError):
        multiplies_in_full_precision(lowered)
    multiplies_in_full_precision(jax.jit(full_precision(product)).lower(X, Y))


def test_networks_multiply_as_the_user_asks():
    """As those of any other library: what is made of stored patterns alone asks for more."""
    memory = noise_network(3, 4, 1, key=jax.random.key(0))
    lowered = jax.jit(lambda x: recall(memory, x, AncestralSampling(3), sigma=1.0, key=jax.random.key(0)).x).lower(X)
    with pytest.raises(AssertionError):
        multiplies_in_full_precision(lowered)

r"""Score networks, ready-made: the paper's perceptron and a preconditioned one.

Both are told the noise level at every layer. Concatenating a number a to a layer's input, W[x; a] + b, adds
a·w to its output with w the last column of W; the column is a field of its own here, which spares a copy of the state.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories import LearnedMemory
from dispersed.types import Array, Float, Key, Scalar, State
from dispersed.validation import at_least, positive_number


class LevelLinear(eqx.Module):
    """W[x; a] + b: an affine map of a state to whose entries the number a is appended."""

    weight: Float[Array, "out in"]
    level_weight: Float[Array, " out"]
    bias: Float[Array, " out"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""]) -> None:
        """Uniform in ±1/√(inputs + 1), the common default of fully connected layers."""
        self.weight, self.level_weight, self.bias = _first(key, inputs, outputs)

    def __call__(self, x: Float[Array, " in"], level: Scalar) -> Float[Array, " out"]:
        return self.weight @ x + level * self.level_weight + self.bias


@functools.partial(jax.jit, static_argnums=(1, 2))
def _first(key: Key[Array, ""], inputs: int, outputs: int) -> tuple[Array, Array, Array]:
    bound = 1 / np.sqrt(inputs + 1)
    table = jax.random.uniform(key, (outputs, inputs + 2), minval=-bound, maxval=bound)
    return table[:, :inputs], table[:, inputs], table[:, inputs + 1]


class Perceptron(eqx.Module):
    """Hidden layers of ReLU units, every layer told the level: (x: (d,), level) -> (outputs,), d outputs by default."""

    layers: tuple[LevelLinear, ...]

    def __init__(
        self, dimension: int, width: int, depth: int, outputs: int | None = None, *, key: Key[Array, ""]
    ) -> None:
        dimension, width, depth = (
            at_least("dimension", dimension, 1),
            at_least("width", width, 1),
            at_least("depth", depth, 0),
        )
        sizes = [dimension, *[width] * depth, dimension if outputs is None else outputs]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(LevelLinear(*pair, key=k) for *pair, k in zip(sizes[:-1], sizes[1:], keys, strict=True))

    def __call__(self, x: State, level: Scalar) -> Float[Array, " outputs"]:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x, level))
        return self.layers[-1](x, level)


class Preconditioned(eqx.Module):
    r"""D_σ(z) = c_skip z + c_out F(c_in z, c_noise): whatever σ, inputs and outputs of F are numbers of order one.

    c_skip = s²/(σ²+s²), c_out = σs/√(σ²+s²), c_in = 1/√(σ²+s²), c_noise = ¼ ln σ, with s the root-mean-square
    of the patterns' entries. Then a zero F is already the best linear denoiser, and σ → 0 returns z.

    **Source**: Karras et al. (2022), Elucidating the design space of diffusion-based generative models, Table 1.
    """

    inner: Callable[[State, Scalar], State]
    spread: float

    def coefficients(self, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """c_skip, c_out, c_in and c_noise."""
        length = jnp.hypot(sigma, self.spread)
        return (self.spread / length) ** 2, sigma * self.spread / length, 1 / length, jnp.log(sigma) / 4

    def __call__(self, z: State, sigma: Scalar) -> State:
        skip, out, into, level = self.coefficients(sigma)
        return skip * z + out * self.inner(into * z, level)


def noise_network(dimension: int, width: int | None = None, depth: int = 3, *, key: Key[Array, ""]) -> LearnedMemory:
    """The paper's network (Supp. A): `depth` hidden layers of `width` ReLU units (80·d by default), the signal
    level α appended to every layer's input; predicts the unit noise of the variance-preserving cue.
    """
    width = 80 * dimension if width is None else width
    return LearnedMemory(Perceptron(dimension, width, depth, key=key), dimension, "noise", "VP")


def preconditioned_network(
    dimension: int, width: int = 256, depth: int = 3, spread: float = 1.0, *, key: Key[Array, ""]
) -> LearnedMemory:
    """A perceptron preconditioned after Karras et al. (2022); `spread` is the rms of the patterns' entries."""
    inner = Perceptron(dimension, width, depth, key=key)
    model = Preconditioned(inner, positive_number("spread", spread))
    return LearnedMemory(model, dimension, "pattern", "VE")

r"""Networks of images: one that sees a patch at a time, and a small convolutional U-Net.

Both are preconditioned after Karras et al. (2022), take flat states in the order of `images.reshape(n, -1)`, and are
small enough to be trained on a CPU in minutes. A convolution is one matrix product of the windows around all places: in
a compiled loop XLA's own takes thirty times as long on a CPU.

Zeros surround an image; a channel of ones beside its own tells them from what is inside.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.learning.networks import Perceptron, Preconditioned
from dispersed.memories import LearnedMemory
from dispersed.memories.local import windows
from dispersed.types import Array, Float, Key, Scalar, State
from dispersed.validation import InputError, at_least, positive_number

FREQUENCIES = 8
"""Sines and cosines of the noise level, each."""


class LocalNetwork(eqx.Module):
    """A perceptron of the window around every place: a convolutional network that sees `patch` × `patch` pixels.

    What it can learn at best is the equivariant `LocalMemory` of the same patch.
    """

    perceptron: Perceptron
    shape: tuple[int, int, int]
    patch: int

    def __init__(self, shape: tuple[int, int, int], patch: int, width: int, depth: int, *, key: Key[Array, ""]) -> None:
        h, w, c = self.shape = shape
        self.patch = patch
        inputs = (2 * min(patch // 2, h - 1) + 1) * (2 * min(patch // 2, w - 1) + 1) * (c + 1)
        self.perceptron = Perceptron(inputs, width, depth, c, key=key)

    def __call__(self, x: State, level: Scalar) -> State:
        seen = windows(_with_ones(x, self.shape)[None], self.patch)[0]
        return jax.vmap(self.perceptron, (0, None))(seen, level).reshape(-1)


class Convolution(eqx.Module):
    """A convolution with windows of 3 × 3 pixels: (h, w, in) -> (h, w, out)."""

    weight: Float[Array, "3 3 in out"]
    bias: Float[Array, " out"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""], scale: float = 1.0) -> None:
        """Normal, so that outputs are as large as inputs; times `scale`."""
        self.weight = scale * jax.random.normal(key, (3, 3, inputs, outputs)) / np.sqrt(9 * inputs)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "h w in"]) -> Float[Array, "h w out"]:
        h, w, c = x.shape
        # What lies beyond a single row or column is not among its windows.
        x = jnp.pad(x, ((0, h == 1), (0, w == 1), (0, 0)))
        seen = windows(x[None], 3)[0] @ self.weight.reshape(9 * c, -1) + self.bias
        return seen.reshape(*x.shape[:2], -1)[:h, :w]


class Block(eqx.Module):
    """Two convolutions beside a straight way: x + F(x), where F is told the noise level."""

    first: Convolution
    second: Convolution
    level: eqx.nn.Linear
    straight: Float[Array, "in out"] | None

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""]) -> None:
        keys = jax.random.split(key, 4)
        self.first = Convolution(inputs, outputs, key=keys[0])
        self.second = Convolution(outputs, outputs, key=keys[1], scale=0.1)
        self.level = eqx.nn.Linear(2 * FREQUENCIES, 2 * outputs, key=keys[2])
        self.straight = None if inputs == outputs else jax.random.normal(keys[3], (inputs, outputs)) / np.sqrt(inputs)

    def __call__(self, x: Float[Array, "h w in"], level: Float[Array, " f"]) -> Float[Array, "h w out"]:
        gain, offset = jnp.split(self.level(level), 2)
        hidden = self.first(jax.nn.silu(_normalised(x)))
        hidden = self.second(jax.nn.silu(_normalised(hidden) * (1 + gain) + offset))
        return (x if self.straight is None else x @ self.straight) + hidden


class UNet(eqx.Module):
    """Blocks at full, half, … resolution and back, each way up beside what the way down had there.

    **Source**: Ronneberger, Fischer & Brox (2015), U-Net: convolutional networks for biomedical image segmentation.
    """

    enter: Convolution
    down: tuple[Block, ...]
    bottom: Block
    up: tuple[Block, ...]
    leave: Convolution
    shape: tuple[int, int, int]

    def __init__(self, shape: tuple[int, int, int], width: int, depth: int, *, key: Key[Array, ""]) -> None:
        self.shape = shape
        keys = iter(jax.random.split(key, 2 * depth + 3))
        channels = [width, *[2 * width] * depth]
        self.enter = Convolution(shape[2] + 1, width, key=next(keys))
        self.down = tuple(Block(channels[max(i - 1, 0)], channels[i], key=next(keys)) for i in range(depth))
        self.bottom = Block(channels[max(depth - 1, 0)], channels[depth], key=next(keys))
        self.up = tuple(
            Block(channels[i + 1] + channels[i], channels[i], key=next(keys)) for i in reversed(range(depth))
        )
        self.leave = Convolution(width, shape[2], key=next(keys), scale=0.1)

    def __call__(self, x: State, level: Scalar) -> State:
        h, w, _ = self.shape
        each = 2 ** len(self.down)
        image = jnp.pad(_with_ones(x, self.shape), ((0, -h % each), (0, -w % each), (0, 0)))
        told = level * 2.0 ** jnp.arange(FREQUENCIES)
        told = jnp.concatenate([jnp.sin(told), jnp.cos(told)])
        hidden = self.enter(image)
        kept = []
        for block in self.down:
            hidden = block(hidden, told)
            kept.append(hidden)
            hidden = hidden.reshape(hidden.shape[0] // 2, 2, hidden.shape[1] // 2, 2, -1).mean(axis=(1, 3))
        hidden = self.bottom(hidden, told)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            hidden = jnp.repeat(jnp.repeat(hidden, 2, axis=0), 2, axis=1)
            hidden = block(jnp.concatenate([hidden, beside], axis=-1), told)
        return self.leave(jax.nn.silu(_normalised(hidden)))[:h, :w].reshape(-1)


def local_network(
    shape: Sequence[int], patch: int, width: int = 128, depth: int = 3, spread: float = 1.0, *, key: Key[Array, ""]
) -> LearnedMemory:
    """A convolutional network that sees `patch` × `patch` pixels around each: the learned `LocalMemory`.

    **Arguments**

    - `shape`: (h, w) or (h, w, c) of one image.
    - `patch`: the side of the window, odd.
    - `width`, `depth`: units a layer and hidden layers of the perceptron that all windows share.
    - `spread`: the root mean square of the images' entries.
    """
    if at_least("patch", patch, 1) % 2 == 0:
        raise InputError("patch", f"got {patch}", "an odd number of pixels, which has a centre, is accepted")
    image, spread = _image_shape(shape), positive_number("spread", spread)
    return _memory(LocalNetwork(image, patch, width, depth, key=key), image, spread)


def unet_network(
    shape: Sequence[int], width: int = 32, depth: int = 2, spread: float = 1.0, *, key: Key[Array, ""]
) -> LearnedMemory:
    """A small convolutional U-Net.

    **Arguments**

    - `shape`: (h, w) or (h, w, c) of one image, of any size.
    - `width`: channels at full resolution; there are twice as many below.
    - `depth`: how often the resolution is halved.
    - `spread`: the root mean square of the images' entries.
    """
    image, spread = _image_shape(shape), positive_number("spread", spread)
    return _memory(UNet(image, at_least("width", width, 1), at_least("depth", depth, 0), key=key), image, spread)


def _memory(inner: LocalNetwork | UNet, shape: tuple[int, int, int], spread: float) -> LearnedMemory:
    model = Preconditioned(inner, spread)
    return LearnedMemory(model, int(np.prod(shape)), "pattern", "VE")


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) not in (2, 3):
        raise InputError("shape", f"got {tuple(shape)}", "the shape of an image, (h, w) or (h, w, c), is accepted")
    h, w, c = (at_least("shape", length, 1) for length in (*shape, 1)[:3])
    return h, w, c


def _with_ones(x: State, shape: tuple[int, int, int]) -> Float[Array, "h w c"]:
    image = x.reshape(shape)
    return jnp.concatenate([image, jnp.ones_like(image[..., :1])], axis=-1)


def _normalised(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Channels of every place, divided by their root mean square."""
    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)

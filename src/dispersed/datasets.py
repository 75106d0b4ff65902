"""Real data that installed packages carry, as patterns; nothing is downloaded."""

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
        from sklearn.datasets import load_digits as load

    data = load()
    return jnp.asarray(data.data / 8 - 1, dtype=jnp.zeros(()).dtype), data.target

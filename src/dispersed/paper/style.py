"""The look that all figures share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt

COLOURS = {
    "diffusion": "#1f6fb4",
    "diffusion_2m": "#56b4e9",
    "diffusion_sde": "#7b5ea7",
    "modern_hopfield": "#2a9d5c",
    "classical": "#c8422f",
    "classical_null_diagonal": "#e8a08f",
    "dense_polynomial_3": "#e39a1c",
    "dense_exponential": "#b0578d",
    "true_patterns": "#555555",
    "learned": "#000000",
}
"""One colour per method in every figure."""


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib settings for every figure of the project."""
    settings: Any = {
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
    with plt.rc_context(settings):
        yield

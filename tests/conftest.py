"""Shapes and types of every public call are checked while testing, and examples run from a clean state."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests compile hundreds of small programs; the compiler's full effort is not worth its time here.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

from jaxtyping import install_import_hook

hook = install_import_hook("dispersed", "beartype.beartype")

import jax
import numpy as np
import pytest


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def key():
    return jax.random.key(0)

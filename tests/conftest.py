"""Shapes and types of every public call are checked while testing, and examples run from a clean state."""

import atexit
import gc
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests compile hundreds of small programs; the compiler's full effort is not worth its time here.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

# Every program is compiled once for all workers and for the processes that tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="dispersed-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# Thousands of compiled programs stay alive; looking for garbage among them costs more than it frees.
gc.set_threshold(100_000, 50, 100)

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

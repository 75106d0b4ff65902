"""Shapes and types of every public call are checked while testing, and examples run from a clean state."""

import gc
import os
import shutil
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests compile thousands of small programs; the compiler's full effort is not worth its time here: without it, with the
# older of its two ways to write loops, and in one piece, a program takes a third of the time. Newer versions have only
# one way, and end the process at a flag that they do not know.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

# Programs need no traceback for each of their operations.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# Every program is compiled once for all workers, for the processes that tests start and for the next run. Most are
# single operations, and even these take longer to compile than to read. `pytest --cache-clear` forgets them.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = Path(__file__).parents[1] / ".pytest_cache" / "d" / "compiled"
    # Those of code that has changed since stay there.
    if compiled.exists() and sum(program.stat().st_size for program in compiled.iterdir()) > 1e9:
        shutil.rmtree(compiled)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Thousands of compiled programs stay alive; looking for garbage among them costs more than it frees.
gc.set_threshold(100_000, 50, 100)

from jaxtyping import install_import_hook

hook = install_import_hook("dispersed", "beartype.beartype")

import jax
import numpy as np
import pytest

MAPPED = 25_000
"""The memory maps of a process from which on its compiled programs are dropped: Linux allows 65,530 of them, every
program for a CPU takes several, and XLA crashes where it gets no more."""


@pytest.fixture(autouse=True, scope="module")
def bounded_programs():
    """Programs of earlier modules are dropped before they exhaust the process; the compilation cache has them still."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPPED:
        jax.clear_caches()
        gc.collect()


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

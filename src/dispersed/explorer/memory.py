"""Resident memory: compiled programs are dropped where they take too much, and compiled anew when they are needed."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax

LIMIT = 700 << 20
"""Bytes from which on programs are dropped; two at once of extended memories take 200 MB more while compiled."""
FLAG = "--xla_cpu_use_fusion_emitters=false"
"""The older of XLA's two ways to write loops, which compiles those programs in a third of the memory."""
_lock = threading.Lock()


def compile_in_little_memory() -> None:
    """Have XLA compile in less memory, where it can; to be called before anything is computed."""
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG.partition("=")[0] in flags:
        return
    changed = {"XLA_FLAGS": f"{flags} {FLAG}".strip()}
    # XLA ends a process with a flag that it does not know, so another process tries it.
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    tried = subprocess.run(
        trial, env={**os.environ, **changed, "JAX_PLATFORMS": "cpu"}, capture_output=True, check=False
    )
    if tried.returncode == 0:
        os.environ.update(changed)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        import resource

        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def confine() -> None:
    """Give back what compiling has left behind, and all programs where that is not enough."""
    with _lock:
        if resident() > LIMIT:
            _trim()
        if resident() > LIMIT:
            jax.clear_caches()
            _trim()


def _trim() -> None:
    """Return freed memory to the system, where the C library does that when it is told to."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

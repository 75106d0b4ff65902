"""Resident memory: compiled programs are dropped where they take too much, and compiled anew when they are needed."""

import contextlib
import ctypes
import threading
from pathlib import Path

import jax

LIMIT = 700 << 20
"""Bytes from which on programs are dropped; those of extended memories take 400 MB more while compiled."""
_lock = threading.Lock()


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

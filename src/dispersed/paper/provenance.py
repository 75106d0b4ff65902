"""Where a result comes from: versions, machine, and the code that computed it."""

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import dispersed

LIBRARIES = ("jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "scipy", "scikit-learn", "matplotlib")
SHOWS_ONLY = ("cli", "explorer", "paper/report")
"""Folders of the package that no result depends on."""


def versions() -> dict[str, str]:
    """The version of this library, of Python and of every library that computes."""
    return {
        "dispersed": dispersed.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def machine() -> dict[str, str]:
    """What it ran on."""
    import jax

    from dispersed.machine import processor_cores

    devices = jax.devices()
    return {
        "processor": _processor(),
        "cores": str(processor_cores()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "JAX device": f"{len(devices)} × {devices[0].device_kind}, {devices[0].platform}",
    }


def code() -> str:
    """A digest of the modules that results depend on: the same digest, settings and seed give the same results."""
    root = Path(dispersed.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).as_posix()
        if not place.startswith(tuple(f"{folder}/" for folder in SHOWS_ONLY)):
            digest.update(f"{place}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    if sys.platform == "win32":
        return "unknown"
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (OSError, ValueError):
        return "unknown"

"""What JAX traces and compiles."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


class Programs(list[str]):
    """Events of tracing and compiling, by their names."""

    def __init__(self) -> None:
        self.compiled: list[str] = []
        """The functions whose programs were compiled."""


_meanwhile: list[Programs] = []
_listening: list[bool] = []


def _note(event: str, seconds: float, **about: object) -> None:
    for found in _meanwhile:
        if "trace" in event or "compile" in event:
            found.append(event)
        if "backend_compile" in event:
            found.compiled.append(str(about.get("fun_name")))


@contextmanager
def compilations() -> Iterator[Programs]:
    """What JAX traces and compiles meanwhile."""
    if not _listening:
        jax.monitoring.register_event_duration_secs_listener(_note)
        _listening.append(True)
    found = Programs()
    _meanwhile.append(found)
    try:
        yield found
    finally:
        _meanwhile.remove(found)

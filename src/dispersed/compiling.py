"""How much effort goes into compiling a program: what is small runs no longer than it would take to make it faster."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import get_opaque_trace_state

SMALL = 1 << 15
"""The number of states × numbers in a memory up to which a program runs as fast without the compiler's full effort."""
EASY: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""XLA's settings for a third of its time: LLVM optimises nothing, loops are written in the older of its two ways, and
all in one piece."""


_OUTSIDE = get_opaque_trace_state()


def outside_of_programs() -> bool:
    """Whether no program is being traced: parts of a larger one are compiled as that is."""
    return bool(get_opaque_trace_state() == _OUTSIDE)


@functools.cache
def compiled(jit: Callable[..., Any], function: Callable[..., Any], small: bool) -> Callable[..., Any]:
    """`jit(function)`; for `small` problems on a CPU without the compiler's full effort."""
    return jit(function, compiler_options=EASY) if small and _is_easy() else jit(function)


@functools.cache
def _is_easy() -> bool:
    """Whether there is a compiler that takes these settings."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0.0, compiler_options=EASY)()
    except (RuntimeError, ValueError):
        return False
    return True


__all__ = ["SMALL", "compiled", "outside_of_programs"]

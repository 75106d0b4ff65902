"""How much effort goes into compiling: what runs for milliseconds need not be optimised for seconds, nor be compiled
operation by operation.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

from dispersed.tracing import in_program

T = TypeVar("T")

SMALL = 1 << 18
"""The number of states × entries of a memory up to which a recall is not optimised. It then takes 1 to 10 ms, up to 1.8
times as long as one that takes one to two seconds more to compile."""
EASY: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""XLA's settings for a third of its time: LLVM optimises nothing, loops are written in the older of its two ways, which
newer versions no longer have, and all in one piece."""


def compiled(function: Callable[..., Any], size: float, *arguments: Any) -> Callable[..., Any]:
    """`equinox.filter_jit(function)`, on a CPU not optimised where its problem is of a small `size`.

    Parts of a larger program, which is being traced or whose `arguments` are, are compiled as that is.
    """
    easily = size <= SMALL and not in_program(*jax.tree.leaves(arguments)) and jax.default_backend() == "cpu"
    return _compiled(function, easily)


def one_program(function: Callable[..., T]) -> Callable[..., T]:
    """A decorator: compiled as one program where JAX would compile each operation of the function for itself.

    Arguments that are no arrays are settings, each value of which is another program. As a part of a larger program,
    which is being traced, the function is what it was.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **settings: Any) -> T:
        if in_program(*jax.tree.leaves((arguments, settings))):
            return function(*arguments, **settings)
        size = sum(leaf.size for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array))
        return _compiled(function, size <= SMALL and jax.default_backend() == "cpu")(*arguments, **settings)

    return call


@functools.cache
def _compiled(function: Callable[..., Any], easily: bool) -> Callable[..., Any]:
    settings: Any = {"compiler_options": _known_settings()} if easily else {}
    jitted: Callable[..., Any] = eqx.filter_jit(function, **settings)
    return jitted


@functools.cache
def _known_settings() -> dict[str, Any]:
    """Those of `EASY` that this version of the compiler takes."""
    return EASY if _are_known(EASY) else {name: value for name, value in EASY.items() if _are_known({name: value})}


def _are_known(settings: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 0.0, compiler_options=settings)()
    except (RuntimeError, ValueError):
        return False
    return True


__all__ = ["compiled", "one_program"]

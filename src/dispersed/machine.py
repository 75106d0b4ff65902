"""How programs are built for, and spread over, the machine at hand."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

T = TypeVar("T")
S = TypeVar("S")


def compiled_soon(level: int = 1) -> dict[str, Any] | None:
    """Compiler options for a program that is compiled more often than it runs long: on a CPU half the time to compile,
    and where matrix products dominate no loss of speed. At level 0 nothing is optimised.
    """
    return {"xla_backend_optimization_level": level} if jax.default_backend() == "cpu" else None


def long_running() -> dict[str, Any] | None:
    """Compiler options for a program that goes through millions of patterns: on a CPU the widest vectors it has."""
    return {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None


def jitted_with(options: Callable[[], dict[str, Any] | None]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A decorator: `equinox.filter_jit` with these compiler options, chosen at the first call and not at the import."""

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.cache
        def jitted() -> Callable[..., T]:
            chosen: Any = {"compiler_options": options()}
            return eqx.filter_jit(function, **chosen)

        @functools.wraps(function)
        def call(*arguments: Any) -> T:
            return jitted()(*arguments)

        call.jitted = jitted  # type: ignore[attr-defined]
        return call

    return decorate


def jitted_soon(level: int = 1) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """The same for a program that is `compiled_soon`."""
    return jitted_with(functools.partial(compiled_soon, level))


def cores(platform: str | None = None) -> int:
    """How many programs are worth running at once: one a core of a CPU, one on anything else."""
    if (jax.default_backend() if platform is None else platform) != "cpu":
        return 1
    return processor_cores()


def processor_cores() -> int:
    """Cores of the processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_cores(workers: int, ask: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`ask` of every item, in their order, in so many threads; no more items than that are taken ahead.

    A CPU program alone leaves cores idle: XLA gives whole small products and loops to one thread.
    """
    if workers == 1:
        yield from map(ask, items)
        return
    double = jnp.result_type(float) == jnp.float64

    def wait(item: S) -> T:
        # Precision is a setting of the thread.
        with jax.enable_x64(double):
            return jax.block_until_ready(ask(item))

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(pool.submit(wait, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

"""Independent jobs side by side, with a progress bar."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from dispersed.machine import processor_cores
from dispersed.progress import track

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Job], Result], jobs: Sequence[Job], description: str) -> list[Result]:
    """`function` of every job, in order, computed on as many threads as there are cores.

    XLA compiles and computes without holding Python's lock, so threads suffice. After an error or an interrupt
    no further job is begun.
    """
    with ThreadPoolExecutor(processor_cores()) as pool:
        try:
            futures = [pool.submit(function, job) for job in jobs]
            for _ in track(as_completed(futures), description, total=len(futures)):
                pass
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise

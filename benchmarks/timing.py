"""Warm, median, and synchronised timings."""

import statistics
import time

import jax
from rich.console import Console
from rich.table import Table


def seconds(function, repeats=5):
    """First call (compilation included) and the median of `repeats` warm calls, in seconds."""
    ((first, warm),) = side_by_side({"": function}, repeats).values()
    return first, warm


def side_by_side(functions, repeats=5):
    """For each function by name, its first call and the median of its warm calls, in seconds.

    The rivals take turns, so that whatever else slows the machine down meets all of them.
    """
    first, warm = {}, {name: [] for name in functions}
    for name, function in functions.items():
        first[name] = _once(function)
    for _ in range(repeats):
        for name, function in functions.items():
            warm[name].append(_once(function))
    return {name: (first[name], statistics.median(warm[name])) for name in functions}


def _once(function):
    # Threads of the call before may still wait actively for more to do.
    time.sleep(0.1)
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def show(title, columns, rows):
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=130, highlight=False).print(table)
    print(flush=True)

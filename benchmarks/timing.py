"""Warm, median, and synchronised timings."""

import statistics
import time

import jax


def seconds(function, repeats=5):
    """First call (compilation included) and the median of `repeats` warm calls, in seconds."""
    ((first, warm),) = side_by_side({"": function}, repeats).values()
    return first, warm


def side_by_side(functions, repeats=5, limit=float("inf"), burst=0.0):
    """For each function by name, its first call and the median of its warm calls, in seconds.

    The rivals take turns, so that whatever else slows the machine down meets all of them. A function stops taking turns
    when its next call would end after `limit` seconds of its own; after one slow call, that call counts as warm. A
    function that takes less than `burst` seconds is called that long at every turn, and a turn counts as their median.
    """
    first, warm = {}, {name: [] for name in functions}
    for name, function in functions.items():
        first[name] = _once(function)
        if first[name] > limit:
            warm[name].append(first[name])
    calls = dict.fromkeys(functions, 1)
    for _ in range(repeats):
        for name, function in functions.items():
            if first[name] + sum(warm[name]) + min(warm[name], default=0) > limit:
                continue
            warm[name].append(_once(function, calls[name]))
            calls[name] = max(1, int(burst / min(warm[name])))
    return {name: (first[name], statistics.median(warm[name])) for name in functions}


def _once(function, calls=1):
    # Threads of the call before may still wait actively for more to do.
    time.sleep(0.1)
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def show(title, columns, rows):
    # Where only times are taken, as on another machine, no tables are needed.
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=130, highlight=False).print(table)
    print(flush=True)

"""Warm, median, and synchronised timings."""

import statistics
import time

import jax
from rich.console import Console
from rich.table import Table


def seconds(function, repeats=5):
    """First call (compilation included) and the median of `repeats` warm calls, in seconds."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    first = time.perf_counter() - start
    warm = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        warm.append(time.perf_counter() - start)
    return first, statistics.median(warm)


def show(title, columns, rows):
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=130, highlight=False).print(table)
    print(flush=True)

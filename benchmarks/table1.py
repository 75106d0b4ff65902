"""Table 1: how long a user waits for the whole of it, and what single precision would make of its masked cues.

The time is that of a fresh process, imports and compilation included. The precisions are compared on the very
cues of the table: recalled in float64, as the experiment does, and in float32.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from benchmarks.timing import show
from dispersed.paper.statistics import pearson
from dispersed.paper.table1.measure import N_PATTERNS, TASKS, draw, recall_all

REPEATS = 100
SEED = 0


def cold():
    """Seconds on the clock and of the processor that `dispersed reproduce table1` takes."""
    before = os.times()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "dispersed.cli.main", "reproduce", "table1", "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def recalls(n):
    """The binarised recalls of all repeats in float64 and, from the same cues, in float32."""
    recall = jax.jit(jax.vmap(recall_all))
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(SEED), n), REPEATS)
        patterns, cues, keys = jax.vmap(lambda key: draw(key, n))(keys)
        double = {method: np.asarray(x) for method, x in recall(patterns, cues, keys).items()}
    single = recall(np.float32(patterns), np.float32(cues), keys)
    return double, {method: np.asarray(x) for method, x in single.items()}


def main(repeats=3):
    walls, cpus = zip(*(cold() for _ in range(repeats)), strict=True)
    row = [f"{seconds:.1f}" for seconds in (statistics.median(walls), min(walls), max(walls), statistics.median(cpus))]
    show(f"dispersed reproduce table1, {REPEATS} repeats, every method", ["median s", "min", "max", "CPU s"], [row])

    rows = []
    for n in N_PATTERNS:
        double, single = recalls(n)
        for which, task in enumerate(TASKS):
            row = [task, n]
            for method in ("modern_hopfield", "diffusion"):
                one, other = (found[method][:, which] for found in (double, single))
                row.append(f"{np.any(one != other, axis=-1).sum()} of {REPEATS * n}")
            row += [(found["modern_hopfield"][:, which] == 0).sum() for found in (double, single)]
            row += [
                f"{pearson(found['modern_hopfield'][:, which], found['diffusion'][:, which]).mean():.4f}"
                for found in (double, single)
            ]
            rows.append(row)
    names = ["task", "N", "Hopfield differs", "flow differs"]
    names += ["undecided units, float64", "float32", "correlation, float64", "float32"]
    show("The same cues in float64 and in float32: cues recalled differently, modern Hopfield and flow", names, rows)


if __name__ == "__main__":
    main()

"""The line that a user writes first, beside PyTorch and plain JAX, with its error and the goal that it is to reach.

`PatternMemory(patterns)`, `recall(memory, cues, sigma=…)` and the networks are called with nothing else given. The unit
of time is what PyTorch takes in the same run for the same sums, on one thread or all, whichever is faster: two matrix
products and a softmax for a memory, one product for a network of ±1 units. Errors are those of the first states against
float64; of recall, beside them, how many cues end at the same pattern as a fine float64 flow. Memory is measured in a
process of its own, and so is the first call.

    python -m benchmarks.default_path [--quick] [--only NAME] [--limit SECONDS] [--json FILE]

`--only` takes a part of a case's name: `patterns`, `unknown`, `10000x64`, `networks`, `memory`, `small`, `first`. After
`--limit` seconds of its own a function is not called again; a slower call counts as it is.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.default_costs import first_case, memory_case, small_case
from benchmarks.default_networks import binary_case, modern_case
from benchmarks.default_patterns import digits_case, midway_case, patterns_case, unknown_case
from benchmarks.goals import Line, report
from benchmarks.rivals import torch_or_none

SIZES = (100, 10, 3000), (1797, 64, 1000), (10_000, 64, 64), (60_000, 784, 64), (50_000, 3072, 16), (1_000_000, 64, 64)
QUICK = (100, 10, 300), (1797, 64, 100)
"""Patterns, units and states."""


def main(quick: bool = False, only: str = "", limit: float = 60.0) -> list[Line]:
    if torch_or_none() is None:
        print("PyTorch is not installed: nothing that is measured in its time is judged.")
    lines = []
    for name, measure in cases(quick, limit).items():
        if only in name:
            found = measure(name)
            report(name, found)
            lines += found
    judged = [line for line in lines if line.reached is not None]
    print(f"{sum(line.reached for line in judged)} of {len(judged)} goals are reached. Missed:")
    for line in judged:
        if not line.reached:
            print(f"  {line.case}: {line.name}: {line.figure:.3g} {line.unit}, goal {line.goal:g}")
    return lines


def cases(quick: bool, limit: float) -> dict[str, Callable[[str], list[Line]]]:
    sizes, memories = (QUICK, QUICK[-1:]) if quick else (SIZES, SIZES)
    modern = ((1000, 128, 32),) if quick else ((1000, 128, 32), (10_000, 64, 256))
    binary = (500, 100, 20) if quick else (5000, 500, 100)
    firsts = ((100, 0.7),) if quick else ((100, 0.7), (100_000, 2.5))
    timed = {"repeats": 3 if quick else 5, "limit": limit}
    found: dict[str, Callable[[str], list[Line]]] = {}
    for n, d, states in sizes:
        found[f"patterns {n}x{d}"] = partial(patterns_case, n=n, d=d, states=states, **timed)
    if not quick:
        found["patterns digits 1797x64"] = partial(digits_case, states=1000, **timed)
    n = 1000 if quick else 10_000
    found[f"patterns midway {n}x64"] = partial(midway_case, n=n, d=64, states=64, **timed)
    for n, d in ((1000, 64),) if quick else ((10_000, 64), (60_000, 784)):
        found[f"unknown level {n}x{d}"] = partial(unknown_case, n=n, d=d, states=64, **timed)
    for n, d, states in modern:
        found[f"networks modern {n}x{d}"] = partial(modern_case, n=n, d=d, states=states, **timed)
    n, d, states = binary
    for kind in ("cubic", "exponential", "user", "classical"):
        found[f"networks {kind} {n}x{d}"] = partial(binary_case, kind=kind, n=n, d=d, states=states, **timed)
    for n, d, states in memories:
        found[f"memory {n}x{d}"] = partial(memory_case, n=n, d=d, states=states, limit=30 + 2 * limit)
    found["small"] = small_case
    for n, goal in firsts:
        found[f"first {n}x64"] = partial(first_case, n=n, goal=goal, repeats=1 if quick else 3)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.default_path", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, less than a minute")
    parser.add_argument("--only", default="", metavar="NAME", help="cases whose name contains it")
    parser.add_argument("--limit", type=float, default=60.0, metavar="SECONDS", help="of one function's calls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every line there, too")
    given = parser.parse_args()
    start = time.perf_counter()
    measured = main(given.quick, given.only, given.limit)
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        given.json.write_text(json.dumps([asdict(line) | {"reached": line.reached} for line in measured], indent=1))

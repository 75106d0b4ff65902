"""What the default path costs beside its sums: memory, one small call, the first call of a process."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import references
from benchmarks.default_patterns import WIDE, normal
from benchmarks.goals import Line
from benchmarks.timing import side_by_side

MIB = 1 << 20
MEMORY = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from dispersed import PatternMemory, recall

n, d, states, wide, what = json.loads(sys.argv[1])
jax.block_until_ready(jnp.zeros(1) + 1)
rng = np.random.default_rng(0)
y = rng.standard_normal((n, d), dtype=np.float32)
noise = rng.standard_normal((states, d), dtype=np.float32)


def status(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith(field + ":")) / 1024


Path("/proc/self/clear_refs").write_text("5")
print(status("VmRSS"), flush=True)
memory = PatternMemory(y)
for sigma in (1.0, 0.02):
    x = jnp.asarray(y[:states][np.arange(states) % n] + np.float32(sigma) * noise)
    jax.block_until_ready(memory.denoise(x, sigma) if what == "denoise" else recall(memory, x, sigma=sigma).x)
if what == "recall":
    sigma = float(wide * np.sqrt(d))
    jax.block_until_ready(recall(memory, jnp.asarray(sigma * noise), sigma=sigma).x)
print(status("VmHWM"), flush=True)
"""
"""Peak memory of a new process, before and after; JAX is up and the user's array made before."""


def memory_case(case, n, d, states, limit):
    """What grows beside the array that the user made: at most its size once more, and 512 MiB."""
    if not Path("/proc/self/clear_refs").exists():
        print("Peak memory is measured on Linux only.")
        return []
    patterns = n * d * 4 / MIB
    lines = []
    for what, levels in (("denoise", "σ = 1, .02"), ("recall", "σ = 1, .02, pure noise")):
        with tempfile.TemporaryFile("w+") as out:
            arguments = json.dumps([n, d, min(states, n), WIDE, what])
            child = subprocess.Popen([sys.executable, "-c", MEMORY, arguments], stdout=out)
            name = f"{what}, {levels}; patterns take {patterns:.3g}"
            try:
                child.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                fields = dict(line.split(":") for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
                resident = int(fields["VmHWM"].split()[0]) / 1024
                name += f"; stopped after {limit:g} s, then {resident:.0f} in all"
                child.kill()
                child.wait()
            out.seek(0)
            figures = [float(line) for line in out]
        # A process that failed, as one without memory does, or that was stopped has reached nothing.
        growth = figures[1] - figures[0] if len(figures) == 2 else float("inf")
        lines.append(Line(case, name, growth, "MiB", patterns + 512))
    return lines


def small_case(case):
    """One state of 100 × 64, warm, from outside of any program."""
    from dispersed import PatternMemory

    y = normal(100, 64)
    memory, patterns, x = PatternMemory(y), jnp.asarray(y), jnp.asarray(y[0])
    half = jnp.sum(patterns**2, axis=1) / 2

    @jax.jit
    def plain(patterns, half, x, sigma):
        return jax.nn.softmax((patterns @ x - half) / sigma**2) @ patterns

    functions = {"denoise": lambda: memory.denoise(x, 1.0), "jax": lambda: plain(patterns, half, x, 1.0)}
    times = {name: warm for name, (_, warm) in side_by_side(functions, 9, burst=0.05).items()}
    error = np.abs(np.asarray(memory.denoise(x, 1.0)) - references.mean(y, y[0], 1.0)).max()
    plain_error = np.abs(np.asarray(plain(patterns, half, x, 1.0)) - references.mean(y, y[0], 1.0)).max()
    return [
        Line(case, "denoise of one state", 1e6 * times["denoise"], "µs", 60, times["denoise"], error=f"{error:.1e}"),
        Line(case, "jax.jit of the formula", 1e6 * times["jax"], "µs", None, times["jax"], error=f"{plain_error:.1e}"),
    ]


FIRST = """
import json, sys, time
import numpy as np

n, d, cues = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
y = rng.standard_normal((n, d), dtype=np.float32)
x = y[:cues] + rng.standard_normal((cues, d), dtype=np.float32)
start = time.perf_counter()
import jax
from dispersed import PatternMemory, recall
imported = time.perf_counter()
jax.block_until_ready(recall(PatternMemory(y), x, sigma=1.0).x)
print(imported - start, time.perf_counter() - imported)
"""


def first_case(case, n, goal, repeats):
    """The first recall of a new process, before and after JAX's persistent cache has its programs."""
    cached = {f"JAX_PERSISTENT_CACHE_MIN_{name}": value for name, value in CACHED.items()}
    plain = {
        name: value for name, value in os.environ.items() if name not in cached and name != "JAX_COMPILATION_CACHE_DIR"
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        filled = plain | cached | {"JAX_COMPILATION_CACHE_DIR": folder}
        for name, environment, most in (("", plain, goal), (", compiled before", filled, None)):
            if environment is filled:
                first_call(n, filled)
            runs = [first_call(n, environment) for _ in range(repeats)]
            imports, call = (statistics.median(column) for column in zip(*runs, strict=True))
            lines.append(Line(case, f"first recall{name}", call, "s", most, call))
            lines.append(Line(case, f"the same with imports{name}", imports + call, "s", None, imports + call))
    return lines


CACHED = {"COMPILE_TIME_SECS": "0", "ENTRY_SIZE_BYTES": "-1"}


def first_call(n, environment):
    command = [sys.executable, "-c", FIRST, json.dumps([n, 64, 16])]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return tuple(map(float, done.stdout.split()))

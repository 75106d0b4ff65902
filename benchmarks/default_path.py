"""The line that a user writes first, beside PyTorch and plain JAX, with its error and the goal that it is to reach.

`PatternMemory(patterns)`, `recall(memory, cues, sigma=…)` and the networks are called with nothing else given. The unit
of time is what PyTorch takes in the same run for the same sums, on one thread or all, whichever is faster: two matrix
products and a softmax for a memory, one product for a network of ±1 units. Errors are those of the first states against
float64; of recall, beside them, how many cues end at the same pattern as a fine float64 flow. Memory is measured in a
process of its own, and so is the first call.

    python -m benchmarks.default_path [--quick] [--only NAME] [--limit SECONDS] [--json FILE]

`--only` takes a part of a case's name: `patterns`, `10000x64`, `networks`, `memory`, `small`, `first`. After `--limit`
seconds of its own a function is not called again; a slower call counts as it is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import references
from benchmarks.timing import show, side_by_side

SIZES = (100, 10, 3000), (1797, 64, 1000), (10_000, 64, 64), (60_000, 784, 64), (50_000, 3072, 16), (1_000_000, 64, 64)
QUICK = (100, 10, 300), (1797, 64, 100)
"""Patterns, units and states."""
LEVELS = 1.0, 0.02
WIDE = 10
"""Noise that says nothing of a pattern, in root-mean-square distances of the patterns from their mean."""
CHECKED = 4
"""States whose answer is compared with the reference."""
FINE = 60
"""Steps of the flow whose basins are compared."""
MIB = 1 << 20
NATS = 1e-3
"""Round-off of a logit that does not matter, and the part of the patterns' spread by which a greater one may move D."""


@dataclass
class Line:
    """One figure, the most that it may be, and what it was computed from."""

    case: str
    name: str
    figure: float
    unit: str
    goal: float | None = None
    seconds: float | None = None
    torch: float | None = None
    jax: float | None = None
    error: str = ""
    torch_error: str = ""

    @property
    def reached(self) -> bool | None:
        return None if self.goal is None else self.figure <= self.goal

    @property
    def verdict(self) -> str:
        return {None: "", True: "yes", False: "NO"}[self.reached]


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


def report(case, lines):
    columns = ["", "s", "PyTorch s", "JAX s", "figure", "goal", "reached", "error", "PyTorch's error"]
    rows = [
        (
            line.name,
            *("" if value is None else f"{value:.3g}" for value in (line.seconds, line.torch, line.jax)),
            f"{line.figure:.3g} {line.unit}",
            "" if line.goal is None else f"{line.goal:g}",
            line.verdict,
            line.error,
            line.torch_error,
        )
        for line in lines
    ]
    show(case, columns, rows)


# Patterns


def normal(n, d):
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def digits_case(case, states, repeats, limit):
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("scikit-learn is not installed: its digits are left out.")
        return []
    y = (load_digits().data / 8 - 1).astype(np.float32)
    return measured(case, y, states, repeats, limit)


def patterns_case(case, n, d, states, repeats, limit):
    return measured(case, normal(n, d), states, repeats, limit)


def measured(case, y, states, repeats, limit):
    """One `denoise` and one default recall, at each noise level; and recall from pure noise."""
    from dispersed import PatternMemory, recall

    rng = np.random.default_rng(1)
    (_, build), *_ = side_by_side({"": lambda: jax.tree.leaves(PatternMemory(y))}, 1, limit).values()
    lines = [Line(case, "PatternMemory(patterns)", 1e3 * build, "ms", seconds=build)]
    memory = PatternMemory(y)
    rivals = {"jax": jax_mean(y), **torch_mean(y)}
    centre = y.mean(axis=0, dtype=float)
    spread = float(np.sqrt(np.mean(np.sum((y - centre) ** 2, axis=1, dtype=float))))
    for sigma in (*LEVELS, WIDE * spread):
        noise = rng.standard_normal((states, y.shape[1]))
        wide = sigma > max(LEVELS)
        x = ((centre if wide else y[rng.integers(0, len(y), states)]) + sigma * noise).astype(np.float32)
        cues = jnp.asarray(x)
        results = []

        def recalled(cues=cues, sigma=sigma, results=results):
            results[:] = [recall(memory, cues, sigma=sigma)]
            return results[0].x

        ours = {"recall": recalled}
        if not wide:
            ours["denoise"] = lambda cues=cues, sigma=sigma: memory.denoise(cues, sigma)
        others = {name: rival(x, sigma) for name, rival in rivals.items()}
        times = warm(ours | others, repeats, limit)
        level = f"σ = {sigma:.3g}"
        if not wide:
            lines.append(denoised(case, f"denoise, {level}", y, x, sigma, ours | others, times, spread))
        goal = 5 if not wide and len(y) >= 50_000 else 25
        agree = same_basins(y, x[: 2 * CHECKED], sigma, results[0])
        lines.append(against(case, f"recall, {level}", times, "recall", goal, error=agree))
    return lines


def midway_case(case, n, d, states, repeats, limit):
    """States so nearly midway between two patterns that both matter: what products cannot decide."""
    from dispersed import PatternMemory

    y, sigma = normal(n, d), min(LEVELS)
    memory = PatternMemory(y)
    rng = np.random.default_rng(2)
    one, two = y[rng.integers(0, len(y), (2, states))].astype(float)
    apart = np.linalg.norm(one - two, axis=1, keepdims=True)
    x = ((one + two) / 2 + (one - two) * sigma**2 / apart**2 * rng.standard_normal((states, 1))).astype(np.float32)
    cues = jnp.asarray(x)
    functions = {"denoise": lambda: memory.denoise(cues, sigma)}
    functions |= {name: rival(x, sigma) for name, rival in {"jax": jax_mean(y), **torch_mean(y)}.items()}
    times = warm(functions, repeats, limit)
    return [denoised(case, f"denoise, σ = {sigma:g}", y, x, sigma, functions, times, np.sqrt(y.shape[1]))]


def denoised(case, name, y, x, sigma, functions, times, spread):
    """The line of one denoise, and the goal that follows from whether products provably suffice."""
    few = x[:CHECKED]
    exact = np.array([references.mean(y, row, sigma) for row in few])
    error = np.abs(np.asarray(functions["denoise"]())[:CHECKED] - exact).max()
    torch_error = f"{np.abs(functions['torch']()[:CHECKED] - exact).max():.1e}" if "torch" in functions else ""
    decided = all(products_suffice(y, row, sigma, spread) for row in few)
    goal = 5.0 if not decided else 2.0 if times.get("torch", 1) < 5e-3 else 1.3
    how = "products suffice" if decided else "products do not suffice"
    return against(case, f"{name}: {how}", times, "denoise", goal, f"{error:.1e}", torch_error)


def warm(functions, repeats, limit):
    """Median seconds by name, of those on one thread and on all only the better."""
    times = {}
    for name, (_, median) in side_by_side(functions, repeats, limit, 0.05).items():
        name = name.removesuffix(", one thread")
        times[name] = min(median, times.get(name, median))
    return times


def against(case, name, times, ours, goal, error="", torch_error=""):
    """A line in units of PyTorch's time, or in plain JAX's without a verdict."""
    unit = times.get("torch")
    figure = times[ours] / (unit or times["jax"])
    return Line(
        case,
        name,
        figure,
        "×" if unit else "× JAX",
        goal if unit else None,
        times[ours],
        unit,
        times.get("jax"),
        error,
        torch_error,
    )


def products_suffice(y, x, sigma, spread):
    """Whether float32 products about the patterns' mean provably answer, whatever their round-off within its bound δ.

    They do where no logit is wrong by a thousandth of a nat; and where one pattern c leads so far that it does not
    matter: no other's weight relative to c's is wrong by a factor above exp(2δ), so D moves by at most
    2(exp(2δ) − 1) Σ_j p(j)/p(c) ‖y_j − c‖.
    """
    centre = y.mean(axis=0, dtype=float)
    largest = np.sqrt(max(np.sum((part - centre) ** 2, axis=1).max() for part in np.array_split(y, 16)))
    away = np.linalg.norm(x - centre)
    delta = (y.shape[1] + 2) * 2**-24 * (away * largest + largest**2 / 2) / sigma**2
    if delta <= NATS:
        return True
    found = references.logits(y, x, sigma)
    c = y[found.argmax()].astype(float)
    with np.errstate(divide="ignore"):
        distance = np.concatenate([np.log(np.linalg.norm(part - c, axis=1)) for part in np.array_split(y, 16)])
    log_rest = np.logaddexp.reduce(found - found.max() + distance)
    # log(exp(2δ) − 1), for large δ as well.
    log_factor = 2 * delta + np.log(-np.expm1(-2 * delta))
    return bool(np.log(2) + log_factor + log_rest <= np.log(NATS * spread))


def same_basins(y, x, sigma, result):
    """In how many recalls a fine float64 flow over all patterns ends at the same pattern, and the error there."""
    centre = y.mean(axis=0, dtype=float)
    patterns = y - centre
    heights = np.sum(patterns**2, axis=1) / 2

    def denoise(z, levels):
        logits = ((z - centre) @ patterns.T - heights) / levels[:, None] ** 2
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights @ patterns / weights.sum(axis=1, keepdims=True) + centre

    end = references.second_order(denoise, x.astype(float), np.full(len(x), sigma), FINE)
    same = references.nearest(y, end) == np.asarray(result.index)[: len(x)]
    error = np.abs(np.asarray(result.x)[: len(x)] - end).max(axis=1)[same].max(initial=0)
    return f"{same.sum()}/{len(x)}, {error:.1e}"


def jax_mean(y):
    patterns = jnp.asarray(y)
    half = jnp.sum(patterns**2, axis=1) / 2

    @jax.jit
    def mean(patterns, half, x, sigma):
        return jax.nn.softmax((x @ patterns.T - half) / sigma**2, axis=1) @ patterns

    return lambda x, sigma, x_device=jnp.asarray: lambda x=x_device(x): mean(patterns, half, x, sigma)


def torch_or_none():
    try:
        import torch
    except ImportError:
        return None
    return torch


def on_threads(function, name="torch"):
    """A PyTorch call on one thread and on all: which is faster depends on the size, and on what else runs."""
    torch = torch_or_none()

    def on(threads):
        def run():
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return function().numpy()

        return run

    return {name: on(os.cpu_count() or 1), f"{name}, one thread": on(1)}


def torch_mean(y):
    """Two matrix products and a softmax, half the squared norms computed once; nothing without PyTorch."""
    torch = torch_or_none()
    if torch is None:
        return {}
    patterns = torch.from_numpy(y)
    half = (patterns * patterns).sum(dim=1) / 2

    def mean(x, beta):
        return torch.softmax(torch.addmm(half, x, patterns.T, beta=-beta, alpha=beta), dim=1) @ patterns

    def at(name):
        return lambda x, sigma, x_of=torch.from_numpy: on_threads(partial(mean, x_of(x), 1 / sigma**2))[name]

    return {name: at(name) for name in on_threads(mean)}


# Networks


def updates(case, network, x, rivals, goal, exact, repeats, limit, wrong, same):
    """One `update`, and a third of a recall of three; the goal is a function of PyTorch's time.

    `same`: whether PyTorch computes the whole update.
    """
    from dispersed import Iteration, recall

    cues, steps = jnp.asarray(x), 3
    functions = {
        "update": lambda: network.update(cues),
        "recall": lambda: recall(network, cues, Iteration(steps=steps, tol=0)).x,
        **rivals,
    }
    times = warm(functions, repeats, limit)
    times["recall"] /= steps
    error = wrong(np.asarray(network.update(cues))[: len(exact)])
    torch_error = wrong(rivals["torch"]()[: len(exact)]) if same and "torch" in rivals else ""
    most = goal(times.get("torch", 1))
    lines = [
        against(case, "update", times, "update", most, error, torch_error),
        against(case, "recall of three updates, each", times, "recall", most),
    ]
    if "hopfield-layers" in times:
        lines.append(against(case, "hopfield-layers, one update", times, "hopfield-layers", None))
    return lines


def modern_case(case, n, d, states, repeats, limit):
    from dispersed import ModernHopfield

    y, beta = normal(n, d), float(d**-0.5)
    rng = np.random.default_rng(1)
    x = (y[rng.integers(0, n, states)] + rng.standard_normal((states, d))).astype(np.float32)
    patterns, cues = jnp.asarray(y), jnp.asarray(x)
    plain = jax.jit(lambda patterns, x: jax.nn.softmax(beta * (x @ patterns.T), axis=1) @ patterns)
    rivals = {"jax": lambda: plain(patterns, cues)}
    torch = torch_or_none()
    if torch is not None:
        kv, q = torch.from_numpy(y), torch.from_numpy(x)

        rivals |= on_threads(lambda: torch.softmax(beta * (q @ kv.T), dim=1) @ kv)
        rivals |= hopfield_layers(kv, q, beta)
    exact = modern_update(y, x[:CHECKED], beta)
    return updates(
        case,
        ModernHopfield(y, beta),
        x,
        rivals,
        lambda unit: 2.0 if unit < 5e-3 else 1.3,
        exact,
        repeats,
        limit,
        lambda found: f"{np.abs(found - exact).max():.1e}",
        True,
    )


def modern_update(y, x, beta):
    """Eq. 5 in float64."""
    logits = beta * x.astype(float) @ y.T.astype(float)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ y / weights.sum(axis=1, keepdims=True)


def hopfield_layers(y, x, beta):
    try:
        from hflayers import Hopfield
    except ImportError:
        print("hopfield-layers is not installed: it is left out.")
        return {}
    names = ("stored_pattern", "state_pattern", "pattern_projection")
    plain = {f"{name}_as_static": True for name in names}
    plain |= {f"normalize_{name}{part}": False for name in names for part in ("", "_affine")}
    # With `update_steps_max` = 0 it updates once.
    layer = Hopfield(scaling=beta, num_heads=1, update_steps_max=0, disable_out_projection=True, **plain).eval()
    stored, state = y[None], x[None]
    return on_threads(lambda: layer((stored, state, stored)), "hopfield-layers")


def user_interaction(a):
    return a**3 + 100 * a


def binary_network(kind, y):
    from dispersed import ClassicalHopfield, DenseHopfield, Exponential

    if kind == "classical":
        return ClassicalHopfield(y)
    return DenseHopfield(y, *{"cubic": (), "exponential": (Exponential(1.0),), "user": (user_interaction,)}[kind])


def binary_signs(kind, y, x):
    """The signs of the fields of ±1 states by Eq. 3 and 4, term by term in float64; 0 where a field is."""
    functions = {
        "cubic": lambda a, largest: a**3,
        "exponential": lambda a, largest: np.exp(a - largest),
        "user": lambda a, largest: user_interaction(a),
    }
    y, fields = y.astype(float), []
    for row in x.astype(float):
        h = y @ row
        if kind == "classical":
            fields.append(h @ y - len(y) * row)
        else:
            rest, F = h[:, None] - y * row, functions[kind]
            fields.append(np.sum(F(rest + y, h.max() + 2) - F(rest - y, h.max() + 2), axis=0))
    return np.sign(fields)


def binary_patterns(n, d, states):
    """Random patterns, and states that differ from them in a tenth of the units."""
    rng = np.random.default_rng(0)
    y = rng.choice(np.float32([-1, 1]), (n, d))
    return y, y[rng.integers(0, n, states)] * rng.choice(np.float32([-1, 1]), (states, d), p=[0.1, 0.9])


def binary_case(case, kind, n, d, states, repeats, limit):
    """Against one product of states and patterns; errors are units that take another sign than by Eq. 4 in float64."""
    y, x = binary_patterns(n, d, states)
    network, exact = binary_network(kind, y), binary_signs(kind, y, x[:2])
    patterns, cues = jnp.asarray(y), jnp.asarray(x)
    product = jax.jit(lambda patterns, x: x @ patterns.T)
    rivals = {"jax": lambda: product(patterns, cues)}
    torch = torch_or_none()
    if torch is not None:
        kv, q = torch.from_numpy(y), torch.from_numpy(x)
        rivals |= on_threads(lambda: q @ kv.T)

    def wrong(found):
        return f"{np.sum((found != exact) & (exact != 0))} of {exact.size}"

    return updates(case, network, x, rivals, lambda unit: 5.0, exact, repeats, limit, wrong, False)


# Memory, small calls, first calls

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

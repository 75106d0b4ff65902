"""Are the answers right on this device, and how fast? One short run that prints its report in Markdown.

    python -m benchmarks.gpu [--quick] [--seconds 420] [--speed-from 60000]

Answers are compared with float64 on the host, speed with plain JAX and with PyTorch, where that has the same device.
`--quick` is for a CPU. What would begin after `--seconds` is left out, and the report says so. `--speed-from` measures
speed alone, with so many patterns and more: where the device is lent for minutes, the rest of a run before.
"""

import argparse
import os
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import references
from benchmarks.default_networks import binary_network, binary_patterns, binary_signs, modern_update
from benchmarks.default_path import QUICK, SIZES
from benchmarks.default_patterns import CHECKED, LEVELS, WIDE, normal, same_basins
from benchmarks.rivals import torch_or_none
from benchmarks.timing import side_by_side


def main(quick: bool = False, seconds: float = 420.0, speed_from: int = 0) -> bool:
    """Whether every answer was checked and is right; prints one report."""
    start = time.perf_counter()
    device = jax.devices()[0]
    print(f"# {device.device_kind}, {len(jax.devices())} × {device.platform}, JAX {jax.__version__}\n", flush=True)

    def late():
        return time.perf_counter() - start > seconds

    checks = {
        "denoise, density, gradient": posteriors,
        "recall": recalls,
        "certificates": partial(certificates, n=20_000 if quick else 200_000),
        "networks": networks,
    }
    wrong, left_out = [], []
    heading(("check", "largest error", "allowed", "right", "s"))
    for name, check in () if speed_from else checks.items():
        if late():
            left_out.append(name)
            row(name, "left out", "", "", "")
            continue
        for what, error, allowed in check():
            right = bool(error <= allowed)
            wrong += [] if right else [what]
            row(what, f"{error:.1e}", f"{allowed:.1e}", "yes" if right else "NO", f"{time.perf_counter() - start:.0f}")
    heading(("n × d, states", "σ", "", "ms", "first call, s", "max error", "× fastest rival"))
    for n, d, states in QUICK if quick else SIZES:
        if n < speed_from:
            continue
        for cells in speed(n, d, states, 3 if quick else 5, late):
            row(f"{n} × {d}, {states}", *cells)
    verdict = "Answers were not checked." if speed_from else "No answer is wrong."
    if wrong:
        verdict = f"Wrong: {', '.join(wrong)}."
    if left_out:
        verdict += f" Not checked for want of time: {', '.join(left_out)}."
    print(f"\n{time.perf_counter() - start:.0f} s. {verdict}")
    return not wrong and not left_out


def heading(columns):
    print()
    row(*columns)
    row(*["---"] * len(columns))


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


# Answers


def families(n, d):
    """Pattern sets by name: what products alone, or products in less than full precision, get wrong."""
    rng = np.random.default_rng(0)
    y = normal(n, d)
    pairs = y.copy()
    pairs[1::2] = pairs[::2] * (1 + 1e-4 * rng.standard_normal((n // 2, 1))).astype(np.float32)
    return {
        "normal": y,
        "in pairs, nearly tied": pairs,
        "duplicated": y[rng.integers(0, n // 10, n)],
        "far from 0": 100 + y,
        "unequal norms": y * np.abs(rng.standard_t(3, (n, 1))).astype(np.float32),
    }


def posteriors(n=4000, d=64, states=64):
    from dispersed import PatternMemory

    rng = np.random.default_rng(1)
    for name, y in families(n, d).items():
        memory, errors, allowed = PatternMemory(y), np.zeros(3), np.zeros(3)
        spread = np.sqrt(np.mean(np.sum((y - y.mean(axis=0)) ** 2, axis=1)))
        slopes = jax.jit(jax.vmap(jax.grad(memory.log_density), (0, None)))
        for sigma in (0.05, 0.3, 1.0, 4.0, 30.0):
            x = (y[rng.integers(0, n, states)] + sigma * rng.standard_normal((states, d))).astype(np.float32)
            few = x[:8]
            exact = np.array([references.mean(y, one, sigma) for one in few])
            logits = np.array([references.logits(y, one, sigma) for one in few])
            density = np.logaddexp.reduce(logits, axis=1) - np.log(n) - d * np.log(sigma * np.sqrt(2 * np.pi))
            found = (
                np.asarray(memory.denoise(x, sigma))[:8] - exact,
                np.asarray(memory.log_density(x, sigma))[:8] - density,
                (np.asarray(slopes(x, sigma))[:8] - (exact - few) / sigma**2) * sigma**2,
            )
            errors = np.maximum(errors, [np.abs(part).max() for part in found])
            # Some roundings of a pattern's units and of the logits that matter: far less than what is lost to products
            # in 16 or 19 bits, which a device may use unless it is told not to. The gradient holds the state, too.
            mean = 4e-6 * spread + 8 * 2**-24 * np.abs(y).max()
            slope = mean + 8 * 2**-24 * np.abs(x).max()
            allowed = np.maximum(allowed, [mean, 1e-6 * np.abs(density).max() + 1e-5, slope])
        for what, error, most in zip(("denoise", "log density", "its gradient, × σ²"), errors, allowed, strict=True):
            yield f"{what}: {name}", error, most


def recalls(n=4000, d=64, states=64):
    from dispersed import PatternMemory, recall

    rng = np.random.default_rng(2)
    for name, y in families(n, d).items():
        if "pairs" in name or "duplicated" in name:
            continue
        memory = PatternMemory(y)
        x = (y[rng.integers(0, n, states)] + rng.standard_normal((states, d))).astype(np.float32)
        agree, error = same_basins(y, x, 1.0, recall(memory, x, sigma=1.0)).split(", ")
        same, of = map(int, agree.split("/"))
        # At the border of two basins integrators may differ.
        yield f"recall, in other basins than a fine flow: {name}", of - same, 1
        yield f"recall, error in the same basin: {name}", float(error), 1e-5 * np.abs(y).max()


def certificates(n, d=64, states=64, tol=1e-4):
    """Every certified mean within its bound, every bound within `tol`, every first index a likeliest pattern."""
    from dispersed import PatternMemory, Scanned
    from dispersed.storage import Bits, Float16, Float32, InMemory

    rng = np.random.default_rng(3)
    signs = rng.choice(np.float32([-1, 1]), (n, d))
    for name, patterns, encoding in (
        ("float32", normal(n, d), Float32()),
        ("float16", normal(n, d), Float16()),
        ("bits", signs, Bits()),
    ):
        storage = InMemory(patterns, encoding)
        y = storage.rows(np.arange(n))
        memory = PatternMemory(storage, engine=Scanned(tol))
        excess, widest, missed = 0.0, 0.0, 0.0
        for sigma in (0.3, 1.0, 3.0):
            x = (y[rng.integers(0, n, states)] + sigma * rng.standard_normal((states, d))).astype(np.float32)
            found = memory.posterior(x, sigma)
            for k in range(CHECKED):
                logits = references.logits(y, x[k], sigma)
                error = np.linalg.norm(np.asarray(found.mean)[k] - references.mean(y, x[k], sigma))
                excess = max(excess, error / max(float(found.bound[k]), 1e-300))
                missed = max(missed, logits.max() - logits[int(np.asarray(found.index)[k, 0])])
            widest = max(widest, float(np.max(found.bound)))
        yield f"error/bound of certified means: {name}, n = {n:,}", excess, 1
        yield f"their largest bound: {name}", widest, tol
        yield f"nats by which another pattern is likelier than the first index: {name}", missed, 1e-4


def networks(n=2000, d=100, states=32):
    from dispersed import ModernHopfield

    y = normal(n, d)
    x = y[:states] + np.random.default_rng(4).standard_normal((states, d)).astype(np.float32)
    found = np.asarray(ModernHopfield(y, 0.1).update(x))
    yield "modern update", np.abs(found - modern_update(y, x, 0.1)).max(), 2e-5 * np.abs(y).max()
    y, x = binary_patterns(n, d, states)
    for kind in ("cubic", "exponential", "user", "classical"):
        exact = binary_signs(kind, y, x[:8])
        found = np.asarray(binary_network(kind, y).update(x))[:8]
        yield f"units of another sign: {kind}", np.sum((found != exact) & (exact != 0)), 0


# Speed


def speed(n, d, states, repeats, late):
    """Denoise at two levels and recall from there and from pure noise, each beside its rivals and by products alone."""
    from dispersed import Dense, PatternMemory

    if late():
        yield "", "left out", "", "", "", ""
        return
    y = normal(n, d)
    memory, patterns = PatternMemory(y), jnp.asarray(y)
    memories = {"": memory}
    if not isinstance(memory.engine, Dense):
        memories[", Dense()"] = PatternMemory(y, engine=Dense())
    half = jnp.sum(patterns**2, axis=1) / 2
    rng = np.random.default_rng(1)
    for sigma in (*LEVELS, float(WIDE * np.sqrt(d))):
        if late():
            yield f"{sigma:.3g}", "left out", "", "", "", ""
            continue
        noise = sigma * rng.standard_normal((states, d))
        wide = sigma > max(LEVELS)
        x = ((0 if wide else y[rng.integers(0, n, states)]) + noise).astype(np.float32)
        cues = jnp.asarray(x)
        ours = {f"recall{name}": partial(recalled, memory, cues, sigma) for name, memory in memories.items()}
        if not wide:
            ours |= {f"denoise{name}": partial(memory.denoise, cues, sigma) for name, memory in memories.items()}
        rivals = {
            f"JAX, {name}": partial(plain(precision), patterns, half, cues, sigma)
            for name, precision in (("full precision", "highest"), ("as it is", None))
        } | torch_mean(y, x, sigma)
        times = side_by_side(ours | rivals, repeats, limit=60, burst=0.02)
        exact = np.array([references.mean(y, one, sigma) for one in x[:CHECKED]])
        errors = {
            name: np.abs(np.asarray(function()[:CHECKED].tolist()) - exact).max()
            for name, function in (ours | rivals).items()
            if not name.startswith("recall")
        }
        # Only what is as right as full precision counts as a rival.
        fastest = min(times[name][1] for name in rivals if errors[name] <= 2 * errors["JAX, full precision"] + 1e-6)
        for name, (first, warm) in times.items():
            error = f"{errors[name]:.1e}" if name in errors else ""
            ratio = f"{warm / fastest:.2f}" if name in ours else ""
            yield f"{sigma:.3g}", name, f"{1e3 * warm:.3g}", f"{first:.2f}", error, ratio


def recalled(memory, cues, sigma):
    from dispersed import recall

    return recall(memory, cues, sigma=sigma).x


def plain(precision):
    @jax.jit
    def mean(patterns, half, x, sigma):
        logits = (jnp.matmul(x, patterns.T, precision=precision) - half) / sigma**2
        return jnp.matmul(jax.nn.softmax(logits, axis=1), patterns, precision=precision)

    return mean


def torch_mean(y, x, sigma):
    """PyTorch's two products and a softmax where it runs on the same kind of device."""
    torch = torch_or_none()
    gpu = jax.devices()[0].platform == "gpu"
    if torch is None or (gpu and not torch.cuda.is_available()):
        return {}
    device = "cuda" if gpu else "cpu"
    if not gpu:
        torch.set_num_threads(os.cpu_count() or 1)
    patterns, states, beta = torch.from_numpy(y).to(device), torch.from_numpy(x).to(device), 1 / sigma**2
    half = (patterns * patterns).sum(dim=1) / 2

    def run():
        with torch.inference_mode():
            logits = torch.addmm(half, states, patterns.T, beta=-beta, alpha=beta)
            found = torch.softmax(logits, dim=1) @ patterns
            if gpu:
                torch.cuda.synchronize()
            return found

    return {"PyTorch": run}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--seconds", type=float, default=420.0, help="after which nothing new begins")
    parser.add_argument("--speed-from", type=int, default=0, help="speed alone, with so many patterns and more")
    given = parser.parse_args()
    raise SystemExit(0 if main(given.quick, given.seconds, given.speed_from) else 1)

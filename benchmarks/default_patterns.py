"""`PatternMemory(patterns)`, its `denoise` and default `recall`, beside two matrix products and a softmax."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import references
from benchmarks.goals import Line, against, warm
from benchmarks.rivals import jax_mean, torch_mean
from benchmarks.timing import side_by_side

LEVELS = 1.0, 0.02
WIDE = 10
"""Noise that says nothing of a pattern, in root-mean-square distances of the patterns from their mean."""
CHECKED = 4
"""States whose answer is compared with the reference."""
FINE = 60
"""Steps of the flow whose basins are compared."""
NATS = 1e-3
"""Round-off of a logit that does not matter, and the part of the patterns' spread by which a greater one may move D."""


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


def unknown_case(case, n, d, states, repeats, limit):
    """Cues whose noise is not given, and cues of which half of the entries are known."""
    from dispersed import PatternMemory, estimate_sigma, recall

    y, sigma = normal(n, d), max(LEVELS)
    memory = PatternMemory(y)
    rng = np.random.default_rng(3)
    x = (y[:states] + sigma * rng.standard_normal((states, d))).astype(np.float32)
    cues, known = jnp.asarray(x), rng.random((states, d)) < 0.5
    functions = {
        "estimate_sigma(memory, cues)": lambda: estimate_sigma(memory, cues).sigma,
        "estimate_sigma(memory, cues, known)": lambda: estimate_sigma(memory, cues, known).sigma,
        "recall(memory, cues)": lambda: recall(memory, cues).x,
        "recall(memory, cues, known=known)": lambda: recall(memory, cues, known=known).x,
    }
    rivals = {name: rival(x, sigma) for name, rival in {"jax": jax_mean(y), **torch_mean(y)}.items()}
    times = warm(functions | rivals, repeats, limit)
    off = {name: np.abs(np.asarray(function()) / sigma - 1) for name, function in list(functions.items())[:2]}
    errors = {name: f"median |σ̂/σ − 1| {np.median(each):.1e}" for name, each in off.items()}
    return [against(case, name, times, name, None, error=errors.get(name, "")) for name in functions]


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

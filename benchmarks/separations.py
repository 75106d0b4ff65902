"""Sparse weights beside softmax, in one run: `python -m benchmarks.separations`; the goal is 3 × softmax at n = 10⁵."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import show, side_by_side
from dispersed.memories.separation import entmax, normmax


def measured(n=100_000, spreads=(0.1, 1.0, 10.0), repeats=31):
    """Seconds, ratio to softmax, and the error of the sum of weights, for normal scores of several spreads."""
    rivals = {
        "softmax": jax.jit(jax.nn.softmax),
        "entmax-1.5": jax.jit(functools.partial(entmax, alpha=1.5)),
        "sparsemax": jax.jit(functools.partial(entmax, alpha=2.0)),
        "normmax, γ = 2": jax.jit(functools.partial(normmax, gamma=2.0)),
        "entmax-1.5 by sorting": jax.jit(by_sorting),
    }
    lines = []
    for spread in spreads:
        scores = spread * jax.random.normal(jax.random.key(0), (n,))
        times = side_by_side(
            {name: functools.partial(rival, scores) for name, rival in rivals.items()}, repeats, burst=0.1
        )
        exact = np.asarray(rivals["entmax-1.5 by sorting"](scores))
        for name, (_, warm) in times.items():
            weights = np.asarray(rivals[name](scores))
            off = np.abs(weights - exact).sum() if name == "entmax-1.5" else abs(weights.sum() - 1)
            lines.append((spread, name, warm, warm / times["softmax"][1], int((weights > 0).sum()), float(off)))
    return lines


def by_sorting(scores):
    """The exact algorithm of Peters, Niculae & Martins (2019)."""
    z = (scores - scores.max()) / 2
    ordered = -jnp.sort(-z)
    k = jnp.arange(1, z.size + 1)
    mean, square = jnp.cumsum(ordered) / k, jnp.cumsum(ordered**2) / k
    tau = mean - jnp.sqrt(jnp.maximum((1 - k * (square - mean**2)) / k, 0))
    return jnp.maximum(z - tau[jnp.sum(tau <= ordered) - 1], 0) ** 2


def main():
    columns = ["spread of scores", "weights", "ms", "× softmax", "non-zero", "error"]
    rows = [
        (spread, name, f"{1e3 * warm:.3f}", f"{ratio:.2f}", live, f"{off:.1e}")
        for spread, name, warm, ratio, live, off in measured()
    ]
    show("Weights of 100,000 scores", columns, rows)


if __name__ == "__main__":
    main()

"""What a gradient through a recall costs, in units of the recall: reverse mode beside the recall of all its steps.

A recall stops where one pattern has all probability, and so does its derivative; the recall with a trajectory, which
takes all steps, stands beside it. Errors are against central differences in float64.

    python -m benchmarks.gradients [--quick]
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import show, side_by_side
from dispersed import (
    DDIM,
    ExponentialIntegrator,
    Iteration,
    ModernHopfield,
    MultistepFlow,
    PatternMemory,
    ProbabilityFlow,
    recall,
)

N, D, STATES = 1000, 64, 16


def main(quick: bool = False) -> list[dict]:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((N, D)).astype(np.float32)
    x = (y[:STATES] + 1.5 * rng.standard_normal((STATES, D))).astype(np.float32)
    lines = []
    for name, dynamics, kind in (
        ("multistep, 16 steps", MultistepFlow(), "memory"),
        ("exponential, 20 steps", ExponentialIntegrator(), "memory"),
        ("DDIM, 20 steps", DDIM(), "memory"),
        ("Euler, 300 steps", ProbabilityFlow(), "memory"),
        ("Hopfield iteration", Iteration(), "network"),
    ):
        lines.append(measured(name, dynamics, kind, y, x, 3 if quick else 15))
    columns = ["", "recall ms", "all steps ms", "gradient ms", "gradient/recall", "gradient/all steps", "error"]
    show("Gradients of recall, 1,000 × 64, 16 states", columns, [line.values() for line in lines])
    return lines


def measured(name, dynamics, kind, y, x, repeats):
    settings = {} if kind == "network" else {"sigma": 1.5}

    def end(patterns, x, trajectory=False):
        memory = ModernHopfield(patterns, 0.5) if kind == "network" else PatternMemory(patterns)
        return recall(memory, x, dynamics, trajectory=trajectory, **settings).x

    def loss(patterns, x):
        return jnp.sum(end(patterns, x) * jnp.cos(jnp.arange(D)))

    forward, every = jax.jit(end), jax.jit(lambda patterns, x: end(patterns, x, trajectory=True))
    backward = jax.jit(jax.grad(loss))
    times = side_by_side(
        {
            "recall": lambda: forward(y, x),
            "all": lambda: every(y, x),
            "gradient": lambda: backward(y, x),
        },
        repeats,
        burst=0.1,
    )
    with jax.enable_x64(True):
        wide, states = np.asarray(y, float), np.asarray(x, float)
        direction = np.random.default_rng(1).standard_normal(y.shape)
        step = 1e-6
        apart = loss(jnp.asarray(wide + step * direction), states) - loss(jnp.asarray(wide - step * direction), states)
        expected = float(apart) / (2 * step)
    along = float(np.sum(np.asarray(backward(y, x), float) * direction))
    recall_s, all_s, gradient_s = (times[part][1] for part in ("recall", "all", "gradient"))
    milliseconds = [f"{1e3 * value:.3g}" for value in (recall_s, all_s, gradient_s)]
    ratios = [f"{gradient_s / other:.2f}" for other in (recall_s, all_s)]
    error = f"{abs(along - expected) / max(abs(expected), 1e-9):.1e}"
    columns = ("recall", "all", "gradient", "over recall", "over all", "error")
    return {"name": name, **dict(zip(columns, [*milliseconds, *ratios, error], strict=True))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args().quick)

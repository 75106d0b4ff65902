"""Association by layers beside PyTorch, in one run: `python -m benchmarks.layers`.

A batch of 32 sets of 1,000 stored patterns, d = 128, three steps, one head, with projections. Rivals: the formulas of
the layer in PyTorch, its fused attention repeated as often, and hopfield-layers where that is installed.
"""

import argparse
import json

import equinox as eqx
import jax
import numpy as np

from benchmarks.timing import show, side_by_side
from dispersed.layers import Hopfield

BATCH, STORED, WIDTH, STEPS = 32, 1000, 128, 3


def rivals(queries, batch=BATCH, n=STORED, d=WIDTH, steps=STEPS):
    """The same association four ways, as functions without arguments that return arrays of NumPy's interface."""
    import torch

    rng = np.random.default_rng(0)
    state = rng.normal(size=(batch, queries, d)).astype(np.float32)
    stored = rng.normal(size=(batch, n, d)).astype(np.float32)
    layer = Hopfield(d, steps=steps, normalise=False, key=jax.random.key(0))
    ours, x, y = eqx.filter_jit(layer), jax.numpy.asarray(state), jax.numpy.asarray(stored)
    xs, ys = torch.tensor(state), torch.tensor(stored)
    parts = layer.to_state, layer.to_stored, layer.to_value, layer.to_output
    linear = [[torch.tensor(np.array(part.weight)), torch.tensor(np.array(part.bias))] for part in parts]
    beta = float(layer.beta[0])
    project = torch.nn.functional.linear

    @torch.no_grad()
    def formulas():
        q, k, v = (project(rows, *part) for rows, part in zip((xs, ys, ys), linear[:3], strict=True))
        for step in range(steps):
            p = torch.softmax(beta * q @ k.transpose(1, 2), -1)
            q = p @ (k if step < steps - 1 else v)
        return project(q, *linear[3])

    @torch.no_grad()
    def attention():
        q, k, v = (project(rows, *part) for rows, part in zip((xs, ys, ys), linear[:3], strict=True))
        for step in range(steps):
            q = torch.nn.functional.scaled_dot_product_attention(q, k, k if step < steps - 1 else v, scale=beta)
        return project(q, *linear[3])

    found = {"this library": lambda: ours(x, y), "PyTorch, formulas": formulas, "PyTorch, fused attention": attention}
    try:
        import hflayers
    except ImportError:
        return found
    other = hflayers.Hopfield(
        input_size=d,
        hidden_size=d,
        update_steps_max=steps - 1,
        update_steps_eps=1e-30,
        normalize_stored_pattern=False,
        normalize_stored_pattern_affine=False,
        normalize_state_pattern=False,
        normalize_state_pattern_affine=False,
        normalize_pattern_projection=False,
        normalize_pattern_projection_affine=False,
    )
    core = other.association_core
    with torch.no_grad():
        core.in_proj_weight.copy_(torch.cat([weight for weight, _ in linear[:3]]))
        core.in_proj_bias.copy_(torch.cat([bias for _, bias in linear[:3]]))
        core.out_proj.weight.copy_(linear[3][0])
        core.out_proj.bias.copy_(linear[3][1])

    @torch.no_grad()
    def package():
        return other((ys, xs, ys))

    return found | {"hopfield-layers": package}


def measured(queries=(1, 32), repeats=15, **sizes):
    """Queries, name, seconds, ratio to ours, and the largest difference from ours."""
    lines = []
    for count in queries:
        found = rivals(count, **sizes)
        times = side_by_side(found, repeats, burst=0.1)
        truth = np.asarray(found["this library"]())
        for name, (_, warm) in times.items():
            off = float(np.abs(np.asarray(found[name]()) - truth).max())
            lines.append((count, name, warm, warm / times["this library"][1], off))
    return lines


def main(quick=False, path=None):
    sizes = {"batch": 2, "n": 50, "d": 16, "repeats": 2} if quick else {}
    lines = measured(**sizes)
    columns = ["states a set", "association", "ms", "× this library", "difference"]
    show(
        "Association in three steps",
        columns,
        [(q, name, f"{1e3 * s:.2f}", f"{r:.2f}", f"{e:.1e}") for q, name, s, r, e in lines],
    )
    if path:
        names = ("queries", "name", "seconds", "ratio", "difference")
        with open(path, "w") as file:
            json.dump([dict(zip(names, line, strict=True)) for line in lines], file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()
    main(given.quick, given.json)

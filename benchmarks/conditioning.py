"""Conditioning on linear measurements: time, memory and error against float64.

Scanned patterns are conditioned outside of programs, by one scan in double precision; patterns in memory inside of
them, a batch of masks or values at once. Errors are the largest of p(j | v) of the first observation.

    python -m benchmarks.conditioning [--quick] [--json FILE]
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import show, side_by_side
from dispersed import CertifiedFlow, Observation, PatternMemory, Scanned, condition, recall

D = 64
SIGMA = 0.5
LARGE, QUICK_LARGE = 1_000_000, 20_000
BATCH, QUICK_BATCH = (10_000, 1000), (2000, 50)
"""Patterns and observations of a batch."""


def main(quick: bool = False) -> list[dict]:
    rng = np.random.default_rng(0)
    lines = scanned(rng, QUICK_LARGE if quick else LARGE, 2 if quick else 5)
    lines += batches(rng, *(QUICK_BATCH if quick else BATCH), 2 if quick else 5)
    show(
        "Conditioning",
        ["", "first s", "s", "MiB", "error"],
        [(line["name"], *(f"{line[key]:.3g}" for key in ("first", "seconds", "mebibytes", "error"))) for line in lines],
    )
    return lines


def measurements(rng, y):
    """A mask of 8 units, four averages of 16 units, and a random matrix of 10 rows."""
    blur = np.kron(np.eye(4), np.ones(16) / 16).astype(np.float32)
    return {
        "8 of 64 units": {"mask": np.arange(D) % 8 == 0},
        "4 averages": {"operator": blur},
        "random 10 × 64": {"operator": rng.standard_normal((10, D)).astype(np.float32) / 8},
    }


def value_of(y, kind):
    return y if "mask" in kind else kind["operator"] @ y


def exact(y, kind, value):
    """p(j | v), by differences."""
    total = np.empty(len(y))
    for start in range(0, len(y), 100_000):
        rows = y[start : start + 100_000].astype(float)
        images = rows[:, kind["mask"]] if "mask" in kind else rows @ kind["operator"].astype(float).T
        measured = value[kind["mask"]] if "mask" in kind else value
        total[start : start + 100_000] = -np.sum((measured - images) ** 2, axis=1) / 2 / SIGMA**2
    p = np.exp(total - total.max())
    return p / p.sum()


def scanned(rng, n, repeats):
    y = rng.standard_normal((n, D), dtype=np.float32)
    memory = PatternMemory(y, engine=Scanned())
    lines = []
    for name, kind in measurements(rng, y).items():
        value = (value_of(y[7], kind) + SIGMA * rng.standard_normal(len(value_of(y[7], kind)))).astype(np.float32)
        observation = Observation(value, sigma=SIGMA, **kind)

        def conditioned(observation=observation):
            return condition(memory, observation).held.log_weights

        first, warm = side_by_side({"": conditioned}, repeats)[""]
        error = np.abs(np.asarray(condition(memory, observation).weights, float) - exact(y, kind, value)).max()
        lines.append(line(f"{n} × {D} scanned, {name}", first, warm, 0.0, error))
    seen = condition(memory, observation)
    cues = y[:64] + 0.7 * rng.standard_normal((64, D), dtype=np.float32)
    bound = np.asarray(recall(seen, cues, CertifiedFlow(), sigma=0.7).certificate.bound).max()
    for name, call in {
        "64 certified recalls of the last": lambda: recall(seen, cues, CertifiedFlow(), sigma=0.7).x,
        "1000 draws of the last": lambda: seen.sample(jax.random.key(0), 1000),
    }.items():
        first, warm = side_by_side({"": call}, repeats)[""]
        lines.append(line(f"{n} × {D} scanned, {name}", first, warm, 0.0, bound if "recalls" in name else 0.0))
    return lines


def batches(rng, n, cues, repeats):
    y = rng.standard_normal((n, D), dtype=np.float32)
    memory = PatternMemory(y)._prepared()
    x = y[:cues] + SIGMA * rng.standard_normal((cues, D), dtype=np.float32)
    masks = rng.random((cues, D)) < 0.25
    lines = []
    kinds = {"a mask each": None, **measurements(rng, y)}
    for name, kind in kinds.items():
        if kind is None:

            def one(memory, v, mask, cue):
                seen = condition(memory, Observation(v, mask=mask, sigma=SIGMA))
                return seen.denoise(cue, SIGMA), seen.weights[:8]

            values, own = x, masks
        else:

            def one(memory, v, mask, cue, kind=kind):
                seen = condition(memory, Observation(v, sigma=SIGMA, **kind))
                return seen.denoise(cue, SIGMA), seen.weights[:8]

            values, own = np.stack([value_of(state, kind) for state in x]).astype(np.float32), masks
        program = jax.jit(jax.vmap(one, (None, 0, 0, 0)))
        arguments = memory, jnp.asarray(values), jnp.asarray(own), jnp.asarray(x)
        needed = program.lower(*arguments).compile().memory_analysis().temp_size_in_bytes
        first, warm = side_by_side({"": lambda p=program, a=arguments: p(*a)}, repeats)[""]
        truth = exact(y, {"mask": masks[0]} if kind is None else kind, values[0])
        error = np.abs(np.asarray(program(*arguments)[1][0], float) - truth[:8]).max()
        lines.append(line(f"{cues} of {n} × {D}, {name}", first, warm, needed / 2**20, error))
    return lines


def line(name, first, seconds, mebibytes, error):
    return {"name": name, "first": first, "seconds": seconds, "mebibytes": mebibytes, "error": float(error)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    found = main(arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))

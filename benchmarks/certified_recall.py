"""Whole recalls in the time of a few looks at all patterns, with the basins of slow integrations of the full flow.

The unit of time is one sum over all patterns for the same batch of cues. An integrator that asks the full memory 300
times takes 300 of them.
"""

import sys

import numpy as np

from benchmarks import references
from benchmarks.timing import show, side_by_side
from dispersed import PatternMemory, Scanned, recall
from dispersed.datasets import load_digits
from dispersed.dynamics import CertifiedFlow
from dispersed.engines.candidate_screening import States
from dispersed.engines.full_scan import full_scan
from dispersed.engines.ladder import climb

ALPHA = 0.68
STEPS = 16, 20
"""Of `CertifiedFlow`: as many as by default, and more."""


def main(quick=False):
    rng = np.random.default_rng(0)
    n = 20_000 if quick else 1_000_000
    patterns = rng.choice(np.float32([-1, 1]), (n, 64))
    source = patterns[rng.integers(0, n, 64)]
    noise = rng.standard_normal(source.shape)
    cues = (ALPHA * source + np.sqrt(1 - ALPHA**2) * noise).astype(np.float32)
    gather(f"binary, α = {ALPHA}", patterns, cues, {"alpha": ALPHA}, goal=3)

    digits = np.asarray(load_digits()[0])
    gather("digits, from pure noise", digits, *noise_around(digits, 100 if quick else 1000, rng), goal=12)

    spectrum = np.arange(1, 3073) ** -1.5
    n = 2_000 if quick else 20_000
    structured = (rng.standard_normal((n, len(spectrum))) * np.sqrt(spectrum)).astype(np.float32)
    gather("power-law spectrum, from pure noise", structured, *noise_around(structured, 64, rng), goal=12)


def noise_around(patterns, cues, rng):
    """Cues that say nothing of which pattern they came from: ten times as wide as the patterns."""
    centre = patterns.mean(axis=0)
    radius = np.sqrt(np.mean(np.sum((patterns - centre) ** 2, axis=1)))
    sigma = float(10 * radius)
    cues = centre + sigma * rng.standard_normal((cues, patterns.shape[1]))
    return cues.astype(np.float32), {"sigma": sigma}


def gather(title, patterns, cues, level, goal, tol=1e-4, repeats=3):
    memory = PatternMemory(patterns, engine=Scanned(tol))
    placed, b = memory.held.placed, len(cues)
    if "alpha" in level:
        sigma = np.full(b, np.sqrt(1 / level["alpha"] ** 2 - 1))
        z = cues.astype(float) / level["alpha"]
    else:
        sigma, z = np.full(b, level["sigma"]), cues.astype(float)

    def summed(x, levels, dtype):
        return full_scan(placed, States.of(placed, *placed.internal(x, levels)), dtype).mean

    def certified(steps):
        return recall(memory, cues, CertifiedFlow(steps, tol=tol), **level)

    times = side_by_side(
        {
            **{f"{steps} steps": lambda steps=steps: certified(steps) for steps in STEPS},
            "one sum, float32": lambda: summed(z, sigma, np.float32),
            "one sum, float64": lambda: summed(z, sigma, np.float64),
        },
        repeats,
    )
    warm = {name: time for name, (_, time) in times.items()}
    unit, double = warm["one sum, float32"], warm["one sum, float64"]

    def denoise(x, levels):
        return (
            climb(placed, *placed.internal(x, levels), tol * placed.statistics.factor, 0).mean
            / placed.statistics.factor
        )

    # Integrators disagree where a cue lies near the border of two basins: who is right, finer ones tell.
    answers = {
        "Euler, 300 steps": references.euler(denoise, z, sigma),
        "order 2, 20 steps": references.second_order(denoise, z, sigma, 20),
    }
    basins = {name: references.nearest(patterns, x) for name, x in answers.items()}
    results = {steps: certified(steps) for steps in STEPS}
    index = np.array([np.asarray(result.index) for result in results.values()])
    unsure = np.flatnonzero(np.any([(index != found).any(axis=0) for found in basins.values()], axis=0))
    fine = index[0].copy()
    if unsure.size:
        ends = references.second_order(denoise, z[unsure], sigma[unsure], 300)
        fine[unsure] = references.nearest(patterns, ends)

    def each(row):
        return [row(steps, results[steps], results[steps].certificate) for steps in STEPS]

    rows = [
        ("seconds", *(f"{warm[f'{steps} steps']:.3f}" for steps in STEPS)),
        ("first call, compilation included, s", *(f"{times[f'{steps} steps'][0]:.2f}" for steps in STEPS)),
        (
            f"in sums of {unit:.3f} s in float32, {double:.3f} s in float64 (goal: {goal})",
            *(f"{warm[f'{n} steps'] / unit:.2f}, {warm[f'{n} steps'] / double:.2f}" for n in STEPS),
        ),
        ("looks at all patterns per cue, mean (most)", *each(lambda n, r, proof: spread(proof.screens))),
        ("sums of all patterns per cue, mean (most)", *each(lambda n, r, proof: spread(proof.sums))),
        ("denoisers per cue, mean (most)", *each(lambda n, r, proof: spread(r.evaluations))),
        (f"largest bound of a denoiser (tol: {tol:g})", *each(lambda n, r, p: f"{float(np.max(p.bound)):.1e}")),
        (f"of {b} cues, those whose basin is proven", *each(lambda n, r, proof: int(np.sum(proof.certified)))),
    ]
    counted = [*basins.items(), (f"order 2, 300 steps, where any of these disagree ({unsure.size})", fine)]
    rows += [(f"same basin as {name}", *(int(np.sum(found == mine)) for mine in index)) for name, found in counted]
    rows = [[str(cell) for cell in row] for row in rows]
    heads = [f"{steps} steps" for steps in STEPS]
    show(f"{title}: {b} cues, N = {len(patterns):,}, d = {patterns.shape[1]}", ["CertifiedFlow", *heads], rows)


def spread(counts):
    counts = np.asarray(counts)
    return f"{counts.mean():.3g} ({counts.max()})"


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)

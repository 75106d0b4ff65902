"""Whole recalls in the time of a few looks at all patterns, with the basins of slow integrations of the full flow.

The unit of time is one sum over all patterns for the same batch of cues. An integrator that asks the full memory 300
times takes 300 of them.
"""

import sys

import numpy as np

from benchmarks import references
from benchmarks.timing import show, side_by_side
from dispersed import StoredMemory, recall
from dispersed.dynamics import CertifiedFlow
from dispersed.experiments.digits import load_digits
from dispersed.scale.sums import summed

ALPHA = 0.68


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
    memory = StoredMemory(patterns, tol=tol)
    placed, b = memory.placed, len(cues)
    if "alpha" in level:
        sigma = np.full(b, np.sqrt(1 / level["alpha"] ** 2 - 1))
        z = cues.astype(float) / level["alpha"]
    else:
        sigma, z = np.full(b, level["sigma"]), cues.astype(float)

    def certified():
        return recall(memory, cues, CertifiedFlow(tol=tol), **level)

    times = side_by_side(
        {
            "CertifiedFlow": certified,
            "one sum, float32": lambda: summed(placed, z, sigma, np.float32),
            "one sum, float64": lambda: summed(placed, z, sigma, np.float64),
        },
        repeats,
    )
    warm = {name: time for name, (_, time) in times.items()}
    result, proof = (lambda r: (r, r.certificate))(certified())
    index = np.asarray(result.index)

    def denoise(x, levels):
        return summed(placed, x, levels, np.float32 if len(patterns) * cues.size > 1e8 else np.float64).mean

    unit, double = warm["one sum, float32"], warm["one sum, float64"]
    rows = [
        ("CertifiedFlow, s", f"{warm['CertifiedFlow']:.3f}"),
        ("first call, compilation included, s", f"{times['CertifiedFlow'][0]:.2f}"),
        ("one sum of all patterns in float32, float64, s", f"{unit:.3f}, {double:.3f}"),
        (
            f"CertifiedFlow in sums, float32, float64 (goal: {goal})",
            f"{warm['CertifiedFlow'] / unit:.2f}, {warm['CertifiedFlow'] / double:.2f}",
        ),
        ("looks at all patterns per cue, mean (most)", spread(proof.screens)),
        ("sums of all patterns per cue, mean (most)", spread(proof.sums)),
        ("denoisers per cue, mean (most)", spread(result.evaluations)),
        ("largest bound of a denoiser (tol)", f"{float(np.max(proof.bound)):.1e} ({tol:g})"),
        ("cues whose basin is proven", f"{int(np.sum(proof.owned))} of {b}"),
    ]
    # Integrators disagree where a cue lies near the border of two basins: who is right, finer ones tell.
    answers = {
        "Euler, 300 steps": references.euler(denoise, z, sigma),
        "2M, 20 steps": references.second_order(denoise, z, sigma, 20),
    }
    basins = {name: references.nearest(patterns, x) for name, x in answers.items()}
    unsure = np.flatnonzero((basins["Euler, 300 steps"] != index) | (basins["2M, 20 steps"] != index))
    for name, found in basins.items():
        rows.append((f"same basin as {name}, every step over all patterns", f"{int(np.sum(found == index))} of {b}"))
    if unsure.size:
        fine = references.nearest(patterns, references.second_order(denoise, z[unsure], sigma[unsure], 300))
        rows.append(("of the others, as 2M in 300 steps", f"{int(np.sum(fine == index[unsure]))} of {len(unsure)}"))
        rows.append(
            (
                "of the others, Euler in 300 steps as 2M in 300",
                f"{int(np.sum(fine == basins['Euler, 300 steps'][unsure]))} of {len(unsure)}",
            )
        )
    show(f"{title}: {b} cues, N = {len(patterns):,}, d = {patterns.shape[1]}", ["", ""], rows)


def spread(counts):
    counts = np.asarray(counts)
    return f"{counts.mean():.3g} ({counts.max()})"


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)

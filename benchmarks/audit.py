"""What an audit finds: `python -m benchmarks.audit`.

False alarms: of samples drawn from the same source as the training patterns, the fraction called copies at a nominal
1 %, over ten sources, beside d1/d2 < 1/3. Power: of 1 % planted copies, noisy or shifted by a pixel, the fraction that
is found; shifts among features that do not see them. Time: small sets, and 10⁴ samples among 10⁶ × 64 patterns.
"""

import argparse
import json
import math
import resource
import time

import numpy as np

from benchmarks.timing import seconds, show
from dispersed.auditing import audit
from dispersed.auditing.neighbours import Points


def trefoil(rng, n, noise=0.0):
    t = 2 * np.pi * rng.random(n)
    curve = [np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -np.sin(3 * t)]
    return np.stack(curve, axis=1) + noise * rng.standard_normal((n, 3))


def swiss_roll(rng, n):
    t = 1.5 * np.pi * (1 + 2 * rng.random(n))
    return np.stack([t * np.cos(t), 21 * rng.random(n), t * np.sin(t)], axis=1)


def sphere(rng, n):
    x = rng.standard_normal((n, 6))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def digit_images():
    from sklearn.datasets import load_digits

    return load_digits().data / 8 - 1


def generators(seed=0):
    """Ten sources by name: functions that draw n states."""
    rng = np.random.default_rng(seed)
    means, lift = 3 * rng.standard_normal((10, 16)), rng.standard_normal((3, 40))
    digits = digit_images()
    centre = digits.mean(axis=0)
    factors = np.linalg.svd(digits - centre, full_matrices=False)
    scale = factors[1][:20] / np.sqrt(len(digits))
    return {
        "Gaussian, d = 3": lambda r, n: r.standard_normal((n, 3)),
        "Gaussian, d = 64": lambda r, n: r.standard_normal((n, 64)),
        "Gaussian, uneven": lambda r, n: r.standard_normal((n, 30)) * np.geomspace(1, 0.01, 30),
        "mixture": lambda r, n: means[r.integers(10, size=n)] + 0.5 * r.standard_normal((n, 16)),
        "mixture, uneven": lambda r, n: _uneven(r, n, means),
        "trefoil": trefoil,
        "Swiss roll": swiss_roll,
        "5-sphere": sphere,
        "plane in 40": lambda r, n: r.random((n, 3)) @ lift,
        "digits' Gaussian": lambda r, n: centre + (r.standard_normal((n, 20)) * scale) @ factors[2][:20],
    }


def _uneven(rng, n, means):
    """Clusters from dense to wide."""
    which = rng.integers(10, size=n)
    return means[which] + 2.0 ** -which[:, None] * rng.standard_normal((n, 16))


def images():
    """Images that can only be split: digits, and faces where scikit-image is installed."""
    found = {"held-out digits": digit_images()}
    try:
        from skimage.data import lfw_subset

        found["held-out faces"] = lfw_subset()[:100].reshape(100, -1)
    except ImportError:
        pass
    return found


def false_alarms(repeats, n, rng):
    """Rates by source: of our audit, of a third, and the fraction of audits whose interval holds 0."""
    lines = []
    for name, draw in generators().items():
        lines.append((name, *_rates([audit_of(*(draw(rng, n) for _ in range(3))) for _ in range(repeats)])))
    for name, states in images().items():
        part = len(states) // 3
        level = max(0.01, 1 / (part + 1))
        runs = []
        for _ in range(3 * repeats):
            order = rng.permutation(len(states))
            runs.append(audit_of(*(states[order[i * part : (i + 1) * part]] for i in range(3)), level))
        lines.append((name, *_rates(runs)))
    return lines


def audit_of(train, samples, held_out, level=0.01):
    found = audit(train, samples, held_out, false_alarms=level)
    return found.memorised, float((found.samples.ratio < 1 / 3).mean()), found.low == 0, level


def _rates(runs):
    ours, third, holds, level = np.mean(runs, axis=0)
    error = np.std([run[0] for run in runs]) / np.sqrt(len(runs))
    return float(ours), float(error), float(third), float(holds), float(level)


def unshifted(states):
    """Magnitudes of the Fourier transform of images, the same for all shifts that lose nothing."""
    side = math.isqrt(states.shape[1])
    return np.abs(np.fft.rfft2(states.reshape(-1, side, side) + 1)).reshape(len(states), -1)


def shifted(states, rng):
    """Images moved by a pixel to one of four sides, with a little noise."""
    side = math.isqrt(states.shape[1])
    moves = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])[rng.integers(4, size=len(states))]
    moved = [np.roll(image, move, (0, 1)) for image, move in zip(states.reshape(-1, side, side), moves, strict=True)]
    return np.stack(moved).reshape(len(states), -1) + 0.05 * rng.standard_normal(states.shape)


def framed(states):
    """8 × 8 images with a margin of one pixel of background."""
    padded = np.pad(states.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    return padded.reshape(len(states), -1)


def power(repeats, rng):
    """Fractions of planted copies that are found among digits, 1 % of the samples."""
    digits = framed(digit_images())
    kinds = {
        "equal": (lambda y: y, None),
        "noise of 0.05 a pixel": (lambda y: y + 0.05 * rng.standard_normal(y.shape), None),
        "noise of 0.1 a pixel": (lambda y: y + 0.1 * rng.standard_normal(y.shape), None),
        "noise of 0.2 a pixel": (lambda y: y + 0.2 * rng.standard_normal(y.shape), None),
        "shifted by a pixel": (lambda y: shifted(y, rng), None),
        "shifted, by spectra": (lambda y: shifted(y, rng), unshifted),
    }
    lines = []
    for name, (change, features) in kinds.items():
        found, held = [], []
        for _ in range(repeats):
            order = rng.permutation(len(digits))
            train, samples, held_out = (digits[order[i * 599 : (i + 1) * 599]].copy() for i in range(3))
            source = rng.choice(599, 6, replace=False)
            samples[:6] = change(train[source])
            result = audit(train, samples, held_out, features=features)
            right = {(copy.sample, copy.pattern) for copy in result.copies}
            found.append(np.mean([(i, j) in right for i, j in enumerate(source)]))
            held.append(result.low <= 6 / 599 <= result.high)
        lines.append((name, float(np.mean(found)), float(np.std(found) / np.sqrt(repeats)), float(np.mean(held))))
    return lines


def times(large, rng):
    """Seconds, and the most memory of the process in GiB."""
    draw = lambda n, d=64: rng.standard_normal((n, d)).astype(np.float32)  # noqa: E731
    train, samples, held_out = draw(400), draw(1000), draw(1000)
    lines = [
        ("1,000 samples, 400 patterns, without held-out", seconds(lambda: audit(train, samples).copied, 9)[1]),
        (
            "1,000 samples, 400 patterns, 1,000 held out",
            seconds(lambda: audit(train, samples, held_out).copied, 9)[1],
        ),
    ]
    if large:
        patterns, states = draw(1_000_000), draw(10_000)
        states[0] = patterns[123_456]
        start = time.perf_counter()
        index, distance = Points(patterns, "train").nearest(states, 2)
        taken = time.perf_counter() - start
        some = rng.choice(10_000, 20, replace=False)
        for i in [0, *some]:
            square = np.concatenate(
                [((part.astype(float) - states[i]) ** 2).sum(axis=1) for part in np.array_split(patterns, 20)]
            )
            assert list(np.argsort(square, kind="stable")[:2]) == list(index[i])
            assert np.allclose(np.sqrt(square[index[i]]), distance[i], rtol=1e-12)
        lines.append(("10,000 samples, 1,000,000 × 64 patterns, exact", taken))
    return lines, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(quick=False, path=None):
    rng = np.random.default_rng(0)
    alarms = false_alarms(2 if quick else 40, 400 if quick else 1000, rng)
    rows = [
        (name, f"{ours:.2%} ± {error:.2%}", f"{level:.2%}", f"{third:.1%}", f"{holds:.0%}")
        for name, ours, error, third, holds, level in alarms
    ]
    show("New samples called copies", ["source", "called", "nominal", "d1/d2 < 1/3", "interval begins at 0"], rows)
    strengths = power(2 if quick else 40, rng)
    rows = [(name, f"{found:.1%} ± {error:.1%}", f"{held:.0%}") for name, found, error, held in strengths]
    show("Planted copies found, 1 % of 599 digits", ["copies", "found", "interval holds 1 %"], rows)
    taken, memory = times(not quick, rng)
    show("Time", ["audit", "seconds"], [(name, f"{value:.3g}") for name, value in taken])
    print(f"At most {memory:.2f} GiB of memory")
    if path:
        with open(path, "w") as file:
            json.dump({"alarms": alarms, "power": strengths, "times": taken, "gibibytes": memory}, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()
    main(given.quick, given.json)

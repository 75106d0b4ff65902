"""Does every certificate hold? Random cases of every scale, storage, prior and set of patterns, against long doubles.

A case is one state of one memory: its posterior, and where the certified flow takes it. Checked are that the mean is
within its bound of the exact one, that the pattern named first is a true maximiser of log w − ‖x − y‖²/(2σ²), that
responsibilities are probabilities, that nothing is NaN or a raw error, and that a basin that is certified is where the
exact flow ends. What is refused must be refused by one `InputError`.

    python -m benchmarks.certificates [--quick] [--cases N] [--seed S]
"""

import sys
import time
from collections import Counter

import numpy as np

from benchmarks import references
from benchmarks.timing import show
from dispersed import InputError
from dispersed.engines.certified_flow import FlowSolver
from dispersed.engines.certified_posterior import posterior
from dispersed.engines.options import ScanOptions
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.storage import Bits, Float16, Float32, InMemory, Int8

CASES, QUICK = 100_000, 300
STATES, QUICK_STATES = 500, 16
"""States of one memory."""
FLOWS = 16
"""Of those, the ones that are recalled."""
FINE = 200
"""Steps of the flow over all patterns by which a certified basin is checked."""
ENCODINGS = {"float32": Float32(), "float16": Float16(), "int8": Int8(), "bits": Bits()}
SOME, ALL = {"float32": 1.0}, {"float32": 0.4, "float16": 0.2, "int8": 0.2, "bits": 0.2}
"""Encodings and how often each comes."""
SHAPES = [
    *[(shape, SOME) for shape in ((1, 1), (3, 3), (40, 1), (400, 3), (400, 64), (2000, 16))],
    *[(shape, ALL) for shape in ((40, 64), (400, 16))],
]
"""Numbers of patterns and units, few so that few programs are compiled, and their encodings."""
QUICK_SHAPES = [((60, 8), {"float32": 0.7, "int8": 0.3})]
"""One shape, so that nearly all programs are shared."""


def main(quick=False, cases=None, seed=0):
    wanted = cases or (QUICK if quick else CASES)
    shapes, states = (QUICK_SHAPES, QUICK_STATES) if quick else (SHAPES, STATES)
    counts, begun, number = Counter(), time.perf_counter(), 0
    worst = 0.0
    while counts["cases"] < wanted:
        rng = np.random.default_rng([seed, number])
        memory = Memory(rng, *shapes[number % len(shapes)], states)
        number += 1
        worst = max(worst, memory.check(counts))
        if not quick:
            print(f"{counts['cases']:,} of {wanted:,}, {time.perf_counter() - begun:.0f} s", flush=True)
    rows = [(name, f"{counts[name]:,}") for name in NAMES]
    rows.append(("largest error/bound", f"{worst:.3g}"))
    show(f"Random certificates, {time.perf_counter() - begun:.0f} s", ["what", "cases"], rows)
    return sum(counts[name] for name in FAILURES)


FAILURES = [
    "bounds violated",
    "not a number",
    "raw errors",
    "indices that are no maximiser",
    "responsibilities wrong",
    "basins that end elsewhere",
]
NAMES = ["cases", "refused", "not certified within tol", "flows", "basins certified", "basins followed", *FAILURES]


class Memory:
    """One random memory, and states at all distances from its patterns, each with its own noise level."""

    def __init__(self, rng, shape, kinds, states):
        self.rng, (self.n, self.d), self.states = rng, shape, states
        self.scale = 10.0 ** rng.uniform(-30, 30) if rng.random() < 0.7 else 1.0
        kind = rng.choice(list(kinds), p=list(kinds.values()))
        y = self.patterns(rng.integers(8))
        if kind == "bits":
            y, self.scale = np.where(y > np.median(y), 1.0, -1.0), 1.0
        elif kind == "float16":
            self.scale = 10.0 ** rng.uniform(-3, 2)
        y = y * self.scale
        limit = 6e4 if kind == "float16" else 3e38
        y = np.clip(y, -limit, limit)
        self.storage = InMemory(y.astype(np.float32), ENCODINGS[kind])
        self.y = self.storage.rows(np.arange(self.n)).astype(float)
        self.log_w = self.prior(rng.integers(6))
        options = ScanOptions() if rng.random() < 0.5 else ScanOptions(small_set=1, by_differences=2)
        self.placed = PlacedPatterns(self.storage, self.log_w, None, options)
        b = states
        away = np.linalg.norm(self.y - self.y[self.rng.integers(self.n)], axis=1)
        self.size = float(np.median(away) or away.max() or np.abs(self.y).max() or self.scale)
        spread = np.where(rng.random(b) < 0.5, rng.uniform(-2, 1, b), rng.uniform(-8, 8, b))
        self.sigma = self.size / np.sqrt(self.d) * 10.0**spread
        if rng.random() < 0.1:
            self.sigma = 10.0 ** rng.uniform(-30, 30, b)
        near, other = (self.y[rng.integers(self.n, size=b)] for _ in range(2))
        noise = self.sigma[:, None] * rng.standard_normal((b, self.d))
        between = (rng.random(b) < 0.2)[:, None]
        self.x = np.where(between, (near + other) / 2 + noise * 10.0 ** rng.uniform(-9, 0), near + noise)
        exact = rng.random(b) < 0.1
        self.x[exact] = near[exact]
        far = rng.random(b) < 0.1
        self.x[far] *= 10.0 ** rng.uniform(0, 10, (int(far.sum()), 1))

    def patterns(self, family):
        rng, n, d = self.rng, self.n, self.d
        y = rng.standard_normal((n, d))
        if family == 1:  # clusters
            y = 5 * rng.standard_normal((6, d))[rng.integers(6, size=n)] + 10.0 ** rng.uniform(-6, -1) * y
        elif family == 2:  # duplicates
            y = y[rng.integers(max(n // 10, 1), size=n)]
        elif family == 3:  # near ties
            y = y[np.arange(n) // 2 * 2 % n] * (1 + 1e-6 * rng.standard_normal((n, 1)))
        elif family == 4:  # offsets
            y += 10.0 ** rng.uniform(1, 6)
        elif family == 5:  # heavy tails
            y *= np.abs(rng.standard_cauchy((n, 1)))
        elif family == 6:  # all equal, nearly
            y = y[:1] + 10.0 ** rng.uniform(-12, -3) * y
        elif family == 7:
            y = np.sign(y)
        return y

    def prior(self, kind):
        rng, n = self.rng, self.n
        if kind < 2:
            return None
        log_w = np.log(rng.gamma(0.3, size=n) + 1e-300)
        if kind == 3:
            log_w = rng.uniform(-700, 0, size=n)
        elif kind == 4:
            log_w *= 10.0 ** rng.uniform(0, 5)
        elif kind == 5 and n > 1:
            log_w[rng.random(n) < 0.3] = -np.inf
            log_w[rng.integers(n)] = 0
        log_w -= log_w.max()
        return log_w - np.log(np.exp(log_w).sum())

    def exact(self, x, sigma):
        """The mean, and the logits relative to the largest, in long doubles and by differences."""
        y, x, sigma = self.y.astype(np.longdouble), x.astype(np.longdouble), np.longdouble(sigma)
        log_w = np.zeros(self.n) if self.log_w is None else self.log_w
        return references.by_differences(y, log_w.astype(np.longdouble), x, sigma)

    def check(self, counts):
        rng = self.rng
        tol = float(10.0 ** rng.uniform(-8, 0) * max(self.placed.radius, 1e-6 * np.abs(self.y).max())) or 1e-9
        counts["cases"] += self.states
        try:
            found = posterior(self.placed, self.x, self.sigma, tol, 3)
        except InputError:
            counts["refused"] += self.states
            return 0.0
        except Exception as error:
            print(f"raw error: {type(error).__name__}: {error}")
            counts["raw errors"] += self.states
            return 0.0
        worst = 0.0
        parts = (found.mean, found.bound, found.log_normaliser, found.entropy, found.responsibilities)
        numbers = np.array([np.isfinite(part).reshape(self.states, -1).all(axis=1) for part in parts])
        counts["not a number"] += int((~numbers[[0, 2, 3, 4]].all(axis=0) | np.isnan(found.bound)).sum())
        counts["not certified within tol"] += int((~(found.bound <= tol)).sum())
        for i in range(self.states):
            mean, logits, floor = self.exact(self.x[i], self.sigma[i])
            error = float(np.sqrt(np.sum((found.mean[i] - mean) ** 2)))
            if not error <= found.bound[i] + floor:
                counts["bounds violated"] += 1
                self.tell(i, f"error {error:.3g}, bound {found.bound[i]:.3g}, {found.path[i]}")
            if np.isfinite(found.bound[i]) and error > 4 * floor:
                worst = max(worst, error / found.bound[i])
            first = found.index[i, 0]
            prior = 0 if self.log_w is None else self.log_w[first]
            tie = references.tie(self.x[i], self.y[first], self.sigma[i], prior)
            if first < 0 or not float(logits[first]) >= -tie:
                counts["indices that are no maximiser"] += 1
                self.tell(i, f"pattern {first} is {float(-logits[first]):.3g} nats behind, tie {tie:.3g}")
            p = found.responsibilities[i]
            if not ((p >= 0) & (p <= 1)).all() or p.sum() > 1 + 1e-9:
                counts["responsibilities wrong"] += 1
        self.flows(counts, tol)
        return worst

    def tell(self, i, what):
        sets = f"{self.n} x {self.d} of {self.storage.encoding.name} at {self.scale:.3g}"
        print(f"state {i} of {sets}, sigma {self.sigma[i]:.3g}: {what}", flush=True)

    def flows(self, counts, tol):
        some = slice(0, FLOWS)
        counts["flows"] += FLOWS
        steps = int(self.rng.choice([8, 20]))
        try:
            end = FlowSolver(self.placed, steps, 0.05 * self.scale, tol).solve(self.x[some], self.sigma[some])
        except InputError:
            return
        except Exception as error:
            print(f"raw error in a flow: {type(error).__name__}: {error}")
            counts["raw errors"] += FLOWS
            return
        good = np.isfinite(end.x).all(axis=1) & ~np.isnan(end.bound) & np.isfinite(end.responsibility)
        counts["not a number"] += int((~good).sum())
        wrong = (end.pattern < 0) | (end.pattern >= self.n)
        if self.log_w is not None:
            wrong |= np.isneginf(self.log_w[np.maximum(end.pattern, 0)])
        counts["indices that are no maximiser"] += int(wrong.sum())
        for i in np.flatnonzero(end.certified):
            counts["basins certified"] += 1
            exactly = self.y[end.pattern[i]]
            counts["basins that end elsewhere"] += int(not (end.x[i] == exactly).all())
            # A basin that is certified at once can be followed; of others the state reached is not told.
            if end.steps[i] == 1 and self.n <= 1000 and self.rng.random() < 0.1:
                counts["basins followed"] += 1
                last = references.followed(self.y, self.log_w, self.x[i], self.sigma[i], FINE)
                gap = np.linalg.norm(last - exactly)
                nearest = np.linalg.norm(self.y - last, axis=1).min()
                if gap > nearest * (1 + 1e-9) + 1e-12 * np.abs(self.y).max():
                    counts["basins that end elsewhere"] += 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    value = lambda name, other: int(arguments[arguments.index(name) + 1]) if name in arguments else other  # noqa: E731
    sys.exit(1 if main("--quick" in arguments, value("--cases", None), value("--seed", 0)) else 0)

"""Capacity of learning rules beside theory, at a thousand units and more: `python -m benchmarks.rules`.

Hebb: the mean overlap of stored patterns with what they relax to falls through 0.967 at α_c (Amit et al. 1985);
networks of finite size cross it a little earlier. Pseudo-inverse: the largest number of patterns that are all fixed
points, over d. Perceptron: passes T until some units have learned all patterns grow as (α_c − α)^{−2} (Opper 1988),
so T^{−1/2} over α is a line that ends at α_c. Storkey and unlearning: as for Hebb.
"""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import show
from dispersed import (
    ClassicalHopfield,
    Hebb,
    Iteration,
    Palimpsest,
    Perceptron,
    PseudoInverse,
    Storkey,
    Unlearning,
    recall,
)
from dispersed.theory import ags_capacity, ags_overlap, gardner_load


def patterns_of(seed, n, d):
    return jax.random.rademacher(jax.random.key(seed), (n, d), jnp.float32)


def overlap(rule, alpha, d, seed, cues=256):
    """The mean overlap of stored patterns with what they relax to."""
    y = patterns_of(seed, round(alpha * d), d)
    x = y[:cues]
    return float(jnp.mean(recall(ClassicalHopfield(y, rule=rule), x, Iteration(200)).x * x))


def crossing(rule, d, alphas, level, seeds):
    """α at which the overlap falls through a level, by interpolation."""
    means = [np.mean([overlap(rule, alpha, d, seed) for seed in range(seeds)]) for alpha in alphas]
    below = int(np.argmax(np.array(means) < level))
    if below == 0:
        return float("nan")
    high, low = means[below - 1], means[below]
    return float(alphas[below - 1] + (high - level) / (high - low) * (alphas[below] - alphas[below - 1]))


def pseudo_inverse(d, seed):
    """The largest n/d, to a hundredth, at which all patterns are fixed points and no random state is one."""
    y, noise = patterns_of(seed, 2 * d, d), patterns_of(seed + 1, 8, d)
    for alpha in np.arange(1.02, 0.9, -0.01):
        network = ClassicalHopfield(y[: round(alpha * d)], rule=PseudoInverse())
        fixed = [bool(jnp.all(network.update(x) == x)) for x in (y[: round(alpha * d)], noise)]
        if fixed == [True, False]:
            return float(alpha)
    return float("nan")


def perceptron(d, alphas, units, seeds):
    """α at which T^{−1/2} would be zero, from the line through the last three α."""
    learn = jax.jit(
        lambda y: jax.vmap(lambda unit: Perceptron(0.0, 5000).of_units(y, unit[None])[1])(jnp.arange(units))
    )
    rates = []
    for alpha in alphas:
        sweeps = np.concatenate([learn(patterns_of(seed, round(alpha * d), d)) for seed in range(seeds)])
        rates.append(np.mean(sweeps) ** -0.5)
    slope, rate = np.polyfit(alphas[-3:], rates[-3:], 1)
    return -rate / slope, rates


def recalled_last(d, decay, seeds):
    """How many of the last patterns, over d, are recalled with an overlap above 0.9, of 6/decay that were stored."""
    held = []
    for seed in range(seeds):
        y = patterns_of(seed, round(6 / decay), d)
        x = y[-d // 4 :]
        end = recall(ClassicalHopfield(y, rule=Palimpsest(decay)), x, Iteration(100)).x
        good = np.mean(np.asarray(end * x), axis=1)[::-1] > 0.9
        held.append(np.argmax(np.convolve(~good, np.ones(8), "valid") > 4) / d)
    return float(np.mean(held))


def measured(quick=False):
    d, seeds = (500, 2) if quick else (2000, 6)
    lines = []
    critical = ags_capacity()
    level = ags_overlap(critical)
    alphas = np.arange(0.12, 0.156, 0.005)
    for size, sets in [(500, 8)] if quick else [(1000, 24), (2000, 16), (4000, 8)]:
        lines.append(
            ("Hebb", size, crossing(Hebb(), size, alphas, level, sets), critical, f"at an overlap of {level:.3f}")
        )
    lines.append(("pseudo-inverse", d // 2, pseudo_inverse(d // 2, 0), 1.0, "all are fixed points"))
    alpha, _ = perceptron(d // 2, [0.9, 1.1, 1.3, 1.5], 8 if quick else 16, seeds=1 if quick else 8)
    lines.append(("perceptron, κ = 0", d // 2, float(alpha), gardner_load(), "extrapolated in α"))
    lines.append(("palimpsest, λ = 8.44/d", d // 2, recalled_last(d // 2, 8.44 / (d // 2), seeds), 0.049, "last ones"))
    wide = np.arange(0.13, 0.80, 0.05)
    lines.append(("Storkey", d // 4, crossing(Storkey(), d // 4, wide, level, 1), float("nan"), "at the same overlap"))
    unlearned = Unlearning(d // 2, 0.01)
    lines.append(("unlearning", d // 4, crossing(unlearned, d // 4, wide, level, 1), float("nan"), f"{d // 2} × 0.01"))
    return lines


def overlaps(quick=False):
    """The overlap at loads below α_c beside theory for endless networks, in standard errors over pattern sets."""
    lines = []
    for d in (1500,) if quick else (3000, 6000):
        for load in (0.08, 0.1, 0.11, 0.12):
            found = [overlap(Hebb(), load, d, 100 + seed, 128) for seed in range(3 if quick else 6)]
            mean, error = np.mean(found), np.std(found, ddof=1) / np.sqrt(len(found))
            expected = ags_overlap(load)
            lines.append((d, load, f"{mean:.5f} ± {error:.5f}", f"{expected:.5f}", f"{(mean - expected) / error:+.1f}"))
    return lines


def main(quick=False, path=None):
    show("Overlaps of Hebb's network", ["units", "α", "m", "theory", "standard errors apart"], overlaps(quick))
    lines = measured(quick)
    columns = ["rule", "units", "α", "theory", "α/theory − 1", "how"]
    rows = [
        (
            rule,
            size,
            f"{alpha:.4f}",
            *(("", "") if np.isnan(theory) else (f"{theory:.4f}", f"{alpha / theory - 1:+.1%}")),
            how,
        )
        for rule, size, alpha, theory, how in lines
    ]
    show("Patterns per unit at which recall fails", columns, rows)
    if path:
        names = ("rule", "units", "alpha", "theory", "how")
        with open(path, "w") as file:
            json.dump([dict(zip(names, line, strict=True)) for line in lines], file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()
    main(given.quick, given.json)

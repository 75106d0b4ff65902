"""Flip rates and capacities of sequence memories beside theory: `python -m benchmarks.sequences`.

Flip rates: units of y_{j+1} that one update of y_j gets wrong, of independent sets, whose scatter gives the standard
error. Capacities: numbers of patterns at which a fraction of transitions, or of whole sequences, is without error that
theory gives for as many: of transitions that of many units at the published capacity; of sequences one half, since
failures at the published capacity are too rare to count. Theory is of as many units as there are, and of many.
"""

import argparse
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from benchmarks.rules import patterns_of
from benchmarks.timing import show
from dispersed import Polynomial, SequenceMemory
from dispersed.theory import finite_sequence_error, sequence_error, transition_capacity


def flipped(seed, n, d, degree, cues):
    """Whether each unit is wrong after one transition, (cues, d)."""
    y = patterns_of(seed, n, d)
    memory = SequenceMemory(y, Polynomial(degree))
    return np.asarray(memory.update(y[:cues]) != jnp.roll(y, -1, axis=0)[:cues])


def flip_rate(degree, d, rate, sets, cues):
    """The flip rate at a load at which theory gives `rate`, its standard error, and those of theory."""
    n = round(math.exp(brentq(lambda log_n: sequence_error(d, math.exp(log_n), degree) - rate, 0.0, 40.0)))
    rates = [flipped(seed, n, d, degree, cues).mean() for seed in range(sets)]
    return (
        n,
        float(np.mean(rates)),
        float(np.std(rates, ddof=1) / math.sqrt(sets)),
        finite_sequence_error(d, n, degree),
        sequence_error(d, n, degree),
    )


def crossing(numbers, fractions, level):
    """Where a falling fraction is at a level, by the line through log-odds over log n."""
    f = np.clip(fractions, 1e-3, 1 - 1e-3)
    slope, start = np.polyfit(np.log(numbers), np.log(f / (1 - f)), 1)
    return float(np.exp((math.log(level / (1 - level)) - start) / slope))


def number(failures, least, most):
    """The number of patterns at which a rising function of it is 0."""
    return math.exp(brentq(lambda log_n: failures(math.exp(log_n)), math.log(least), math.log(most)))


def transitions(degree, d, sets, cues, around=(0.8, 0.9, 1.0, 1.1, 1.25)):
    """The number of patterns at which as many transitions are without error as theory says at its capacity."""
    published = transition_capacity(d, degree)
    rate = sequence_error(d, published, degree)
    theory = number(lambda n: finite_sequence_error(d, n, degree) - rate, published / 2, 2 * published)
    numbers = sorted({round(part * theory) for part in around})
    good = [
        np.mean([(~flipped(seed, n, d, degree, min(cues, n)).any(axis=1)).mean() for seed in range(sets)])
        for n in numbers
    ]
    return crossing(numbers, good, (1 - rate) ** d), theory, published


def whole(n, d, degree, sets, seed):
    """The fraction of sequences recalled from their first state to the last without an error."""
    y = jax.random.rademacher(jax.random.key(seed), (sets, n, d), jnp.float32)

    @jax.jit
    def right(y):
        # A first error ends the recall of a sequence, so that all its transitions must be right.
        memory = SequenceMemory(y, Polynomial(degree))
        return jnp.all(memory.update(y) == jnp.roll(y, -1, axis=0))

    return float(np.mean([right(part) for part in y]))


def sequences(degree, d, sets, around=(0.85, 0.95, 1.0, 1.05, 1.15)):
    """The length at which half of all sequences are recalled, and where theory says so."""

    def failures(error, n):
        return -n * d * math.log1p(-error(d, n, degree)) - math.log(2)

    most = 2 * transition_capacity(d, degree)
    theory, asymptotic = (
        number(lambda n, error=error: failures(error, n), 2, most) for error in (finite_sequence_error, sequence_error)
    )
    numbers = sorted({round(part * theory) for part in around})
    return crossing(numbers, [whole(n, d, degree, sets, n) for n in numbers], 0.5), theory, asymptotic


def measured(quick=False):
    d, sets = 100, 10 if quick else 100
    rates = [
        (degree, d, *flip_rate(degree, d, 0.1, sets, 50 if quick else 200))
        for degree in ((1, 2) if quick else (1, 2, 3))
    ]
    capacities = []
    for degree in (2,) if quick else (1, 2, 3):
        capacities.append(
            ("transition", degree, d, *transitions(degree, d, (4 if quick else 200) if degree < 3 else 10, 400))
        )
    for degree in (2,) if quick else (1, 2, 3):
        capacities.append(
            ("sequence", degree, d, *sequences(degree, d, 100 if quick else (2000 if degree < 3 else 40)))
        )
    return rates, capacities


def main(quick=False, path=None):
    rates, capacities = measured(quick)
    show(
        "Flips in one transition",
        [
            "degree",
            "units",
            "patterns",
            "measured",
            "standard error",
            "theory",
            "off, standard errors",
            "of many units",
        ],
        [
            (k, d, n, f"{p:.5f}", f"{e:.5f}", f"{t:.5f}", f"{(p - t) / e:+.1f}", f"{many:.5f}")
            for k, d, n, p, e, t, many in rates
        ],
    )
    show(
        "Capacities",
        ["capacity", "degree", "units", "measured", "theory", "off", "of many units", "off"],
        [
            (what, k, d, f"{n:.1f}", f"{t:.1f}", f"{n / t - 1:+.1%}", f"{many:.1f}", f"{n / many - 1:+.1%}")
            for what, k, d, n, t, many in capacities
        ],
    )
    if path:
        with open(path, "w") as file:
            json.dump({"rates": rates, "capacities": capacities}, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()
    main(given.quick, given.json)

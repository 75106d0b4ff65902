"""What tells a wrong sampler from a right one: the test bench, a two-sample classifier test, and pinned numbers.

The faults are those of `dispersed.testbench.historic`. The classifier test (Lopez-Paz & Oquab 2017) trains a logistic
regression with quadratic features to tell samples from as many exact draws, and tests its accuracy on held-out halves
at the level of the bench. Pinned numbers are what test suites of samplers hold: here the mean absolute value of the
output, within four standard errors of what is right. Numbers that were recorded from the code itself would hold for
every fault.
"""

import argparse
import time

import jax
import numpy as np
from scipy.stats import binom

from benchmarks.timing import show
from dispersed import AncestralSampling
from dispersed.testbench import LEVEL, check, dynamics_sampler, historic, judge, standard_problems


def classifier_passes(samples, exact, rng):
    """Whether a classifier cannot tell the two sets apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    x = np.nan_to_num(np.concatenate([samples, exact]))
    label = np.repeat([0, 1], [len(samples), len(exact)])
    order = rng.permutation(len(x))
    train, held = order[: len(x) // 2], order[len(x) // 2 :]
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(C=0.1, max_iter=200))
    right = int((model.fit(x[train], label[train]).predict(x[held]) == label[held]).sum())
    return binom.sf(right - 1, len(held), 0.5) > LEVEL


def problem_of(algorithm, problems):
    """The problem that a fault is shown on: many patterns, and for completion half of one."""
    name = {historic.heun: "many patterns, from noise", historic.solve: "half observed, from noise"}
    return problems[name.get(algorithm, "many patterns")]


def main(samples=4000):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="faults whose name has this in it")
    arguments = parser.parse_args()
    problems = {problem.name: problem for problem in standard_problems()}
    rng, key, rows = np.random.default_rng(0), jax.random.key(0), []
    cases = {f"none: {a.__name__}": (a, "") for a in (historic.ancestral, historic.reverse_sde, historic.heun)}
    for name, (algorithm, fault) in (cases | historic.FAULTS).items():
        if arguments.only and arguments.only not in name:
            continue
        problem, sampler = problem_of(algorithm, problems), historic.made(algorithm, fault)
        found = check(sampler, problem, samples, key=key)
        x = problem.draws(sampler, samples, key)
        exact = np.asarray(problem.posterior.sample(jax.random.key(1), (samples,)), float)
        one, other = np.abs(x).mean(axis=1), np.abs(exact).mean(axis=1)
        pinned = abs(one.mean() - other.mean()) < 4 * np.hypot(one.std(), other.std()) / np.sqrt(samples)
        others = (found.passed, classifier_passes(x, exact, rng), pinned)
        verdicts = ["passes" if passed else "flagged" for passed in others]
        rows.append((name, f"{found.total_variation:.3f}", f"{found.floor:.3f}", *verdicts))
    columns = ["fault", "total variation", "floor", "test bench", "classifier", "pinned mean"]
    show(f"Faults of samplers, {samples} samples", columns, rows)
    if not arguments.only:
        start = time.perf_counter()
        verdict = judge(dynamics_sampler(AncestralSampling(100, sigma_min=0.01)), list(problems.values()), key=key)
        print(f"{len(verdict.checks)} standard problems, one sampler: {time.perf_counter() - start:.1f} s")
        print(verdict)


if __name__ == "__main__":
    main()

"""How few evaluations reach the answer of 300-step Euler? d = 64, n = 1,000 binary patterns, α = 0.68."""

import jax
import jax.numpy as jnp

from benchmarks.timing import seconds, show
from dispersed import VP, PatternMemory, recall
from dispersed.dynamics import ExponentialIntegrator, Iteration, MultistepFlow, OneStep, ProbabilityFlow
from dispersed.paper.table1.measure import random_patterns


def main(n=1000, d=64, alpha=0.68, cues=1000):
    for_patterns, for_cues = jax.random.split(jax.random.key(0))
    patterns = random_patterns(for_patterns, n, d)
    memory = PatternMemory(patterns)
    x = VP().corrupt(patterns[:cues], alpha=alpha, key=for_cues)
    rivals = {
        "Euler, 300 steps": ProbabilityFlow(),
        "multistep, 16": MultistepFlow(),
        "multistep, 10": MultistepFlow(10),
        "DDIM, 20": ExponentialIntegrator(20, order=1),
        "order 2, 20": ExponentialIntegrator(20),
        "order 3, 19": ExponentialIntegrator(19, order=3),
        "order 2, 10": ExponentialIntegrator(10),
        "order 2, 5": ExponentialIntegrator(5),
        "Hopfield iteration": Iteration(),
        "one step": OneStep(),
    }
    rows, reference = [], None
    for name, dynamics in rivals.items():

        def run(dynamics=dynamics):
            return recall(memory, x, dynamics, alpha=alpha)

        first, warm = seconds(run, repeats=1 if "300" in name else 3)
        result = run()
        if reference is None:
            reference, slow = result, warm
        same = float(jnp.mean(result.index == reference.index))
        apart = float(jnp.abs(result.x - reference.x).max())
        cost = float(result.evaluations.mean())
        rows.append(
            (
                name,
                f"{cost:.3g}",
                f"{same:.2%}",
                f"{apart:.1e}",
                f"{warm:.3f}",
                f"{slow / warm:.1f}",
                f"{first - warm:.2f}",
            )
        )
    columns = ["dynamics", "evaluations", "same pattern", "max |Δx|", "warm s", "× faster", "compile s"]
    show(f"Recall of {cues} cues from {n} patterns, d = {d}, α = {alpha}", columns, rows)


if __name__ == "__main__":
    main()

"""What a user does first in a new process: the seconds, compilation included, and the programs that were compiled.

`python -m benchmarks.first_use`; every line is the first of its kind, after `import dispersed`, JAX and the noise of
the examples. Nothing is kept between processes.
"""

import os
import subprocess
import sys
import time

import numpy as np

N, D = 100, 64


def uses(dispersed, jax):
    """First uses by name, in the order in which they are made."""
    rng, key = np.random.default_rng(0), jax.random.key(0)
    y = rng.standard_normal((N, D)).astype(np.float32)
    cues = y[:5] + np.float32(0.3) * rng.standard_normal((5, D)).astype(np.float32)
    kept = {}

    def keep(name, value):
        kept[name] = jax.block_until_ready(value)
        return value

    mean, factor = np.zeros(8), np.eye(8)
    yield "PatternMemory(patterns)", lambda: keep("memory", dispersed.PatternMemory(y))
    yield "recall of 5 cues", lambda: keep("found", dispersed.recall(kept["memory"], cues, sigma=0.3))
    yield "converged, repr", lambda: (kept["found"].converged, repr(kept["found"]))
    yield "recall of one cue", lambda: keep("one", dispersed.recall(kept["memory"], cues[0], sigma=0.3))
    yield "alternatives", lambda: kept["one"].alternatives(3)
    yield "posterior", lambda: kept["memory"].posterior(cues, 0.3)
    yield (
        "recall_many, 500 samples",
        lambda: keep("many", dispersed.recall_many(kept["memory"], cues[0], sigma=0.5, samples=500, key=key)),
    )
    yield (
        "its statistics",
        lambda: (kept["many"].total_variation, kept["many"].expected_total_variation, kept["many"].chi_squared()),
    )
    yield "VP().corrupt", lambda: dispersed.VP().corrupt(y[:5], alpha=0.7, key=key)
    yield "prior_start", lambda: kept["memory"].prior_start()
    yield "GaussianMemory", lambda: keep("normal", dispersed.GaussianMemory(mean, factor))
    yield "its denoiser", lambda: kept["normal"].denoise(mean + 1, 0.5)
    yield (
        "condition",
        lambda: dispersed.condition(kept["normal"], dispersed.Observation(mean + 1, np.arange(8) < 4, sigma=0.1)),
    )
    yield (
        "Mixture",
        lambda: keep("mixture", dispersed.Mixture([kept["normal"], dispersed.GaussianMemory(mean + 1, factor)])),
    )
    yield "its recall", lambda: dispersed.recall(kept["mixture"], mean + 0.7, sigma=0.3).x
    yield (
        "Segment, Box, Subspace",
        lambda: (
            dispersed.Segment(mean, mean + 1),
            dispersed.Box(mean, mean + 1),
            dispersed.Subspace(mean, factor[:2], low=-1.0, high=1.0),
        ),
    )
    yield "ModernHopfield", lambda: keep("network", dispersed.ModernHopfield(y, 4.0))
    yield "its recall", lambda: dispersed.recall(kept["network"], cues).x


def measure():
    import jax

    import dispersed

    programs = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: programs.append(event) if "backend_compile" in event else None
    )
    total = 0.0
    for name, use in uses(dispersed, jax):
        programs.clear()
        start = time.perf_counter()
        jax.block_until_ready([part for part in jax.tree.leaves(use()) if isinstance(part, jax.Array)])
        seconds = time.perf_counter() - start
        total += seconds
        print(f"{name:28} {seconds:8.3f} s {len(programs):5d} programs", flush=True)
    print(f"{'together':28} {total:8.3f} s")


def main():
    settings = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    subprocess.run([sys.executable, "-m", "benchmarks.first_use", "--here"], env=settings, check=True)


if __name__ == "__main__":
    measure() if "--here" in sys.argv else main()

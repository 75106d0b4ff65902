"""Synaptic learning taken literally: does it store memories that recall like the exact one, and at what cost?

Eight random ±1 patterns of ten units are learned by a small network (one hidden layer of 64 ReLU units) in four
ways that a brain might afford, each from single samples that are seen once: the online rule of Eq. 22, node
perturbation with and without decorrelated inputs, and one network under a rhythm that alternates noise injection
with recall. A fifth way stores nothing in weights that are learned: the two-layer circuit of visible and hidden
neurons. All then recall fresh cues at α = 0.68, and every unit's sign is compared with that of the
exact memory's recall. Two of the rules then learn in larger networks, of more units and of more patterns, and the
samples are counted that they need.
"""

import functools
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.dynamics import Circuit, ExponentialIntegrator, recall
from dispersed.learning.levels import LogUniform
from dispersed.learning.networks import noise_network
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.paper.results import Row
from dispersed.paper.statistics import bootstrap_mean
from dispersed.paper.table1.measure import random_patterns
from dispersed.plasticity.online import Rule, doublings, learn, sgd
from dispersed.plasticity.perturbation import NodePerturbation, perturbable
from dispersed.plasticity.rhythm import Rhythm, live
from dispersed.processes import VP
from dispersed.progress import track
from dispersed.types import Array, Float
from dispersed.validation import at_least, random_seed

ALPHA, DIMENSION, PATTERNS, CUES = 0.68, 10, 8, 50
WIDTH = 6.4
"""Hidden units of a network over its dimension."""
LEVELS = LogUniform(0.1, 2.0)
BLOCK = 1000
FINE = 100
"""Samples between checks, the first ones."""
ENOUGH = 0.95
"""The agreement of signs from which on a memory counts as learned."""

RULES = {
    "online": "Eq. 22, one sample at a time",
    "node_perturbation": "node perturbation",
    "node_perturbation_decorrelated": "node perturbation, inputs decorrelated",
    "rhythm": "one network under a rhythm",
}
"""What is learned by, by the name in the results."""
RATES: dict[str, tuple[Rule, float]] = {
    "online": (sgd, 0.1),
    "node_perturbation": (NodePerturbation(), 3e-3),
    "node_perturbation_decorrelated": (NodePerturbation(decorrelation=1e-4), 3e-3),
}
"""The rule and d times its learning rate."""
SCALED = ("online", "node_perturbation_decorrelated")
"""The rules whose samples are counted as networks grow."""
SIZES = ((10, 8), (20, 8), (40, 8), (20, 4), (20, 16), (20, 32))
"""Units d and patterns n, of which one is kept while the other grows."""

LEAKS = (0.0, 0.01, 0.1, 1.0)
HIDDEN = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
RAMPS = (0.1, 1.0)


class Bench:
    """Pattern sets, cues and the exact memory's recall of them."""

    def __init__(self, sets: int, seed: int, dimension: int = DIMENSION, patterns: int = PATTERNS) -> None:
        for_patterns, for_cues, self.key = jax.random.split(jax.random.key(seed), 3)
        keys = jax.random.split(for_patterns, sets)
        self.sets, self.dimension, self.width = sets, dimension, round(WIDTH * dimension)
        self.patterns = jax.vmap(lambda key: random_patterns(key, patterns, dimension))(keys)

        def cues(patterns: Array, key: Array) -> Array:
            return VP().corrupt(jnp.tile(patterns, (CUES, 1)), alpha=ALPHA, key=key)

        self.cues = jax.vmap(cues)(self.patterns, jax.random.split(for_cues, sets))
        self.exact = jax.jit(jax.vmap(self._exact))(self.patterns, self.cues)

    @staticmethod
    def _exact(patterns: Array, cues: Array) -> Array:
        return recall(PatternMemory(patterns), cues, ExponentialIntegrator(60, order=3), alpha=ALPHA).x

    def against_exact(self, recalled: Float[Array, "sets cues d"]) -> tuple[np.ndarray, np.ndarray]:
        """Sign agreement and root mean square distance, one per set. What is not finite agrees nowhere."""
        agreement = jnp.mean(jnp.sign(recalled) == jnp.sign(self.exact), axis=(1, 2))
        return np.asarray(agreement), np.asarray(jnp.sqrt(jnp.mean((recalled - self.exact) ** 2, axis=(1, 2))))

    def row(self, part: str, recalled: Array, **more: float | int | None) -> Row:
        agreement, distance = self.against_exact(recalled)
        mean, low, high = bootstrap_mean(agreement, seed=0)
        finite = np.isfinite(distance).all()
        return {
            "part": part,
            "samples": None,
            "leak": None,
            "hidden": None,
            "ramp": None,
            **more,
            "agreement": mean,
            "ci_low": low,
            "ci_high": high,
            "distance": float(distance.mean()) if finite else None,
        }


@eqx.filter_jit
def _recalled(memories: LearnedMemory, cues: Array) -> Array:
    return eqx.filter_vmap(lambda memory, own: recall(memory, own, alpha=ALPHA).x)(memories, cues)


def learning(bench: Bench, part: str, samples: int, block: int = BLOCK) -> Iterator[tuple[int, Array]]:
    """How many samples one rule has seen and what its networks then recall, as often as the samples double."""
    rule, rate = RATES[part]

    def first(key: Array) -> LearnedMemory:
        network = noise_network(bench.dimension, bench.width, 1, key=key)
        return network if part == "online" else perturbable(network)

    @eqx.filter_jit
    def learned(memories: LearnedMemory, key: Array) -> LearnedMemory:
        keys = jax.random.split(key, bench.sets)
        rates = jnp.full(block, rate / bench.dimension)
        each = eqx.filter_vmap(lambda memory, own, key: learn(memory, rule, own, LEVELS, rates, key))
        return each(memories, bench.patterns, keys)

    memories = eqx.filter_vmap(first)(jax.random.split(bench.key, bench.sets))
    yield 0, _recalled(memories, bench.cues)
    done = 0
    for calls in doublings(samples, block):
        for _ in range(calls):
            done += 1
            memories = learned(memories, jax.random.fold_in(bench.key, done))
        yield done * block, _recalled(memories, bench.cues)


def learned_by(bench: Bench, part: str, samples: int) -> list[Row]:
    """The agreement of one learning rule as samples go by."""
    return [bench.row(part, recalled, samples=seen) for seen, recalled in learning(bench, part, samples)]


def samples_needed(part: str, dimension: int, patterns: int, sets: int, samples: int, seed: int) -> list[Row]:
    """Of every pattern set, the number of samples from which on recall agrees with the exact one in 95 % of the signs.

    Between the doublings of samples agreement is interpolated; None where `samples` are not enough.
    """
    bench = Bench(sets, seed, dimension, patterns)
    seen, agreement = [], []
    for count, recalled in learning(bench, part, samples, FINE):
        seen.append(count)
        agreement.append(bench.against_exact(recalled)[0])
        if (np.max(agreement, axis=0) >= ENOUGH).all():
            break
    rows: list[Row] = []
    for i, curve in enumerate(np.transpose(agreement)):
        needed = None
        if (curve >= ENOUGH).any():
            at = int(np.argmax(curve >= ENOUGH))
            needed = float(np.interp(ENOUGH, curve[at - 1 : at + 1], seen[at - 1 : at + 1]))
        rows.append({"part": part, "dimension": dimension, "patterns": patterns, "set": i, "needed": needed})
    return rows


def under_rhythm(bench: Bench, samples: int) -> list[Row]:
    """The agreement of networks under the rhythm, with perfect gating and with leaks, as samples go by."""
    half = 20
    cycles = BLOCK // half

    @eqx.filter_jit
    def block(memories: LearnedMemory, key: Array) -> LearnedMemory:
        def one(memory: LearnedMemory, own: Array, key: Array, leak: Array) -> LearnedMemory:
            return live(memory, Rhythm(half=half, leak=leak), own, jnp.full(cycles, 0.01), key)[0]

        over_sets = eqx.filter_vmap(one, in_axes=(eqx.if_array(0), 0, 0, None))
        keys = jax.random.split(key, bench.sets)
        return eqx.filter_vmap(lambda memory, leak: over_sets(memory, bench.patterns, keys, leak))(
            memories, jnp.array(LEAKS)
        )

    one_leak = eqx.filter_vmap(lambda key: noise_network(bench.dimension, bench.width, 1, key=key))(
        jax.random.split(bench.key, bench.sets)
    )
    memories = jax.tree.map(lambda a: jnp.stack([a] * len(LEAKS)) if eqx.is_array(a) else a, one_leak)
    rows, done = [], 0
    for calls in doublings(samples, BLOCK):
        for _ in range(calls):
            done += 1
            memories = block(memories, jax.random.fold_in(bench.key, done))
        for i, leak in enumerate(LEAKS):
            own = jax.tree.map(lambda a, i=i: a[i] if eqx.is_array(a) else a, memories)
            rows.append(bench.row("rhythm", _recalled(own, bench.cues), samples=done * BLOCK, leak=leak))
    return rows


def by_circuit(bench: Bench) -> list[Row]:
    """The agreement of the two-layer circuit with diffusion, for hidden layers fast and slow."""

    @jax.jit
    def recalled(patterns: Array, cues: Array, hidden: Array, ramp: Array) -> Array:
        circuit = Circuit(hidden, ramp)
        return jax.vmap(lambda own, cue: recall(PatternMemory(own), cue, circuit, alpha=ALPHA).x)(patterns, cues)

    settings = [(ramp, hidden) for ramp in RAMPS for hidden in HIDDEN]
    return [
        bench.row(
            "circuit",
            recalled(bench.patterns, bench.cues, jnp.asarray(hidden), jnp.asarray(ramp)),
            hidden=hidden,
            ramp=ramp,
        )
        for ramp, hidden in settings
    ]


def plasticity(sets: int = 8, samples: int = 512_000, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Every way of learning on `sets` pattern sets, and the samples needed by networks of more units and patterns.

    Rows of ways have `part`, `samples` (seen so far), `leak`, `hidden` (τ_h/τ_v), `ramp`, `agreement` with its 95 %
    bootstrap interval over sets and `distance`, the root mean square distance per unit from the exact recall (None
    where a network diverged). Rows of networks have `part`, `dimension`, `patterns`, `set` and `needed`.
    """
    at_least("sets", sets, 2)
    at_least("samples", samples, BLOCK)
    random_seed(seed)
    bench = Bench(sets, seed)
    jobs: list[Callable[[], list[Row]]] = [lambda: [bench.row("cue", bench.cues)]]
    jobs += [functools.partial(learned_by, bench, part, samples) for part in RULES if part != "rhythm"]
    jobs += [lambda: under_rhythm(bench, samples // 4), lambda: by_circuit(bench)]
    growing = [functools.partial(samples_needed, part, *size, sets, samples, seed) for part in SCALED for size in SIZES]
    ways = [row for job in track(jobs, "Synaptic learning") for row in job()]
    return ways, [row for job in track(growing, "Growing networks") for row in job()]

r"""Probabilistic recall (Sec. 5.1): which memories may lie behind a cue, and how sure is that?

Each run of the reverse SDE from one cue x is one sample of the posterior over stored patterns

    p(j | x) = softmax_j( log w_j − ‖x − y_j‖²/(2σ²) )                 (Eq. 29)

so many runs of the same cue recall a distribution. It is returned beside the exact one, with intervals, its
entropy and the leading alternatives: what a memory needs to say "I don't know".
"""

import dataclasses
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import one_line, place
from dispersed.dynamics.ancestral import AncestralSampling
from dispersed.dynamics.cues import cues_and_masks
from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.noise_level import NoiseLevel
from dispersed.dynamics.recall import noise_of_cues, recall
from dispersed.keys import state_keys
from dispersed.memories import AssociativeMemory, PatternMemory
from dispersed.posterior import entropy
from dispersed.processes import Process
from dispersed.tracing import as_array, is_known, on_host
from dispersed.types import Array, ArrayLike, Float, Int, Key
from dispersed.validation import InputError, at_least, probability, random_key


class Alternatives(eqx.Module):
    """The leading memories behind each cue of a batch (...), most probable first."""

    __repr__ = one_line

    index: Int[Array, "... k"]
    """Which stored patterns."""
    exact: Float[Array, "... k"]
    """p(j | cue)."""
    frequency: Float[Array, "... k"]
    """The fraction of recalls that ended there."""
    low: Float[Array, "... k"]
    """Wilson interval of the frequency, lower end."""
    high: Float[Array, "... k"]
    """Upper end."""


class ChiSquared(NamedTuple):
    """Pearson's test that counts are a sample of given probabilities, with exact tests of what is rare."""

    statistic: Float[Array, "..."]
    """χ² of the cells that are expected five times or more."""
    freedom: Int[Array, "..."]
    """Its degrees of freedom."""
    p_value: Float[Array, "..."]
    """The probability of as small a p-value of Pearson's test, or of an exact one of what is rare, if there is any."""


class Posterior(eqx.Module):
    """What many recalls of each cue of a batch (...) say, beside the exact posterior."""

    x: Float[Array, "... samples d"]
    """The recalled states."""
    counts: Int[Array, "... n"]
    """How many recalls ended nearest to each stored pattern."""
    exact: Float[Array, "... n"]
    """p(j | cue) (Eq. 29)."""
    converged: Float[Array, "..."]
    """The fraction of recalls that ended in a fixed point."""
    estimate: NoiseLevel | None = None
    """The noise level of each cue, estimated; None where it was given."""

    def __repr__(self) -> str:
        *batch, samples, d = self.x.shape
        cues = f"{' × '.join(map(str, batch))} cues" if batch else "one cue"
        recalls = f"{samples} recalls each of {self.counts.shape[-1]} patterns"
        estimated = "" if self.estimate is None else ", noise level estimated"
        return f"Posterior({cues} of {d} units, {recalls}{estimated}, {place(self.x)})"

    @property
    def samples(self) -> int:
        """Recalls of each cue."""
        return self.x.shape[-2]

    @property
    @one_program
    def frequencies(self) -> Float[Array, "... n"]:
        """The recalled distribution: the fraction of recalls that ended at each stored pattern."""
        return self.counts / self.samples

    @property
    @one_program
    def entropy(self) -> Float[Array, "..."]:
        """Entropy of the exact posterior, in nats: 0 where the cue says all, log n where it says nothing."""
        return entropy(self.exact)

    @property
    @one_program
    def recalled_entropy(self) -> Float[Array, "..."]:
        """Entropy of the recalled distribution, in nats; for few samples an underestimate."""
        return entropy(self.frequencies)

    @property
    @one_program
    def effective_number(self) -> Float[Array, "..."]:
        """exp(entropy): how many memories, were they equally likely, would leave the same doubt."""
        return jnp.exp(self.entropy)

    @property
    @one_program
    def total_variation(self) -> Float[Array, "..."]:
        """½ Σ_j |frequency_j − p(j | cue)|, in [0, 1]."""
        return jnp.abs(self.frequencies - self.exact).sum(axis=-1) / 2

    @property
    @one_program
    def expected_total_variation(self) -> Float[Array, "..."]:
        """The total variation that as many independent draws of the exact posterior have on average.

        De Moivre's mean absolute deviation of a binomial count: E|K − mp| = 2k(1−p) P(K = k), k = ⌊mp⌋ + 1.
        """
        deviation = _in_double(_mean_deviation, self.exact, self.samples)
        return deviation.sum(axis=-1) / self.samples / 2

    @one_program
    def intervals(self, level: float = 0.95) -> tuple[Float[Array, "... n"], Float[Array, "... n"]]:
        """Wilson's interval of each frequency: it holds p(j | cue) with probability `level`."""
        return wilson(self.counts, self.samples, level)

    def rows(self, level: float = 0.95) -> list[dict[str, int | float]]:
        """One row a cue and stored pattern: exact probability, fraction of recalls, and its Wilson interval."""
        n = self.exact.shape[-1]
        values = (self.exact, self.frequencies, *self.intervals(level))
        names = ("exact", "frequency", "ci_low", "ci_high")
        flat = dict(zip(names, (np.ravel(value).tolist() for value in values), strict=True))
        return [
            {"cue": i // n, "pattern": i % n} | {name: flat[name][i] for name in names} for i in range(self.exact.size)
        ]

    def top(self, k: int = 3, level: float = 0.95) -> Alternatives:
        """The `k` most probable memories behind each cue, by the exact posterior."""
        n = self.exact.shape[-1]
        if at_least("k", k, 1) > n:
            raise InputError("k", f"got {k}", f"at most the {n} stored patterns are accepted")
        return self._leading(k, level)

    @one_program
    def _leading(self, k: int, level: float) -> Alternatives:
        index = jnp.argsort(-self.exact, axis=-1)[..., :k]
        low, high = self.intervals(level)
        pick = [jnp.take_along_axis(a, index, axis=-1) for a in (self.exact, self.frequencies, low, high)]
        return Alternatives(index, *pick)

    @one_program
    def chi_squared(self) -> ChiSquared:
        """Pearson's test that the recalls are samples of the exact posterior.

        Memories expected fewer than five times count as one cell, joined to the rarest other one if it is
        still expected fewer than five times. What χ² cannot see of them, exact binomial tests do: whether all rare ones
        together, or any one of them, were recalled too often. The p-value is then three times the least of the three.
        """
        test = _chi_squared
        for _ in range(self.counts.ndim - 1):
            test = jax.vmap(test)
        return test(self.counts, self.exact)


def wilson(
    counts: ArrayLike, trials: ArrayLike, level: float = 0.95
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Wilson's score interval of a probability, from `counts` successes in `trials`; inside [0, 1]."""
    q = NormalDist().inv_cdf((1 + probability("level", level)) / 2)
    return _wilson(as_array(counts), as_array(trials), q)


@one_program
def _wilson(counts: Array, n: Array, q: float) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    p = counts / n
    centre = (p + q**2 / (2 * n)) / (1 + q**2 / n)
    half = q / (1 + q**2 / n) * jnp.sqrt(p * (1 - p) / n + (q / (2 * n)) ** 2)
    return jnp.clip(centre - half, 0, 1), jnp.clip(centre + half, 0, 1)


def recall_many(
    memory: AssociativeMemory,
    cue: ArrayLike,
    dynamics: Dynamics | None = None,
    *,
    samples: int = 4000,
    alpha: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    process: Process | None = None,
    known: ArrayLike | None = None,
    key: Key[Array, ""],
) -> Posterior:
    r"""Probabilistic recall (Sec. 5.1): recall each cue many times, for the distribution of memories behind it.

    **Arguments** as for `recall`, and

    - `memory`: a `PatternMemory`.
    - `dynamics`: a random one, `AncestralSampling()` (the default) or `ReverseSDE()`.
    - `samples`: recalls of each cue.
    - `key`: recall s of cue i depends on `key`, i and s alone, not on how many others there are.

    **Returns** a `Posterior` with the batch axes of the cue. Duplicates among the patterns count as one
    memory, the first of them: no recall can tell them apart.

    **Raises** `InputError` for a memory without a list of patterns, a dynamics that is not random, fewer than
    one sample, and wherever `recall` does.

    >>> import jax, dispersed
    >>> memory = dispersed.PatternMemory(jax.numpy.array([[1.0, 1], [1, -1], [-1, -1]]))
    >>> cue = jax.numpy.array([0.6, 0.0])
    >>> posterior = dispersed.recall_many(memory, cue, alpha=0.6, samples=100, key=jax.random.key(0))
    >>> posterior.counts
    Array([42, 42, 16], dtype=int32)
    """
    if not isinstance(memory, PatternMemory):
        raise InputError(
            "memory", f"got {type(memory).__name__}", "the posterior is over the patterns of a PatternMemory"
        )
    dynamics = AncestralSampling() if dynamics is None else dynamics
    if isinstance(dynamics, Dynamics) and not dynamics.random:
        random = "a random dynamics such as ReverseSDE() is accepted"
        raise InputError("dynamics", f"{type(dynamics).__name__} recalls a cue the same way every time", random)
    samples = at_least("samples", samples, 1)
    random_key(key)
    x, masks = cues_and_masks(memory, cue, known)
    batch, d = x.shape[:-1], memory.dimension
    if not x.size:
        raise InputError("cue", f"got shape {x.shape}", "at least one cue is accepted")
    level, process, estimate = noise_of_cues(memory, alpha, sigma, process, x, masks)
    first = _first_of_duplicates(memory)
    keys = state_keys(key, x.size // d)
    # One cue after the other: the samples of one are as large a batch as a machine wants.
    cues = x.reshape(-1, d), level, masks, keys
    found = [
        _recall_cue(memory, dynamics, process, first, samples, *_of_cue(cues, np.int32(i))) for i in range(len(level))
    ]
    in_batch = _in_batch if on_host(found[0].x) else one_program(_in_batch)
    return dataclasses.replace(in_batch(found, batch), estimate=estimate)


@one_program
def _of_cue(cues: tuple[Any, ...], i: Any) -> tuple[Any, ...]:
    return jax.tree.map(lambda part: part[i], cues)


def _in_batch(found: list[Posterior], batch: tuple[int, ...]) -> Posterior:
    def together(*parts: Array) -> Array:
        # By NumPy where they are on the host: no program is compiled for so many parts.
        numpy: Any = np if on_host(parts[0]) else jnp
        return jax.device_put(numpy.stack(parts).reshape((*batch, *parts[0].shape)))

    return jax.tree.map(together, *found)


@eqx.filter_jit
def _recall_cue(
    memory: Any,
    dynamics: Any,
    process: Any,
    first: Int[Array, " n"],
    samples: int,
    x: Any,
    sigma: Any,
    known: Any,
    key: Any,
) -> Posterior:
    # Behind the barrier the compiler does not see that all samples start alike; it tries for long to exploit it.
    many, levels = jax.lax.optimization_barrier((jnp.broadcast_to(x, (samples, x.size)), jnp.full(samples, sigma)))
    result = recall(memory, many, dynamics, sigma=levels, process=process, known=known, key=key)
    z = x / process.scale_at(sigma)
    if known is None:
        exact = memory._responsibilities(z, sigma)
    else:
        exact = memory._conditioned(Observation(z, known, sigma=sigma).of(z.size))[0].weights
    counts = jnp.zeros(first.size, int).at[first[result.index]].add(1)
    return Posterior(result.x, counts, jnp.zeros_like(exact).at[first].add(exact), result.converged.mean())


def _first_of_duplicates(memory: PatternMemory) -> Int[Array, " n"]:
    """For each pattern the index of the first one equal to it."""
    patterns = memory.patterns
    if not is_known(patterns):
        given = "got patterns whose values a program does not know"
        raise InputError("memory", given, "recall_many outside of programs, or recall of a batch of equal cues")
    _, first, inverse = np.unique(np.asarray(patterns), axis=0, return_index=True, return_inverse=True)
    return as_array(first[inverse.reshape(-1)])


def _chi_squared(counts: Int[Array, " n"], exact: Float[Array, " n"]) -> ChiSquared:
    given = counts
    expected = exact * counts.sum()
    rare = expected < 5
    rest, rest_counts = jnp.sum(expected * rare), jnp.sum(counts * rare)
    # A cell for the rare ones if it is large enough, otherwise with the smallest of the others.
    separate = (rest >= 5) | rare.all()
    smallest = jnp.argmin(jnp.where(rare, jnp.inf, expected))
    expected = expected.at[smallest].add(jnp.where(separate, 0, rest))
    counts = counts.at[smallest].add(jnp.where(separate, 0, rest_counts).astype(counts.dtype))
    terms = jnp.where(rare, 0, (counts - expected) ** 2 / jnp.where(rare, 1, expected))
    statistic = terms.sum() + jnp.where(separate & (rest > 0), (rest_counts - rest) ** 2 / jnp.maximum(rest, 1e-30), 0)
    freedom = jnp.sum(~rare) + separate - 1
    p_value = _in_double(_beyond, statistic, freedom)
    total, number = given.sum(), jnp.maximum(rare.sum(), 1)
    of_all = _at_least(rest_counts, total, rest / jnp.maximum(total, 1))
    of_one = jnp.min(jnp.where(rare, _at_least(given, total, exact), 1)) * number
    least = jnp.minimum(p_value, jnp.minimum(of_all, of_one))
    return ChiSquared(statistic, freedom, jnp.where(rare.any(), jnp.minimum(3 * least, 1), p_value))


def _at_least(
    count: Int[Array, "..."], trials: Int[Array, ""], probability: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The probability of so many successes or more, of a binomial distribution."""
    return _in_double(_tail, probability, count, trials)


def _in_double(function: Callable[..., np.ndarray], values: Array, *counts: Array | int) -> Array:
    """A function of values and counts, by SciPy in double precision, in programs too.

    In single precision the logarithms of factorials of 10⁵ are off by a tenth, and so are probabilities of counts.
    """

    def call(values: Any, *counts: Any) -> np.ndarray:
        given = (np.asarray(part, float) for part in (values, *counts))
        return np.asarray(function(*given), values.dtype)

    arrays = jnp.broadcast_arrays(values, *counts)
    like = jax.ShapeDtypeStruct(arrays[0].shape, values.dtype)
    return jax.pure_callback(call, like, *arrays, vmap_method="broadcast_all")


def _mean_deviation(p: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """E|K − mp| of the number K of successes in m trials."""
    from scipy.special import betaln, xlog1py, xlogy  # slow to import

    k = np.floor(trials * p) + 1
    rest = np.maximum(trials - k, 0)
    # C(m, k) p^k (1−p)^{m−k+1}, which is 0 for p = 1, where k = m + 1.
    log_p = -np.log1p(trials) - betaln(rest + 1, k + 1) + xlogy(k, p) + xlog1py(rest + 1, -np.minimum(p, 1))
    return 2 * k * np.exp(log_p)


def _tail(p: np.ndarray, count: np.ndarray, trials: np.ndarray) -> np.ndarray:
    from scipy.special import betainc

    some = np.clip(count, 1, trials)
    return np.where(count > 0, betainc(some, trials - some + 1, np.clip(p, 0, 1)), 1)


def _beyond(statistic: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The probability of a larger χ², 1 without degrees of freedom."""
    from scipy.special import chdtrc

    return np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), statistic), 1)


__all__ = ["Alternatives", "ChiSquared", "Posterior", "recall_many", "wilson"]

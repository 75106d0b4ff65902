"""Patterns spread over the devices of a mesh, summed inside compiled programs."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dispersed.conditioning import Observation
from dispersed.engines.engine import Engine, PatternSet
from dispersed.engines.evidence import evidence
from dispersed.engines.online_softmax import EncodedRows, SoftmaxSums, block_sums, merge
from dispersed.engines.options import ScanOptions
from dispersed.engines.spreads import Spreads, counts, spread_of, spreads_of
from dispersed.keys import categorical
from dispersed.precision import full_precision
from dispersed.storage import Encoding, Float32, Storage
from dispersed.tracing import is_known
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, log_prior

AXIS = "patterns"


class Sharded(Engine):
    """Patterns in equal parts on the devices of a mesh, for every dynamics, under `jax.jit`.

    Every device sums its own part in blocks, and the sums are merged; what travels is one state and a few numbers a
    device and cue. The mesh may span several hosts.

    **Arguments**

    - `mesh`: a `jax.sharding.Mesh` of one axis; all devices by default.
    - `encoding`: how the patterns are stored on the devices (`dispersed.storage`).

    Logits are expanded products in the precision of x about the mean of the patterns, off by up to γ_{d+8}‖x‖‖y‖/σ²:
    for levels that resolve less than that, `Scanned()` serves.
    """

    mesh: Mesh | None = eqx.field(static=True)
    encoding: Encoding = eqx.field(static=True)

    def __init__(self, mesh: Mesh | None = None, encoding: Encoding = Float32()) -> None:
        if mesh is not None and (not isinstance(mesh, Mesh) or len(mesh.axis_names) != 1):
            raise InputError("mesh", f"got {mesh!r}", "a jax.sharding.Mesh of one axis is accepted")
        self.mesh, self.encoding = mesh, encoding

    def __repr__(self) -> str:
        return "Sharded()" if self.mesh is None else f"Sharded({self.mesh.size} devices)"

    def hold(self, patterns: Any, weights: Any = None, log_weights: Any = None) -> "ShardedPatterns":
        if isinstance(patterns, Storage):
            patterns = patterns.rows(np.arange(len(patterns)))
        if not is_known(patterns):
            given = "got the patterns of a program that is being traced"
            raise InputError("engine", given, "Dense() serves inside programs")
        prior = log_prior(weights, log_weights, len(patterns))
        return ShardedPatterns(self, np.asarray(patterns), None if prior is None else np.asarray(prior))


class ShardedPatterns(PatternSet):
    """Patterns and log weights on the devices of a mesh."""

    codes: Array
    scale: Array | None
    weights_of_rows: Float[Array, " m"] | None
    """Log weights of the rows, padding included; None if all weigh alike."""
    centre: Float[Array, " d"]
    mean: Float[Array, " d"]
    """The mean of the patterns by their weights; the centre is that of the weights that they were given."""
    spread: Spreads
    norm: Scalar
    """max‖y_j − μ‖ with the centre μ."""
    count: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)
    given: Sharded = eqx.field(static=True)

    def __init__(self, engine: Sharded, patterns: np.ndarray, prior: np.ndarray | None) -> None:
        codes, scale = engine.encoding.encode(patterns)
        mesh = Mesh(np.array(jax.devices()), (AXIS,)) if engine.mesh is None else engine.mesh
        self.given, self.mesh, self.count = engine, mesh, len(codes)
        rows = mesh.size * ScanOptions().rows(-(-self.count // mesh.size))
        split = NamedSharding(mesh, P(mesh.axis_names[0]))

        def placed(array: np.ndarray) -> Array:
            padded = np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
            return jax.make_array_from_callback(padded.shape, split, lambda index: padded[index])

        self.codes = placed(codes)
        self.scale = None if scale is None else placed(scale)
        self.weights_of_rows = None if prior is None else placed(prior.astype(np.float32))
        w = np.full(self.count, 1 / self.count) if prior is None else np.exp(prior)
        mean = w @ patterns
        self.centre = self.mean = jnp.asarray(mean, jnp.float32)
        squares = np.sum((patterns - mean) ** 2, axis=1)
        log_w = np.full(self.count, -math.log(self.count)) if prior is None else prior
        found = spreads_of(patterns.astype(float), log_w[None].astype(float), np)
        self.spread = Spreads(*(jnp.asarray(part[0], jnp.float32) for part in found))
        self.norm = jnp.asarray(np.sqrt(squares.max()), jnp.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        prior = None if self.weights_of_rows is None else np.asarray(self.log_weights, float)
        centre = np.asarray(self.centre), np.asarray(self.norm)
        return _restored, (self.given, np.asarray(self.patterns), prior, *centre)

    @property
    def shape(self) -> tuple[int, int]:
        return self.count, self.centre.shape[0]

    @property
    def engine(self) -> Sharded:
        return self.given

    @property
    def where(self) -> str:
        return f"{self.given.encoding.name} on {self.mesh.size} devices"

    @property
    def patterns(self) -> Float[Array, "n d"]:
        return self.given.encoding.decode(self.codes, self.scale, self.shape[1])[: self.count]

    @property
    def log_weights(self) -> Float[Array, " n"]:
        if self.weights_of_rows is None:
            return jnp.full(self.count, -math.log(self.count), jnp.float32)
        return self.weights_of_rows[: self.count]

    def first(self, count: int) -> tuple[Any, Any]:
        return self.patterns[:count], self.log_weights[:count]

    @full_precision
    def _over_shards(self, local: Any, x: State, sigma: Scalar) -> Any:
        """`local(rows, first, x, beta)` of every device, stacked along a new leading axis."""
        axis = self.mesh.axis_names[0]

        def part(codes: Array, scale: Any, log_w: Any, z: State, beta: Scalar, centre: State) -> Any:
            first = jax.lax.axis_index(axis) * len(codes)
            count = jnp.clip(self.count - first, 0, len(codes))
            log_w = jnp.full((), -math.log(self.count), x.dtype) if log_w is None else log_w.astype(x.dtype)
            rows = EncodedRows(codes, scale, None, centre, None, log_w, count, self.given.encoding)
            return jax.lax.all_gather(local(rows, first, z, beta), axis)

        specs = (
            P(axis),
            None if self.scale is None else P(axis),
            None if self.weights_of_rows is None else P(axis),
            P(),
            P(),
            P(),
        )
        spread = jax.shard_map(part, mesh=self.mesh, in_specs=specs, out_specs=P(), check_vma=False)
        centre, norm = self.centre.astype(x.dtype), self.norm.astype(x.dtype)
        # Beyond these the products or the logits would overflow, and the leading pattern has all the weight already.
        largest = float(jnp.finfo(x.dtype).max)
        farthest = largest**0.5 / 4 / x.size
        z = jnp.clip(x - centre, -farthest, farthest)
        steepest = largest / 8 / (jnp.sqrt(z @ z) * norm + norm**2 + 1 / largest)
        beta = jnp.minimum(1 / sigma / sigma, steepest)
        return spread(self.codes, self.scale, self.weights_of_rows, z, beta, centre)

    def _sums(self, x: State, sigma: Scalar) -> SoftmaxSums:
        def local(rows: EncodedRows, first: Array, z: State, beta: Scalar) -> SoftmaxSums:
            return block_sums(rows, z[None], beta[None])

        parts = self._over_shards(local, x, sigma)
        return functools.reduce(merge, [jax.tree.map(lambda a, i=i: a[i], parts) for i in range(self.mesh.size)])

    def denoise(self, x: State, sigma: Scalar) -> State:
        return self._sums(x, sigma).mean[0] + self.centre.astype(x.dtype)

    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        centre = self.centre.astype(x.dtype)
        return centre, self._sums(x, sigma).log_sum[0]

    def _logits(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """Logits of all patterns, less a term that they have in common."""

        def local(rows: EncodedRows, first: Array, z: State, beta: Scalar) -> Array:
            return rows.chunk(jnp.asarray(0), rows.codes.shape[0], z[None], beta[None])[1][0]

        return self._over_shards(local, x, sigma).reshape(-1)[: self.count]

    def responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        return jax.nn.softmax(self._logits(x, sigma))

    def nearest(self, x: State, sigma: Scalar) -> tuple[Int[Array, ""], Float[Array, ""]]:
        p = self.responsibilities(x, sigma)
        index = jnp.argmax(p)
        return index, p[index]

    @full_precision
    def jacobian(self, x: State, sigma: Scalar) -> Float[Array, "d d"]:
        r = self.responsibilities(x, sigma)
        centred = (self.patterns.astype(x.dtype) - self.denoise(x, sigma)) / sigma
        return (r[:, None] * centred).T @ centred

    def closest(self, x: State) -> State:
        y = self.patterns.astype(x.dtype)
        return y[jnp.argmin(jnp.sum((y - x) ** 2, axis=1))]

    def sample(self, key: Key[Array, ""]) -> State:
        return self.patterns[categorical(key, self.log_weights)]

    def draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        index = categorical(key, self._logits(x, sigma))
        return self.patterns.astype(x.dtype)[index], index

    def start(self) -> tuple[State, Scalar]:
        return self.mean, self.spread.weighted

    def spreads(self) -> Spreads:
        return self.spread

    @full_precision
    def conditioned(self, observation: Observation) -> tuple["ShardedPatterns", Scalar]:
        axis = self.mesh.axis_names[0]

        @full_precision
        def part(codes: Array, scale: Any, log_w: Any, observation: Observation) -> tuple[Array, ...]:
            """The log weights of a device's rows after the measurement, less their sum, and the moments they give."""
            first = jax.lax.axis_index(axis) * len(codes)
            inside = first + jnp.arange(len(codes)) < self.count
            y = self.given.encoding.decode(codes, scale, self.shape[1])
            log_w = jnp.full(len(codes), -math.log(self.count), y.dtype) if log_w is None else log_w
            own, log_evidence = evidence(y, jnp.where(inside, log_w, -1e30), observation)
            log_mass = jax.lax.all_gather(log_evidence, axis)
            total = jax.nn.logsumexp(log_mass)
            own = jnp.where(inside, own + (log_evidence - total), -jnp.inf)
            kinds, step = jnp.stack([counts(own, self.count).astype(y.dtype), jnp.exp(own)]), y - self.centre
            moments = jnp.sum(kinds, axis=1), kinds @ step, kinds @ jnp.sum(step * step, axis=1)
            return own, total, *jax.lax.psum(moments, axis)

        one = P(axis)
        specs = (one, None if self.scale is None else one, None if self.weights_of_rows is None else one, P())
        spread = jax.shard_map(part, mesh=self.mesh, in_specs=specs, out_specs=(one, *4 * [P()]), check_vma=False)
        own, total, mass, mean, square = spread(self.codes, self.scale, self.weights_of_rows, observation)
        mean = mean / mass[:, None]
        parts = (own, self.centre + mean[1], Spreads(*spread_of(mean, square / mass)))
        found = eqx.tree_at(
            lambda held: (held.weights_of_rows, held.mean, held.spread), self, parts, is_leaf=lambda leaf: leaf is None
        )
        return found, total


def _restored(
    engine: Sharded, patterns: np.ndarray, prior: np.ndarray | None, centre: np.ndarray, norm: np.ndarray
) -> ShardedPatterns:
    """Patterns from a pickle: those that were conditioned have the centre of the weights that they had before."""
    held = ShardedPatterns(engine, patterns, prior)
    return eqx.tree_at(lambda held: (held.centre, held.norm), held, (jnp.asarray(centre), jnp.asarray(norm)))


__all__ = ["Sharded", "ShardedPatterns"]

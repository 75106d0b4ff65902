"""Patterns spread over a mesh of devices, asked from inside a compiled program."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dispersed.engines.online_softmax import EncodedRows, SoftmaxSums, block_sums, merge
from dispersed.engines.options import ScanOptions
from dispersed.memories import Memory
from dispersed.memories.memory import gaussian_normaliser
from dispersed.storage import Encoding, Float32
from dispersed.types import Array, Float, Scalar, State

AXIS = "patterns"


class ShardedMemory(Memory):
    """The exact memory of patterns in equal shares on the devices of a mesh, for every dynamics, under `jax.jit`.

    Every device sums its own share in blocks (`block_sums`), and the sums are put together (`merge`); what travels is
    one state and three numbers a device and cue. The mesh may reach over several hosts.

    **Arguments**

    - `patterns`: (n, d).
    - `mesh`: of one axis; all devices by default.
    - `encoding`: how they are kept on the devices.

    Logits are expanded products in the precision of x, off by up to γ_{d+8}‖x‖‖y‖/σ²: for levels where memories are
    told apart by less than that, `StoredMemory.posterior` and `CertifiedFlow` serve.
    """

    codes: Array
    scale: Array | None
    centre: Float[Array, " d"]
    spread: Scalar
    count: int = eqx.field(static=True)
    mesh: Mesh = eqx.field(static=True)
    encoding: Encoding = eqx.field(static=True)

    def __init__(self, patterns: Any, mesh: Mesh | None = None, encoding: Encoding = Float32()) -> None:
        patterns = np.asarray(patterns)
        codes, scale = encoding.encode(patterns)
        self.mesh = Mesh(np.array(jax.devices()), (AXIS,)) if mesh is None else mesh
        self.encoding = encoding
        self.count = len(codes)
        rows = self.mesh.size * ScanOptions().rows(-(-self.count // self.mesh.size))
        split = NamedSharding(self.mesh, P(self.mesh.axis_names[0]))

        def placed(array: np.ndarray) -> Array:
            padded = np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
            return jax.make_array_from_callback(padded.shape, split, lambda index: padded[index])

        self.codes = placed(codes)
        self.scale = None if scale is None else placed(scale)
        self.centre = jnp.asarray(patterns.mean(axis=0), jnp.float32)
        self.spread = jnp.asarray(
            np.sqrt(np.mean(np.sum((patterns - patterns.mean(axis=0)) ** 2, axis=1))), jnp.float32
        )

    def __repr__(self) -> str:
        shape = f"{self.count} patterns of {self.dimension} units"
        return f"ShardedMemory({shape}, {self.encoding.name}, {self.mesh.size} devices)"

    @property
    def dimension(self) -> int:
        return self.centre.shape[0]

    def _sums(self, x: State, sigma: Scalar) -> SoftmaxSums:
        axis = self.mesh.axis_names[0]

        def share(codes: Array, scale: Array | None, x: State, beta: Scalar, centre: State) -> SoftmaxSums:
            first = jax.lax.axis_index(axis) * len(codes)
            count = jnp.clip(self.count - first, 0, len(codes))
            rows = EncodedRows(codes, scale, None, centre, None, jnp.zeros((), x.dtype), count, self.encoding)
            here = block_sums(rows, x[None] - centre, beta[None])
            parts = jax.lax.all_gather(here, axis)
            return functools.reduce(merge, [jax.tree.map(lambda a, i=i: a[i], parts) for i in range(self.mesh.size)])

        scaled = None if self.scale is None else P(axis)
        specs = (P(axis), scaled, P(), P(), P())
        spread = jax.shard_map(share, mesh=self.mesh, in_specs=specs, out_specs=P(), check_vma=False)
        return spread(self.codes, self.scale, x, sigma**-2, self.centre.astype(x.dtype))

    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_j p(j | x) y_j (Eq. 28)."""
        return self.centre + self._sums(x, sigma).mean[0]

    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x) = log Σ_j N(x; y_j, σ²I)/n, in nats (Eq. 12)."""
        mass = self._sums(x, sigma).log_sum[0] - jnp.sum((x - self.centre) ** 2) / (2 * sigma**2)
        return mass - jnp.log(float(self.count)) - gaussian_normaliser(self.dimension, sigma)

    def prior_start(self) -> tuple[State, Scalar]:
        """A state that says nothing of which memory it came from, and its noise level."""
        return self.centre, 10 * self.spread

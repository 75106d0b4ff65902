r"""Memories of different kinds and dimensions in one (Eq. 23, 24).

    p_σ(x) = Σ_k w_k p_σ^k(x),   p(k | x) = w_k p_σ^k(x)/p_σ(x),   D_σ(x) = Σ_k p(k | x) D_σ^k(x)

Points, segments, spheres, Gaussians and other mixtures can be components. Those of one kind and shape are
stacked and evaluated together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.display import place
from dispersed.keys import categorical
from dispersed.memories.components import Components, compare
from dispersed.memories.memory import Memory
from dispersed.precision import full_precision
from dispersed.tracing import as_array, is_known
from dispersed.types import Array, ArrayLike, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, log_prior


class Mixture(Components):
    """Several memories in one, each a normalised density with an explicit weight.

    **Arguments**

    - `components`: memories of one dimension: `PatternMemory`, `Segment`, `Sphere`, `GaussianMemory`, another
      `Mixture`, any `Memory`.
    - `weights`: prior probabilities of the components; normalised here, uniform by default. Eq. 23 integrates
      without dividing by volume: that is `weights=[s.volume for s in shapes]`, for shapes of one dimension.

    **Raises** `InputError` for no components, different dimensions, unusable weights, or a component without a
    density (a trained network).
    """

    groups: tuple[Memory, ...]
    """Components of one kind and shape, stacked along a new leading axis; a component that is alone is as it was."""
    alone: tuple[bool, ...] = eqx.field(static=True)
    """Which groups are one component."""
    order: Int[Array, " n"]
    """Where the j-th component stands in the concatenated groups."""
    log_weights: Float[Array, " n"]
    units: int = eqx.field(static=True)

    def __init__(self, components: Sequence[Any], weights: ArrayLike | None = None) -> None:
        if not isinstance(components, Sequence):
            raise InputError("components", f"got {type(components).__name__}", "a list of memories is accepted")
        components = list(components)
        if not components:
            raise InputError("components", "got none", "at least one memory is accepted")
        for number, component in enumerate(components):
            if not isinstance(component, Memory):
                given = f"got {type(component).__name__} as component {number}"
                raise InputError("components", given, "memories with a density are accepted")
        dimensions = sorted({component.dimension for component in components})
        if len(dimensions) > 1:
            given = f"got memories of {', '.join(map(str, dimensions))} units"
            raise InputError("components", given, "memories of one dimension are accepted")
        self.units = dimensions[0]
        self.groups, self.alone, order = _stacked(components)
        self.order = as_array(order)
        dtype = jnp.result_type(*filter(eqx.is_array, jax.tree.leaves(self.groups)))
        n = len(components)
        prior = log_prior(weights, None, n, "component")
        self.log_weights = as_array(np.full(n, -np.log(n)) if prior is None else prior, dtype)

    def __repr__(self) -> str:
        sizes = (1 if alone else _size(group) for group, alone in zip(self.groups, self.alone, strict=True))
        kinds = ", ".join(f"{size} {type(group).__name__}" for size, group in zip(sizes, self.groups, strict=True))
        return f"Mixture({kinds}; {self.dimension} units, {place(self.log_weights)})"

    @property
    def dimension(self) -> int:
        return self.units

    @property
    def weights(self) -> Float[Array, " n"]:
        """Prior probabilities of the components, (n,), summing to one."""
        return jnp.exp(self.log_weights)

    def each(self, function: Callable[[Any], Any]) -> Any:
        """`function` of every component, stacked in their order."""
        parts = [
            jax.tree.map(lambda part: part[None], function(group)) if alone else eqx.filter_vmap(function)(group)
            for group, alone in zip(self.groups, self.alone, strict=True)
        ]
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays)[self.order], *parts)

    def _parts(self, x: State, sigma: Scalar) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Anchor and weighted excess of every component."""
        anchors, excess = self.each(lambda component: component.anchored(x, sigma))
        return anchors, excess + self.log_weights

    def _responsibilities(self, x: State, sigma: Scalar) -> Float[Array, " n"]:
        """p(k | x) of every component, (..., n)."""
        return jax.nn.softmax(compare(x, sigma, *self._parts(x, sigma))[1])

    @full_precision
    def _denoise(self, x: State, sigma: Scalar) -> State:
        """D_σ(x) = Σ_k p(k | x) D_σ^k(x)."""
        return self._responsibilities(x, sigma) @ self.each(lambda component: component._denoise(x, sigma))

    def _project(self, x: State) -> State:
        """The nearest point of the nearest component."""
        points = self.each(lambda component: component._project(x))
        return points[jnp.argmin(jnp.sum((points - x) ** 2, axis=1))]

    def _weight(self, index: Int[Array, ""]) -> Scalar:
        return jnp.exp(self.log_weights[index])

    @property
    def _proper(self) -> bool:
        return all(group._proper for group in self.groups)

    def _sample(self, key: Key[Array, ""]) -> State:
        which, key = jax.random.split(key)
        # One draw of every component, of which one is taken: components of different kinds share no program.
        return self.each(lambda component: component._sample(key))[categorical(which, self.log_weights)]

    def _posterior_draw(self, key: Key[Array, ""], x: State, sigma: Scalar) -> tuple[State, Int[Array, ""]]:
        which, key = jax.random.split(key)
        index = categorical(which, compare(x, sigma, *self._parts(x, sigma))[1])
        return self.each(lambda component: component._posterior_draw(key, x, sigma)[0])[index], index

    @one_program
    def _conditioned(self, observation: Observation) -> tuple["Mixture", Scalar]:
        """The mixture after a measurement: its components, with the weights w_k ← w_k p_k(v)."""

        def conditioned(component: Memory) -> tuple[Memory, Scalar]:
            return component._conditioned(observation)

        found = [
            conditioned(group) if alone else eqx.filter_vmap(conditioned)(group)
            for group, alone in zip(self.groups, self.alone, strict=True)
        ]
        evidence = jnp.concatenate([jnp.atleast_1d(log_evidence) for _, log_evidence in found])[self.order]
        joint = self.log_weights + evidence
        total = jax.nn.logsumexp(joint)
        parts = (tuple(group for group, _ in found), joint - total)
        return eqx.tree_at(lambda m: (m.groups, m.log_weights), self, parts), total

    @one_program
    @full_precision
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean, at ten times the root-mean-square distance from it."""
        means, levels = self.each(lambda component: component.prior_start())
        mean = self.weights @ means
        squares = (levels / 10) ** 2 + jnp.sum((means - mean) ** 2, axis=1)
        return mean, 10 * jnp.sqrt(self.weights @ squares)


def _stacked(components: list[Memory]) -> tuple[tuple[Memory, ...], tuple[bool, ...], np.ndarray]:
    """Components of one structure stacked, which of these groups are one component, and where each of them went."""
    groups: dict[Any, list[int]] = {}
    flat = [jax.tree.flatten(component) for component in components]
    for number, (leaves, structure) in enumerate(flat):
        # A leaf that is no array, such as the encoder of cores, must be the same object in all that are stacked.
        shapes = tuple((leaf.shape, leaf.dtype) if eqx.is_array(leaf) else id(leaf) for leaf in leaves)
        groups.setdefault((structure, shapes), []).append(number)
    order = np.empty(len(components), dtype=int)
    order[[number for group in groups.values() for number in group]] = np.arange(len(components))

    def stack(*leaves: Any) -> Any:
        if not eqx.is_array(leaves[0]):
            return leaves[0]
        # NumPy stacks thousands of arrays without compiling a program for them.
        return as_array(np.stack(leaves)) if is_known(*leaves) else jnp.stack(leaves)

    stacked = tuple(
        components[group[0]] if len(group) == 1 else jax.tree.map(stack, *(components[number] for number in group))
        for group in groups.values()
    )
    return stacked, tuple(len(group) == 1 for group in groups.values()), order


def _size(group: Memory) -> int:
    return next(leaf.shape[0] for leaf in jax.tree.leaves(group) if eqx.is_array(leaf))

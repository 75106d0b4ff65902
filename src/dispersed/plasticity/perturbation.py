r"""Node perturbation: the gradient of Eq. 22 without backpropagation, from noise injected into the neurons.

Give every neuron's input a little Gaussian noise, a_l + ξ_l with ξ_l ~ N(0, ν²I), and see what that does to the
loss L = ½‖δ − s‖². By Stein's lemma

    E[ (L(a+ξ) − L(a)) ξ_l ]/ν² = E[ ∂L/∂a_l (a+ξ) ] → ∂L/∂a_l  as ν → 0,

so −η (ΔL/ν²) ξ_l x_{l−1}ᵀ, which needs one number told to all neurons and what each synapse has at its two ends,
is in the mean the step of Eq. 22. Its variance grows with the number of neurons.

Correlated inputs x_{l−1} slow learning further. A lateral matrix R_l learns to remove the correlations,

    x* = R x,    R ← R − ε (x*x*ᵀ − diag(x*²)) R,

and the synapses then see x*.

**Source**: Dalm et al. (2023), Effective learning with node perturbation in deep neural networks; for
decorrelation Ahmad et al. (2022), Constrained parameter inference as a principle for learning.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.learning.networks import LevelLinear, Perceptron
from dispersed.memories import LearnedMemory
from dispersed.plasticity.online import target
from dispersed.types import Array, Float, Key, Scalar, State
from dispersed.validation import InputError, positive_number


class Decorrelating(eqx.Module):
    """A perceptron whose layers see their inputs through lateral matrices R, the identity at first."""

    layers: tuple[LevelLinear, ...]
    lateral: tuple[Float[Array, "_ _"], ...]

    def __init__(self, perceptron: Perceptron) -> None:
        self.layers = perceptron.layers
        self.lateral = tuple(jnp.eye(layer.weight.shape[1]) for layer in self.layers)

    def __call__(self, x: State, level: Scalar) -> State:
        return self.perturbed(x, level, [jnp.zeros(())] * len(self.layers))[0]

    def perturbed(self, x: State, level: Scalar, noise: Sequence[Array]) -> tuple[State, list[Array]]:
        """The output with noise ξ_l added to every layer's input current, and the x* that each layer saw."""
        seen: list[Array] = []
        for layer, lateral, xi in zip(self.layers, self.lateral, noise, strict=True):
            x = x if not seen else jax.nn.relu(x)
            seen.append(lateral @ x)
            x = layer(seen[-1], level) + xi
        return x, seen


class NodePerturbation(eqx.Module):
    """Learning by noise injected into the neurons, as a `Rule` for networks made by `perturbable`.

    **Arguments**: `noise`, the perturbations' standard deviation ν; `decorrelation`, the rate ε of the lateral
    matrices, 0 for none.
    """

    noise: float = 1e-2
    decorrelation: float = 0.0

    def __check_init__(self) -> None:
        positive_number("noise", self.noise)

    def direction(
        self, memory: LearnedMemory, y: State, noise: State, sigma: Scalar, key: Key[Array, ""]
    ) -> tuple[tuple[LevelLinear, ...], list[Array]]:
        """An unbiased estimate, as ν → 0, of (∂s/∂W)ᵀ(δ − s) for every layer, and the inputs x* seen."""
        network = _network(memory)
        z = y + sigma * noise
        level = sigma
        if memory.coordinates == "VP":
            level = 1 / jnp.hypot(1.0, sigma)
            z = level * z
        keys = jax.random.split(key, len(network.layers))
        pairs = zip(keys, network.layers, strict=True)
        injected = [self.noise * jax.random.normal(key, layer.bias.shape) for key, layer in pairs]
        wanted = target(memory, y, noise)
        clean, seen = network.perturbed(z, level, [jnp.zeros(())] * len(injected))
        noisy, _ = network.perturbed(z, level, injected)
        # ½‖δ − s'‖² − ½‖δ − s‖², as a product of small factors: the difference of two losses would cancel.
        change = jnp.sum((noisy - clean) * ((noisy + clean) / 2 - wanted))
        steps = tuple(
            _step(layer, -change / self.noise**2 * xi, x, level)
            for layer, xi, x in zip(network.layers, injected, seen, strict=True)
        )
        return steps, seen

    def __call__(
        self, memory: LearnedMemory, y: State, noise: State, sigma: Scalar, key: Key[Array, ""], rate: Scalar
    ) -> LearnedMemory:
        steps, seen = self.direction(memory, y, noise, sigma, key)
        layers = jax.tree.map(lambda w, step: w + rate * step, _network(memory).layers, steps)
        lateral = _network(memory).lateral
        if self.decorrelation:
            lateral = tuple(decorrelate(R, x, self.decorrelation) for R, x in zip(lateral, seen, strict=True))
        return eqx.tree_at(lambda m: (m.model.layers, m.model.lateral), memory, (layers, lateral))


def decorrelate(lateral: Float[Array, "k k"], seen: Float[Array, " k"], rate: float) -> Float[Array, "k k"]:
    """R − ε (x*x*ᵀ − diag(x*²)) R, for one x* = Rx."""
    return lateral - rate * (jnp.outer(seen, seen @ lateral) - (seen**2)[:, None] * lateral)


def perturbable(memory: LearnedMemory) -> LearnedMemory:
    """The same memory around the network of `noise_network`, able to be perturbed and decorrelated."""
    if not isinstance(memory.model, Perceptron):
        raise InputError("memory", f"got a {type(memory.model).__name__}", "a memory around a Perceptron is accepted")
    return LearnedMemory(Decorrelating(memory.model), memory.dimension, memory.predicts, memory.coordinates)


def _network(memory: LearnedMemory) -> Decorrelating:
    if not isinstance(memory.model, Decorrelating):
        raise InputError("network", f"got a {type(memory.model).__name__}", "perturbable(memory) makes one")
    return memory.model


def _step(layer: LevelLinear, error: Array, x: Array, level: Scalar) -> LevelLinear:
    """The change of a layer whose neurons are told `error`: its outer product with what the synapses carry."""
    change = (jnp.outer(error, x), level * error, error)
    return eqx.tree_at(lambda parts: (parts.weight, parts.level_weight, parts.bias), layer, change)

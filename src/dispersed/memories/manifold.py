r"""Any parametrised manifold as a memory, by quadrature (Eq. 23, 24)."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories.patterns import PatternMemory
from dispersed.precision import full_precision
from dispersed.tracing import as_array
from dispersed.types import Array, ArrayLike, Float, Scalar, State
from dispersed.validation import InputError, at_least, check_finite, vector

MOST_NODES = 2**24
"""The most nodes of a manifold, each a stored pattern."""


def manifold(
    embedding: Callable[[Float[Array, " k"]], State],
    low: ArrayLike,
    high: ArrayLike,
    nodes: int | Sequence[int] = 64,
    *,
    density: Callable[[Float[Array, " k"]], Scalar] | None = None,
    periodic: bool | Sequence[bool] = False,
) -> PatternMemory:
    r"""A semantic memory (Eq. 24): a density on the manifold {y(u) : low ≤ u ≤ high}, as weighted quadrature nodes.

        p_σ(x) = ∫ φ(u) N(x; y(u), σ²I) √det(JᵀJ) du / ∫ φ(u) √det(JᵀJ) du,    J = ∂y/∂u.

    **Arguments**

    - `embedding`: y(u), a JAX function of parameters (k,) to a state (d,).
    - `low`, `high`: the ranges of the parameters, (k,), finite.
    - `nodes`: per parameter; their product is the number of patterns stored.
    - `density`: φ(u) ≥ 0 per unit of volume, normalised here; uniform by default (Eq. 23), else Eq. 24.
    - `periodic`: which parameters close on themselves; they get equidistant nodes, the others
      Gauss–Legendre nodes. Both converge faster than any power of the number of nodes.

    The result is exact for noise that does not see the gaps between the nodes: σ well above half their
    distance. Below that it is what it is, a set of points.

    **Raises** `InputError` for a function that does not map (k,) to (d,), NaN or inf on a node, a negative
    density, or a manifold without volume.
    """
    low = np.asarray(vector("low", low))
    k = low.shape[0]
    high = np.asarray(vector("high", high, k))
    if (low >= high).any():
        raise InputError("low, high", f"got {low} and {high}", "low < high is accepted")
    counts = [at_least("nodes", n, 2) for n in _per_parameter("nodes", nodes, k)]
    if math.prod(counts) > MOST_NODES:
        raise InputError("nodes", f"got {math.prod(counts)} in all", f"at most {MOST_NODES} nodes are accepted")
    rules = [_rule(n, bool(closed)) for n, closed in zip(counts, _per_parameter("periodic", periodic, k), strict=True)]
    unit = np.stack([at.ravel() for at in np.meshgrid(*(at for at, _ in rules), indexing="ij")], axis=1)
    weights = functools.reduce(np.multiply.outer, [weight for _, weight in rules]).ravel()
    parameters = as_array(low + unit.astype(low.dtype) * (high - low))
    try:
        shape = jax.eval_shape(embedding, jax.ShapeDtypeStruct((k,), low.dtype))
    except (TypeError, ValueError) as error:
        raise InputError("embedding", f"cannot be called on {k} parameters ({error})", "y(u) is accepted") from None
    if getattr(shape, "ndim", None) != 1:
        raise InputError("embedding", f"returns {shape}", "a function to one state (d,) is accepted")

    @full_precision
    def node(u: Float[Array, " k"]) -> tuple[State, Scalar]:
        jacobian = jax.jacfwd(embedding)(u)
        return embedding(u), _log_volume(jacobian)

    states, log_volumes = map(np.asarray, jax.jit(jax.vmap(node))(parameters))
    check_finite("embedding", states)
    check_finite("embedding", np.maximum(log_volumes, -1e30))  # a node may have no volume
    densities = np.ones(1, states.dtype) if density is None else np.asarray(jax.jit(jax.vmap(density))(parameters))
    check_finite("density", densities)
    if (densities < 0).any():
        raise InputError("density", f"got {float(densities.min()):g}", "densities must not be negative")
    with np.errstate(divide="ignore"):
        log_prior = np.log(weights) + log_volumes + np.log(densities.astype(float))
    if not (log_prior > -np.inf).any():
        raise InputError("embedding, density", "got a manifold without volume", "some node must have weight")
    return PatternMemory(states, log_weights=log_prior - log_prior.max())


def _log_volume(jacobian: Float[Array, "d k"]) -> Scalar:
    """Log √det(JᵀJ) = log |det R| of J = QR, since products of several small or large lengths are no numbers."""
    if jacobian.shape[0] < jacobian.shape[1]:
        return jnp.full((), -jnp.inf, jacobian.dtype)
    return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(jacobian, mode="r")))))


def _per_parameter(argument: str, value: int | Sequence[int], k: int) -> list[int]:
    values = list(value) if isinstance(value, Sequence) else [value] * k
    if len(values) != k:
        raise InputError(argument, f"got {len(values)} values", f"one, or one per parameter ({k}), is accepted")
    return values


def _rule(n: int, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    if closed:
        return np.arange(n) / n, np.full(n, 1 / n)
    at, weight = np.polynomial.legendre.leggauss(n)
    return (at + 1) / 2, weight / 2

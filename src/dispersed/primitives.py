"""Operations of JAX with rules of their own for batches and for derivatives.

`jax.custom_jvp` around `jax.custom_batching.custom_vmap` would say the same. But where a program is divided into what
is known and what is linear, by `jax.checkpoint` and for derivatives of derivatives in reverse mode, JAX drops the first
one, and does not know how to divide the second.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dispersed.types import Array


def primitive(
    name: str,
    evaluate: Callable[..., Any],
    like: Callable[..., Any],
    mapped: Callable[..., Any],
    slopes: Callable[..., Any],
) -> Callable[..., Any]:
    """`evaluate`, a function of pytrees of arrays, as one operation. It is traced once for every program.

    - `like(*arguments)`: the shapes and types of its results, as a pytree of `jax.ShapeDtypeStruct`.
    - `mapped(size, batched, *arguments)`: its results mapped along the first axis, of that size, of the arguments whose
      leaves are True in `batched`; all results are.
    - `slopes(arguments, tangents)`: its results and their tangents; a tangent of None is zero.
    """
    operation = Primitive(name)
    operation.multiple_results = True

    def bind(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        shapes, results = jax.tree.flatten(like(*arguments))
        avals = tuple(ShapedArray(shape.shape, shape.dtype) for shape in shapes)
        found = operation.bind(*leaves, tree=tree, avals=avals, x64=jnp.result_type(float) == jnp.float64)
        return jax.tree.unflatten(results, found)

    def evaluated(*leaves: Any, tree: Any, avals: Any, x64: bool) -> list[Any]:
        # A program may be made of it later, where another precision is the default one.
        with jax.enable_x64(x64):
            return jax.tree.leaves(evaluate(*jax.tree.unflatten(tree, leaves)))

    def abstract(*_: Any, tree: Any, avals: Any, x64: bool) -> Any:
        return avals

    def batch(leaves: Any, axes: Any, *, tree: Any, avals: Any, x64: bool) -> Any:
        pairs = list(zip(leaves, axes, strict=True))
        first = [leaf if axis is None else jnp.moveaxis(leaf, axis, 0) for leaf, axis in pairs]
        (size, *_) = {leaf.shape[axis] for leaf, axis in pairs if axis is not None}
        batched = jax.tree.unflatten(tree, [axis is not None for axis in axes])
        found = jax.tree.leaves(mapped(size, batched, *jax.tree.unflatten(tree, first)))
        return found, [0] * len(found)

    def differentiated(leaves: Any, tangents: Any, *, tree: Any, avals: Any, x64: bool) -> Any:
        moved = [None if type(tangent) is ad.Zero else tangent for tangent in tangents]
        found, slope = slopes(jax.tree.unflatten(tree, leaves), jax.tree.unflatten(tree, moved))
        found, slope = jax.tree.leaves(found), jax.tree.leaves(slope)
        return found, [_tangent(*pair) for pair in zip(found, slope, strict=True)]

    operation.def_impl(jax.jit(evaluated, static_argnames=("tree", "avals", "x64")))
    operation.def_abstract_eval(abstract)
    batching.primitive_batchers[operation] = batch
    ad.primitive_jvps[operation] = differentiated
    mlir.register_lowering(operation, mlir.lower_fun(evaluated, multiple_results=True))
    return bind


def _tangent(found: Array, slope: Any) -> Any:
    whole = slope.dtype == jax.dtypes.float0
    return ad.Zero(ShapedArray(np.shape(found), jax.dtypes.float0)) if whole else slope


__all__ = ["primitive"]

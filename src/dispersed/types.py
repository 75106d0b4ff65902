"""Names for the arrays that travel through the library.

Shapes are written in jaxtyping's notation: `d` units, `n` stored patterns, `...` any batch axes.
They are checked at run time by the test suite.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool, Float, Int, Key, UInt32


@runtime_checkable
class SupportsArray(Protocol):
    """Whatever NumPy can read as an array, such as a pandas frame or a PyTorch tensor."""

    def __array__(self) -> Any: ...


ArrayLike = jax.typing.ArrayLike | Sequence[Any] | SupportsArray
"""Anything that can become an array of numbers: arrays, numbers, nested lists, pandas frames, PyTorch tensors."""

Numbers = Any
"""An array on a device or on the host: of JAX or of NumPy."""

State = Float[Array, " d"]
"""One state of the units, `(d,)`."""

Patterns = Float[Array, "n d"]
"""Stored patterns, `(n, d)`."""

Scalar = Float[Array, ""]
"""One real number."""

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int", "Key", "Numbers", "Patterns", "Scalar", "State", "UInt32"]

"""Matrix products in the precision of their factors, on every device."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Given = ParamSpec("Given")
Found = TypeVar("Found")


def full_precision(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """The function, with every matrix product in it in the full precision of its factors.

    GPUs and TPUs round the factors to 11 or 8 bits before they multiply, unless they are told not to.
    """

    @functools.wraps(function)
    def precise(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return precise


__all__ = ["full_precision"]

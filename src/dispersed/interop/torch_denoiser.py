"""Memories as denoisers of PyTorch, with its derivatives."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.extras import pytorch
from dispersed.interop.parametrisation import state_shape
from dispersed.memories import Denoiser
from dispersed.types import Array, Float
from dispersed.validation import InputError


def as_torch(memory: Denoiser, shape: Sequence[int] | None = None) -> Callable[..., Any]:
    """A memory as a denoiser of PyTorch, D(x, σ): tensors (..., d) in, tensors of the same shape, dtype and device out.

    **Arguments**

    - `memory`: an exact memory, or any other that has a denoiser.
    - `shape`: the shape of one state, such as (1, 8, 8), of x: `(..., *shape)`; by default (d,).

    σ is a number or a tensor that broadcasts against the batch axes, or against x. Derivatives in x and σ pass through
    `torch.autograd`, once. Tensors are shared with JAX through DLPack, not copied, where both compute on the same
    device in single precision, or in double precision with `jax_enable_x64`. NaN in, NaN out; at σ = 0 D is its
    limit, of patterns the nearest one.

    **Raises** `MissingExtraError` without PyTorch, and `InputError` for states of another shape or of whole numbers,
    and for σ that do not broadcast, or are below 0 on the CPU.

    >>> import dispersed, torch  # doctest: +SKIP
    >>> D = as_torch(dispersed.PatternMemory([[1.0, 1.0], [-1.0, -1.0]]))  # doctest: +SKIP
    >>> D(torch.tensor([[2.0, 0.0], [0.0, -1.0]]), 1.0)  # doctest: +SKIP
    tensor([[ 0.9640,  0.9640],
            [-0.7616, -0.7616]])
    """
    if not isinstance(memory, Denoiser):
        raise InputError("memory", f"got {type(memory).__name__}", "a memory with a denoiser is accepted")
    shape = (memory.dimension,) if shape is None else state_shape(shape)
    if np.prod(shape) != memory.dimension:
        raise InputError("shape", f"got {shape}", f"a shape of the {memory.dimension} units is accepted")
    torch, function = pytorch(), _autograd_function()

    def denoise(x: Any, sigma: Any) -> Any:
        if not (isinstance(x, torch.Tensor) and x.is_floating_point()):
            given = f"got {x.dtype if isinstance(x, torch.Tensor) else type(x).__name__}"
            raise InputError("x", given, "a floating-point tensor of PyTorch is accepted")
        if tuple(x.shape[x.ndim - len(shape) :]) != shape:
            raise InputError("x", f"got shape {tuple(x.shape)}", f"(..., {', '.join(map(str, shape))}) is accepted")
        batch = x.shape[: x.ndim - len(shape)]
        try:
            level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
            if level.ndim == x.ndim and level.ndim > len(batch):  # one level for each state, as an array beside x
                level = level.reshape(level.shape[: len(batch)])
            level = level.expand(batch)
        except (RuntimeError, TypeError, ValueError):
            given = f"got {f'shape {tuple(sigma.shape)}' if hasattr(sigma, 'shape') else repr(sigma)}"
            accepted = f"a number, or a tensor that broadcasts against the batch {tuple(batch)}, is accepted"
            raise InputError("sigma", given, accepted) from None
        if level.device.type == "cpu" and bool((level < 0).any()):  # accelerators would have to be waited for
            raise InputError("sigma", f"got {float(level.min()):g}", "numbers from 0 are accepted")
        return function.apply(x.reshape(*batch, memory.dimension), level, memory).reshape(x.shape)

    return denoise


@eqx.filter_jit
def denoised(memory: Denoiser, x: Float[Array, "... d"], sigma: Float[Array, "..."]) -> Float[Array, "... d"]:
    """D_σ(x) by one compiled program, without a check of the values: NaN in, NaN out."""
    return memory.denoise(x, sigma)


@eqx.filter_jit
def _pulled_back(memory: Denoiser, x: Any, sigma: Any, cotangent: Any) -> Any:
    return jax.vjp(memory.denoise, x, sigma)[1](cotangent)


@functools.cache
def _autograd_function() -> Any:
    torch = pytorch()

    def forward(ctx: Any, x: Any, sigma: Any, memory: Denoiser) -> Any:
        ctx.save_for_backward(x, sigma)
        ctx.memory = memory
        return _to_torch(denoised(memory, _to_jax(x), _to_jax(sigma)), x)

    def backward(ctx: Any, cotangent: Any) -> Any:
        x, sigma = ctx.saved_tensors
        found = _pulled_back(ctx.memory, _to_jax(x), _to_jax(sigma), _to_jax(cotangent))
        return _to_torch(found[0], x), _to_torch(found[1], sigma), None

    once = torch.autograd.function.once_differentiable
    methods = {"forward": staticmethod(forward), "backward": staticmethod(once(backward))}
    return type("ExactDenoiser", (torch.autograd.Function,), methods)


def _to_jax(tensor: Any) -> Any:
    """The same numbers in a precision of JAX, in the same memory where it can be."""
    torch = pytorch()
    wide = tensor.dtype == torch.float64 and jnp.result_type(float) == jnp.float64
    tensor = tensor.detach().to(torch.float64 if wide else torch.float32).contiguous()
    if tensor.device.type != "cpu" and jax.default_backend() == "cpu":
        tensor = tensor.cpu()
    return jnp.from_dlpack(tensor)


def _to_torch(array: Any, like: Any) -> Any:
    # What JAX still computes may read the memory of a tensor that its caller is about to change.
    return pytorch().from_dlpack(jax.block_until_ready(array)).to(device=like.device, dtype=like.dtype)

r"""Memories as PyTorch denoisers, and networks of PyTorch, diffusers and JAX as memories.

Whatever a network says of a noisy state, the denoiser D_σ(z) follows. With α = 1/√(1+σ²), s = ασ and x = αz,

    "noise"     ε̂                       D = z − σε̂
    "pattern"   ŷ                       D = ŷ
    "v"         v̂ = αε − sy             D = αx − sv̂
    "score"     ∇ log p of its input    D = z + σ² ∇_z log p,    ∇_z = α∇_x
    "edm"       F of c_in z, ln(σ)/4    D = c_skip z + c_out F

(Salimans & Ho 2022; Karras et al. 2022, Table 1). A network is fed z and σ, or x and α, or x and the index t of one of
the discrete levels ᾱ_t = α² that it was trained at. Nothing of PyTorch is imported before it is needed.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dispersed.extras import optional_packages
from dispersed.memories import Denoiser, LearnedMemory
from dispersed.memories.learned import COORDINATES
from dispersed.types import Array, ArrayLike, Float, Scalar, State
from dispersed.validation import InputError, at_least, double_array, positive_number

PARAMETRISATIONS = {
    "noise": "noise",
    "epsilon": "noise",
    "pattern": "pattern",
    "sample": "pattern",
    "x0": "pattern",
    "v": "v",
    "v_prediction": "v",
    "score": "score",
    "edm": "edm",
}
"""What a network may estimate, by the names in use."""


class ParametrisedNetwork(eqx.Module):
    """A network of any parametrisation as a function of a VE state z: (d,) and σ that returns ŷ = D_σ(z)."""

    network: Callable[..., Any]
    estimates: str
    coordinates: str
    log_sigmas: Float[Array, " levels"] | None
    """The logarithms of the discrete levels of σ, increasing."""
    spread: float
    """σ_data of the preconditioning."""

    def __call__(self, z: State, sigma: Scalar) -> State:
        if self.estimates == "edm":
            total = jnp.hypot(sigma, self.spread)
            inner = self.network(z / total, jnp.log(sigma) / 4)
            return (self.spread / total) ** 2 * z + sigma * (self.spread / total) * inner
        alpha = 1 / jnp.hypot(1.0, sigma)
        x, level = (alpha * z, alpha) if self.coordinates == "VP" else (z, sigma)
        if self.log_sigmas is not None:
            index = jnp.arange(self.log_sigmas.size, dtype=z.dtype)
            level = jnp.interp(jnp.log(sigma), self.log_sigmas.astype(z.dtype), index)
        estimate = self.network(x, level)
        if self.estimates == "noise":
            return z - sigma * estimate
        if self.estimates == "v":
            return alpha * (alpha * z - sigma * estimate)
        if self.estimates == "score":
            return z + sigma**2 * (alpha if self.coordinates == "VP" else 1) * estimate
        return estimate


def from_jax(
    function: Callable[..., Any],
    shape: int | Sequence[int],
    parametrisation: str = "noise",
    *,
    coordinates: str = "VE",
    alphas_cumprod: ArrayLike | None = None,
    sigma_data: float = 0.5,
    levels: tuple[float | int, float | int] | None = None,
) -> LearnedMemory:
    """A network of JAX, equinox or flax as a memory, whatever it estimates.

    **Arguments**

    - `function`: `function(x, level)` of one state of shape `shape`, that returns one.
    - `shape`: the shape of one state, such as (3, 32, 32), or the number of units d. States of the memory are flat.
    - `parametrisation`: "noise" ("epsilon"), "pattern" ("x0", "sample"), "v" ("v_prediction"), "score", or "edm", the
      inner network of the preconditioning of Karras et al. (2022).
    - `coordinates`: "VE", the network is fed z = y + σε and σ; or "VP", αz and α.
    - `alphas_cumprod`: the discrete levels ᾱ_t, decreasing from t = 0, of a network that is fed αz and t. Between two
      levels t is interpolated in log σ; evaluations below the first and above the last one warn.
    - `sigma_data`: the spread of the data that "edm" assumes.
    - `levels`: the lowest and the highest σ that the network was trained at, as of `LearnedMemory`; by default the ends
      of `alphas_cumprod`, if given.

    **Raises** `InputError` for other names, and for levels that do not decrease between 1 and 0.
    """
    shape = _shape(shape)
    model = _parametrised(
        lambda x, level: function(x.reshape(shape), level).reshape(-1),
        parametrisation,
        coordinates,
        alphas_cumprod,
        sigma_data,
    )
    return _memory(model, shape, levels)


def from_torch(
    module: Callable[..., Any],
    shape: int | Sequence[int],
    parametrisation: str = "noise",
    *,
    coordinates: str = "VE",
    alphas_cumprod: ArrayLike | None = None,
    sigma_data: float = 0.5,
    levels: tuple[float | int, float | int] | None = None,
) -> LearnedMemory:
    """A network of PyTorch as a memory: one call of it for each batch, derivatives by PyTorch's own rules.

    **Arguments** as for `from_jax`, and

    - `module`: `module(x, level)` of a batch x: `(b, *shape)` and levels `(b,)`, that returns as many states. It runs
      on the device and in the precision of its parameters, in the mode (`eval` or `train`) that it is in.

    The network runs on the host side of compiled programs, under `jax.vmap` and `jax.jit`; derivatives in forward and
    in reverse mode are `torch.func.jvp`, where PyTorch has it, and `torch.func.vjp`. Its parameters are not copied:
    train it further, and the memory changes with it.

    **Raises** `InputError` for a module that does not return one state for each, and wherever `from_jax` does.
    """
    shape = _shape(shape)
    if not callable(module):
        raise InputError("module", f"got {type(module).__name__}", "a PyTorch module or function is accepted")
    model = _parametrised(
        _called(module, shape), parametrisation, coordinates, alphas_cumprod, sigma_data, probe=(module, shape)
    )
    return _memory(model, shape, levels)


def from_diffusers(model: Any, scheduler: Any, shape: int | Sequence[int] | None = None) -> LearnedMemory:
    """A network of diffusers as a memory, as the scheduler that it was trained with evaluates it.

    **Arguments**

    - `model`: `model(x, t)` that returns a tensor, a tuple, or an output with `sample`, such as a `UNet2DModel`.
    - `scheduler`: has `alphas_cumprod`, and `prediction_type` in its `config`.
    - `shape`: the shape of one state; by default (channels, size, size) of `model.config`.

    **Raises** `InputError` for schedulers without discrete levels, and wherever `from_torch` does.
    """
    config = getattr(scheduler, "config", None)
    levels = getattr(scheduler, "alphas_cumprod", None)
    kind = _entry(config, "prediction_type")
    if levels is None or kind is None:
        given = f"got {type(scheduler).__name__} without alphas_cumprod or config.prediction_type"
        raise InputError("scheduler", given, "a scheduler of discrete levels such as DDPMScheduler is accepted")
    if shape is None:
        channels, size = (_entry(getattr(model, "config", None), name) for name in ("in_channels", "sample_size"))
        if channels is None or size is None:
            raise InputError("shape", "got none for a model without config.sample_size", "the shape of one state")
        shape = (channels, *((size, size) if isinstance(size, int) else size))
    return from_torch(functools.partial(_sample_of, model), shape, kind, alphas_cumprod=levels)


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
    shape = (memory.dimension,) if shape is None else _shape(shape)
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


def pytorch() -> Any:
    """PyTorch, imported when it is first needed; raises `MissingExtraError` where it is not installed."""
    with optional_packages():
        return importlib.import_module("torch")


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


class _Host:
    """A PyTorch network on the host, and the two linear maps that its derivatives are, of arrays of any batch shape."""

    def __init__(self, module: Callable[..., Any], shape: tuple[int, ...]) -> None:
        self.module, self.shape, self.torch = module, shape, pytorch()

    def tensors(self, *arrays: Any) -> list[Any]:
        device, dtype = _placement(self.module)
        # Copies, which the network may write to; arrays of JAX are for reading.
        return [self.torch.tensor(np.asarray(array), dtype=dtype, device=device) for array in arrays]

    def run(self, x: Any, level: Any) -> Any:
        return self.module(x.reshape(-1, *self.shape), level.reshape(-1)).reshape(x.shape)

    def forward(self, x: Any, level: Any) -> Any:
        with self.torch.no_grad():
            return _numbers(self.run(*self.tensors(x, level)), x)

    def push(self, x: Any, level: Any, dx: Any, dlevel: Any) -> Any:
        at, along = self.tensors(x, level), self.tensors(dx, dlevel)
        # Of its kernels for attention PyTorch differentiates only the plain one in forward mode.
        attention = importlib.import_module("torch.nn.attention")
        plain = attention.sdpa_kernel(attention.SDPBackend.MATH)
        with plain, warnings.catch_warnings():  # PyTorch's own, of what its first derivative in forward mode imports
            warnings.filterwarnings("ignore", ".torch.jit", DeprecationWarning)
            try:
                found = self.torch.func.jvp(self.run, tuple(at), tuple(along))[1]
            except RuntimeError:
                # What has no derivative in forward mode, as normalisation after attention, has two in reverse mode.
                pull = self.torch.func.vjp(self.run, *at)[1]
                found = self.torch.func.vjp(pull, self.torch.zeros_like(at[0]))[1](tuple(along))[0]
            return _numbers(found, x)

    def pull(self, x: Any, level: Any, cotangent: Any) -> Any:
        *at, cotangent = self.tensors(x, level, cotangent)
        dx, dlevel = self.torch.func.vjp(self.run, *at)[1](cotangent)
        return _numbers(dx, x), _numbers(dlevel, level)


def _numbers(tensor: Any, like: Any) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().astype(like.dtype)


def _called(module: Callable[..., Any], shape: tuple[int, ...]) -> Callable[..., Any]:
    """A PyTorch network as a function of one flat state and its level, for compiled programs."""
    host = _Host(module, shape)

    @jax.custom_jvp
    def network(x: State, level: Scalar) -> State:
        return jax.pure_callback(host.forward, _like(x), x, level, vmap_method="broadcast_all")

    @network.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return network(*primals), _push.bind(*primals, *tangents, host=host)[0]

    return network


def _like(array: Any) -> Any:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


# JAX differentiates no callback. These two primitives are linear in their last arguments and transposes of each other,
# so that forward mode, reverse mode and any `jax.vmap` around them are calls of PyTorch's own derivatives.
_push, _pull = Primitive("torch_push"), Primitive("torch_pull")


def _pushed(x: Any, level: Any, dx: Any, dlevel: Any, *, host: _Host) -> Any:
    return [jax.pure_callback(host.push, _like(x), x, level, dx, dlevel)]


def _pulled(x: Any, level: Any, cotangent: Any, *, host: _Host) -> Any:
    return list(jax.pure_callback(host.pull, (_like(x), _like(level)), x, level, cotangent))


def _batched(primitive: Primitive, arrays: Any, axes: Any, *, host: _Host) -> Any:
    size = next(a.shape[i] for a, i in zip(arrays, axes, strict=True) if i is not None)
    front = [
        jnp.broadcast_to(array, (size, *array.shape)) if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    ]
    found = primitive.bind(*front, host=host)
    return found, [0] * len(found)


def _transposed(cotangents: Any, x: Any, level: Any, dx: Any, dlevel: Any, *, host: _Host) -> Any:
    found = _pull.bind(x, level, cotangents[0], host=host)
    linear = [ad.is_undefined_primal(part) for part in (dx, dlevel)]
    return [None, None, *(part if wanted else None for part, wanted in zip(found, linear, strict=True))]


for _primitive, _function in ((_push, _pushed), (_pull, _pulled)):
    _primitive.multiple_results = True
    _primitive.def_impl(functools.partial(jax.jit, static_argnames="host")(_function))
    mlir.register_lowering(_primitive, mlir.lower_fun(_function, multiple_results=True))
    batching.primitive_batchers[_primitive] = functools.partial(_batched, _primitive)
_push.def_abstract_eval(lambda x, level, dx, dlevel, *, host: [x])
_pull.def_abstract_eval(lambda x, level, cotangent, *, host: [x, level])
ad.primitive_transposes[_push] = _transposed


def _placement(module: Any) -> tuple[Any, Any]:
    """The device and precision of a network's parameters; of the host, single, where it has none."""
    torch = pytorch()
    network = module.args[0] if isinstance(module, functools.partial) else module
    parameters = getattr(network, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)


def _sample_of(model: Any, x: Any, t: Any) -> Any:
    output = model(x, t)
    output = getattr(output, "sample", output)
    return output[0] if isinstance(output, tuple) else output


def _entry(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


def _shape(shape: Any) -> tuple[int, ...]:
    lengths = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not lengths:
        raise InputError("shape", "got ()", "the shape of one state is accepted")
    return tuple(at_least("shape", length, 1) for length in lengths)


def _memory(
    model: ParametrisedNetwork, shape: tuple[int, ...], levels: tuple[float | int, float | int] | None
) -> LearnedMemory:
    """The memory of a network, which knows the levels that it was trained at."""
    if levels is None and model.log_sigmas is not None:
        low, high = np.exp(np.asarray(model.log_sigmas, float)[[0, -1]])
        levels = (float(low), float(high))
    return LearnedMemory(model, int(np.prod(shape)), "pattern", "VE", levels=levels)


def _parametrised(
    network: Callable[..., Any],
    parametrisation: str,
    coordinates: str,
    alphas_cumprod: Any,
    sigma_data: float,
    probe: tuple[Any, tuple[int, ...]] | None = None,
) -> ParametrisedNetwork:
    if parametrisation not in PARAMETRISATIONS:
        accepted = f"{', '.join(map(repr, PARAMETRISATIONS))} are accepted"
        raise InputError("parametrisation", f"got {parametrisation!r}", accepted)
    if coordinates not in COORDINATES:
        raise InputError("coordinates", f"got {coordinates!r}", "'VP' or 'VE' is accepted")
    estimates, log_sigmas = PARAMETRISATIONS[parametrisation], None
    if alphas_cumprod is not None:
        if estimates == "edm":
            raise InputError("alphas_cumprod", "got some for 'edm'", "that is fed ln(σ)/4: none are accepted")
        log_sigmas, coordinates = _log_sigmas(alphas_cumprod), "VP"
    if probe is not None:
        _check(*probe)
    spread = positive_number("sigma_data", sigma_data)
    return ParametrisedNetwork(network, estimates, coordinates, log_sigmas, spread)


def _log_sigmas(alphas_cumprod: Any) -> Float[Array, " levels"]:
    levels = double_array("alphas_cumprod", alphas_cumprod)
    accepted = "levels that decrease between 1 and 0, (T,), are accepted"
    if levels.ndim != 1 or not levels.size:
        raise InputError("alphas_cumprod", f"got shape {levels.shape}", accepted)
    # Training to pure noise ends at 0, which is no level of finite σ.
    finite = levels[:-1] if levels[-1] == 0 else levels
    if not (finite.size and finite[0] < 1 and finite[-1] > 0 and (np.diff(finite) < 0).all()):
        raise InputError("alphas_cumprod", f"got levels from {levels[0]:g} to {levels[-1]:g}", accepted)
    return jnp.asarray(np.log((1 - finite) / finite) / 2)


def _check(module: Any, shape: tuple[int, ...]) -> None:
    """One call of the network, since what is raised inside of a program is hard to read."""
    torch = pytorch()
    device, dtype = _placement(module)
    x = torch.zeros((2, *shape), device=device, dtype=dtype)
    try:
        with torch.no_grad():
            found = module(x, torch.ones(2, device=device, dtype=dtype))
    except Exception as error:  # whatever the network raises
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            "module", f"cannot be called with {(2, *shape)} and (2,) ({first})", "see from_torch"
        ) from None
    if tuple(getattr(found, "shape", ())) != (2, *shape):
        given = f"returns shape {tuple(getattr(found, 'shape', ()))} for {(2, *shape)}"
        raise InputError("module", given, "one state for each is accepted")


__all__ = ["ParametrisedNetwork", "as_torch", "from_diffusers", "from_jax", "from_torch"]

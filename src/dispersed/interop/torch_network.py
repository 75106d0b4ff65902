"""Networks of PyTorch and diffusers as memories: calls from inside of compiled programs, derivatives included."""

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dispersed.extras import pytorch
from dispersed.interop.parametrisation import network_memory, parametrised, state_shape
from dispersed.memories import LearnedMemory
from dispersed.types import ArrayLike, Scalar, State
from dispersed.validation import InputError, first_line


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
    shape = state_shape(shape)
    if not callable(module):
        raise InputError("module", f"got {type(module).__name__}", "a PyTorch module or function is accepted")
    model = parametrised(_called(module, shape), parametrisation, coordinates, alphas_cumprod, sigma_data)
    _check(module, shape)
    return network_memory(model, shape, levels)


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


def _sample_of(model: Any, x: Any, t: Any) -> Any:
    output = model(x, t)
    output = getattr(output, "sample", output)
    return output[0] if isinstance(output, tuple) else output


def _entry(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


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


def _check(module: Any, shape: tuple[int, ...]) -> None:
    """One call of the network, since what is raised inside of a program is hard to read."""
    torch = pytorch()
    device, dtype = _placement(module)
    x = torch.zeros((2, *shape), device=device, dtype=dtype)
    try:
        with torch.no_grad():
            found = module(x, torch.ones(2, device=device, dtype=dtype))
    except Exception as error:  # whatever the network raises
        raise InputError(
            "module", f"cannot be called with {(2, *shape)} and (2,) ({first_line(error)})", "see from_torch"
        ) from None
    if tuple(getattr(found, "shape", ())) != (2, *shape):
        given = f"returns shape {tuple(getattr(found, 'shape', ()))} for {(2, *shape)}"
        raise InputError("module", given, "one state for each is accepted")

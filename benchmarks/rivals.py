"""The same sums by plain JAX, by PyTorch and by hopfield-layers; nothing of what is not installed."""

import os
from functools import partial

import jax
import jax.numpy as jnp


def jax_mean(y):
    patterns = jnp.asarray(y)
    half = jnp.sum(patterns**2, axis=1) / 2

    @jax.jit
    def mean(patterns, half, x, sigma):
        return jax.nn.softmax((x @ patterns.T - half) / sigma**2, axis=1) @ patterns

    return lambda x, sigma, x_device=jnp.asarray: lambda x=x_device(x): mean(patterns, half, x, sigma)


def torch_or_none():
    try:
        import torch
    except ImportError:
        return None
    return torch


def on_threads(function, name="torch"):
    """A PyTorch call on one thread and on all: which is faster depends on the size, and on what else runs."""
    torch = torch_or_none()

    def on(threads):
        def run():
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return function().numpy()

        return run

    return {name: on(os.cpu_count() or 1), f"{name}, one thread": on(1)}


def torch_mean(y):
    """Two matrix products and a softmax, half the squared norms computed once; nothing without PyTorch."""
    torch = torch_or_none()
    if torch is None:
        return {}
    patterns = torch.from_numpy(y)
    half = (patterns * patterns).sum(dim=1) / 2

    def mean(x, beta):
        return torch.softmax(torch.addmm(half, x, patterns.T, beta=-beta, alpha=beta), dim=1) @ patterns

    def at(name):
        return lambda x, sigma, x_of=torch.from_numpy: on_threads(partial(mean, x_of(x), 1 / sigma**2))[name]

    return {name: at(name) for name in on_threads(mean)}


def hopfield_layers(y, x, beta):
    try:
        from hflayers import Hopfield
    except ImportError:
        print("hopfield-layers is not installed: it is left out.")
        return {}
    names = ("stored_pattern", "state_pattern", "pattern_projection")
    plain = {f"{name}_as_static": True for name in names}
    plain |= {f"normalize_{name}{part}": False for name in names for part in ("", "_affine")}
    # With `update_steps_max` = 0 it updates once.
    layer = Hopfield(scaling=beta, num_heads=1, update_steps_max=0, disable_out_projection=True, **plain).eval()
    stored, state = y[None], x[None]
    return on_threads(lambda: layer((stored, state, stored)), "hopfield-layers")

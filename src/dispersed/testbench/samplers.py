"""Samplers of this library and of others as the test bench calls them."""

import importlib
import inspect
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dispersed.dynamics import Dynamics, recall
from dispersed.extras import pytorch
from dispersed.memories import LearnedMemory
from dispersed.testbench.problem import Sampler
from dispersed.validation import InputError, at_least, positive_number


def dynamics_sampler(dynamics: Dynamics) -> Sampler:
    """A dynamics of this library, which knows of the memory no more than its denoiser.

    Deterministic ones are samplers of problems without a cue.
    """
    if not isinstance(dynamics, Dynamics):
        raise InputError("dynamics", f"got {dynamics!r}", "a dynamics such as AncestralSampling() is accepted")

    def sampler(denoise: Any, z: Any, sigma: Any, key: Any) -> Any:
        return _recalled(dynamics, denoise, z, jnp.asarray(sigma, z.dtype), key)

    return sampler


@eqx.filter_jit
def _recalled(dynamics: Dynamics, denoise: Any, z: Any, sigma: Any, key: Any) -> Any:
    memory = LearnedMemory(denoise, z.shape[-1], "pattern", "VE")
    return recall(memory, z, dynamics, sigma=sigma, key=key).x


def diffusers_sampler(scheduler: type, steps: int = 200, sigma_min: float = 0.01, **config: Any) -> Sampler:
    """A scheduler of diffusers of discrete levels of noise, such as `DDPMScheduler` or `DDIMScheduler`.

    It is made anew for each problem, with `config`, at as many levels of training as steps, from `sigma_min` to the
    problem's own σ in equal steps of log σ. `config` may have `eta`, which is passed to the scheduler's `step`.
    """
    steps, sigma_min = at_least("steps", steps, 2), positive_number("sigma_min", sigma_min)
    if not isinstance(scheduler, type) or not hasattr(scheduler, "set_timesteps"):
        given = getattr(scheduler, "__name__", f"an instance of {type(scheduler).__name__}")
        raise InputError("scheduler", f"got {given}", "a class of diffusers is accepted, such as DDPMScheduler")
    known = inspect.signature(scheduler).parameters
    fixed = {"eta": config.pop("eta")} if "eta" in config else {}
    if "trained_betas" not in known:
        given = f"got {scheduler.__name__}, which takes no trained_betas"
        raise InputError("scheduler", given, "schedulers of discrete levels of noise are accepted")
    for name in config.keys() - known:
        raise InputError(name, f"{scheduler.__name__} does not take it", f"{', '.join(known)} are accepted")

    def sampler(denoise: Any, z: Any, sigma: float, seed: Any) -> Any:
        torch = _pytorch_for(z)
        levels = np.exp(np.linspace(math.log(min(sigma_min, sigma / 2)), math.log(sigma), steps))
        alphas = 1 / (1 + levels**2)
        betas = 1 - alphas / np.concatenate([[1.0], alphas[:-1]])
        options = {"clip_sample": False, "prediction_type": "epsilon", "timestep_spacing": "trailing"}
        options = {name: value for name, value in options.items() if name in known} | config
        made: Any = scheduler(num_train_timesteps=steps, trained_betas=betas, **options)
        made.set_timesteps(steps)
        # Schedulers in coordinates of σ divide their states for the network; the states of the others are αz.
        exploding = not torch.equal(made.scale_model_input(z, made.timesteps[0]), z)
        x = z if exploding else z * math.sqrt(alphas[-1])
        step_options: dict[str, Any] = dict(fixed)
        if "generator" in inspect.signature(made.step).parameters:
            step_options |= {"generator": torch.Generator().manual_seed(seed)}
        for t in made.timesteps:
            # Some evaluate between two levels, at a t that they interpolate in log σ.
            level = math.exp(np.interp(float(t), np.arange(steps), np.log(levels)))
            state = made.scale_model_input(x, t) * math.hypot(1.0, level)
            noise = (state - denoise(state, level)) / level
            x = made.step(noise, t, x, **step_options).prev_sample
        return x

    return sampler


def k_diffusion_sampler(
    sample: Callable[..., Any], steps: int = 200, sigma_min: float = 0.01, **options: Any
) -> Sampler:
    """A function of `k_diffusion.sampling`, such as `sample_euler_ancestral`, on a grid of equal steps of log σ."""
    steps, sigma_min = at_least("steps", steps, 2), positive_number("sigma_min", sigma_min)
    if not callable(sample):
        accepted = "a function of k_diffusion.sampling is accepted, such as sample_euler_ancestral"
        raise InputError("sample", f"got {type(sample).__name__}", accepted)

    def sampler(denoise: Any, z: Any, sigma: float, seed: Any) -> Any:
        torch = _pytorch_for(z)
        grid = torch.linspace(math.log(sigma), math.log(min(sigma_min, sigma / 2)), steps).exp()
        sigmas = torch.cat([grid, torch.zeros(1)]).to(z)
        return sample(denoise, z, sigmas, disable=True, **options)

    return sampler


def azula_sampler(sampler_class: type, steps: int = 200, sigma_min: float = 0.01, **options: Any) -> Sampler:
    """A sampler of `azula.sample`, such as `DDPMSampler`, under a variance exploding schedule from the problem's σ."""
    steps, sigma_min = at_least("steps", steps, 2), positive_number("sigma_min", sigma_min)
    if not isinstance(sampler_class, type):
        accepted = "a class of azula.sample is accepted, such as DDPMSampler"
        raise InputError("sampler_class", f"got {type(sampler_class).__name__}", accepted)

    def sampler(denoise: Any, z: Any, sigma: float, seed: Any) -> Any:
        _pytorch_for(z)
        azula_denoise, azula_noise = (importlib.import_module(f"azula.{name}") for name in ("denoise", "noise"))
        schedule = azula_noise.VESchedule(min(sigma_min, sigma / 2), sigma)

        class Exact(azula_denoise.Denoiser):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.schedule = schedule

            def forward(self, x: Any, t: Any, **_: Any) -> Any:
                alpha, level = schedule(t)
                return azula_denoise.DiracPosterior(mean=denoise(x / alpha, (level / alpha).reshape(())))

        return sampler_class(Exact(), steps=steps, silent=True, **options)(z)

    return sampler


def _pytorch_for(z: Any) -> Any:
    """PyTorch, for states that are its tensors."""
    torch = pytorch()
    if not isinstance(z, torch.Tensor):
        accepted = "a sampler of PyTorch is called with a whole number as key, such as key=0"
        raise InputError("key", "got a key of JAX", accepted)
    return torch


__all__ = ["azula_sampler", "diffusers_sampler", "dynamics_sampler", "k_diffusion_sampler"]

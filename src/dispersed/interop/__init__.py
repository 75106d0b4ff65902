"""Memories as PyTorch denoisers, and networks of PyTorch, diffusers and JAX as memories.

Nothing of PyTorch is imported before it is needed.
"""

from dispersed.interop.parametrisation import ParametrisedNetwork, from_jax
from dispersed.interop.torch_denoiser import as_torch
from dispersed.interop.torch_network import from_diffusers, from_torch

__all__ = ["ParametrisedNetwork", "as_torch", "from_diffusers", "from_jax", "from_torch"]

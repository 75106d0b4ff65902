"""Associative memories and diffusion models as one family.

A memory is a distribution of states; noise disperses it; recall gathers it again.
"""

from dispersed.dynamics import (
    Asynchronous,
    ExponentialIntegrator,
    Iteration,
    OneStep,
    ProbabilityFlow,
    Recall,
    ReverseSDE,
    recall,
)
from dispersed.memories import (
    Box,
    ClassicalHopfield,
    Denoiser,
    DenseHopfield,
    Exponential,
    GaussianMemory,
    Memory,
    Mixture,
    ModernHopfield,
    Network,
    PatternMemory,
    Polynomial,
    ReconstructiveMemory,
    Segment,
    Smoothed,
    Sphere,
    Subspace,
    SumOfCores,
    manifold,
)
from dispersed.noise import alpha_from_sigma, beta_from_sigma, sigma_from_alpha, sigma_from_beta
from dispersed.processes import VE, VP, Cosine, Linear
from dispersed.validation import InputError

__version__ = "0.1.0"

__all__ = [
    "VE",
    "VP",
    "Asynchronous",
    "Box",
    "ClassicalHopfield",
    "Cosine",
    "Denoiser",
    "DenseHopfield",
    "Exponential",
    "ExponentialIntegrator",
    "GaussianMemory",
    "InputError",
    "Iteration",
    "Linear",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "OneStep",
    "PatternMemory",
    "Polynomial",
    "ProbabilityFlow",
    "Recall",
    "ReconstructiveMemory",
    "ReverseSDE",
    "Segment",
    "Smoothed",
    "Sphere",
    "Subspace",
    "SumOfCores",
    "alpha_from_sigma",
    "beta_from_sigma",
    "manifold",
    "recall",
    "sigma_from_alpha",
    "sigma_from_beta",
]

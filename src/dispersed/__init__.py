"""Associative memories and diffusion models as one family.

A memory is a distribution of states; noise disperses it; recall gathers it again.
"""

from dispersed.capacity import Capacity, CellFile, capacity
from dispersed.dynamics import (
    AncestralSampling,
    Asynchronous,
    ExponentialIntegrator,
    Iteration,
    OneStep,
    Posterior,
    ProbabilityFlow,
    Recall,
    ReverseSDE,
    recall,
    recall_many,
    reliability,
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
from dispersed.processes import VE, VP, Cosine, FokkerPlanck, Linear, PotentialProcess
from dispersed.validation import InputError

__version__ = "0.1.0"

__all__ = [
    "VE",
    "VP",
    "AncestralSampling",
    "Asynchronous",
    "Box",
    "Capacity",
    "CellFile",
    "ClassicalHopfield",
    "Cosine",
    "Denoiser",
    "DenseHopfield",
    "Exponential",
    "ExponentialIntegrator",
    "FokkerPlanck",
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
    "Posterior",
    "PotentialProcess",
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
    "capacity",
    "manifold",
    "recall",
    "recall_many",
    "reliability",
    "sigma_from_alpha",
    "sigma_from_beta",
]

"""Associative memories and diffusion models as one family.

A memory is a distribution of states; noise disperses it; recall gathers it again.
"""

from dispersed.dynamics import (
    Asynchronous,
    Circuit,
    ExponentialIntegrator,
    Iteration,
    OneStep,
    ProbabilityFlow,
    Recall,
    ReverseSDE,
    recall,
)
from dispersed.learning import (
    Recipe,
    attractors,
    basins,
    noise_network,
    preconditioned_network,
    score_gap,
    train,
    train_ensemble,
)
from dispersed.memories import (
    ClassicalHopfield,
    Denoiser,
    DenseHopfield,
    Exponential,
    LearnedMemory,
    Memory,
    ModernHopfield,
    Network,
    PatternMemory,
    Polynomial,
)
from dispersed.noise import alpha_from_sigma, beta_from_sigma, sigma_from_alpha, sigma_from_beta
from dispersed.processes import VE, VP, Cosine, Linear
from dispersed.validation import InputError

__version__ = "0.1.0"

__all__ = [
    "VE",
    "VP",
    "Asynchronous",
    "Circuit",
    "ClassicalHopfield",
    "Cosine",
    "Denoiser",
    "DenseHopfield",
    "Exponential",
    "ExponentialIntegrator",
    "InputError",
    "Iteration",
    "LearnedMemory",
    "Linear",
    "Memory",
    "ModernHopfield",
    "Network",
    "OneStep",
    "PatternMemory",
    "Polynomial",
    "ProbabilityFlow",
    "Recall",
    "Recipe",
    "ReverseSDE",
    "alpha_from_sigma",
    "attractors",
    "basins",
    "beta_from_sigma",
    "noise_network",
    "preconditioned_network",
    "recall",
    "score_gap",
    "sigma_from_alpha",
    "sigma_from_beta",
    "train",
    "train_ensemble",
]

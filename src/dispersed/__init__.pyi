"""What `import dispersed` offers; each name is imported when it is first used."""

from . import capacities as capacities
from . import diagnostics as diagnostics
from . import dynamics as dynamics
from . import learning as learning
from . import memories as memories
from . import noise as noise
from . import processes as processes
from .capacities import Capacity, CellFile, capacity
from .dynamics import (
    AncestralSampling,
    Asynchronous,
    CertifiedFlow,
    Circuit,
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
from .learning import (
    Recipe,
    attractors,
    basins,
    noise_network,
    preconditioned_network,
    score_gap,
    train,
    train_ensemble,
)
from .memories import (
    Box,
    ClassicalHopfield,
    Denoiser,
    DenseHopfield,
    Exponential,
    GaussianMemory,
    LearnedMemory,
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
from .noise import alpha_from_sigma, beta_from_sigma, sigma_from_alpha, sigma_from_beta
from .processes import VE, VP, Cosine, FokkerPlanck, Linear, PotentialProcess
from .engines import PatternPosterior, ShardedMemory, StoredMemory
from .validation import InputError

__version__: str

__all__ = [
    "VE",
    "VP",
    "AncestralSampling",
    "Asynchronous",
    "Box",
    "Capacity",
    "CellFile",
    "CertifiedFlow",
    "Circuit",
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
    "LearnedMemory",
    "Linear",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "OneStep",
    "PatternMemory",
    "PatternPosterior",
    "Polynomial",
    "Posterior",
    "PotentialProcess",
    "ProbabilityFlow",
    "Recall",
    "Recipe",
    "ReconstructiveMemory",
    "ReverseSDE",
    "Segment",
    "ShardedMemory",
    "Smoothed",
    "Sphere",
    "StoredMemory",
    "Subspace",
    "SumOfCores",
    "alpha_from_sigma",
    "attractors",
    "basins",
    "beta_from_sigma",
    "capacity",
    "manifold",
    "noise_network",
    "preconditioned_network",
    "recall",
    "recall_many",
    "reliability",
    "score_gap",
    "sigma_from_alpha",
    "sigma_from_beta",
    "train",
    "train_ensemble",
]

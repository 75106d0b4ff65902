"""What `import dispersed` offers; each name is imported when it is first used."""

from . import capacities as capacities
from . import conditioning as conditioning
from . import consolidation as consolidation
from . import datasets as datasets
from . import diagnostics as diagnostics
from . import dynamics as dynamics
from . import engines as engines
from . import learning as learning
from . import memories as memories
from . import noise as noise
from . import plasticity as plasticity
from . import processes as processes
from . import storage as storage
from .capacities import Capacity, CellFile, capacity
from .conditioning import Observation, condition
from .dynamics import (
    DDIM,
    AncestralSampling,
    Asynchronous,
    CertifiedFlow,
    Circuit,
    DPMSolver2M,
    DPMSolver3M,
    ExponentialIntegrator,
    Heun,
    Iteration,
    OneStep,
    Posterior,
    ProbabilityFlow,
    Recall,
    Result,
    ReverseSDE,
    Solver,
    estimate_sigma,
    recall,
    recall_many,
    reliability,
)
from .engines import Dense, Scanned, ScanOptions, Sharded
from .equation_index import Equation, equations
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
from .storage import PatternStore, open_patterns, save_patterns
from .validation import InputError

__version__: str

__all__ = [
    "DDIM",
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
    "DPMSolver2M",
    "DPMSolver3M",
    "Denoiser",
    "Dense",
    "DenseHopfield",
    "Equation",
    "Exponential",
    "ExponentialIntegrator",
    "FokkerPlanck",
    "GaussianMemory",
    "Heun",
    "InputError",
    "Iteration",
    "LearnedMemory",
    "Linear",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "Observation",
    "OneStep",
    "PatternMemory",
    "PatternStore",
    "Polynomial",
    "Posterior",
    "PotentialProcess",
    "ProbabilityFlow",
    "Recall",
    "Recipe",
    "ReconstructiveMemory",
    "Result",
    "ReverseSDE",
    "ScanOptions",
    "Scanned",
    "Segment",
    "Sharded",
    "Smoothed",
    "Solver",
    "Sphere",
    "Subspace",
    "SumOfCores",
    "alpha_from_sigma",
    "attractors",
    "basins",
    "beta_from_sigma",
    "capacity",
    "condition",
    "equations",
    "estimate_sigma",
    "manifold",
    "noise_network",
    "open_patterns",
    "preconditioned_network",
    "recall",
    "recall_many",
    "reliability",
    "save_patterns",
    "score_gap",
    "sigma_from_alpha",
    "sigma_from_beta",
    "train",
    "train_ensemble",
]

"""What `import dispersed` offers; each name is imported when it is first used."""

from . import auditing as auditing
from . import capacities as capacities
from . import conditioning as conditioning
from . import consolidation as consolidation
from . import datasets as datasets
from . import diagnostics as diagnostics
from . import dynamics as dynamics
from . import engines as engines
from . import interop as interop
from . import layers as layers
from . import learning as learning
from . import memories as memories
from . import noise as noise
from . import plasticity as plasticity
from . import processes as processes
from . import storage as storage
from . import testbench as testbench
from . import theory as theory
from .auditing import Audit, audit
from .bifurcation import Bifurcations, bifurcations
from .capacities import Capacity, CapacityMap, CellFile, capacity, capacity_map
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
    Covariance,
    Denoiser,
    DenseHopfield,
    EnergyNetwork,
    Entmax,
    EpanechnikovHopfield,
    Exponential,
    FenchelYoungHopfield,
    GaussianMemory,
    Hebb,
    LearnedMemory,
    LocalMemory,
    Max,
    Memory,
    Mixture,
    ModernHopfield,
    Network,
    Normmax,
    Palimpsest,
    PatternMemory,
    Perceptron,
    Polynomial,
    PseudoInverse,
    RandomFeatureHopfield,
    ReconstructiveMemory,
    Rule,
    Segment,
    SequenceMemory,
    Smoothed,
    SparseHopfield,
    Sphere,
    Storkey,
    Subspace,
    SumOfCores,
    UniversalHopfield,
    Unlearning,
    Willshaw,
    manifold,
)
from .noise import alpha_from_sigma, beta_from_sigma, sigma_from_alpha, sigma_from_beta
from .processes import VE, VP, Cosine, FokkerPlanck, Linear, PotentialProcess
from .regime import Regimes, regimes
from .storage import PatternStore, open_patterns, save_patterns
from .validation import InputError

__version__: str

__all__ = [
    "DDIM",
    "VE",
    "VP",
    "AncestralSampling",
    "Asynchronous",
    "Audit",
    "Bifurcations",
    "Box",
    "Capacity",
    "CapacityMap",
    "CellFile",
    "CertifiedFlow",
    "Circuit",
    "ClassicalHopfield",
    "Cosine",
    "Covariance",
    "DPMSolver2M",
    "DPMSolver3M",
    "Denoiser",
    "Dense",
    "DenseHopfield",
    "EnergyNetwork",
    "Entmax",
    "EpanechnikovHopfield",
    "Equation",
    "Exponential",
    "ExponentialIntegrator",
    "FenchelYoungHopfield",
    "FokkerPlanck",
    "GaussianMemory",
    "Hebb",
    "Heun",
    "InputError",
    "Iteration",
    "LearnedMemory",
    "Linear",
    "LocalMemory",
    "Max",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "Normmax",
    "Observation",
    "OneStep",
    "Palimpsest",
    "PatternMemory",
    "PatternStore",
    "Perceptron",
    "Polynomial",
    "Posterior",
    "PotentialProcess",
    "ProbabilityFlow",
    "PseudoInverse",
    "RandomFeatureHopfield",
    "Recall",
    "Recipe",
    "ReconstructiveMemory",
    "Regimes",
    "Result",
    "ReverseSDE",
    "Rule",
    "ScanOptions",
    "Scanned",
    "Segment",
    "SequenceMemory",
    "Sharded",
    "Smoothed",
    "Solver",
    "SparseHopfield",
    "Sphere",
    "Storkey",
    "Subspace",
    "SumOfCores",
    "UniversalHopfield",
    "Unlearning",
    "Willshaw",
    "alpha_from_sigma",
    "attractors",
    "audit",
    "basins",
    "beta_from_sigma",
    "bifurcations",
    "capacity",
    "capacity_map",
    "condition",
    "equations",
    "estimate_sigma",
    "manifold",
    "noise_network",
    "open_patterns",
    "preconditioned_network",
    "recall",
    "recall_many",
    "regimes",
    "reliability",
    "save_patterns",
    "score_gap",
    "sigma_from_alpha",
    "sigma_from_beta",
    "train",
    "train_ensemble",
]

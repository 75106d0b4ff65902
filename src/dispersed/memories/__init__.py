"""Memories: what is stored, and the energy or denoiser that belongs to it."""

from dispersed.memories.associative_memory import AssociativeMemory
from dispersed.memories.denoiser import Denoiser
from dispersed.memories.energy import EnergyNetwork, RandomFeatureHopfield
from dispersed.memories.extended import Extended
from dispersed.memories.flat import Box, Segment, Subspace
from dispersed.memories.gaussian import GaussianMemory
from dispersed.memories.held import Held
from dispersed.memories.hopfield_binary import BinaryNetwork
from dispersed.memories.hopfield_classical import ClassicalHopfield
from dispersed.memories.hopfield_dense import DenseHopfield
from dispersed.memories.hopfield_epanechnikov import EpanechnikovHopfield
from dispersed.memories.hopfield_modern import ModernHopfield
from dispersed.memories.hopfield_sequence import SequenceMemory
from dispersed.memories.hopfield_sparse import Covariance, SparseHopfield, Willshaw
from dispersed.memories.hopfield_universal import FenchelYoungHopfield, UniversalHopfield
from dispersed.memories.interaction import Exponential, Interaction, Polynomial
from dispersed.memories.learned import LearnedMemory
from dispersed.memories.local import LocalMemory
from dispersed.memories.manifold import manifold
from dispersed.memories.memory import Memory
from dispersed.memories.mixture import Mixture
from dispersed.memories.network import Network
from dispersed.memories.patterns import PatternMemory
from dispersed.memories.reconstructive import ReconstructiveMemory, SumOfCores
from dispersed.memories.rules import Hebb, Palimpsest, Perceptron, PseudoInverse, Rule, Storkey, Unlearning
from dispersed.memories.separation import Entmax, Max, Normmax
from dispersed.memories.smoothed import Smoothed
from dispersed.memories.sphere import Sphere

__all__ = [
    "AssociativeMemory",
    "BinaryNetwork",
    "Box",
    "ClassicalHopfield",
    "Covariance",
    "Denoiser",
    "DenseHopfield",
    "EnergyNetwork",
    "Entmax",
    "EpanechnikovHopfield",
    "Exponential",
    "Extended",
    "FenchelYoungHopfield",
    "GaussianMemory",
    "Hebb",
    "Held",
    "Interaction",
    "LearnedMemory",
    "LocalMemory",
    "Max",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "Normmax",
    "Palimpsest",
    "PatternMemory",
    "Perceptron",
    "Polynomial",
    "PseudoInverse",
    "RandomFeatureHopfield",
    "ReconstructiveMemory",
    "Rule",
    "Segment",
    "SequenceMemory",
    "Smoothed",
    "SparseHopfield",
    "Sphere",
    "Storkey",
    "Subspace",
    "SumOfCores",
    "UniversalHopfield",
    "Unlearning",
    "Willshaw",
    "manifold",
]

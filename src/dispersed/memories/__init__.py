"""Memories: what is stored, and the energy or denoiser that belongs to it."""

from dispersed.memories.associative_memory import AssociativeMemory
from dispersed.memories.extended import Extended
from dispersed.memories.flat import Box, Segment, Subspace
from dispersed.memories.gaussian import GaussianMemory
from dispersed.memories.hopfield_binary import BinaryNetwork
from dispersed.memories.hopfield_classical import ClassicalHopfield
from dispersed.memories.hopfield_dense import DenseHopfield
from dispersed.memories.hopfield_modern import ModernHopfield
from dispersed.memories.interaction import Exponential, Interaction, Polynomial
from dispersed.memories.learned import LearnedMemory
from dispersed.memories.manifold import manifold
from dispersed.memories.memory import Denoiser, Held, Memory
from dispersed.memories.mixture import Mixture
from dispersed.memories.network import Network
from dispersed.memories.patterns import PatternMemory
from dispersed.memories.reconstructive import ReconstructiveMemory, SumOfCores
from dispersed.memories.smoothed import Smoothed
from dispersed.memories.sphere import Sphere

__all__ = [
    "AssociativeMemory",
    "BinaryNetwork",
    "Box",
    "ClassicalHopfield",
    "Denoiser",
    "DenseHopfield",
    "Exponential",
    "Extended",
    "GaussianMemory",
    "Held",
    "Interaction",
    "LearnedMemory",
    "Memory",
    "Mixture",
    "ModernHopfield",
    "Network",
    "PatternMemory",
    "Polynomial",
    "ReconstructiveMemory",
    "Segment",
    "Smoothed",
    "Sphere",
    "Subspace",
    "SumOfCores",
    "manifold",
]

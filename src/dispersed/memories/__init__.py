"""Memories: what is stored, and the energy or denoiser that belongs to it."""

from dispersed.memories.binary import BinaryNetwork, ClassicalHopfield, DenseHopfield
from dispersed.memories.interaction import Exponential, Interaction, Polynomial
from dispersed.memories.learned import LearnedMemory
from dispersed.memories.memory import Denoiser, Held, Memory
from dispersed.memories.modern import ModernHopfield
from dispersed.memories.network import Network
from dispersed.memories.patterns import PatternMemory

__all__ = [
    "BinaryNetwork",
    "ClassicalHopfield",
    "Denoiser",
    "DenseHopfield",
    "Exponential",
    "Held",
    "Interaction",
    "LearnedMemory",
    "Memory",
    "ModernHopfield",
    "Network",
    "PatternMemory",
    "Polynomial",
]

"""Learning: memories that live in the weights of a network instead of in a list of patterns (Sec. 4)."""

from dispersed.learning.checkpoint import load, save
from dispersed.learning.convolutional import local_network, unet_network
from dispersed.learning.ensemble import Ensemble, train_ensemble
from dispersed.learning.gap import Attractors, Gap, attractors, basins, score_gap
from dispersed.learning.levels import Levels, LogNormal, LogUniform, UniformTime, UnitOutput, total_noise, unit_noise
from dispersed.learning.loop import Curve, DivergedError
from dispersed.learning.networks import noise_network, preconditioned_network
from dispersed.learning.recipe import Recipe
from dispersed.learning.shipped import pretrained
from dispersed.learning.training import Trained, train

__all__ = [
    "Attractors",
    "Curve",
    "DivergedError",
    "Ensemble",
    "Gap",
    "Levels",
    "LogNormal",
    "LogUniform",
    "Recipe",
    "Trained",
    "UniformTime",
    "UnitOutput",
    "attractors",
    "basins",
    "load",
    "local_network",
    "noise_network",
    "preconditioned_network",
    "pretrained",
    "save",
    "score_gap",
    "total_noise",
    "train",
    "train_ensemble",
    "unet_network",
    "unit_noise",
]

"""Capacity: how many patterns a memory holds before recall fails."""

from dispersed.capacities.capacity import Capacity, capacity, error_row
from dispersed.capacities.cell_file import CellFile
from dispersed.capacities.corruption import Corruption, Flip, Mask, Noise, Occlusion
from dispersed.capacities.ensembles import Gaussian, HiddenManifold, Rademacher, Sparse, Spherical, Subsample
from dispersed.capacities.estimate import estimate, smooth
from dispersed.capacities.maps import CapacityMap, capacity_map
from dispersed.capacities.measures import Overlap

__all__ = [
    "Capacity",
    "CapacityMap",
    "CellFile",
    "Corruption",
    "Flip",
    "Gaussian",
    "HiddenManifold",
    "Mask",
    "Noise",
    "Occlusion",
    "Overlap",
    "Rademacher",
    "Sparse",
    "Spherical",
    "Subsample",
    "capacity",
    "capacity_map",
    "error_row",
    "estimate",
    "smooth",
]

"""Capacity: how many patterns a memory holds before recall fails."""

from dispersed.capacities.capacity import Capacity, capacity, error_row
from dispersed.capacities.cell_file import CellFile
from dispersed.capacities.estimate import estimate, smooth

__all__ = ["Capacity", "CellFile", "capacity", "error_row", "estimate", "smooth"]

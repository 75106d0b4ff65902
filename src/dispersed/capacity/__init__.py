"""Capacity: how many patterns a memory holds before recall fails."""

from dispersed.capacity.capacity import Capacity, capacity, error_row
from dispersed.capacity.cell_file import CellFile
from dispersed.capacity.estimate import estimate, smooth

__all__ = ["Capacity", "CellFile", "capacity", "error_row", "estimate", "smooth"]

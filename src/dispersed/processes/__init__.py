"""Processes: how noise disperses a memory in time."""

from dispersed.processes.gaussian import VE, VP
from dispersed.processes.process import Process
from dispersed.processes.rates import Constant, Cosine, Linear, Rate

__all__ = ["VE", "VP", "Constant", "Cosine", "Linear", "Process", "Rate"]

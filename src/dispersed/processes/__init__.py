"""Processes: how noise disperses a memory in time."""

from dispersed.processes.fokker_planck import FokkerPlanck
from dispersed.processes.gaussian import VE, VP
from dispersed.processes.potential import PotentialProcess
from dispersed.processes.process import Process
from dispersed.processes.rates import Constant, Cosine, Linear, Rate

__all__ = ["VE", "VP", "Constant", "Cosine", "FokkerPlanck", "Linear", "PotentialProcess", "Process", "Rate"]

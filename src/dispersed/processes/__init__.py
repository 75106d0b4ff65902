"""Processes: how noise disperses a memory over time."""

from dispersed.processes.conservative import PotentialProcess
from dispersed.processes.fokker_planck import FokkerPlanck
from dispersed.processes.process import Process
from dispersed.processes.rates import Constant, Cosine, Linear, Rate
from dispersed.processes.variance_exploding import VE
from dispersed.processes.variance_preserving import VP

__all__ = ["VE", "VP", "Constant", "Cosine", "FokkerPlanck", "Linear", "PotentialProcess", "Process", "Rate"]

"""Recall: gathering a memory that noise has dispersed."""

from dispersed.recall.dynamics import Dynamics, Outcome
from dispersed.recall.exponential import ExponentialIntegrator, OneStep
from dispersed.recall.flow import ProbabilityFlow, ReverseSDE
from dispersed.recall.iteration import Asynchronous, Iteration
from dispersed.recall.recall import Recall, recall

__all__ = [
    "Asynchronous",
    "Dynamics",
    "ExponentialIntegrator",
    "Iteration",
    "OneStep",
    "Outcome",
    "ProbabilityFlow",
    "Recall",
    "ReverseSDE",
    "recall",
]

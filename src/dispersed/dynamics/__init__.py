"""Dynamics: ways to gather a memory that noise has dispersed, and the one `recall` that runs them all."""

from dispersed.dynamics.circuit import Circuit
from dispersed.dynamics.dynamics import Dynamics, Outcome
from dispersed.dynamics.exponential import ExponentialIntegrator, OneStep
from dispersed.dynamics.flow import ProbabilityFlow, ReverseSDE
from dispersed.dynamics.iteration import Asynchronous, Iteration
from dispersed.dynamics.recall import Recall, recall

__all__ = [
    "Asynchronous",
    "Circuit",
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

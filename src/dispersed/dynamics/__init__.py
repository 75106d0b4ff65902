"""Dynamics: ways to gather a memory that noise has dispersed, and the one `recall` that runs them all."""

from dispersed.dynamics.ancestral import AncestralSampling
from dispersed.dynamics.calibration import Reliability, reliability
from dispersed.dynamics.certified import CertifiedFlow
from dispersed.dynamics.circuit import Circuit
from dispersed.dynamics.dynamics import Certificate, Dynamics, Outcome, Recall
from dispersed.dynamics.exponential import ExponentialIntegrator, OneStep
from dispersed.dynamics.flow import ProbabilityFlow, ReverseSDE
from dispersed.dynamics.iteration import Asynchronous, Iteration
from dispersed.dynamics.noise_level import NoiseLevel, estimate_sigma
from dispersed.dynamics.posterior import Posterior, recall_many
from dispersed.dynamics.recall import recall

__all__ = [
    "AncestralSampling",
    "Asynchronous",
    "Certificate",
    "CertifiedFlow",
    "Circuit",
    "Dynamics",
    "ExponentialIntegrator",
    "Iteration",
    "NoiseLevel",
    "OneStep",
    "Outcome",
    "Posterior",
    "ProbabilityFlow",
    "Recall",
    "Reliability",
    "ReverseSDE",
    "estimate_sigma",
    "recall",
    "recall_many",
    "reliability",
]

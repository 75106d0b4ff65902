"""Dynamics: ways to recall a memory that noise has dispersed, and the one `recall` that runs them all."""

from typing import TYPE_CHECKING

import lazy_loader

from dispersed.dynamics.ancestral import AncestralSampling
from dispersed.dynamics.calibration import Reliability, reliability
from dispersed.dynamics.certified import CertifiedFlow
from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.exponential_integrators import (
    DDIM,
    DPMSolver2M,
    DPMSolver3M,
    ExponentialIntegrator,
    OneStep,
)
from dispersed.dynamics.grids import karras, log_one_plus_snr, log_sigma, uniform_time
from dispersed.dynamics.heun import Heun
from dispersed.dynamics.iteration import Asynchronous, Iteration
from dispersed.dynamics.multistep_flow import MultistepFlow
from dispersed.dynamics.noise_level import NoiseLevel, estimate_sigma
from dispersed.dynamics.posterior import Posterior, recall_many
from dispersed.dynamics.recall import recall
from dispersed.dynamics.registry import named
from dispersed.dynamics.result import Certificate, Outcome, Recall, Result
from dispersed.dynamics.solver import Solver

if TYPE_CHECKING:
    from dispersed.dynamics.circuit import Circuit
    from dispersed.dynamics.probability_flow import ProbabilityFlow
    from dispersed.dynamics.reverse_sde import ReverseSDE

# diffrax takes nearly as long to import as JAX itself, and most recalls do without.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={"circuit": ["Circuit"], "probability_flow": ["ProbabilityFlow"], "reverse_sde": ["ReverseSDE"]},
)

__all__ = [
    "DDIM",
    "AncestralSampling",
    "Asynchronous",
    "Certificate",
    "CertifiedFlow",
    "Circuit",
    "DPMSolver2M",
    "DPMSolver3M",
    "Dynamics",
    "ExponentialIntegrator",
    "Heun",
    "Iteration",
    "MultistepFlow",
    "NoiseLevel",
    "OneStep",
    "Outcome",
    "Posterior",
    "ProbabilityFlow",
    "Recall",
    "Reliability",
    "Result",
    "ReverseSDE",
    "Solver",
    "estimate_sigma",
    "karras",
    "log_one_plus_snr",
    "log_sigma",
    "named",
    "recall",
    "recall_many",
    "reliability",
    "uniform_time",
]


def __dir__() -> list[str]:
    return __all__

"""Plasticity: networks that learn by synaptic rules, one experience at a time (Sec. 4, Eq. 22)."""

from dispersed.plasticity.online import Rule, learn, online_update, sgd
from dispersed.plasticity.perturbation import Decorrelating, NodePerturbation, perturbable
from dispersed.plasticity.rhythm import Rhythm, live

__all__ = [
    "Decorrelating",
    "NodePerturbation",
    "Rhythm",
    "Rule",
    "learn",
    "live",
    "online_update",
    "perturbable",
    "sgd",
]

"""Audits: what a trained generative model has memorised of its training data."""

from dispersed.auditing.audit import Audit, Copy, audit
from dispersed.auditing.distinct_neighbours import Neighbours
from dispersed.auditing.network import NetworkAudit

__all__ = ["Audit", "Copy", "Neighbours", "NetworkAudit", "audit"]

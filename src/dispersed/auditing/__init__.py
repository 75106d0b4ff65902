"""Audits: what a trained generative model has memorised of its training data."""

from dispersed.auditing.audit import Audit, Copy, Neighbours, audit
from dispersed.auditing.network import NetworkAudit

__all__ = ["Audit", "Copy", "Neighbours", "NetworkAudit", "audit"]

"""Consolidation: memories that are trained again on what they replay, and what chance alone does to them (Sec. 6.2)."""

from dispersed.consolidation.drift import diversity, fixation_probability, fixed_by, mean_fixation_time
from dispersed.consolidation.replay import generate, partial_replay, replay

__all__ = [
    "diversity",
    "fixation_probability",
    "fixed_by",
    "generate",
    "mean_fixation_time",
    "partial_replay",
    "replay",
]

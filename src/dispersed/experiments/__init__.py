"""Experiments: every table and figure of the paper, and what goes beyond it, as functions that return rows."""

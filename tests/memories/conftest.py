"""Slow, plain oracles in double precision that the closed forms are held against."""

import numpy as np
import pytest


def dense_oracle(points, log_weights, x, sigma):
    """log p_σ(x) and D_σ(x) of a finite set of weighted points, by one plain sum."""
    log_terms = log_weights - ((x - points) ** 2).sum(1) / (2 * sigma**2)
    top = log_terms.max()
    terms = np.exp(log_terms - top)
    log_p = top + np.log(terms.sum()) - len(x) * np.log(sigma * np.sqrt(2 * np.pi))
    return log_p, terms @ points / terms.sum()


def interval_nodes(low, high, away, sigma, panels=60, order=20):
    """Gauss–Legendre nodes and weights on [low, high] ∋ 0 for a Gaussian at `away`, whose nearest point is 0.

    Panels follow σ, and σ²/|away| where the falloff from an end is steeper. An empty interval is one point.
    """
    if low == high:
        return np.array([low]), np.array([1.0])
    at, weight = np.polynomial.legendre.leggauss(order)
    scale = min(sigma, sigma**2 / max(abs(away), sigma))
    edges = np.unique(np.clip(np.concatenate([[low, high], scale * np.linspace(-40, 40, 2 * panels + 1)]), low, high))
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * at).ravel(), (half[:, None] * weight).ravel()


@pytest.fixture
def oracle():
    return dense_oracle


@pytest.fixture
def nodes():
    return interval_nodes

"""Slow, plain float64 NumPy: what the fast paths must agree with."""

import numpy as np


def log_joint(y, log_w, x, sigma):
    """log w_j + log N(x; y_j, σ²I), by differences."""
    y, x, sigma = np.asarray(y, np.float64), np.asarray(x, np.float64), float(sigma)
    squared = ((x - y) ** 2).sum(axis=1)
    return log_w - squared / (2 * sigma**2) - y.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))


def log_density(y, log_w, x, sigma):
    terms = log_joint(y, log_w, x, sigma)
    return terms.max() + np.log(np.exp(terms - terms.max()).sum())


def responsibilities(y, log_w, x, sigma):
    terms = log_joint(y, log_w, x, sigma)
    r = np.exp(terms - terms.max())
    return r / r.sum()


def denoise(y, log_w, x, sigma):
    return responsibilities(y, log_w, x, sigma) @ np.asarray(y, np.float64)

"""Slow and plain: what recalls and posteriors from stored patterns are compared with."""

import numpy as np

ROWS = 1 << 16


def logits(patterns, x, sigma, log_weights=None, dtype=np.float64):
    """log w_j − ‖x − y_j‖²/(2σ²) of one state by direct differences, every number of type `dtype`."""
    x = np.asarray(x, dtype)
    half = dtype(1) / (2 * dtype(sigma) ** 2)
    found = np.empty(len(patterns), dtype)
    for start in range(0, len(patterns), ROWS):
        step = x - patterns[start : start + ROWS].astype(dtype)
        found[start : start + ROWS] = -half * np.sum(step * step, axis=1)
    return found if log_weights is None else found + np.asarray(log_weights, dtype)


def mean(patterns, x, sigma, log_weights=None, dtype=np.float64):
    """D_σ(x) of one state by direct differences, every number of type `dtype`; two passes over the patterns."""
    found = logits(patterns, x, sigma, log_weights, dtype)
    # Relative to the likeliest pattern, so that the sum loses no digits where one pattern has nearly all.
    lead = found.argmax()
    weight = np.exp(found - found[lead])
    c = patterns[lead].astype(dtype)
    moved = np.zeros(patterns.shape[1], dtype)
    for start in range(0, len(patterns), ROWS):
        moved += weight[start : start + ROWS] @ (patterns[start : start + ROWS].astype(dtype) - c)
    return c + moved / weight.sum()


def euler(denoise, z, sigma, steps=300):
    """The paper's recall: Euler on an even grid of VP's time, the last step Tweedie's. z (b, d) at σ (b,)."""
    end = np.log1p(np.asarray(sigma, float) ** 2)
    h = end / steps
    x = z * np.exp(-end / 2)[:, None]
    for k in range(steps - 1):
        t = end - k * h
        scale = np.exp(-t / 2)[:, None]
        d = denoise(x / scale, np.sqrt(np.expm1(t)))
        x = x - h[:, None] * _velocity(x, t, d)
    scale = np.exp(-h / 2)[:, None]
    return denoise(x / scale, np.sqrt(np.expm1(h)))


def _velocity(x, t, d):
    """Eq. 27 with γ = 1 and the score (αD − x)/(1 − α²), as `VP().velocity`, in double precision."""
    alpha = np.exp(-t / 2)[:, None]
    return -(x + (alpha * d - x) / (1 - alpha**2)) / 2


def second_order(denoise, z, sigma, steps, sigma_min=0.05):
    """`ExponentialIntegrator(steps)`, of order 2 on an even grid of log σ, in NumPy; the last step is Tweedie's."""
    sigma = np.asarray(sigma, float)
    h = np.log(sigma / np.minimum(sigma_min, sigma / 2)) / (steps - 1)
    decay, m0 = np.exp(-h)[:, None], -np.expm1(-h)[:, None]
    before = None
    for k in range(steps - 1):
        d = denoise(z, sigma * np.exp(-h * k))
        slope = 0 if before is None else (1 - m0 / h[:, None]) * (d - before)
        z, before = decay * z + m0 * d + slope, d
    return denoise(z, sigma * np.exp(-h * (steps - 1)))


def nearest(patterns, x):
    """Index of the nearest pattern of every state."""
    best, index = np.full(len(x), np.inf), np.zeros(len(x), int)
    for start in range(0, len(patterns), ROWS):
        y = patterns[start : start + ROWS].astype(float)
        distance = np.sum(y * y, axis=1) - 2 * x @ y.T
        here = distance.argmin(axis=1)
        value = distance[np.arange(len(x)), here]
        closer = value < best
        best, index = np.where(closer, value, best), np.where(closer, start + here, index)
    return index


def by_differences(patterns, log_weights, x, sigma):
    """D_σ(x), all logits relative to the largest and what these can be off by, relative to a leading pattern.

    All arguments are long doubles.
    """
    d, eps = len(x), np.finfo(np.longdouble).eps
    half = 1 / sigma / sigma / 2
    lead = int(np.argmax(log_weights - half * np.sum((patterns - x) ** 2, axis=1)))
    for _ in range(3):
        step = patterns - patterns[lead]
        squares = np.sum(step * step, axis=1)
        found = (2 * step @ (x - patterns[lead]) - squares) * half + log_weights - log_weights[lead]
        if found.max() <= 0:
            break
        lead = int(found.argmax())
    far, away = np.sqrt(squares), np.sqrt(np.sum((x - patterns[lead]) ** 2))
    finite = np.where(np.isfinite(log_weights), np.abs(log_weights), 0)
    off = (d + 8) * eps * ((2 * far * away + squares) * half + finite + finite[lead]) + 50 * eps
    weight = np.exp(found - found.max())
    p = weight / weight.sum()
    mean = patterns[lead] + p @ step
    # Where the reference itself may be off by more than a weight, nothing can be said of that weight.
    wrong = np.exp(np.minimum(found - found.max() + off, 100)) * -np.expm1(-2 * off) / weight.sum()
    floor = wrong @ (far + np.sqrt(np.sum((p @ step) ** 2))) + 8 * eps * (np.abs(patterns).max() * np.sqrt(d))
    return mean, found - found.max(), float(floor)


def tie(x, pattern, sigma, log_weight):
    """By how much two logits may differ that double precision cannot tell apart by squared distances."""
    away = np.sum(((x - pattern) / sigma) ** 2) / 2
    return 4 * (len(x) + 8) * np.finfo(float).eps * (away + abs(log_weight) + 1)


def followed(patterns, log_weights, x, sigma, steps):
    """Where the flow over all patterns ends from one state, by exponential steps in log σ down to σ/10⁴."""
    log_weights = np.zeros(len(patterns)) if log_weights is None else log_weights
    h = np.log(1e4) / steps
    for _ in range(steps):
        d = by_differences(patterns, log_weights, x, np.float64(sigma))[0]
        x, sigma = d + np.exp(-h) * (x - d), sigma * np.exp(-h)
    return x

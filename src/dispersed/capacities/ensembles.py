"""Ensembles of random patterns, whose capacity is estimated: endless streams of which a memory stores the first n.

An ensemble is a function `(rng, n, d) -> patterns (n, d)`. Those here draw one pattern after the other, so that the
first patterns stay the same when more are drawn, and error curves over n are smooth. Any other such function is
accepted too.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from dispersed.types import ArrayLike
from dispersed.validation import InputError, at_least, check_finite, double_array, probability

Generator = np.random.Generator
Ensemble = Callable[[Generator, int, int], Float[np.ndarray, "n d"]]
"""What draws the first n of an endless stream of patterns of d units."""

PROBE = 256
"""Patterns that are drawn to see how many values they have."""


class Rademacher(eqx.Module):
    """Units ±1 with equal probability."""

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        return np.where(rng.random((n, d)) < 0.5, -1.0, 1.0)


class Sparse(eqx.Module):
    """Units 1 with probability `activity` and 0 otherwise."""

    activity: float

    def __init__(self, activity: float = 0.1) -> None:
        self.activity = probability("activity", activity)

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        return (rng.random((n, d)) < self.activity).astype(float)


class Gaussian(eqx.Module):
    """Normal patterns of mean zero: independent units of variance 1, or with a given `covariance` (d, d)."""

    covariance: Float[np.ndarray, "d d"] | None
    root: Float[np.ndarray, "d d"] | None
    """A matrix A with AAᵀ the covariance."""

    def __init__(self, covariance: ArrayLike | None = None) -> None:
        self.covariance = self.root = None
        if covariance is None:
            return
        self.covariance = given = double_array("covariance", covariance)
        accepted = "a symmetric matrix (d, d) without negative eigenvalues is accepted"
        if given.ndim != 2 or given.shape[0] != given.shape[1] or not given.size:
            raise InputError("covariance", f"got shape {given.shape}", accepted)
        check_finite("covariance", given)
        scale = np.abs(given).max()
        if not np.allclose(given, given.T, atol=1e-6 * scale):
            raise InputError("covariance", "got a matrix that is not symmetric", accepted)
        values, vectors = np.linalg.eigh((given + given.T) / 2)
        if values[0] < -1e-6 * scale or values[-1] <= 0:
            raise InputError("covariance", f"got eigenvalues from {values[0]:.3g} to {values[-1]:.3g}", accepted)
        self.root = vectors * np.sqrt(np.maximum(values, 0))

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        z = rng.standard_normal((n, d))
        if self.root is None:
            return z
        if len(self.root) != d:
            raise InputError("covariance", f"got shape {self.root.shape}", f"({d}, {d}) is accepted for {d} units")
        return z @ self.root.T


class Spherical(eqx.Module):
    """Uniform on the sphere of radius √d: normal patterns, brought to equal norms."""

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        z = rng.standard_normal((n, d))
        return z * np.sqrt(d) / np.linalg.norm(z, axis=1, keepdims=True)


class HiddenManifold(eqx.Module):
    """Random features of few latent variables: y = f(Fz/√k), z ~ N(0, I_k), F of standard normal entries.

    Each pattern set has features F of its own, which all its patterns share. `activation` is f, a function of NumPy
    arrays; `np.sign` makes ±1 patterns.

    **Source**: Goldt, Mézard, Krzakala & Zdeborová (2020), Modeling the influence of data structure on learning in
    neural networks: the hidden manifold model.
    """

    latent: int
    activation: Callable[[Any], Any]

    def __init__(self, latent: int, activation: Callable[[Any], Any] = np.tanh) -> None:
        self.latent = at_least("latent", latent, 1)
        if not callable(activation):
            raise InputError("activation", f"got {activation!r}", "a function of NumPy arrays is accepted")
        self.activation = activation

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        features = rng.standard_normal((self.latent, d))
        return np.asarray(self.activation(rng.standard_normal((n, self.latent)) @ features / np.sqrt(self.latent)))


class Subsample(eqx.Module):
    """Patterns of a data set (N, d) in random order, none twice; at most N of them."""

    patterns: Float[np.ndarray, "N d"]

    def __init__(self, patterns: ArrayLike) -> None:
        self.patterns = double_array("ensemble", patterns)
        if self.patterns.ndim != 2 or not self.patterns.size:
            accepted = "patterns (N, d), an ensemble such as Gaussian() or a function (rng, n, d) is accepted"
            raise InputError("ensemble", f"got shape {self.patterns.shape}", accepted)
        check_finite("ensemble", self.patterns)

    def __call__(self, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
        return self.patterns[rng.permutation(len(self.patterns))[:n]]


def ensemble_of(given: Any) -> Ensemble:
    """An ensemble as it is, and an array of patterns as a `Subsample`."""
    if given is None:
        return Rademacher()
    if isinstance(given, type):
        raise InputError("ensemble", f"got the class {given.__name__}", f"call it: {given.__name__}()")
    return given if callable(given) else Subsample(given)


def drawn(ensemble: Ensemble, rng: Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
    """The first n patterns, checked where a function of the user has a part in them."""
    patterns = ensemble(rng, n, d)
    if isinstance(ensemble, Rademacher | Sparse | Gaussian | Spherical | Subsample):
        return patterns
    patterns = double_array("ensemble", patterns)
    if patterns.shape != (n, d):
        raise InputError("ensemble", f"got patterns of shape {patterns.shape}", f"({n}, {d}) is accepted here")
    check_finite("ensemble", patterns)
    return patterns


def two_levels(ensemble: Ensemble, d: int) -> tuple[float, float] | None:
    """The two values that patterns have, the smaller one first; None for patterns of more values, or of one."""
    if isinstance(ensemble, Rademacher):
        return -1.0, 1.0
    values = np.unique(drawn(ensemble, np.random.default_rng(0), _most(ensemble, PROBE), d))
    return (float(values[0]), float(values[1])) if values.size == 2 else None


def _most(ensemble: Ensemble, n: int) -> int:
    return min(n, len(ensemble.patterns)) if isinstance(ensemble, Subsample) else n


def described(given: Any) -> str:
    """What tells one ensemble, corruption, dynamics or measure from another in a file of cells."""
    if isinstance(given, eqx.Module):
        # Arrays by a digest of their numbers, everything else as it is written.
        digests = {
            name: hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
            for name, value in vars(given).items()
            if isinstance(value, np.ndarray)
        }
        shown = {name: getattr(value, "__name__", value) for name, value in vars(given).items() if name not in digests}
        fields = ", ".join(f"{name}={value}" for name, value in (shown | digests).items())
        return f"{type(given).__name__}({fields})"
    return f"{given.__module__}.{getattr(given, '__qualname__', type(given).__name__)}"

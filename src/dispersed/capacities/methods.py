"""The memories whose capacity is known in theory or was measured by the paper, by name."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from dispersed import theory
from dispersed.capacities.cell import Family, Recalled
from dispersed.capacities.products import flow_by_products, updates_by_products
from dispersed.dynamics import Dynamics, ExponentialIntegrator, Iteration
from dispersed.memories import (
    ClassicalHopfield,
    DenseHopfield,
    Entmax,
    EpanechnikovHopfield,
    Exponential,
    FenchelYoungHopfield,
    ModernHopfield,
    Palimpsest,
    PatternMemory,
    Perceptron,
    Polynomial,
    PseudoInverse,
    SparseHopfield,
    Storkey,
    UniversalHopfield,
    Unlearning,
    Willshaw,
)
from dispersed.validation import at_least, positive_number


class Method(NamedTuple):
    """A memory family, the dynamics that recalls it, and what theory says of its capacity."""

    label: str
    family: Family
    dynamics: Dynamics | Recalled
    theories: dict[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType({})  # type: ignore[assignment]
    """Closed forms of the capacity over dimensions, by what they are called."""


def methods(beta: float = 5.0, degree: int = 3, noisy: float | None = None) -> dict[str, Method]:
    """Every method by its name in results.

    `beta` is the modern Hopfield network's inverse temperature, `degree` the polynomial network's. The modern
    Hopfield network makes 150 updates and the others iterate to a fixed point or 2-cycle (Supp. A). The exact
    diffusion memory is recalled by the exponential integrator of order 2 in 20 steps: its signs are those
    of the paper's 300 Euler steps, which `paper/figure3` measures. Both are recalled by
    products, which takes a tenth of the time, where cues of ±1 patterns are at the signal level `noisy`.
    """
    positive_number("beta", beta)
    degree = at_least("degree", degree, 2)
    soft = Entmax(1.0, beta)
    return {
        "diffusion": Method(
            "exact diffusion",
            PatternMemory,
            ExponentialIntegrator(20) if noisy is None else flow_by_products(noisy),
        ),
        "modern_hopfield": Method(
            f"modern Hopfield, β = {beta:g}",
            lambda patterns: ModernHopfield(patterns, beta),
            Iteration(150, tol=0.0) if noisy is None else updates_by_products(beta),
        ),
        "classical": Method(
            "classical Hopfield, self-coupling kept",
            lambda patterns: ClassicalHopfield(patterns, self_coupling=True),
            Iteration(),
            {},
        ),
        "classical_null_diagonal": Method(
            "classical Hopfield, null diagonal",
            ClassicalHopfield,
            Iteration(),
            {"d/(4 ln d)": lambda d: theory.classical_capacity(d) / 2, "d/(2 ln d)": theory.classical_capacity},
        ),
        f"dense_polynomial_{degree}": Method(
            f"dense, F(a) = a{_raised(degree)}",
            lambda patterns: DenseHopfield(patterns, Polynomial(degree)),
            Iteration(),
            {
                f"d{_raised(degree - 1)}/({2 * theory.double_factorial(2 * degree - 3)} ln d)": (
                    lambda d: theory.polynomial_capacity(d, degree)
                )
            },
        ),
        "dense_exponential": Method(
            "dense, F(a) = exp(a)",
            lambda patterns: DenseHopfield(patterns, Exponential()),
            Iteration(),
            {"2^(d/2)": theory.exponential_capacity},
        ),
        "storkey": Method("Storkey's rule", lambda y: ClassicalHopfield(y, rule=Storkey()), Iteration()),
        "pseudo_inverse": Method("pseudo-inverse", lambda y: ClassicalHopfield(y, rule=PseudoInverse()), Iteration()),
        "perceptron": Method("perceptron", lambda y: ClassicalHopfield(y, rule=Perceptron(sweeps=100)), Iteration()),
        "unlearning": Method("unlearning", lambda y: ClassicalHopfield(y, rule=Unlearning(50)), Iteration()),
        "palimpsest": Method("palimpsest", lambda y: ClassicalHopfield(y, rule=Palimpsest(0.01)), Iteration()),
        "sparse": Method("sparse coding, covariance rule", SparseHopfield, Iteration()),
        "willshaw": Method("sparse coding, Willshaw's rule", lambda y: SparseHopfield(y, Willshaw()), Iteration()),
        "entmax": Method(f"entmax-1.5, β = {beta:g}", lambda y: FenchelYoungHopfield(y, beta), Iteration()),
        "manhattan": Method(f"Manhattan, β = {beta:g}", lambda y: UniversalHopfield(y, "manhattan", soft), Iteration()),
        "epanechnikov": Method(
            "Epanechnikov, r² = 4d/3", lambda y: EpanechnikovHopfield(y, 1.5 / y.shape[1]), Iteration()
        ),
    }


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))

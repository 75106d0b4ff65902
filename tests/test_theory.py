"""Theory against limits, independent quadrature, and simulation."""

import math

import jax
import numpy as np
import pytest
from scipy import optimize, special, stats

from dispersed import ClassicalHopfield, InputError, Iteration, PatternMemory, recall, theory

ALPHAS = [0.05, 0.3, 0.68, 0.95]


def test_hebb_without_noise():
    """The overlap solves all three replica-symmetric equations as they are written, and there is none beyond α_c."""
    most = theory.ags_capacity()
    assert most == pytest.approx(0.1379055665, abs=1e-10)
    assert theory.ags_overlap(most) == pytest.approx(0.96741711, abs=1e-6)  # the root is double there
    for load in (1e-3, 0.05, 0.1, 0.137):
        m = theory.ags_overlap(load)

        def residual(r, load=load, m=m):
            c = math.sqrt(2 / (math.pi * load * r)) * math.exp(-(m**2) / (2 * load * r))
            return r - 1 / (1 - c) ** 2

        z = math.sqrt(2) * special.erfinv(m)
        r = (m / z) ** 2 / load
        if m < 1 - 1e-14:
            assert residual(r) == pytest.approx(0, abs=1e-8)
            assert m == pytest.approx(math.erf(m / math.sqrt(2 * load * r)), abs=1e-12)
    with pytest.raises(InputError, match=r"load: got 0\.14"):
        theory.ags_overlap(0.14)


def test_overlaps_of_three_thousand_units_are_those_of_theory():
    """Within three standard errors over pattern sets; `python -m benchmarks.rules` has more loads and sizes."""
    d, load, means = 3000, 0.1, []
    for seed in range(4):
        y = np.where(np.random.default_rng(seed).random((round(load * d), d)) < 0.5, -1, 1).astype(np.float32)
        found = recall(ClassicalHopfield(y), y[:64], Iteration(200)).x
        means.append(float(np.mean(np.asarray(found) * y[:64])))
    error = np.std(means, ddof=1) / 2
    assert error < 2e-4
    assert abs(np.mean(means) - theory.ags_overlap(load)) < 3 * error


def test_margins():
    assert theory.gardner_load() == 2
    for kappa in (-6.0, -2.0, 0.0, 0.5, 3.0):
        x, w = np.polynomial.laguerre.laggauss(80)
        integral = w @ (np.exp(x) * stats.norm.pdf(x - kappa) * x**2)
        assert theory.gardner_load(kappa) == pytest.approx(1 / integral, rel=1e-8)
    with pytest.raises(InputError, match="margin"):
        theory.gardner_load(math.nan)


def test_unstable_units_are_counted_by_simulation():
    """For F(a) = a² the field of a unit of Hebb's network without self-coupling, N = 1000 and K = 150."""
    rng = np.random.default_rng(0)
    units, patterns, sets = 1000, 150, 40
    wrong = 0
    for _ in range(sets):
        y = np.sign(rng.standard_normal((patterns, units)))
        overlaps = y @ y[0]
        field = overlaps @ y - patterns * y[0]
        wrong += np.sum(field * y[0] < 0)
    expected = theory.krotov_hopfield_error(units, patterns, 2)
    frequency = wrong / (units * sets)
    assert frequency == pytest.approx(expected, abs=4 * math.sqrt(expected / (units * sets)) + 0.1 * expected)
    log_n = math.log(1e6)
    most = float(theory.polynomial_capacity(1e6, 3))
    assert theory.krotov_hopfield_error(1e6, most, 3) == pytest.approx(stats.norm.sf(math.sqrt(2 * log_n)), rel=1e-9)
    assert float(theory.classical_capacity(1e6)) == pytest.approx(1e6 / (2 * log_n), rel=1e-12)
    assert theory.sequence_error(500, 20, 1) == theory.krotov_hopfield_error(500, 20, 2)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rate_of_the_channel(alpha):
    rho = alpha / math.sqrt(1 - alpha**2)
    # The entropy of what is received less that of the noise; the trapezoidal rule is exact to round-off here.
    y = np.linspace(-rho - 15, rho + 15, 20_001)
    density = (stats.norm.pdf(y - rho) + stats.norm.pdf(y + rho)) / 2
    expected = special.entr(density).sum() * (y[1] - y[0]) - math.log(2 * math.pi * math.e) / 2
    assert theory.channel_rate(alpha) == pytest.approx(expected, abs=1e-11)
    assert theory.channel_rate(alpha) < min(math.log(2), -math.log(1 - alpha**2) / 2)


def test_limits_of_rates():
    assert theory.channel_rate(1.0) == math.log(2)
    assert theory.channel_rate(1e-3) == pytest.approx(5e-7, rel=1e-5)
    assert theory.channel_rate(0.99999) == pytest.approx(math.log(2), abs=1e-12)
    assert theory.erasure_rate(0.25) == pytest.approx(0.75 * math.log(2), rel=1e-15)
    for bad in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="alpha"):
            theory.channel_rate(bad)


def test_formulas_keep_their_digits_at_their_ends():
    """Where terms of a formula nearly cancel, or leave the range of numbers."""
    for alpha in (1e-12, 1e-8, 1e-4):  # C = ρ²/2 − ρ⁴/4 + …, where ρ² = α² + α⁴ + …
        assert theory.channel_rate(alpha) == pytest.approx(alpha**2 / 2 + alpha**4 / 4, rel=1e-11)
        # sρ² − E log cosh(sρx), of which the last is s²ρ²/2 for small ρ.
        assert theory.random_energy_rate(alpha, beta=0.5) == pytest.approx(3 / 8 * alpha**2, rel=2 * alpha + 1e-11)
    assert theory.channel_rate(0.4472) == pytest.approx(theory.channel_rate(0.4473), rel=5e-4)  # two forms meet there
    assert theory.symmetry_breaking_alpha(1e8) == pytest.approx(math.sqrt(0.5e-8), rel=1e-12)
    assert theory.gardner_load(-20.0) == pytest.approx(7.35341203973473e90, rel=1e-12)  # by 60 digits
    assert theory.gardner_load(-40.0) == math.inf
    assert theory.nearest_pattern(1000, 0.99, 0.03) == math.inf


@pytest.mark.parametrize("beta", [None, 0.4])
@pytest.mark.parametrize("decoder", ["euclidean", "dot"])
@pytest.mark.parametrize("ensemble", ["binary", "gaussian"])
@pytest.mark.parametrize("alpha", [0.3, 0.68])
def test_random_energy_rates_are_the_largest_of_their_definition(alpha, ensemble, decoder, beta):
    """max over s of s E m(x, y₁) − E_x log E_y e^{s m(x, y)}, by quadrature over cue and pattern."""
    rho = alpha / math.sqrt(1 - alpha**2)
    e, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    y, v = (np.array([1.0, -1]), np.array([0.5, 0.5])) if ensemble == "binary" else (e, w)
    penalty = rho**2 / 2 if decoder == "euclidean" else 0.0

    def rate(s):
        x = rho * y[:, None] + e
        of_pattern = v @ ((rho * x * y[:, None] - penalty * y[:, None] ** 2) @ w)
        metric = rho * x[..., None] * y - penalty * y**2
        free = v @ (special.logsumexp(s * metric, b=v, axis=-1) @ w)
        return s * of_pattern - free

    bound = 3.0 if beta is None else beta
    best = -optimize.minimize_scalar(
        lambda s: -rate(s), bounds=(0, bound), method="bounded", options={"xatol": 1e-7}
    ).fun
    assert theory.random_energy_rate(alpha, ensemble, decoder=decoder, beta=beta) == pytest.approx(best, abs=1e-6)


def test_on_a_sphere_both_decoders_are_one():
    for alpha in ALPHAS:
        rates = [theory.random_energy_rate(alpha, "spherical", decoder=name) for name in ("dot", "euclidean")]
        assert rates == pytest.approx([-math.log(1 - alpha**2) / 2] * 2, rel=1e-12)
        assert theory.random_energy_rate(alpha, "gaussian", decoder="dot") == pytest.approx(alpha**2 / 2, rel=1e-12)
    with pytest.raises(InputError, match="ensemble: got 'ternary'"):
        theory.random_energy_rate(0.5, "ternary")


def test_collapse_of_gaussian_data():
    for d, n in ((10, 100), (3, 10**6), (500, 2)):
        closed = math.sqrt(1 / math.expm1(2 * math.log(n) / d))
        assert theory.collapse_sigma(np.full(d, 1.0), n) == pytest.approx(closed, rel=1e-10)
        assert theory.collapse_sigma(np.full(d, 1e-18), n) == pytest.approx(closed * 1e-9, rel=1e-10)
    assert theory.collapse_sigma([4.0, 0.0], 50) == pytest.approx(theory.collapse_sigma([4.0], 50), rel=1e-12)
    with pytest.raises(InputError, match="eigenvalues"):
        theory.collapse_sigma([0.0], 5)


@pytest.mark.parametrize("variance", [1.0, 0.2])
def test_two_points_split_where_theory_says(variance, x64):
    """The slope of the reverse SDE's drift in the middle changes its sign at α_c, and D's slope is 1 at σ_c."""
    memory = PatternMemory(np.array([[1.0], [-1.0]]) * math.sqrt(variance))
    alpha = theory.symmetry_breaking_alpha(variance)

    def drift(x, alpha):
        sigma = math.sqrt(1 - alpha**2) / alpha
        return (x / 2 + memory.score(x / alpha, sigma) / alpha)[0]

    for factor, sign in ((1 - 1e-6, -1), (1 + 1e-6, 1)):
        assert np.sign(jax.grad(drift)(np.zeros(1), alpha * factor)[0]) == sign
    jacobian = memory.jacobian(np.zeros(1), theory.speciation_sigma(variance))
    np.testing.assert_allclose(jacobian, 1, rtol=1e-12)


def test_the_bound_of_one_update():
    y = np.sign(np.random.default_rng(0).standard_normal((20, 64)))
    beta, x = 0.5, y[0] + 0.05
    weights = special.softmax(beta * y @ x)
    overlaps = y @ y[0]
    separation = overlaps[0] - np.sort(overlaps)[-2]
    error = np.linalg.norm(weights @ y - y[0])
    distance = max(np.linalg.norm(x - y[0]), error)
    assert error <= theory.retrieval_error_bound(20, 8.0, beta, separation, distance)
    assert theory.retrieval_error_bound(20, 8.0, beta, separation, distance) < 1


def test_capacities_of_any_degree_and_dimension():
    assert np.isfinite(theory.polynomial_capacity(np.array([2, 24]), 400)).all()
    assert theory.polynomial_capacity(1e300, 3) == np.inf
    np.testing.assert_allclose(
        theory.polynomial_capacity(np.array([10, 100]), 3), [100 / (6 * math.log(10)), 1e4 / (6 * math.log(100))]
    )


def test_nearest_pattern_bounds_small_sets():
    assert theory.nearest_pattern(np.array([10]), 0.68, 0.03)[0] == pytest.approx(1 + 0.03 / 0.00764, rel=0.2)


@pytest.mark.parametrize("capacity", [theory.classical_capacity, theory.exponential_capacity])
@pytest.mark.parametrize("dimension", [-1, 0.5, math.nan, "x", [10, 0]], ids=repr)
def test_a_capacity_needs_units(capacity, dimension):
    """Where ln d is negative the formula would be, too."""
    with pytest.raises(InputError, match=r"^dimension: got "):
        capacity(dimension)


def test_numbers_too_large_for_a_formula_are_no_obstacle_to_it():
    """Binomials and factorials of many units and high degrees are beyond all numbers, and their ratios are not."""
    few, many = theory.nearest_pattern([1000, 2000], 0.1, 0.03)
    assert 1 < few < many < math.inf
    assert theory.polynomial_capacity(100, 2**31 - 1) == 0
    assert theory.gardner_load(1e300) == 0
    with pytest.raises(InputError, match=r"^dimension: got"):
        theory.nearest_pattern(10**9, 0.1, 0.03)


@pytest.mark.parametrize(
    "call",
    [
        theory.ags_overlap,
        theory.gardner_load,
        theory.channel_rate,
        lambda value: theory.random_energy_rate(value, "gaussian"),
        lambda value: theory.krotov_hopfield_error(10, value, 2),
        lambda value: theory.transition_capacity(value, 2),
        lambda value: theory.nearest_pattern(10, 0.5, value),
        lambda value: theory.retrieval_error_bound(3, 1.0, value, 1.0, 0.1),
        lambda value: theory.collapse_sigma([value], 10),
    ],
)
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_is_no_finite_number_gets_one_line(call, value):
    with pytest.raises(InputError):
        call(value)

"""Noise from a potential, against the Ornstein–Uhlenbeck process, which has closed forms, and NumPy oracles."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from dispersed import FokkerPlanck, InputError, PotentialProcess
from dispersed.paper.statistics import power_law

RATE, SIGMA = 0.8, 0.9


def ou(x):
    return -RATE * jnp.sum(x**2) / 4


def double_well(x):
    return -((jnp.sum(x**2) - 1) ** 2) / 4


def ou_kernel(x, t, y):
    """Closed form: N(y e^{−γt/2}, σ²(1 − e^{−γt})/γ) in every direction."""
    variance = -(SIGMA**2) * np.expm1(-RATE * t) / RATE
    return np.prod(stats.norm.pdf(x, y * np.exp(-RATE * t / 2), np.sqrt(variance)), axis=-1)


@eqx.filter_jit
def linearised(process, x, t, y):
    mean, covariance = process.linearised(y, t)
    return mean, covariance, process.log_kernel(x, t, y)


@pytest.mark.parametrize("t", [0.05, 0.7, 4.0])
def test_linearisation_is_exact_for_quadratic_potentials(t, x64):
    process = PotentialProcess(ou, jnp.asarray(SIGMA))
    y, x = jnp.array([1.0, -0.4, 2.0]), jnp.array([0.7, -0.6, 1.1])
    mean, covariance, log_kernel = linearised(process, x, jnp.asarray(t), y)
    np.testing.assert_allclose(mean, y * np.exp(-RATE * t / 2), rtol=1e-12)
    np.testing.assert_allclose(covariance, -(SIGMA**2) * np.expm1(-RATE * t) / RATE * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(log_kernel, np.log(ou_kernel(x, t, y)), rtol=1e-10)


def test_linearisation_solves_its_differential_equations(x64):
    """Mean and covariance of Eq. 19, integrated step by step, for a potential with off-diagonal Hessian."""

    def process_potential(x):
        return double_well(x) + 0.3 * x[0] * x[1] - jnp.cos(x[1])

    process = PotentialProcess(process_potential, lambda t: 0.5 + jnp.sin(t) ** 2)
    y, end = np.array([0.7, -1.1]), 0.9
    b, h = (np.asarray(jax.jit(part(process_potential))(y)) for part in (jax.grad, jax.hessian))

    def slopes(t, m):
        c = m[2:].reshape(2, 2)
        noise = (0.5 + np.sin(t) ** 2) ** 2 * np.eye(2)
        return np.concatenate([b + h @ (m[:2] - y), (h @ c + c @ h + noise).ravel()])

    solved = integrate.solve_ivp(slopes, (0, end), [*y, 0, 0, 0, 0], rtol=1e-11, atol=1e-12).y[:, -1]
    mean, covariance, _ = linearised(process, jnp.asarray(y), jnp.asarray(end), jnp.asarray(y))
    np.testing.assert_allclose(mean, solved[:2], rtol=1e-8)
    np.testing.assert_allclose(np.ravel(covariance), solved[2:], rtol=1e-8)


@pytest.mark.parametrize("rate", [-1e4, -100.0, -1e-4, 1e-4, 60.0])
@pytest.mark.parametrize("amplitude", [lambda s: 0.9 + 0 * s, lambda s: 1 + jnp.sin(3 * s)])
def test_noise_that_was_forgotten_long_ago_leaves_the_rest_right(rate, amplitude, x64):
    """∫₀ᵗ e^{a(t−s)} σ(s)² ds by an adaptive quadrature, however far |at| goes: stationary states among them."""
    process = PotentialProcess(lambda x: rate * jnp.sum(x**2) / 4, amplitude)

    def integrand(s):
        return np.exp(rate * (1 - s)) * float(amplitude(s)) ** 2

    low, high = (max(0, 1 - 50 / -rate), 1) if rate < 0 else (0, 1)
    expected = integrate.quad(integrand, low, high, epsabs=0, epsrel=1e-12)[0]
    mean, covariance, _ = linearised(process, jnp.ones(2), jnp.asarray(1.0), jnp.array([1.0, -0.4]))
    np.testing.assert_allclose(covariance, expected * np.eye(2), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(mean, np.exp(rate / 2) * np.array([1.0, -0.4]), rtol=1e-13, atol=1e-15)


def test_energy_is_equation_18(x64, rng):
    process = PotentialProcess(ou, jnp.asarray(SIGMA))
    patterns, weights = rng.normal(size=(3, 2)), np.array([1.0, 2.0, 3.0])
    x, t = rng.normal(size=(4, 5, 2)), 0.3
    density = sum(w / 6 * ou_kernel(x, t, y) for w, y in zip(weights, patterns, strict=True))
    expected = -(SIGMA**2) * np.log(density) - RATE * (x**2).sum(axis=-1) / 4
    np.testing.assert_allclose(process.energy(x, t, patterns, weights), expected, rtol=1e-9)
    # Its negative gradient leads the reverse dynamics (Eq. 16): −∇u = σ² ∇log p − ∇v.

    def log_density(z):
        kernels = jax.vmap(lambda y: process.log_kernel(z, jnp.asarray(t), y))(jnp.asarray(patterns))
        return jax.nn.logsumexp(kernels + jnp.log(weights))

    z = jnp.asarray(x[0, 0])
    gradient = jax.jit(jax.grad(lambda s: process.energy(s, t, jnp.asarray(patterns), jnp.asarray(weights))))(z)
    drift = jax.jit(lambda z: process.reverse_drift(z, jnp.asarray(t), jax.grad(log_density)(z)))(z)
    np.testing.assert_allclose(gradient, drift, rtol=1e-7)


@pytest.mark.parametrize("t", [0.2, 1.0])
def test_fokker_planck_in_one_dimension_is_of_second_order(t):
    process = PotentialProcess(ou, SIGMA)
    # On edges between cells of every grid: where a pattern lies in its cell changes the factor of the error.
    y = np.array([[-1.0], [0.4]])
    errors, widths = [], []
    for cells in (150, 300, 600):
        solver = FokkerPlanck(process, np.array([-5.0]), np.array([5.0]), cells)
        density = solver.kernel(y, t)
        exact = np.stack([ou_kernel(solver.states, t, pattern) for pattern in y])
        errors.append(np.abs(density - exact).max())
        widths.append(solver.width[0])
        np.testing.assert_allclose(density.sum(axis=1) * solver.width, 1, rtol=1e-11)
        assert (density >= 0).all()
    exponent, _, _ = power_law(widths, errors)
    assert 1.8 < exponent < 2.2
    assert errors[-1] < 2e-4


def test_fokker_planck_keeps_leading_digits_far_from_the_pattern():
    """Where the density is 1e-30, energies still mean something."""
    solver = FokkerPlanck(PotentialProcess(ou, SIGMA), np.array([-3.0]), np.array([3.0]), 3000)
    y, t = np.array([[0.5]]), 0.04
    exact = np.log(ou_kernel(solver.states, t, y[0]))
    near = (exact > -70) & (exact < -60)
    assert near.sum() > 10
    np.testing.assert_allclose(np.log(solver.kernel(y, t)[0][near]), exact[near], rtol=5e-3)


def test_fokker_planck_in_two_dimensions():
    process = PotentialProcess(ou, SIGMA)
    errors = []
    y = np.array([[0.6, -0.4]])
    for cells in (40, 80):
        solver = FokkerPlanck(process, np.array([-4.0, -4.0]), np.array([4.0, 4.0]), cells)
        density = solver.kernel(y, 0.8)[0]
        errors.append(np.abs(density - ou_kernel(solver.states, 0.8, y[0])).max())
        assert density.sum() * solver.width.prod() == pytest.approx(1, rel=1e-11)
    assert errors[1] < 1e-3
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_fokker_planck_keeps_the_equilibrium_and_reaches_it():
    """No flow at p ∝ e^{2v/σ²}, whatever the grid."""
    solver = FokkerPlanck(PotentialProcess(double_well, 0.8), np.array([-2.5]), np.array([2.5]), 50)
    density = solver.kernel(np.array([[0.3]]), 60.0)[0]
    equilibrium = np.exp(2 * solver.potential / 0.64)
    np.testing.assert_allclose(density, equilibrium / equilibrium.sum() / solver.width, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e308])
def test_only_ratios_of_weights_matter_to_the_equation(unit):
    solver = FokkerPlanck(PotentialProcess(ou, SIGMA), [-4.0], [4.0], 60)
    patterns = [[0.3], [-1.0], [1.0]]
    expected = np.tensordot([0.5, 0.25, 0.25], solver.kernel(patterns, 0.5), axes=1)
    np.testing.assert_allclose(solver.density(patterns, 0.5, [unit, unit / 2, unit / 2]), expected, rtol=1e-12)
    with pytest.raises(InputError, match="weights"):
        solver.density(patterns, 0.5, [-1.0, 2.0, 1.0])


def test_steep_potentials_climb_at_their_own_speed():
    """Where v rises by a over D between two cells, the rate is D/h² a/(1 − e^{−a}), however large a is."""
    slope, sigma, cells = 3e4, 1.0, 50
    solver = FokkerPlanck(PotentialProcess(lambda x: slope * x[0], sigma), [-1.0], [1.0], cells)
    density, t = solver.density([[-0.5]], 2e-5), 2e-5  # before the wall
    mean = np.sum(solver.axes[0] * density) * solver.width[0]
    assert mean == pytest.approx(-0.5 + slope * t, rel=1e-6)


def test_steps_in_time_are_of_second_order_for_changing_noise():
    """Brownian motion with σ(t): the variance gained is ∫σ²."""
    process = PotentialProcess(lambda x: -0.5 * jnp.sum(x**2), lambda t: 1 + 2 * t)
    solver = FokkerPlanck(process, np.array([-8.0]), np.array([8.0]), 200)
    reference = solver.kernel(np.array([[0.0]]), 1.0, steps=64)[0]
    errors = [np.abs(solver.kernel(np.array([[0.0]]), 1.0, steps=n)[0] - reference).max() for n in (2, 4, 8)]
    exponent, _, _ = power_law([1 / 2, 1 / 4, 1 / 8], errors)
    assert 1.8 < exponent < 2.2
    variance = (reference * solver.axes[0] ** 2).sum() * solver.width[0]
    expected = integrate.quad(lambda s: (1 + 2 * s) ** 2 * np.exp(-2 * (1 - s)), 0, 1)[0]
    assert variance == pytest.approx(expected, rel=5e-3)


def test_paths_have_the_distribution_of_the_kernel(key):
    start = np.array([1.2, -0.5])
    many = np.broadcast_to(start, (4000, 2))
    ends = PotentialProcess(ou, SIGMA).corrupt(many, t=0.9, key=key, steps=50)
    for i in range(2):
        deviation = SIGMA * np.sqrt(-np.expm1(-RATE * 0.9) / RATE)
        assert stats.kstest((ends[:, i] - start[i] * np.exp(-RATE * 0.45)) / deviation, "norm").pvalue > 1e-4
    process = PotentialProcess(double_well, lambda t: 0.7 + 0.5 * t)
    ends = process.corrupt(np.full((4000, 1), 0.2), t=1.5, key=key, steps=100)
    solver = FokkerPlanck(process, np.array([-3.5]), np.array([3.5]), 350)
    density = solver.kernel(np.array([[0.2]]), 1.5, steps=16)[0] * solver.width
    cumulative = np.append(0, density.cumsum())
    edges = np.linspace(-3.5, 3.5, 351)
    assert stats.kstest(ends[:, 0], lambda x: np.interp(x, edges, cumulative)).pvalue > 1e-4


def test_paths_depend_on_key_and_place_alone(key):
    process, y = PotentialProcess(double_well), np.array([[0.1], [0.4], [-1.0]])
    every = process.corrupt(y, t=0.3, key=key, steps=10)
    np.testing.assert_allclose(process.corrupt(y[:2], t=0.3, key=key, steps=10), every[:2], rtol=1e-5)
    np.testing.assert_allclose(process.corrupt(y[0], t=0.3, key=key, steps=10), every[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, k: PotentialProcess(3.0), "potential: got float"),
        (lambda p, k: PotentialProcess(ou, -1.0), "sigma: got -1"),
        (lambda p, k: PotentialProcess(ou, np.ones(2)), "sigma: got shape"),
        (lambda p, k: p.corrupt(np.zeros(2), t=0.0, key=k), "t: got 0"),
        (lambda p, k: p.corrupt(np.array([np.nan]), t=1.0, key=k), "patterns: got 1 NaN"),
        (lambda p, k: p.corrupt(np.zeros(2), t=1.0, key=k, steps=0), "steps: got 0"),
        (lambda p, k: PotentialProcess(lambda x: x).corrupt(np.zeros(2), t=1.0, key=k), "potential: gives"),
        (
            lambda p, k: PotentialProcess(lambda x: jnp.sum(x**4)).corrupt(np.ones(2), t=9.0, key=k),
            "potential: 1 paths",
        ),
        (lambda p, k: PotentialProcess(ou, lambda t: t - 2).energy(np.ones(1), 1.0, np.ones((1, 1))), "sigma: got -1"),
        (lambda p, k: p.energy(np.zeros(3), 1.0, np.zeros((2, 2))), "x: got shape"),
        (lambda p, k: FokkerPlanck(p, np.zeros(3), np.ones(3)), "low, high: got shapes"),
        (lambda p, k: FokkerPlanck(p, np.ones(1), np.zeros(1)), "low, high: got"),
        (lambda p, k: FokkerPlanck(p, np.zeros(1), np.ones(1)).kernel(np.full((1, 1), 2.0), 1.0), "patterns: got some"),
        (lambda p, k: FokkerPlanck(p, np.zeros(1), np.ones(1)).kernel(np.full((1, 1), 0.5), -1.0), "t: got -1"),
        (
            lambda p, k: FokkerPlanck(PotentialProcess(lambda x: jnp.log(x[0])), -np.ones(1), np.ones(1)),
            "potential: got",
        ),
    ],
)
def test_bad_input_is_one_line(call, message, key):
    with pytest.raises(InputError, match=message) as error:
        call(PotentialProcess(ou, SIGMA), key)
    assert "\n" not in str(error.value)

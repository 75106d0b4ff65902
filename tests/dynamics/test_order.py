"""Flows converge at the order that their solver declares, against a closed form; random ones have its moments."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import VE, VP, Cosine, Linear, Memory, PatternMemory, recall
from dispersed.dynamics import ExponentialIntegrator, OneStep, ProbabilityFlow, ReverseSDE

LAST = 0.3


class Gaussian(Memory):
    """N(0, s²I): D_σ(z) = z s²/(s²+σ²), and along the flow z(σ) ∝ √(s²+σ²)."""

    s: float = 0.7

    @property
    def dimension(self):
        return 2

    def _log_density(self, x, sigma):
        variance = self.s**2 + sigma**2
        return -x @ x / (2 * variance) - jnp.log(2 * jnp.pi * variance)

    def flow(self, z, start, stop):
        return z * np.sqrt((self.s**2 + stop**2) / (self.s**2 + start**2))


def error(dynamics, process):
    """At the noise level LAST, before the Tweedie step that every dynamics shares."""
    z, sigma = jnp.array([1.3, -0.4]), 2.0
    scale = process.scale(process.time(jnp.asarray(sigma)))
    result = recall(Gaussian(), scale * z, dynamics, sigma=sigma, process=process, trajectory=True)
    last = result.trajectory[-2] / process.scale(process.time(jnp.asarray(LAST)))
    np.testing.assert_allclose(result.sigmas[-2], LAST, rtol=1e-9)
    return float(jnp.abs(last - Gaussian().flow(z, sigma, LAST)).max())


def measured_order(make, process, steps):
    errors = [error(make(n), process) for n in steps]
    # n grid points bound n − 1 steps
    return np.polyfit(np.log(np.array(steps) - 1), np.log(errors), 1)[0] * -1


@pytest.mark.parametrize(
    ("make_process", "solver", "steps"),
    [
        (VE, dfx.Euler(), [65, 257]),
        (VP, dfx.Heun(), [33, 129]),
        (lambda: VP(Linear()), dfx.Euler(), [65, 257]),
        (lambda: VP(Cosine()), dfx.Heun(), [33, 129]),
    ],
)
def test_flow_solvers(x64, make_process, solver, steps):
    found = measured_order(lambda n: ProbabilityFlow(solver, n, sigma_min=LAST), make_process(), steps)
    assert found == pytest.approx(solver.order(None), abs=0.2)


@pytest.mark.parametrize(("solver", "steps"), [(dfx.Bosh3(), [17, 65]), (dfx.Tsit5(), [33, 129])])
def test_high_order_flow_solvers(x64, solver, steps):
    found = measured_order(lambda n: ProbabilityFlow(solver, n, sigma_min=LAST), VP(), steps)
    assert found == pytest.approx(solver.order(None), abs=0.35)


def test_one_pattern_is_recalled_exactly_by_exponential_integrators(x64):
    """The flow of a point is linear, z(σ) = y + (σ/σ₀)(z₀ − y), which they solve without error."""
    memory, z = PatternMemory([[1.0, -2.0]]), jnp.array([0.4, 5.0])
    for order in (1, 2, 3):
        dynamics = ExponentialIntegrator(5, order=order, sigma_min=LAST)
        result = recall(memory, z, dynamics, sigma=2.0, trajectory=True)
        expected = memory.patterns[0] + (result.sigmas / 2.0)[:, None] * (z - memory.patterns[0])
        np.testing.assert_allclose(result.trajectory, expected, atol=1e-12)


def test_adaptive_steps_keep_their_tolerance(x64):
    for tol in (1e-4, 1e-6, 1e-8):
        dynamics = ProbabilityFlow(dfx.Tsit5(), tol=tol, sigma_min=LAST)
        assert error(dynamics, VP()) < 20 * tol


def test_one_step_is_tweedie(x64):
    z = jnp.array([1.3, -0.4])
    np.testing.assert_allclose(recall(Gaussian(), z, OneStep(), sigma=2.0).x, z * 0.49 / 4.49, rtol=1e-12)


def test_reverse_sde_has_the_moments_of_a_gaussian_posterior(x64, key):
    """Recalling N(0, s²) from z gives N(D_σ(z), s²σ²/(s²+σ²))."""
    z, sigma, n = np.array([1.3, -0.4]), 1.5, 4000
    result = recall(Gaussian(), np.broadcast_to(z, (n, 2)), ReverseSDE(steps=300), sigma=sigma, key=key)
    variance = 0.49 * sigma**2 / (0.49 + sigma**2)
    mean = z * 0.49 / (0.49 + sigma**2)
    np.testing.assert_allclose(result.x.mean(0), mean, atol=5 * np.sqrt(variance / n) + 0.01)
    np.testing.assert_allclose(result.x.var(0), variance, rtol=5 * np.sqrt(2 / n) + 0.03)


def test_reverse_sde_with_another_solver(key):
    memory = PatternMemory(np.sign(np.random.default_rng(0).standard_normal((10, 16))))
    cues = VP().corrupt(memory.patterns, alpha=0.9, key=key)
    result = recall(memory, cues, ReverseSDE(dfx.ShARK(), steps=30), alpha=0.9, key=key)
    np.testing.assert_array_equal(result.index, np.arange(10))


def test_the_same_key_gives_the_same_samples(key):
    memory = PatternMemory([[1.0], [-1.0]])
    cues = np.zeros((50, 1))
    a, b = (recall(memory, cues, ReverseSDE(steps=20), sigma=1.0, key=key).x for _ in range(2))
    np.testing.assert_array_equal(a, b)
    c = recall(memory, cues, ReverseSDE(steps=20), sigma=1.0, key=jax.random.key(9)).x
    assert not np.array_equal(a, c)

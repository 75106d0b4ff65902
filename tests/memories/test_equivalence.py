"""The paper's claim: at every t the diffusion energy is the modern Hopfield energy at β = 1/σ² (Eq. 14)."""

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import VE, VP, ModernHopfield, PatternMemory, beta_from_sigma, recall, sigma_from_beta
from dispersed.dynamics import Iteration


def spread_of_difference(memory, network, sigma, x):
    difference = memory.energy(x, sigma) - network.energy(x)
    return float(jnp.ptp(difference)), float(jnp.abs(network.energy(x)).max())


@pytest.mark.parametrize("make", [VE, VP, lambda: VP(rate=0.8)])
@pytest.mark.parametrize("t", [1e-3, 0.1, 0.964, 3.0])
def test_equal_norms_equal_energies_at_every_time(rng, x64, make, t):
    """Up to a constant in x, to round-off; not only as β → ∞."""
    patterns, process = np.sign(rng.standard_normal((12, 7))), make()
    sigma = process.sigma(jnp.asarray(t))
    network = ModernHopfield(patterns, process.beta(jnp.asarray(t)))
    x = rng.standard_normal((200, 7)) * 2
    spread, size = spread_of_difference(PatternMemory(patterns), network, sigma, x)
    assert spread < 1e-12 * max(size, float(sigma) ** 2 * 20)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.078, 10.0])
def test_unequal_norms_differ_by_exactly_the_prior(rng, x64, sigma):
    """Eq. 5 is the memory whose prior is w_j ∝ exp(β‖y_j‖²/2), and no other."""
    patterns = rng.standard_normal((9, 4)) * rng.uniform(0.5, 2, (9, 1))
    network = ModernHopfield(patterns, beta_from_sigma(sigma))
    x = rng.standard_normal((200, 4))
    spread, size = spread_of_difference(network.memory, network, sigma, x)
    assert spread < 1e-11 * size
    np.testing.assert_allclose(network.memory.denoise(x, sigma), network.update(x), atol=1e-11)
    uniform_spread, _ = spread_of_difference(PatternMemory(patterns), network, sigma, x)
    if sigma < 5:
        assert uniform_spread > 1e-3


def test_norms_change_which_pattern_wins(x64):
    """The remark after Eq. 14, that a norm only shifts the energy, does not hold."""
    patterns = np.array([[1.0, 0.0], [2.0, 0.0]])
    cue = np.array([1.1, 0.0])
    assert recall(PatternMemory(patterns), cue, Iteration(), sigma=0.1).index == 0
    assert recall(ModernHopfield(patterns, beta_from_sigma(0.1)), cue).index == 1


def test_fixed_points_match_as_beta_grows(rng, x64):
    """Both networks' fixed points, found by iteration, close in on the pattern at the rate of exp(−β)."""
    patterns = np.sign(rng.standard_normal((5, 8)))
    distances = []
    for beta in (0.5, 1.0, 2.0, 4.0):
        network, sigma = ModernHopfield(patterns, beta), float(sigma_from_beta(beta))
        a = recall(network, patterns, Iteration(500, tol=1e-13))
        b = recall(PatternMemory(patterns), patterns, Iteration(500, tol=1e-13), sigma=sigma)
        assert bool(a.converged.all())
        assert bool(b.converged.all())
        np.testing.assert_allclose(a.x, b.x, atol=1e-11)
        distances.append(float(jnp.abs(a.x - patterns).max()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3


def test_modern_hopfield_energy_falls_and_its_gradient_is_the_update(rng, x64):
    import jax

    network = ModernHopfield(rng.standard_normal((10, 6)) * 2, 1.3)
    x = jnp.asarray(rng.standard_normal((50, 6)))
    np.testing.assert_allclose(x - jax.vmap(jax.grad(network.energy))(x), network.update(x), atol=1e-12)
    for _ in range(20):
        new = network.update(x)
        assert bool((network.energy(new) <= network.energy(x) + 1e-12).all())
        x = new


def test_held_memory_is_a_network(rng, x64):
    memory = PatternMemory(rng.standard_normal((6, 3)))
    x = rng.standard_normal((4, 3))
    held = memory.at(0.4)
    np.testing.assert_array_equal(held.update(x), memory.denoise(x, 0.4))
    np.testing.assert_array_equal(held.energy(x), memory.energy(x, 0.4))


def test_large_beta_does_not_overflow(rng):
    patterns = rng.standard_normal((30, 2000)) * 10
    network = ModernHopfield(patterns, 1e4)
    result = recall(network, patterns + rng.standard_normal(patterns.shape))
    np.testing.assert_array_equal(result.index, np.arange(30))
    assert np.isfinite(network.energy(patterns)).all()

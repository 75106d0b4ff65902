import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import VE, VP, Cosine, InputError, Linear, PatternMemory, recall

PROCESSES = {
    "VE": VE,
    "VE 2.5": lambda: VE(rate=2.5),
    "VP": VP,
    "VP 0.8": lambda: VP(rate=0.8),
    "linear": lambda: VP(Linear()),
    "flat": lambda: VP(Linear(1.0, 1.0)),
    "cosine": lambda: VP(Cosine()),
}


@pytest.fixture(params=PROCESSES)
def make(request):
    """Called inside the test, after its precision is set."""
    return PROCESSES[request.param]


def test_time_inverts_sigma(make, x64):
    process = make()
    t = jnp.geomspace(1e-8, 0.99, 60)
    np.testing.assert_allclose(process.time(process.sigma(t)), t, rtol=1e-9)
    assert (jnp.diff(process.sigma(t)) > 0).all()


def test_time_inverts_sigma_in_single_precision(make):
    process = make()
    t = jnp.geomspace(1e-6, 0.99, 60)
    np.testing.assert_allclose(process.time(process.sigma(t)), t, rtol=2e-5)


@pytest.mark.parametrize("left", [1e-3, 1e-4, 2.0**-20, 2.0**-23])
def test_the_cosine_rate_keeps_the_digits_of_what_is_left(left):
    """α = sin(½π(1−t)/(1+s))/cos(½πs/(1+s)), which is cos(½π(t+s)/(1+s)) over the same without its cancellation."""
    t = np.float32(1 - left)
    alpha = np.sin(np.pi / 2 * (1 - float(t)) / 1.008) / np.cos(np.pi / 2 * 0.008 / 1.008)
    process = VP(Cosine())
    np.testing.assert_allclose(process.scale(jnp.asarray(t)), alpha, rtol=4e-6)
    np.testing.assert_allclose(process.sigma(jnp.asarray(t)), np.sqrt(1 - alpha**2) / alpha, rtol=4e-6)


@pytest.mark.parametrize("unit", [1e-30, 1e-25, 1e20, 1e30])
@pytest.mark.parametrize("growth", [1.0, 200.0])
def test_linear_rates_of_any_size_have_an_inverse(unit, growth):
    """Their squares may be no numbers in single precision. B(t) in double precision."""
    t = np.array([0.01, 0.5, 2.0])
    integral = 0.1 * unit * t * (1 + (growth - 1) * t / 2)
    found = Linear(0.1 * unit, 0.1 * growth * unit).inverse(jnp.asarray(integral, jnp.float32))
    np.testing.assert_allclose(found, t, rtol=1e-5)


def test_levels_map_into_each_other(x64):
    alpha = jnp.array([1e-3, 0.1, 0.68, 0.999])
    sigma = dispersed.sigma_from_alpha(alpha)
    np.testing.assert_allclose(dispersed.alpha_from_sigma(sigma), alpha, rtol=1e-12)
    np.testing.assert_allclose(dispersed.sigma_from_beta(dispersed.beta_from_sigma(sigma)), sigma, rtol=1e-12)
    assert float(dispersed.sigma_from_alpha(0.68)) == pytest.approx(1.0783, abs=1e-4)
    assert float(dispersed.sigma_from_alpha(1.0)) == 0


def test_the_papers_start_time(x64):
    """t = −(2/γ) ln α: 0.964 at γ = 0.8 and α = 0.68 (Supp. A)."""
    t = VP(rate=0.8).time(dispersed.sigma_from_alpha(0.68))
    np.testing.assert_allclose(t, -2 / 0.8 * np.log(0.68), rtol=1e-12)
    np.testing.assert_allclose(VP(rate=0.8).alpha(t), 0.68, rtol=1e-12)


def test_scale_and_sigma_solve_the_forward_equation(make, x64):
    """dx = f x dt + g dW has mean s y and variance s²σ²: ṡ = f s, d(s²σ²)/dt = 2f s²σ² + g²."""
    process = make()
    t = jnp.linspace(0.05, 0.9, 20)

    def variance(t):
        return (process.scale(t) * process.sigma(t)) ** 2

    f = jax.vmap(jax.grad(process.scale))(t) / process.scale(t)
    g = jax.vmap(process.diffusion)(t)
    np.testing.assert_allclose(jax.vmap(jax.grad(variance))(t), 2 * f * variance(t) + g**2, rtol=1e-9, atol=1e-12)


def test_vp_is_eq_26_mended(x64):
    """dx = −½γx dt + √γ dW keeps unit variance."""
    process, t = VP(rate=0.8), jnp.linspace(0.05, 3, 20)
    np.testing.assert_allclose(jax.vmap(process.diffusion)(t), np.sqrt(0.8), rtol=1e-10)
    np.testing.assert_allclose(process.scale(t) ** 2 * (1 + process.sigma(t) ** 2), 1, rtol=1e-12)


def test_velocity_is_eq_27_mended(rng, x64):
    """Backwards in time, dx/dτ = ½γ(x + ∇log p_t(x)), with ∇log p_t by automatic differentiation."""
    memory, process, t = PatternMemory(rng.standard_normal((6, 3))), VP(rate=0.8), jnp.asarray(0.7)
    x = jnp.asarray(rng.standard_normal(3))
    s, sigma = process.scale(t), process.sigma(t)
    score = jax.grad(lambda x: memory.log_density(x / s, sigma))(x)
    velocity = process.velocity(x, t, memory.denoise(x / s, sigma))
    np.testing.assert_allclose(-velocity, 0.4 * (x + score), rtol=1e-10)
    drift = process.reverse_drift(x, t, memory.denoise(x / s, sigma))
    np.testing.assert_allclose(-drift, 0.4 * x + 0.8 * score, rtol=1e-10)


def test_cues_have_the_mean_and_variance_they_should(make, key):
    process = make()
    y = jnp.broadcast_to(jnp.array([1.0, -2.0]), (20_000, 2))
    t = 0.5
    x = process.corrupt(y, t=t, key=key)
    s, sigma = float(process.scale(jnp.asarray(t))), float(process.sigma(jnp.asarray(t)))
    z = (np.asarray(x) / s - np.asarray(y)) / sigma
    # Means and variances of 20,000 standard normals, at five standard errors.
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(20_000)
    assert np.abs(z.var(0) - 1).max() < 5 * np.sqrt(2 / 20_000)
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(20_000)


def test_noise_does_not_depend_on_the_batch(key):
    y = np.ones((9, 4))
    whole = VP().corrupt(y, alpha=0.5, key=key)
    np.testing.assert_array_equal(VP().corrupt(y[:3], alpha=0.5, key=key), whole[:3])
    np.testing.assert_array_equal(VP().corrupt(y.reshape(3, 3, 4), alpha=0.5, key=key), whole.reshape(3, 3, 4))
    assert len(np.unique(np.asarray(whole))) == whole.size


def test_levels_agree_whichever_way_they_are_given(key):
    y, process = np.ones((5, 3)), VP(rate=0.8)
    sigma = dispersed.sigma_from_alpha(0.68)
    a = process.corrupt(y, alpha=0.68, key=key)
    np.testing.assert_allclose(a, process.corrupt(y, sigma=sigma, key=key), rtol=1e-6)
    np.testing.assert_allclose(a, process.corrupt(y, t=process.time(sigma), key=key), rtol=1e-5)
    np.testing.assert_allclose(a, VE().corrupt(y, alpha=0.68, key=key) * 0.68, rtol=1e-5)
    np.testing.assert_allclose(process.corrupt(y, alpha=1.0, key=key), y, rtol=1e-6)


@pytest.mark.parametrize(
    "levels",
    [{}, {"alpha": 0.5, "sigma": 1.0}, {"alpha": 0.0}, {"alpha": 1.2}, {"sigma": 0.0}, {"t": -1.0}, {"t": np.nan}],
)
def test_bad_levels_get_one_line(levels, key):
    with pytest.raises(InputError) as error:
        VP().corrupt(np.ones((2, 3)), key=key, **levels)
    assert "\n" not in str(error.value)


def test_bad_rates_get_one_line():
    for make in (lambda: VP(rate=0.0), lambda: VE(rate=-1.0), lambda: Linear(2.0, 1.0), lambda: VP(rate=np.inf)):
        with pytest.raises(InputError):
            make()


@pytest.mark.parametrize("level", [{"t": 1.0}, {"t": 0.9999999}, {"t": 50.0}, {"t": 3e38}, {"alpha": 1e-38}])
@pytest.mark.parametrize("name", ["VP", "VP 0.8", "linear", "flat", "cosine"])
def test_of_what_has_lost_its_pattern_the_noise_is_left(name, level, key):
    """Where B(t) overflows in single precision x = αy + √(1−α²) ε all the same, by a float64 oracle."""
    process, y = PROCESSES[name](), np.full((4, 3), 1e3, np.float32)
    noise = np.asarray(VE().corrupt(np.zeros((4, 3), np.float32), sigma=1.0, key=key), float)
    alpha = level["alpha"] if "alpha" in level else oracle_alpha(name, np.float32(level["t"]))
    expected = alpha * 1e3 + np.sqrt(1 - alpha**2) * noise
    np.testing.assert_allclose(process.corrupt(y, key=key, **level), expected, rtol=1e-5, atol=1e-3)


def oracle_alpha(name, t):
    """α(t) in double precision, as the papers print it."""
    t = float(t)
    if name == "cosine":
        return max(0.0, np.cos(np.pi / 2 * (t + 0.008) / 1.008) / np.cos(np.pi / 2 * 0.008 / 1.008)) if t < 1 else 0.0
    integral = {"VP": t, "VP 0.8": 0.8 * t, "linear": 0.1 * t + 19.9 * t**2 / 2, "flat": t}[name]
    return np.exp(-integral / 2)


@pytest.mark.parametrize("sigma", [1e-37, 1e-25, 1e-10, 1e10, 1e25, 1e36])
def test_noise_of_any_unit_is_the_noise_given(make, sigma, key):
    """s = 1/√(1+σ²) or 1, by a float64 oracle, also where σ² or the time leave the range of single precision."""
    process = make()
    unit = np.asarray(VE().corrupt(np.zeros((4, 3), np.float32), sigma=1.0, key=key), float)
    scale = 1.0 if isinstance(process, VE) else 1 / np.hypot(1, sigma)
    found = process.corrupt(np.zeros((4, 3), np.float32), sigma=sigma, key=key)
    np.testing.assert_allclose(found, scale * sigma * unit, rtol=2e-5)
    np.testing.assert_allclose(process.scale_at(jnp.float32(sigma)), scale, rtol=2e-5)


def test_cues_of_little_signal_are_scaled_by_it(make, rng):
    """A cue αy + √(1−α²)ε is recalled as what it is, whatever the rate, where its time has no digits left."""
    process, y = make(), rng.standard_normal((20, 6)).astype(np.float32)
    sigma = np.float32([1e2, 1e5, 1e9])
    z = y[:3] + sigma[:, None] * rng.standard_normal((3, 6)).astype(np.float32)
    scale = 1 if isinstance(process, VE) else 1 / np.hypot(1, sigma)[:, None]
    found = recall(PatternMemory(y), scale * z, sigma=sigma, process=process)
    plain = recall(PatternMemory(y), z, sigma=sigma, process=VE())
    np.testing.assert_array_equal(found.index, plain.index)
    np.testing.assert_allclose(found.x, plain.x, atol=1e-5)


@pytest.mark.parametrize("t", [30.0, 100.0, 1e4, 1e30])
def test_drift_and_diffusion_are_finite_when_all_is_noise(t):
    """At large t dx/dt of a variance-preserving process is −½γ(s D_σ) → 0, and g² = γ (Eq. 26)."""
    process, x, denoised = VP(rate=0.8), jnp.array([1.0, -2.0]), jnp.array([0.5, 0.5])
    t = jnp.asarray(t)
    np.testing.assert_allclose(process.diffusion(t), np.sqrt(0.8), rtol=1e-6)
    left = float(np.exp(-0.4 * float(t)))
    np.testing.assert_allclose(process.velocity(x, t, denoised), -0.4 * left * denoised, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(process.reverse_drift(x, t, denoised), 0.4 * x - 0.8 * left * denoised, rtol=1e-5)
    assert np.isfinite(process.alpha(t))


@pytest.mark.parametrize(
    ("process", "patterns", "level"),
    [
        (VE(), [[1.0, 1.0]] * 9, {"sigma": 3e38}),
        (VE(), [[3e38, 3e38]] * 9, {"sigma": 1e38}),
        (VE(1e30), [[1.0, 1.0]], {"t": 1e30}),
        (VP(), [[1.0, 1.0]], {"alpha": 1e-40}),
        (VP(), [[1.0, 1.0]] * 2, {"alpha": [0.5, 0.6, 0.7]}),
    ],
)
def test_cues_that_overflow_get_one_line(process, patterns, level, key):
    with pytest.raises(InputError) as error:
        process.corrupt(patterns, key=key, **level)
    assert "\n" not in str(error.value)

"""Networks of PyTorch as memories and memories as networks of PyTorch, beside NumPy in double precision."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import interop

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dispersed[torch]'")

D = 6
PATTERNS = np.random.default_rng(1).standard_normal((9, D)).astype(np.float32)
MEMORY = dispersed.PatternMemory(PATTERNS)


def oracle(z, sigma):
    """D_σ(z) in double precision, of states (..., d)."""
    z, sigma = np.asarray(z, float), np.asarray(sigma, float)
    logits = -((z[..., None, :] - PATTERNS) ** 2).sum(-1) / 2 / sigma[..., None] ** 2
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)) @ PATTERNS


def exact_in_torch(z, sigma):
    """The same in PyTorch, of (b, d) and (b,)."""
    y = torch.tensor(PATTERNS, dtype=z.dtype)
    return torch.softmax(-((z[:, None] - y) ** 2).sum(-1) / 2 / sigma[:, None] ** 2, -1) @ y


@pytest.mark.parametrize(
    ("batch", "dtype"), [((), torch.float32), ((3,), torch.float64), ((2, 0), torch.float32), ((2, 3), torch.float16)]
)
def test_a_memory_is_a_denoiser_of_pytorch(batch, dtype):
    x = torch.randn(*batch, D, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = interop.as_torch(MEMORY)(x, 0.7)
    assert found.shape == x.shape
    assert found.dtype == dtype
    np.testing.assert_allclose(found, oracle(x, np.full(batch, 0.7)), atol=2e-3 if dtype == torch.float16 else 3e-6)


def test_images_and_levels_of_their_own():
    x, sigma = torch.randn(4, 2, 3), torch.tensor([0.2, 0.5, 1.0, 3.0])
    right = oracle(x.reshape(4, D), sigma).reshape(4, 2, 3)
    D_of = interop.as_torch(MEMORY, (2, 3))
    np.testing.assert_allclose(D_of(x, sigma), right, atol=3e-6)
    np.testing.assert_allclose(D_of(x, sigma[:, None, None]), right, atol=3e-6)


def test_derivatives_pass_through_autograd():
    x = torch.randn(3, D, dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([0.6, 0.9, 1.4], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, D, dtype=torch.float64)
    found = torch.autograd.grad((interop.as_torch(MEMORY)(x, sigma) * weight).sum(), (x, sigma))
    right = torch.autograd.grad((exact_in_torch(x, sigma) * weight).sum(), (x, sigma))
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_results_are_the_callers_to_change():
    x = torch.randn(3, D)
    before = x.clone()
    denoise = interop.as_torch(MEMORY)
    first = denoise(x, 0.5)
    again = first.clone()
    first.add_(1)
    assert torch.equal(x, before)
    assert torch.equal(denoise(x, 0.5), again)
    assert denoise(x * torch.nan, 0.5).isnan().all()


def outputs(kind, vp):
    """A network of PyTorch whose estimate of this kind is exact, fed (z, σ), or (αz, ·)."""

    def of_state(x, level):
        sigma = level_sigma(level) if vp else level
        alpha = (1 + sigma**2).rsqrt()[:, None]
        z = x / alpha if vp else x
        y = exact_in_torch(z, sigma)
        noise = (z - y) / sigma[:, None]
        score = -noise / sigma[:, None]
        v = alpha * noise - alpha * sigma[:, None] * y
        return {"noise": noise, "pattern": y, "v": v, "score": score / alpha if vp else score}[kind]

    return of_state


SIGMAS = np.exp(np.linspace(np.log(0.05), np.log(20), 50))
ALPHAS = 1 / (1 + SIGMAS**2)


def level_sigma(t):
    low = t.floor().long().clamp(0, 48)
    logs = torch.log(torch.tensor(SIGMAS, dtype=t.dtype))
    return torch.exp(logs[low] + (t - low) * (logs[low + 1] - logs[low]))


@pytest.mark.parametrize("kind", ["noise", "pattern", "v", "score"])
@pytest.mark.parametrize("vp", [False, True])
def test_every_parametrisation_is_the_same_memory(kind, vp):
    memory = interop.from_torch(outputs(kind, vp), D, kind, alphas_cumprod=ALPHAS if vp else None)
    z, sigma = np.random.default_rng(0).standard_normal((5, D)).astype("f4"), np.array([0.1, 0.3, 1.0, 2.5, 9.0])
    np.testing.assert_allclose(memory.denoise(z, sigma), oracle(z, sigma), atol=3e-4)
    assert memory.levels == (pytest.approx((0.05, 20)) if vp else None)


def test_preconditioned_networks():
    def inner(scaled, c_noise):
        sigma = torch.exp(4 * c_noise)
        total = torch.hypot(sigma, torch.tensor(0.8))[:, None]
        z = scaled * total
        return (exact_in_torch(z, sigma) - (0.8 / total) ** 2 * z) * total / sigma[:, None] / 0.8

    memory = interop.from_torch(inner, D, "edm", sigma_data=0.8)
    z, sigma = np.random.default_rng(0).standard_normal((5, D)).astype("f4"), np.array([0.1, 0.3, 1.0, 2.5, 9.0])
    np.testing.assert_allclose(memory.denoise(z, sigma), oracle(z, sigma), atol=1e-5)


def test_levels_of_the_training_travel_with_the_network():
    assert interop.from_torch(outputs("noise", False), D).levels is None
    memory = interop.from_torch(outputs("noise", False), D, levels=(0.1, 3))
    assert memory.levels == (0.1, 3.0)
    with pytest.warns(UserWarning, match=r"trained at 0\.1 to 3"):
        memory.denoise(PATTERNS[0], 5.0)
    narrower = interop.from_torch(outputs("noise", True), D, alphas_cumprod=ALPHAS, levels=(0.2, 5))
    assert narrower.levels == (0.2, 5.0)
    assert interop.from_jax(lambda x, sigma: x, D, levels=(0.1, 3)).levels == (0.1, 3.0)


def test_a_batch_is_one_call_and_derivatives_are_pytorchs():
    calls = []

    def network(x, level):
        calls.append(tuple(x.shape))
        return exact_in_torch(x.reshape(-1, D), level).reshape(x.shape)

    memory = interop.from_torch(network, (2, 3), "pattern")
    z = np.random.default_rng(0).standard_normal((7, D)).astype("f4")
    calls.clear()
    memory.denoise(z, 0.8)
    assert calls == [(7, 2, 3)]
    np.testing.assert_allclose(memory.jacobian(z[0], 0.8), MEMORY.jacobian(z[0], 0.8), atol=1e-5)
    reverse = jax.jacrev(lambda x: memory.denoise(x, 0.8))(jnp.asarray(z[0]))
    np.testing.assert_allclose(reverse, MEMORY.jacobian(z[0], 0.8), atol=1e-5)
    slope = jax.jit(jax.vmap(jax.grad(lambda s, x: memory.denoise(x, s).sum()), (None, 0)))(0.8, z)
    right = jax.vmap(jax.grad(lambda s, x: MEMORY.denoise(x, s).sum()), (None, 0))(0.8, z)
    np.testing.assert_allclose(slope, right, atol=1e-4)


def test_attention_has_derivatives_in_forward_mode():
    y = torch.tensor(PATTERNS).reshape(1, 1, 9, D)

    def network(x, level):  # the exact denoiser of patterns of equal length, as attention
        z = x[:, None, None] * (D**0.5 / level**2)[:, None, None, None]
        keys = y.expand(len(x), -1, -1, -1)
        return torch.nn.functional.scaled_dot_product_attention(z, keys, keys)[:, 0, 0]

    memory = interop.from_torch(network, D, "pattern")
    z = PATTERNS[0] + 0.1
    reverse = jax.jacrev(lambda x: memory.denoise(x, 1.5))(jnp.asarray(z))
    np.testing.assert_allclose(memory.jacobian(z, 1.5), reverse, atol=1e-5)
    p = jax.nn.softmax(PATTERNS @ z / 1.5**2)
    right = (PATTERNS.T * p) @ (PATTERNS - p @ PATTERNS) / 1.5**2
    np.testing.assert_allclose(reverse, right, atol=1e-5)


def test_what_has_no_derivative_in_forward_mode_is_differentiated_in_reverse_mode():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, cotangent):
            return 2 * ctx.saved_tensors[0] * cotangent

    memory = interop.from_torch(lambda x, level: Square.apply(x) * level[:, None], D, "pattern")
    z = PATTERNS[0]
    np.testing.assert_allclose(memory.jacobian(z, 0.5), np.diag(z), atol=1e-6)


def test_networks_are_recalled_from():
    memory = interop.from_torch(outputs("noise", False), D, "epsilon")
    cues = PATTERNS[:3] + 0.2 * np.random.default_rng(2).standard_normal((3, D)).astype("f4")
    found = dispersed.recall(memory, cues, dispersed.DDIM(8), sigma=0.2)
    np.testing.assert_allclose(found.x, PATTERNS[:3], atol=1e-2)


class Output:
    def __init__(self, sample):
        self.sample = sample


class Stub:
    """What a network of diffusers has: a config, and outputs with a sample."""

    def __init__(self, kind):
        self.kind, self.config = kind, {"in_channels": 1, "sample_size": (2, 3)}

    def __call__(self, x, t):
        return Output(outputs(self.kind, True)(x.reshape(-1, D), t).reshape(x.shape))


class Scheduler:
    def __init__(self, prediction_type):
        self.config = {"prediction_type": prediction_type}
        self.alphas_cumprod = torch.tensor(ALPHAS)


@pytest.mark.parametrize(("name", "kind"), [("epsilon", "noise"), ("sample", "pattern"), ("v_prediction", "v")])
def test_networks_of_diffusers_say_what_they_estimate(name, kind):
    memory = interop.from_diffusers(Stub(kind), Scheduler(name))
    z = np.random.default_rng(0).standard_normal((4, D)).astype("f4")
    np.testing.assert_allclose(memory.denoise(z, 0.9), oracle(z, np.full(4, 0.9)), atol=3e-4)


def test_real_networks_of_diffusers(rng):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    unet = diffusers.UNet2DModel(8, 1, 1, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4,
                                 down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)).eval()  # fmt: skip
    scheduler = diffusers.DDPMScheduler()
    memory = interop.from_diffusers(unet, scheduler)
    alpha = scheduler.alphas_cumprod[300].sqrt()
    z = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        noise = unet(alpha * z, 300).sample
    sigma = float((1 - alpha**2).sqrt() / alpha)
    np.testing.assert_allclose(memory.denoise(z.reshape(2, 64), sigma), (z - sigma * noise).reshape(2, 64), atol=1e-4)


def test_functions_of_jax_have_the_same_parametrisations():
    def v(x, alpha):
        sigma = jnp.sqrt(1 - alpha**2) / alpha
        y = MEMORY.denoise((x / alpha).reshape(-1), sigma).reshape(2, 3)
        return alpha * (x / alpha - y) / sigma - alpha * sigma * y

    memory = interop.from_jax(v, (2, 3), "v", coordinates="VP")
    z = np.random.default_rng(0).standard_normal((4, D)).astype("f4")
    np.testing.assert_allclose(memory.denoise(z, 0.9), oracle(z, np.full(4, 0.9)), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: interop.from_torch(lambda x, t: x, 3, "epsilom"), "parametrisation"),
        (lambda: interop.from_torch(lambda x, t: x, 3, coordinates="sub-VP"), "coordinates"),
        (lambda: interop.from_torch(lambda x, t: x[:, :2], 3), "module"),
        (lambda: interop.from_torch(lambda x: x, 3), "module"),
        (lambda: interop.from_torch(lambda x, t: x, (3, 0)), "shape"),
        (lambda: interop.from_torch(lambda x, t: x, 3, alphas_cumprod=[0.1, 0.9]), "alphas_cumprod"),
        (lambda: interop.from_torch(lambda x, t: x, 3, "edm", alphas_cumprod=ALPHAS), "alphas_cumprod"),
        (lambda: interop.from_torch(lambda x, t: x, 3, levels=(2, 1)), "levels"),
        (lambda: interop.from_diffusers(Stub("v"), object()), "scheduler"),
        (lambda: interop.from_diffusers(lambda x, t: x, Scheduler("epsilon")), "shape"),
        (lambda: interop.as_torch(MEMORY, (4, 4)), "shape"),
        (lambda: interop.as_torch(MEMORY)(torch.zeros(3, 5), 1.0), "x"),
        (lambda: interop.as_torch(MEMORY)(np.zeros((3, 6)), 1.0), "x"),
        (lambda: interop.as_torch(MEMORY)(torch.zeros(3, 6, dtype=int), 1.0), "x"),
        (lambda: interop.as_torch(MEMORY)(torch.zeros(3, 6), -1.0), "sigma"),
        (lambda: interop.as_torch(MEMORY)(torch.zeros(3, 6), torch.ones(2)), "sigma"),
        (lambda: interop.as_torch(MEMORY)(torch.zeros(3, 6), "x"), "sigma"),
    ],
)
def test_what_cannot_be_used_is_named(call, argument):
    with pytest.raises(dispersed.InputError, match=f"^{argument}: "):
        call()


def test_nothing_of_pytorch_is_imported_until_it_is_needed():
    code = "import sys, dispersed.interop, dispersed.testbench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

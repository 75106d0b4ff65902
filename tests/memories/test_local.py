import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import ExponentialIntegrator, InputError, LocalMemory, PatternMemory, recall
from dispersed.memories import local

from . import oracle

RNG = np.random.default_rng(0)
SHAPES = {"gray": (5, 3, 5), "colour": (4, 4, 3, 2)}


@pytest.mark.parametrize("equivariant", [False, True])
@pytest.mark.parametrize(("name", "patch"), [("gray", 3), ("gray", 5), ("colour", 3)])
def test_every_pixel_is_the_mean_of_its_patches(name, patch, equivariant, monkeypatch):
    """Channels, borders, windows wider than the image, and several blocks of images."""
    images = RNG.standard_normal(SHAPES[name]).astype(np.float32)
    monkeypatch.setattr(local, "AT_ONCE", 600)
    memory = LocalMemory(images, patch, equivariant=equivariant)
    assert local._block(memory._groups, memory.images.shape, patch) < len(images)
    x = RNG.standard_normal((3, memory.dimension)).astype(np.float32)
    levels = np.array([0.05, 0.5, 4.0], np.float32)
    truth = oracle.LocalDenoiser(images, patch, equivariant)
    expected = [truth.denoise(state, float(level)) for state, level in zip(x, levels, strict=True)]
    np.testing.assert_allclose(memory.denoise(x, levels), expected, atol=2e-6)


@pytest.mark.parametrize("equivariant", [False, True])
def test_patches_beyond_the_image_are_the_memory_of_whole_images(equivariant):
    images = RNG.standard_normal((6, 3, 4)).astype(np.float32)
    flat = images.reshape(6, -1)
    x = flat + 0.6 * RNG.standard_normal(flat.shape).astype(np.float32)
    memory = LocalMemory(images, 7, equivariant=equivariant)
    np.testing.assert_allclose(memory.denoise(x, 0.6), PatternMemory(flat).denoise(x, 0.6), atol=2e-6)


def test_patches_of_one_pixel_are_its_own_posterior():
    images = RNG.standard_normal((6, 2, 3)).astype(np.float32)
    x = RNG.standard_normal((4, 6)).astype(np.float32)
    each, pooled = (LocalMemory(images, 1, equivariant=moves).denoise(x, 0.5) for moves in (False, True))
    columns = images.reshape(6, 6).T
    for unit in range(6):
        here = PatternMemory(columns[unit][:, None]).denoise(x[:, unit : unit + 1], 0.5)
        anywhere = PatternMemory(columns.reshape(-1, 1)).denoise(x[:, unit : unit + 1], 0.5)
        np.testing.assert_allclose(each[:, unit], here[:, 0], atol=2e-6)
        np.testing.assert_allclose(pooled[:, unit], anywhere[:, 0], atol=2e-6)


def test_an_equivariant_denoiser_moves_with_the_image():
    images = RNG.standard_normal((4, 6, 6)).astype(np.float32)
    x = RNG.standard_normal((7, 7)).astype(np.float32)
    memory = LocalMemory(images, 3, equivariant=True)
    here, moved = (memory.denoise(x[i : i + 6, :6].reshape(-1), 0.5).reshape(6, 6) for i in (0, 1))
    np.testing.assert_allclose(here[2:5, 1:5], moved[1:4, 1:5], atol=1e-6)
    fixed = LocalMemory(images, 3)
    here, moved = (fixed.denoise(x[i : i + 6, :6].reshape(-1), 0.5).reshape(6, 6) for i in (0, 1))
    assert np.abs(here[2:5, 1:5] - moved[1:4, 1:5]).max() > 0.1


def test_of_black_and_white_every_pixel_follows_the_majority_around_it():
    """Kamb and Ganguli (2024): two images and patches of 3 × 3."""
    memory = LocalMemory(np.stack([np.ones((8, 8)), -np.ones((8, 8))]), 3)
    x = 0.5 * jax.random.normal(jax.random.key(0), (64,))
    ends = recall(memory, x, ExponentialIntegrator(), sigma=0.5).x.reshape(8, 8)
    np.testing.assert_allclose(jnp.abs(ends), 1, atol=1e-3)
    assert 8 < int(jnp.sum(ends > 0)) < 56
    sums = np.array([[np.sum(np.pad(ends, 1)[i : i + 3, j : j + 3]) for j in range(8)] for i in range(8)])
    np.testing.assert_array_equal(np.sign(sums), np.sign(ends))


def test_levels_far_below_the_differences_of_images_leave_the_nearest_patches():
    """Logits of 1e20 are rounded by more than the largest one whose exponential is a number."""
    images = np.random.default_rng(0).standard_normal((3, 3, 3)).astype(np.float32)
    levels = np.geomspace(1e-9, 1e-18, 10, dtype=np.float32)[:, None]
    # Only an optimising compiler computes a number twice.
    denoise = jax.jit(LocalMemory(images, 3).denoise, compiler_options={"xla_backend_optimization_level": 3})
    found = denoise(np.broadcast_to(1.01 * images.reshape(3, 9), (10, 3, 9)), levels)
    np.testing.assert_array_equal(found, np.broadcast_to(images.reshape(3, 9), found.shape))


def test_the_field_is_no_gradient_and_so_there_is_no_density():
    memory = LocalMemory(RNG.standard_normal((5, 3, 3)), 3)
    jacobian = memory.jacobian(0.3 * RNG.standard_normal(9), 0.5)
    assert np.abs(jacobian - jacobian.T).max() > 0.1
    for method in ("log_density", "energy", "sample", "responsibilities"):
        assert not hasattr(memory, method)
    start, level = memory.prior_start()
    images = memory.images.reshape(5, 9)
    np.testing.assert_allclose(start, images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(level, 10 * np.sqrt(images.var(axis=0).sum()), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "patch", "message"),
    [
        (np.ones((3, 4)), 3, "images: got shape"),
        (np.ones((0, 4, 4)), 3, "images: got shape"),
        (np.full((1, 2, 2), np.nan), 1, "NaN"),
        (np.ones((3, 4, 4)), 2, "patch: got 2"),
        (np.ones((3, 4, 4)), 0, "patch"),
    ],
)
def test_what_is_refused(images, patch, message):
    with pytest.raises(InputError, match=message):
        LocalMemory(images, patch)


@pytest.mark.parametrize("common", [1e2, 1e7, 1e12])
def test_what_all_images_have_in_common_costs_no_digits(rng, common):
    """Patches of which few entries differ, by as much as the noise."""
    images = np.repeat(common * rng.standard_normal((1, 4, 4)), 4, axis=0)
    images[:, 1, 1], images[:, 2, 2] = rng.standard_normal((2, 4))
    images = images.astype(np.float32)
    cue = images[0] + np.float32(0.5) * (images[0] != images[1])
    found = LocalMemory(images, 3).denoise(cue.reshape(-1), 1.0).reshape(4, 4)
    for i, j in ((1, 1), (2, 2)):
        window = np.s_[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        off = np.sum((images.astype(float)[window] - cue.astype(float)[None][window]) ** 2, axis=(1, 2))
        weight = np.exp(-(off - off.min()) / 2)
        np.testing.assert_allclose(found[i, j], weight @ images[:, i, j] / weight.sum(), rtol=1e-5, atol=1e-5)

"""Networks of images: what they see, what they can learn, and those that come with the library."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from dispersed import InputError, LocalMemory, PatternMemory
from dispersed.learning import LogUniform, Recipe, load, local_network, pretrained, save, shipped, train, unet_network
from dispersed.learning.convolutional import Convolution
from dispersed.memories import LearnedMemory

KEY = jax.random.key(0)


def test_a_convolution_is_that_of_jax(rng):
    for shape in ((4, 5), (1, 3), (1, 1)):
        x = jnp.asarray(rng.standard_normal((*shape, 2)), jnp.float32)
        layer = Convolution(2, 3, key=KEY)
        layout = ("NHWC", "HWIO", "NHWC")
        expected = jax.lax.conv_general_dilated(x[None], layer.weight, (1, 1), "SAME", dimension_numbers=layout)[0]
        np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_a_local_network_sees_its_patch_and_moves_with_the_image(rng):
    memory = local_network((7, 7), 3, 8, 1, key=KEY)
    x = rng.standard_normal((8, 7)).astype(np.float32)
    slope = np.abs(memory.jacobian(x[:7].reshape(-1), 0.5)).reshape(7, 7, 7, 7)
    for i, j in ((3, 3), (0, 6)):
        near = np.zeros((7, 7), bool)
        near[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] = True
        assert (slope[i, j][near] > 0).all()
        assert (slope[i, j][~near] == 0).all()
    here, moved = (memory.denoise(x[k : k + 7].reshape(-1), 0.5).reshape(7, 7) for k in (0, 1))
    np.testing.assert_allclose(here[2:6, 1:6], moved[1:5, 1:6], atol=1e-5)


@pytest.mark.slow
def test_a_local_network_learns_the_local_memory(rng):
    """It comes closer to the exact denoiser of patches than to that of whole images."""
    images = np.sign(rng.standard_normal((6, 4, 4))).astype(np.float32)
    flat = images.reshape(6, 16)
    network = local_network((4, 4), 3, 48, 2, key=KEY)
    recipe = Recipe(1500, draws=8, levels=LogUniform(0.5, 1.0), optimiser=optax.adam(5e-3), average=0.99)
    trained = train(network, flat, recipe, key=KEY, check_every=1500).memory
    z = np.repeat(flat, 20, axis=0) + 0.7 * rng.standard_normal((120, 16)).astype(np.float32)
    local, whole = LocalMemory(images, 3, equivariant=True), PatternMemory(flat)
    gaps = [np.sqrt(np.mean((trained.denoise(z, 0.7) - exact.denoise(z, 0.7)) ** 2)) for exact in (local, whole)]
    assert gaps[0] < 0.18
    assert gaps[0] < gaps[1] / 2


def test_a_unet_takes_images_of_any_size(tmp_path):
    """Also saved and loaded into one of other weights."""
    memory = unet_network((7, 5, 2), 4, 2, 0.8, key=KEY)
    assert isinstance(memory, LearnedMemory)
    z = jnp.linspace(-1, 1, 70)
    found = memory.denoise(z, 0.5)
    assert found.shape == (70,)
    assert np.isfinite(found).all()
    again = load(save(tmp_path / "unet", memory), unet_network((7, 5, 2), 4, 2, 0.8, key=jax.random.key(1)))
    np.testing.assert_array_equal(again.denoise(z, 0.5), found)
    with pytest.raises(InputError, match="other"):
        load(tmp_path / "unet", unet_network((5, 7, 2), 4, 2, 0.8, key=KEY))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: local_network((8, 8), 4, key=KEY), "patch: got 4"),
        (lambda: local_network((8,), 3, key=KEY), "shape: got"),
        (lambda: unet_network((8, 0), key=KEY), "shape: got 0"),
        (lambda: unet_network((8, 8), 0, key=KEY), "width: got 0"),
        (lambda: unet_network((8, 8), spread=-1.0, key=KEY), "spread"),
        (lambda: pretrained("faces"), "name: got 'faces'; 'digits-unet', 'digits-local', 'mnist-unet' are accepted"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("name", shipped.SHIPPED)
def test_the_error_of_a_network_is_the_stated_one(name, rng):
    """Under noise of the test; better than an untrained network, and a U-Net than the best linear denoiser."""
    memory = pretrained(name)
    known, held_out = shipped.split(name)
    assert memory.levels == pytest.approx((0.05, 5.0))
    y = held_out[:: max(1, len(held_out) // 150)]
    levels = np.geomspace(0.05, 5.0, 33)[:-1] * (100 ** (1 / 64))
    sigma = rng.permutation(np.resize(levels, len(y) * 4)).reshape(-1, 4).astype(np.float32)
    z = y[:, None] + sigma[..., None] * rng.standard_normal((*sigma.shape, y.shape[1])).astype(np.float32)
    error = np.sqrt(np.mean((memory.denoise(z, sigma) - y[:, None]) ** 2))
    assert error == pytest.approx(shipped.stated_error(name), rel=0.05)
    spread = shipped.SHIPPED[name].spread
    untrained = z * spread**2 / (spread**2 + sigma[..., None] ** 2)
    assert error < 0.9 * np.sqrt(np.mean((untrained - y[:, None]) ** 2))
    if name.endswith("unet"):
        mean = known.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(known.T))
        shrunk = ((z - mean) @ vectors) * (values / (values + sigma[..., None] ** 2)) @ vectors.T + mean
        assert error < 0.95 * np.sqrt(np.mean((shrunk - y[:, None]) ** 2))


@pytest.mark.slow
def test_a_network_is_trained_again_by_one_call(tmp_path, monkeypatch):
    trained = shipped.train_again("digits-local", tmp_path, steps=2)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    again = pretrained("digits-local")
    read = load_file(tmp_path / "digits-local.safetensors")  # by the format's own library
    ours, theirs = (jax.tree.leaves(eqx.filter(memory, eqx.is_array)) for memory in (again, trained.memory))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(array.shape for array in read.values()) == sorted(array.shape for array in ours)
    assert shipped.stated_error("digits-local") == pytest.approx(float(trained.curve.held_out[-1]), abs=1e-5)

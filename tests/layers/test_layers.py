"""Layers against PyTorch by the published formulas, fixed points against updates written out, and what they learn."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.layers import measured

from dispersed import InputError, ModernHopfield
from dispersed.layers import Hopfield, HopfieldLookup, HopfieldPooling

KEY = jax.random.key(0)
B, Q, N, SIZE, STORED, VALUE = 2, 3, 7, 8, 6, 5
"""One shape for all, so that programs are compiled once."""


@pytest.fixture
def arrays(rng):
    shapes = (B, Q, SIZE), (B, N, STORED), (B, N, VALUE)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def layer_of(**settings):
    return Hopfield(SIZE, stored_size=STORED, value_size=VALUE, heads=2, hidden=4, out=3, key=KEY, **settings)


@eqx.filter_jit
def associated(layer, *arrays, mask=None, key=None):
    return layer.associate(*arrays, mask=mask, key=key)


def tensor(array):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.array(array), dtype=torch.float64)


def published(layer, state, stored, values, mask, steps):
    """The formulas of Ramsauer et al. (2021), one set and head after the other, in double precision with PyTorch.

    Returns the output, the weights and the energies.
    """
    torch = pytest.importorskip("torch")

    def prepared(norm, project, rows):
        if norm is not None:
            rows = torch.nn.functional.layer_norm(rows, rows.shape[-1:], tensor(norm.weight), tensor(norm.bias), 1e-5)
        return torch.nn.functional.linear(rows, tensor(project.weight), tensor(project.bias))

    outputs, weights, energies = [], [], []
    for b in range(len(state)):
        q = prepared(layer.state_norm, layer.to_state, tensor(state[b])).chunk(layer.heads, -1)
        k = prepared(layer.stored_norm, layer.to_stored, tensor(stored[b])).chunk(layer.heads, -1)
        v = prepared(layer.value_norm, layer.to_value, tensor(values[b])).chunk(layer.heads, -1)
        read, p, e = [], [], []
        for head in range(layer.heads):
            beta, xi = float(layer.beta[head]), q[head]
            for step in range(steps):
                logits = (beta * xi @ k[head].T).masked_fill(~torch.tensor(mask[b]), -torch.inf)
                association = torch.softmax(logits, -1)
                if step < steps - 1:
                    xi = association @ k[head]
            read.append(association @ v[head])
            p.append(association)
            e.append((xi**2).sum(-1) / 2 - torch.logsumexp(logits, -1) / beta)
        output = torch.cat(read, -1)
        outputs.append(torch.nn.functional.linear(output, tensor(layer.to_output.weight), tensor(layer.to_output.bias)))
        weights.append(torch.stack(p))
        energies.append(torch.stack(e))
    return (torch.stack(part).numpy() for part in (outputs, weights, energies))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("normalise", [True, False])
def test_association_is_that_of_the_published_formulas(rng, arrays, steps, normalise):
    layer = layer_of(steps=steps, normalise=normalise, beta=[0.5, 2.0])
    if normalise:
        norms = [rng.normal(size=(2, width)).astype(np.float32) for width in (SIZE, STORED, VALUE)]
        where = ("state_norm", "stored_norm", "value_norm")
        layer = eqx.tree_at(
            lambda layer: [part for name in where for part in (getattr(layer, name).weight, getattr(layer, name).bias)],
            layer,
            [part for norm in norms for part in norm],
        )
    mask = rng.random((B, Q, N)) < 0.7
    mask[..., 0] = True
    found = associated(layer, *arrays, mask=mask)
    output, weights, energy = published(layer, *arrays, mask, steps)
    np.testing.assert_allclose(found.output, output, atol=1e-5)
    np.testing.assert_allclose(found.weights, weights, atol=1e-5)
    np.testing.assert_allclose(found.energy, energy, atol=1e-5)
    assert found.steps.shape == (B, 2, Q)
    assert (np.asarray(found.steps) == steps).all()


def test_masks_of_sets_and_of_states(arrays):
    state, stored, values = arrays
    layer = layer_of()
    mask = np.arange(N) < np.array([[4], [N]])
    short = associated(layer, state[:1], stored[:1, :4], values[:1, :4]).output
    found = associated(layer, *arrays, mask=mask).output
    np.testing.assert_allclose(found[:1], short, atol=1e-6)
    of_states = associated(layer, *arrays, mask=np.broadcast_to(mask[:, None], (B, Q, N))).output
    np.testing.assert_allclose(of_states, found, atol=1e-6)


def test_where_nothing_may_be_retrieved_nothing_is(arrays):
    nothing = np.zeros((B, N), bool)
    found = associated(layer_of(), *arrays, mask=nothing)
    assert (np.asarray(found.weights) == 0).all()
    assert np.isfinite(np.asarray(found.output)).all()
    slopes = eqx.filter_jit(eqx.filter_grad(lambda layer: loss(layer, *arrays, nothing)))(layer_of())
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(slopes))


def loss(layer, state, stored, values, mask):
    return jnp.sum(jnp.sin(3 * layer(state, stored, values, mask=mask)))


def test_energies_are_numbers_where_nothing_may_be_retrieved(rng):
    layer = Hopfield(4, beta=0.1, project=False, normalise=False, key=KEY)
    found = layer.associate(rng.normal(size=(2, 4)), rng.normal(size=(3, 4)), mask=np.zeros((2, 3), bool))
    assert np.isfinite(found.energy).all()


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_a_fixed_point_and_its_derivative_are_those_of_updates_written_out(rng, arrays, beta):
    mask = rng.random((B, N)) < 0.8
    mask[:, 0] = True
    with jax.enable_x64(True):
        arrays = [np.asarray(array, float) for array in arrays]
        settings = {"beta": beta, "learn_beta": True, "normalise": False}
        implicit, unrolled = layer_of(steps=None, tol=1e-12, **settings), layer_of(steps=200, **settings)
        whole = eqx.filter_jit(eqx.filter_value_and_grad(lambda a: loss(a[0], *a[1:], mask)))
        value, slopes = whole((implicit, *arrays))
        expected, truth = whole((unrolled, *arrays))
        found = associated(implicit, *arrays, mask=mask)
    assert bool(found.converged.all())
    assert value == pytest.approx(float(expected), abs=1e-9)
    for slope, true in zip(jax.tree.leaves(slopes), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(slope, true, atol=1e-7 * max(1, np.abs(true).max()))
    np.testing.assert_array_equal(slopes[1], 0)


def test_single_precision_holds_to_five_digits(arrays):
    settings = {"beta": 3.0, "learn_beta": True}
    whole = eqx.filter_jit(eqx.filter_value_and_grad(lambda layer: loss(layer, *arrays, None)))
    value, slopes = whole(layer_of(steps=None, tol=1e-7, **settings))
    expected, truth = whole(layer_of(steps=60, **settings))
    assert float(value) == pytest.approx(float(expected), abs=1e-5)
    for slope, true in zip(jax.tree.leaves(slopes), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(slope, true, atol=1e-5 * max(1, np.abs(true).max()))


def test_a_state_does_not_depend_on_its_neighbours(arrays):
    layer = layer_of(steps=None)
    together = associated(layer, *arrays)
    alone = associated(layer, *(array[:1] for array in arrays))
    np.testing.assert_allclose(together.output[:1], alone.output, atol=1e-6)
    np.testing.assert_array_equal(together.steps[:1], alone.steps)


def test_without_projections_it_is_the_modern_network(rng):
    y, x = rng.normal(size=(N, SIZE)).astype(np.float32), rng.normal(size=(Q, SIZE)).astype(np.float32)
    layer = Hopfield(SIZE, project=False, normalise=False, beta=0.7, steps=2, key=KEY)
    network = ModernHopfield(y, 0.7)
    once = network.update(x)
    found = layer.associate(x, y)
    np.testing.assert_allclose(found.output, network.update(once), atol=1e-6)
    np.testing.assert_allclose(found.energy[0], network.energy(once), atol=1e-5)
    assert not found.converged.all()
    assert layer.associate(y[:1], y[:1]).converged.all()


def test_pooling_is_of_sets(arrays):
    """Whatever the order of their members; what is masked does not count."""
    _, stored, _ = arrays
    pooling = HopfieldPooling(STORED, 2, heads=2, key=KEY)
    pool = eqx.filter_jit(lambda stored, mask: pooling(stored, mask=mask))
    found = pool(stored, None)
    assert found.shape == (B, 2 * STORED)
    np.testing.assert_allclose(pool(stored[:, ::-1], None), found, atol=1e-6)
    mask = np.arange(N) < 5
    members = pool(stored[:, :5], None)
    np.testing.assert_allclose(pool(stored, np.broadcast_to(mask, (B, N))), members, atol=1e-6)


def test_a_table_is_looked_up(rng):
    y, v = rng.normal(size=(N, SIZE)), rng.normal(size=(N, VALUE))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    table = HopfieldLookup(SIZE, N, stored=y, values=v, project=False, normalise=False, beta=100.0, key=KEY)
    np.testing.assert_allclose(table(y), v, atol=1e-3)
    slopes = eqx.filter_jit(eqx.filter_grad(lambda table: jnp.sum(table(y) ** 2)))(table)
    assert float(jnp.abs(slopes.values).sum()) > 0
    assert float(jnp.abs(slopes.layer.log_beta).sum()) == 0


def test_dropout_is_drawn_from_its_key(arrays):
    layer = layer_of(dropout=0.5)
    keys = jax.random.split(KEY, 4000)
    many = np.asarray(eqx.filter_jit(jax.vmap(lambda key: layer(*arrays, key=key)))(keys))
    without = associated(layer, *arrays).output
    np.testing.assert_array_equal(without, associated(layer_of(), *arrays).output)
    error = np.std(many, axis=0) / np.sqrt(len(many))
    assert (error > 0).all()
    assert (np.abs(np.mean(many, axis=0) - without) < 5 * error).all()


def test_what_does_not_fit_is_one_line(arrays):
    state, stored, values = arrays
    layer = layer_of()
    for call, name in (
        (lambda: layer(state[..., :-1], stored, values), "state"),
        (lambda: layer(state, stored[..., :-1], values), "stored"),
        (lambda: layer(state, stored, values[:, :-1]), "values"),
        (lambda: layer(*arrays, mask=np.ones((B, N - 1), bool)), "mask"),
        (lambda: layer(*arrays, mask=np.ones((B, N))), "mask"),
        (lambda: Hopfield(5, heads=2, key=KEY), "hidden"),
        (lambda: Hopfield(4, heads=2, project=False, key=KEY), "project"),
        (lambda: Hopfield(4, beta=np.array([1.0, 2.0]), key=KEY), "beta"),
        (lambda: Hopfield(4, beta=0.0, key=KEY), "beta"),
        (lambda: Hopfield(4, steps=0, key=KEY), "steps"),
        (lambda: Hopfield(4, dropout=1.0, key=KEY), "dropout"),
        (lambda: Hopfield(4, key=0), "key"),
        (lambda: HopfieldPooling(4, 0, key=KEY), "quantity"),
        (lambda: HopfieldLookup(4, 3, stored=np.ones((2, 4)), key=KEY), "stored"),
    ):
        with pytest.raises(InputError, match=f"^{name}: "):
            call()


def test_what_the_benchmark_times_is_the_same():
    pytest.importorskip("torch")
    lines = measured(queries=(2,), batch=2, n=20, d=8, repeats=1)
    assert {name for _, name, *_ in lines} >= {"this library", "PyTorch, formulas", "PyTorch, fused attention"}
    assert all(seconds > 0 and difference < 1e-5 for *_, seconds, _, difference in lines)

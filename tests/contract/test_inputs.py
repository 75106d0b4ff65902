"""What may be given to a memory: arrays of every kind and precision, no states, extreme levels; and real signatures."""

import functools
import inspect
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

from dispersed import (
    AncestralSampling,
    Box,
    CertifiedFlow,
    ClassicalHopfield,
    DenseHopfield,
    Entmax,
    Exponential,
    FenchelYoungHopfield,
    GaussianMemory,
    Heun,
    InputError,
    LearnedMemory,
    Mixture,
    ModernHopfield,
    Observation,
    PatternMemory,
    ReconstructiveMemory,
    Segment,
    SequenceMemory,
    Smoothed,
    Solver,
    Sphere,
    Subspace,
    SumOfCores,
    UniversalHopfield,
    condition,
    estimate_sigma,
    recall,
)
from dispersed.consolidation import replay
from dispersed.dynamics import named
from dispersed.engines import Scanned, Sharded
from dispersed.memories import Network
from dispersed.names import registered_dynamics

from . import cases
from .cases import CASES, CORE, CORES, FACTOR, KNOWN, MIDDLE, NETWORKS, PLANE, SIGNS, WEIGHTS, D, Y, first_unit

FORMS = {
    "float16": lambda a: np.asarray(a, np.float16),
    "bfloat16": lambda a: jax.device_put(np.asarray(a, jnp.bfloat16)),
    "bfloat16 of NumPy": lambda a: np.asarray(a, jnp.bfloat16),
    "float64": lambda a: np.asarray(a, np.float64),
    "big-endian": lambda a: np.asarray(a, ">f4"),
    "big-endian double": lambda a: np.asarray(a, ">f8"),
    "long double": lambda a: np.asarray(a, np.longdouble),
    "without a mask": lambda a: np.ma.masked_array(a),
    "list": lambda a: np.asarray(a).tolist(),
    "tuple": lambda a: tuple(np.asarray(a).tolist()) if np.ndim(a) else a,
    "not contiguous": lambda a: np.asarray(np.repeat(a, 2, axis=-1), np.float32)[..., ::2] if np.ndim(a) else a,
    "pandas": lambda a: pandas.DataFrame(a) if np.ndim(a) == 2 else pandas.Series(a) if np.ndim(a) else a,
}
if find_spec("torch"):  # too large to be installed for this alone
    import torch

    FORMS |= {
        "PyTorch": lambda a: torch.tensor(np.asarray(a), dtype=torch.float32),
        "PyTorch double": lambda a: torch.tensor(np.asarray(a), dtype=torch.float64, requires_grad=True),
        "PyTorch half": lambda a: torch.tensor(np.asarray(a), dtype=torch.float16),
        "PyTorch bfloat16": lambda a: torch.tensor(np.asarray(a), dtype=torch.bfloat16),
    }
BUILT = {
    "patterns": lambda c: PatternMemory(c(Y)),
    "weighted patterns": lambda c: PatternMemory(c(Y), c(np.round(8 * WEIGHTS))),
    "scanned": lambda c: PatternMemory(c(Y), engine=Scanned()),
    "segment": lambda c: Segment(c(MIDDLE), c(Y[1])),
    "box": lambda c: Box(c(MIDDLE), c(MIDDLE + 1)),
    "subspace": lambda c: Subspace(c(MIDDLE), c(PLANE), c(np.array([-1.0, -0.5])), c(np.array([0.5, 1.0]))),
    "sphere": lambda c: Sphere(c(MIDDLE), c(np.array(0.875)), c(PLANE)),
    "gaussian": lambda c: GaussianMemory(c(MIDDLE), c(FACTOR)),
    "covariance": lambda c: GaussianMemory.from_covariance(c(MIDDLE), c(np.eye(D))),
    "mixture": lambda c: Mixture([PatternMemory(c(Y)), Segment(c(MIDDLE), c(Y[1]))], c(np.array([1.0, 3.0]))),
    "smoothed": lambda c: Smoothed(PatternMemory(c(Y)), c(np.array(0.375))),
    "cores": lambda c: ReconstructiveMemory(GaussianMemory(c(MIDDLE), c(FACTOR)), c(CORE), c(CORES)),
    "sum of cores": lambda c: SumOfCores(PatternMemory(c(Y)), first_unit, c(CORES)),
    "classical": lambda c: ClassicalHopfield(c(SIGNS)),
    "dense": lambda c: DenseHopfield(c(SIGNS)),
    "modern": lambda c: ModernHopfield(c(Y), c(np.array(1.5))),
}
ONE_STATE = np.array([0.625, 0.25, -0.5], np.float32)


@functools.cache
def single(kind):
    """The memory of arrays in single precision."""
    return BUILT[kind](lambda a: np.asarray(a, np.float32))


def arrays(memory):
    parts = [memory.patterns, memory.log_weights] if isinstance(memory, PatternMemory) else jax.tree.leaves(memory)
    return [part for part in parts if isinstance(part, jax.Array | np.ndarray)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BUILT)
def test_arrays_of_every_kind_and_precision(kind, form):
    """Half precision is promoted, wider ones are narrowed: the memory is the same as of single precision."""
    found, expected = arrays(BUILT[kind](FORMS[form])), arrays(single(kind))
    assert len(found) == len(expected)
    for array, wanted in zip(found, expected, strict=True):
        assert array.dtype == wanted.dtype
        np.testing.assert_allclose(array, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["patterns", "scanned", "modern"])
def test_states_of_every_kind_and_precision(kind, form):
    memory = single(kind)
    evaluate = memory.update if isinstance(memory, Network) else lambda x: memory.denoise(x, 0.5)
    found = evaluate(FORMS[form](ONE_STATE))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, evaluate(ONE_STATE))


def test_whole_numbers_and_booleans():
    whole = np.array([[1, 0, 2], [0, 3, 1]])
    for dtype in (np.int8, np.int64, np.uint8, bool):
        expected = PatternMemory(whole.astype(dtype).astype(np.float32))
        found = PatternMemory(whole.astype(dtype))
        np.testing.assert_array_equal(found.patterns, expected.patterns)
        state = np.array([1, 0, 1]).astype(dtype)
        np.testing.assert_array_equal(found.denoise(state, 1), expected.denoise(state.astype(np.float32), 1.0))


MASKED = np.ma.masked_array(Y, np.eye(5, 3, dtype=bool))


@pytest.mark.parametrize(
    "patterns",
    [
        MASKED,
        Y * 1j,
        Y.astype(str),
        np.array([[1.0, None], [2.0, 3.0]], object),
        Y.astype("m8[s]"),
        Y.astype("M8[s]"),
        [[1.0], [1.0, 2.0]],
    ],
    ids=["masked", "complex", "text", "objects", "durations", "dates", "ragged"],
)
@pytest.mark.parametrize("build", [PatternMemory, ClassicalHopfield, lambda y: PatternMemory(y, engine=Scanned())])
def test_what_is_no_array_of_numbers_gets_one_line(build, patterns):
    with pytest.raises(InputError) as error:
        build(patterns)
    assert "\n" not in str(error.value)


def test_numbers_in_an_array_of_objects_are_numbers():
    """As pandas gives columns that may have missing entries."""
    np.testing.assert_array_equal(PatternMemory(np.array(Y, object)).patterns, PatternMemory(Y).patterns)


def traced(memory, x, sigma):
    """The result types of the methods, without computing them."""
    if isinstance(memory, Network):
        return jax.eval_shape(memory.update, x)
    names = ("denoise", "log_density", "energy") if hasattr(memory, "log_density") else ("denoise", "score")
    return jax.eval_shape(lambda x, sigma: [getattr(memory, name)(x, sigma) for name in names], x, sigma)


@pytest.mark.parametrize("name", {**CASES, **NETWORKS})
def test_memory_and_cue_meet_in_the_wider_precision(name):
    """A memory of single precision with states in double, and the other way round."""
    case = {**CASES, **NETWORKS}[name]
    narrow = case.make()
    with jax.enable_x64(True):
        wide = case.make()
        single, double = (jnp.asarray(ONE_STATE, dtype) for dtype in (jnp.float32, jnp.float64))
        for memory, x, expected in ((narrow, double, jnp.float64), (wide, single, None), (narrow, single, jnp.float32)):
            for level in (0.5, np.float32(0.5)):
                for part in jax.tree.leaves(traced(memory, x, jnp.asarray(level))):
                    assert part.dtype in ((jnp.float32, jnp.float64) if expected is None else (expected,))


def keeps_single_precision(call):
    """`call()`, which is not computed, is of single precision, with double precision on; its values, part by part."""
    with jax.enable_x64(True):
        for part in jax.tree.leaves(jax.eval_shape(call)):
            assert not jnp.issubdtype(part.dtype, jnp.inexact) or part.dtype == jnp.float32


@pytest.mark.parametrize("name", {**CASES, **NETWORKS})
def test_recalls_in_single_precision_stay_there(name):
    """With double precision on, in which numbers of Python are, as in any precision that they meet."""
    memory, x = {**CASES, **NETWORKS}[name].make(), jnp.asarray(ONE_STATE)
    if isinstance(memory, Network):
        keeps_single_precision(lambda: recall(memory, x))
        return
    keeps_single_precision(lambda: recall(memory, x, alpha=0.7))
    if CASES[name].completes:
        keeps_single_precision(lambda: condition(memory, Observation(x, mask=KNOWN, sigma=0.3)))


@pytest.mark.parametrize("name", registered_dynamics())
def test_dynamics_in_single_precision_stay_there(name):
    """Their settings too are numbers of Python."""
    dynamics, x, key = named(name), jnp.asarray(ONE_STATE), jax.random.key(0)
    patterns = PatternMemory(Y, engine=Scanned() if isinstance(dynamics, CertifiedFlow) else None)
    for memory, paths in (
        (patterns, (False, True)),
        (ModernHopfield(Y, 2.0), (True,)),
        (ClassicalHopfield(SIGNS), (True,)),
    ):
        if isinstance(memory, dynamics.serves):
            levels = {} if isinstance(memory, Network) else {"alpha": 0.7}
            for path in paths:

                def recalled(memory=memory, path=path, levels=levels):
                    return recall(memory, x, named(name), key=key, trajectory=path, **levels)

                keeps_single_precision(recalled)


SINGLE = np.asarray(SIGNS, np.float32)
WITH_NUMBERS = {
    "bandwidth": lambda: Smoothed(PatternMemory(SINGLE), 0.2).denoise(SINGLE[0], 0.5),
    "entmax": lambda: UniversalHopfield(SINGLE, separation=Entmax(1.5, 2.0)).update(SINGLE[0]),
    "temperature": lambda: FenchelYoungHopfield(SINGLE, 1.0).update(SINGLE[0]),
    "exponential": lambda: DenseHopfield(SINGLE, Exponential(2.0)).update(SINGLE[0]),
    "replay": lambda: replay(
        PatternMemory(SINGLE), generations=1, replays=4, key=jax.random.key(0), dynamics=AncestralSampling(4)
    ),
}


@pytest.mark.parametrize("made", WITH_NUMBERS)
def test_numbers_take_the_precision_of_the_arrays_they_meet(made):
    keeps_single_precision(WITH_NUMBERS[made])


@pytest.mark.parametrize("engine", [None, Scanned(), Sharded()], ids=repr)
def test_values_that_are_known_inside_of_a_program_are_constants_of_it(engine):
    """Nothing else is known there: what is done with them is a part of the program."""
    memory, x = PatternMemory(Y, engine=engine), jnp.asarray(ONE_STATE)
    calls = {
        "denoise": lambda: memory.denoise(x, 0.5),
        "score": lambda: memory.score(x, 0.5),
        "log_density": lambda: memory.log_density(x, 0.5),
        "nearest": lambda: memory.nearest(x, 0.5),
        "posterior": lambda: memory.posterior(x, 0.5).mean,
        "condition": lambda: condition(memory, Observation(x, mask=KNOWN, sigma=0.3)).log_evidence,
        "recall": lambda: recall(memory, x, sigma=0.5).x,
    }
    outside = {name: call() for name, call in calls.items()}
    inside = jax.jit(lambda one: {name: jax.tree.map(lambda a: a * one, call()) for name, call in calls.items()})(1)
    for found, expected in zip(jax.tree.leaves(inside), jax.tree.leaves(outside), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="inside of a program"):
        jax.eval_shape(lambda: estimate_sigma(memory, x))


@pytest.mark.parametrize("name", {**CASES, **NETWORKS})
def test_no_states_are_no_results(name):
    memory = {**CASES, **NETWORKS}[name].make()
    nothing = np.zeros((0, D), np.float32)
    found = memory.update(nothing) if isinstance(memory, Network) else memory.denoise(nothing, 0.5)
    assert found.shape == (0, D)


EXTREMES = np.stack([ONE_STATE, np.full(D, 1e30, np.float32)])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.far])
def test_levels_at_both_ends_and_far_states_give_numbers(name):
    case = CASES[name]
    memory = case.make()
    low, high = 2e-19, 1e19
    sigma = np.array([[low], [1.0], [high]], np.float32)
    methods = {"denoise", "score"} | ({"energy", "log_density"} & case.does)

    def program(memory, x, sigma):
        return {name: getattr(memory, name)(x, sigma) for name in methods}

    found = {k: np.asarray(v) for k, v in eqx.filter_jit(program)(memory, EXTREMES, sigma).items()}
    for method, array in found.items():
        assert not np.isnan(array).any(), method
        assert np.isfinite(array[:, 0]).all(), method
        if method != "log_density":  # beyond the range of single precision at a distance of 1e30
            assert np.isfinite(array).all(), method


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf, 1e-20, 1e20, [0.5, 0.5]])
@pytest.mark.parametrize("name", ["patterns", "scanned", "segment", "mixture", "learned pattern"])
def test_levels_outside_their_domain_get_one_line(name, sigma):
    with pytest.raises(InputError, match="sigma") as error:
        CASES[name].make().denoise(np.zeros((3, D)), sigma)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", {**CASES, **NETWORKS})
@pytest.mark.parametrize("x", [np.zeros(D + 1), 0.0, np.full(D, np.nan), np.full(D, 1e39), ["a"] * D, np.zeros((D, 0))])
def test_states_that_are_none_get_one_line(name, x):
    memory = {**CASES, **NETWORKS}[name].make()
    with pytest.raises(InputError, match=r"^x: ") as error:
        memory.update(x) if isinstance(memory, Network) else memory.denoise(x, 0.5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", sorted(cases.classes(), key=lambda kind: kind.__name__))
def test_public_methods_have_names_types_and_help(kind):
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_"):
            continue
        signature = inspect.signature(method)
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in list(signature.parameters.values())[1:]:
            assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY), (name, parameter)
            assert parameter.annotation is not parameter.empty, (name, parameter)
        assert inspect.getdoc(method), name


@pytest.mark.parametrize("name", ["patterns", "weighted patterns", "scanned", "mixture", "cores"])
def test_a_posterior_names_no_more_than_there_are(name):
    memory = CASES[name].make()
    n = memory.responsibilities(ONE_STATE, 0.5).size
    found = memory.posterior(ONE_STATE, 0.5, leading=n + 3)
    index, p = np.asarray(found.index), np.asarray(found.responsibilities)
    named = index >= 0
    assert sorted(index[named]) == sorted(set(index[named]))
    assert index.max() < n
    np.testing.assert_allclose(p[named].sum(), 1, rtol=1e-5)
    assert (np.diff(p[named]) <= 0).all()
    np.testing.assert_allclose(found.effective_number, np.exp(found.entropy), rtol=1e-6)
    for wrong in (0, -1, True):
        with pytest.raises(InputError, match="leading"):
            memory.posterior(ONE_STATE, 0.5, leading=wrong)


class Stepping(Solver):
    """A solver whose step is a function."""

    function: Any = eqx.field(static=True)

    def __init__(self, function):
        super().__init__()
        self.function = function

    def step(self, memory, z, sigma, following, carry, key):
        return self.function(z)


FUNCTIONS = {
    "model": lambda f: LearnedMemory(lambda x, level: f(x), D, "pattern", "VE").denoise(ONE_STATE, 0.5),
    "interaction": lambda f: DenseHopfield(SIGNS, f).update(ONE_STATE),
    "interaction of a sequence": lambda f: SequenceMemory(SIGNS, f).update(ONE_STATE),
    "interaction as a separation": lambda f: UniversalHopfield(Y, "dot", f).update(ONE_STATE),
    "similarity": lambda f: UniversalHopfield(Y, lambda x, y: f(x)).update(ONE_STATE),
    "step of Stepping": lambda f: recall(PatternMemory(Y), ONE_STATE, Stepping(lambda z: (f(z), None)), sigma=0.5),
    "grid": lambda f: recall(PatternMemory(Y), ONE_STATE, Heun(grid=lambda first, *_: f(first[None])), sigma=0.5),
}


@pytest.mark.parametrize("returned", [lambda a: None, lambda a: 1.0, lambda a: a[:1, None], lambda a: a > 0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_return_something_else_get_one_line(name, returned):
    with pytest.raises(InputError, match=rf"^{name.split(' of a ')[0].split(' as ')[0]}: returned") as error:
        FUNCTIONS[name](returned)
    assert "\n" not in str(error.value)


def test_a_step_returns_a_pair():
    with pytest.raises(InputError, match=r"^step of Stepping: returned no pair"):
        recall(PatternMemory(Y), ONE_STATE, Stepping(lambda z: z), sigma=0.5)


def test_wrong_types_get_one_line_without_a_type_checker():
    """In a process of its own: while testing, the run-time type checker would answer first."""
    code = """
import warnings, jax, numpy as np, dispersed as d
from dispersed import theory as t
m, key = d.PatternMemory(np.eye(3)), jax.random.key(0)
calls = [
    lambda: m.sample(7), lambda: m.sample(jax.random.split(key), 2), lambda: m.sample(key, 2.5),
    lambda: m.sample(key, "2"),
    lambda: m.denoise(np.zeros(3), None), lambda: m.denoise(np.zeros(3), "0.5"), lambda: m.denoise(None, 0.5),
    lambda: d.PatternMemory(None), lambda: d.ClassicalHopfield(None), lambda: d.Segment("a", [0.0]),
    lambda: d.Smoothed(7, 0.5), lambda: d.Mixture(7), lambda: m.posterior(np.zeros(3), 0.5, leading="2"),
    lambda: m.posterior(np.zeros(3), 0.5, leading=2.5),
    lambda: m.at([1.0, 2.0]),
    lambda: m.at(1e-25),
    lambda: d.condition(m, np.zeros(3)), lambda: d.condition(np.eye(3), d.Observation(np.zeros(3), sigma=1)),
    lambda: d.Observation("abc", sigma=1), lambda: d.Observation(None, sigma=1),
    lambda: d.Observation([1.0], sigma="1"),
    lambda: d.Observation([1.0], operator="A", sigma=1), lambda: d.Observation([1.0], mask="m", sigma=1),
    lambda: d.ModernHopfield(np.eye(3), [1.0, 2.0]), lambda: d.ModernHopfield(np.eye(3), 0.0),
    lambda: t.ags_overlap("a"), lambda: t.gardner_load(None), lambda: t.channel_rate(1j),
    lambda: t.krotov_hopfield_error(10**400, 3, 2), lambda: t.transition_capacity([1, 2], 2),
    lambda: t.nearest_pattern(10, 0.5, "a"), lambda: t.collapse_sigma("a", 3),
    lambda: t.retrieval_error_bound(3, 1.0, None, 1.0, 1.0),
    lambda: d.recall(m, np.zeros(3), sigma=0.5, callback=3),
    lambda: d.diagnostics.participation(d.ModernHopfield(np.eye(3), 1.0), np.zeros(3), 1.0),
]
warnings.simplefilter("error")
assert m.posterior(np.zeros(3), 0.5, tol=np.float32(1e-3)).bound < 1e-3
for number, call in enumerate(calls):
    try:
        call()
    except d.InputError as error:
        assert "\\n" not in str(error), number
    except Exception as error:
        print(number, type(error).__name__, error)
    else:
        print(number, "accepted")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not run.stdout


def test_parts_of_mixed_precision_meet_in_the_wider(x64, rng):
    """Whichever of them comes first, as numbers that single precision cannot hold tell."""
    y = rng.standard_normal((5, 4))
    narrow = y.astype(np.float32)

    def memories(a, b):
        yield "segment", Segment(a[0], b[1])
        yield "subspace", Subspace(a[0], b[1:3])
        yield "subspace with limits", Subspace(a[0], a[1:3], -np.abs(b[3, :2]), np.abs(b[4, :2]))
        yield "sphere", Sphere(a[0], 1.0, b[1:3])
        yield "Gaussian", GaussianMemory(a[0], b[1:3].T)
        yield "cores", ReconstructiveMemory(GaussianMemory(a[0], a[1:].T), b[:1], b[3:, :1], noise=0.3)

    x = rng.standard_normal(4)
    for a, b in ((narrow, y), (y, narrow)):
        widened = memories(*(part.astype(np.float64) for part in (a, b)))
        for (name, mixed), (_, wide) in zip(memories(a, b), widened, strict=True):
            assert mixed.denoise(x, 0.7).dtype == np.float64, name
            slack = 1e-6 if name == "cores" else 1e-12  # a semantic memory in single precision has rounded axes
            np.testing.assert_allclose(mixed.denoise(x, 0.7), wide.denoise(x, 0.7), rtol=0, atol=slack, err_msg=name)
            np.testing.assert_allclose(mixed.log_density(x, 0.7), wide.log_density(x, 0.7), atol=slack, err_msg=name)

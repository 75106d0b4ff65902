"""Every memory through every public method, in every mode, against a slow oracle in double precision."""

import inspect
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import InputError, Observation, OneStep, condition, recall
from dispersed.learning import load, save
from dispersed.memories import Denoiser, Network, PatternMemory
from tests.precision import multiplies_in_full_precision

from . import cases
from .cases import CASES, KNOWN, NETWORKS, ROWS, SEEN, TAU, D, conditioned, in_mixture, in_smoothed, measured

X = np.array([[0.625, 0.25, -0.5], [0.0, 0.0, 0.0], [-1.25, 0.75, 0.375]])
LEVELS = np.array([[0.5], [1.125]])
"""Noise levels (2, 1), which meet states (3, d) in a batch (2, 3)."""
CUES = np.array([[1.0, -1, 1], [1, 1, -1], [-0.5, 0.75, 2], [0, 0, 1]])
"""States of networks: ±1 units, noisy ones and missing ones."""
LEADING = 4

METHODS = {
    "denoise": lambda m, x, s: m.denoise(x, s),
    "score": lambda m, x, s: m.score(x, s),
    "jacobian": lambda m, x, s: m.jacobian(x, s),
    "nearest": lambda m, x, s: m.nearest(x, s),
    "posterior": lambda m, x, s: m.posterior(x, s, leading=LEADING),
    "log_density": lambda m, x, s: m.log_density(x, s),
    "energy": lambda m, x, s: m.energy(x, s),
    "hessian": lambda m, x, s: m.hessian(x, s),
    "responsibilities": lambda m, x, s: m.responsibilities(x, s),
    "project": lambda m, x, s: m.project(x),
}
NETWORK_METHODS = {
    "energy": lambda m, x: m.energy(x),
    "update": lambda m, x: m.update(x),
    "nearest": lambda m, x: m.nearest(x),
    "responsibilities": lambda m, x: m.responsibilities(x),
}
ELSEWHERE = {
    "at": "a network, which is a case",
    "sample": "test_sampling.py",
    "prior_start": "test_the_prior_start_is_the_prior",
    "sampling": "test_completion_by_recall",
    "observing": "test_completion_by_recall",
}
"""Public methods of the bases that this file does not call by their table, and where they are tested."""
OWN = {
    "anchored": "log densities of every mixture go through it",
    "each": "methods of every mixture go through it",
    "observed": "every conditioned Gaussian goes through it",
    "of": "conditioned shapes go through it",
    "from_covariance": "a constructor",
    "event": "tests/memories/test_reconstructive.py",
    "estimate": "the denoiser of every learned memory goes through it",
    "error": "the loss of every training goes through it",
    "energy_error": "tests/memories/test_energies.py",
    "minima": "tests/memories/test_epanechnikov.py",
    "associate": "tests/memories/test_sequences.py",
    "sequence": "tests/memories/test_sequences.py",
    "trained_at": "tests/learning",
    "warn_outside": "tests/learning",
}
"""Helpers that single classes have."""


def per_state(function, x, sigma):
    """`function` of every state and level of a batch, by a loop."""
    batch = np.broadcast_shapes(x.shape[:-1], np.shape(sigma))
    states, levels = np.broadcast_to(x, (*batch, x.shape[-1])), np.broadcast_to(sigma, batch)
    found = [function(states[i], float(levels[i])) for i in np.ndindex(*batch)]
    return np.reshape(found, (*batch, *np.shape(found[0])))


def mapped(memory, does, x, sigma):
    """Public methods of one state and their derivatives, mapped by the user."""
    xs = jnp.broadcast_to(x, (*np.broadcast_shapes(x.shape[:-1], sigma.shape), x.shape[-1]))
    levels = jnp.broadcast_to(sigma, xs.shape[:-1])

    def each(function):
        return jax.vmap(jax.vmap(function))(xs, levels)

    found = {"mean": each(memory.denoise)} if "denoise" in does else {}
    if "jacobian" in does:
        found["one state"], found["reverse"] = memory.denoise(x[0], sigma[0, 0]), each(jax.jacrev(memory.denoise))
    if "log_density" in does:
        found["value"], (found["slope"], found["level slope"]) = each(jax.value_and_grad(memory.log_density, (0, 1)))
    return found


@eqx.filter_jit
def compiled(memory, x, sigma, names, does):
    """What a user's own program gets: methods of a batch, and mapped and differentiated ones."""
    return {name: METHODS[name](memory, x, sigma) for name in names}, mapped(memory, does, x, sigma)


def evaluated(memory, names, does, call=compiled):
    """The same at the states and levels of this file: one program for all memories of one structure."""
    return call(memory, jnp.asarray(X), jnp.asarray(LEVELS), tuple(sorted(names)), frozenset(does))


def close(found, expected, tol, scale=1.0):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tol, atol=tol * scale)


def agrees(case, name, found, x, sigma, tol):
    """One method against the oracle."""
    truth = case.oracle()
    if name == "project":
        if case.gap:
            lies_in_the_shape(truth, found, x, case.gap, tol)
        else:
            close(found, np.stack([truth.project(state) for state in x.reshape(-1, D)]).reshape(x.shape), tol)
    elif name == "nearest":
        index, responsibility = found
        if truth.labels is None:
            assert index is None
            assert responsibility is None
            return
        np.testing.assert_array_equal(index, per_state(lambda x, s: truth.nearest(x, s)[0], x, sigma))
        close(responsibility, per_state(lambda x, s: truth.nearest(x, s)[1], x, sigma), tol)
    elif name == "posterior":
        posterior_agrees(case, truth, found, x, sigma, tol)
    else:
        close(found, per_state(getattr(truth, name), x, sigma), tol, 10)


def posterior_agrees(case, truth, found, x, sigma, tol):
    close(found.mean, per_state(truth.denoise, x, sigma), tol)
    if "log_density" in case.does:
        close(found.log_density, per_state(truth.log_density, x, sigma), tol, 10)
    if found.bound is not None:
        off = np.linalg.norm(found.mean - per_state(truth.denoise, x, sigma), axis=-1)
        assert (off <= np.asarray(found.bound) + 1e-12).all()
    if "responsibilities" not in case.does or truth.labels is None:
        assert found.index is None
        assert found.responsibilities is None
        return
    p = per_state(truth.responsibilities, x, sigma)
    ordered = -np.sort(-p, axis=-1)[..., :LEADING]
    close(found.responsibilities, ordered, tol)
    close(np.take_along_axis(p, np.asarray(found.index), axis=-1), ordered, tol)
    close(found.entropy, per_state(truth.entropy, x, sigma), tol, 10)


def lies_in_the_shape(truth, found, x, gap, tol):
    """No farther than the nearest node of a fine rule, and near some node."""
    for point, state in zip(np.asarray(found, float).reshape(-1, D), x.reshape(-1, D), strict=True):
        nodes = truth.means
        assert np.linalg.norm(point - state) <= np.linalg.norm(nodes - state, axis=1).min() + tol
        assert np.linalg.norm(nodes - point, axis=1).min() <= gap


def mapped_agree(case, found, x, sigma, tol):
    truth = case.oracle()
    expected = {
        "mean": truth.denoise,
        "reverse": truth.jacobian,
        "value": getattr(truth, "log_density", None),
        "slope": truth.score,
        "level slope": getattr(truth, "sigma_slope", None),
    }
    for name, array in found.items():
        if name == "one state":
            close(array, truth.denoise(x[0], sigma[0, 0]), tol, 10)
        else:
            close(array, per_state(expected[name], x, sigma), tol, 10)


def everything_agrees(case, names, does):
    """Methods inside one program of the user, in double precision: `names` of a batch, `does` of one state, mapped."""
    tol = 2e-6 if case.single else 1e-8
    memory = case.make()
    multiplies_in_full_precision(evaluated(memory, names, does, compiled.lower))
    found, of_each = evaluated(memory, names, does)
    for name, array in found.items():
        agrees(case, name, array, X, LEVELS, tol)
    mapped_agree(case, of_each, X, LEVELS, tol)


ALL = {**CASES, **NETWORKS}
WITH_DENSITY = {name: case for name, case in CASES.items() if "log_density" in case.does}
ONE_OF_A_CLASS = (
    "patterns",
    "scanned",
    "sharded",
    "segment",
    "box",
    "plane",
    "circle",
    "gaussian",
    "mixture",
    "smoothed",
    "cores",
    "sum of cores",
)
INSIDE = [name for name in ONE_OF_A_CLASS if name in CASES]
COMPLETED = {name: case for name, case in CASES.items() if case.completes}
MEASURED = {name: case for name, case in COMPLETED.items() if case.measures}
STORED = [name for name in CASES if name in ("scanned float16", "scanned int8", "scanned bits")]
"""Patterns that are scanned on the host, inside compiled programs too."""
CORE = frozenset({"denoise", "log_density", "posterior"})
"""What all else of a memory is made of."""
BATCH = frozenset({"posterior", "nearest"})
"""What is evaluated of a batch where all else of `CORE` is mapped."""


def test_every_class_is_in_the_battery(x64):
    assert not missing()


def missing():
    made = [ALL[name].make() for name in ALL]
    made += [conditioned(case).make() for case in COMPLETED.values()]
    return cases.classes() - set().union(*(cases.covered(memory) for memory in made))


def test_a_class_added_later_is_missed(x64):
    class Later(Denoiser):
        @property
        def dimension(self):
            return D

        def _denoise(self, x, sigma):
            return x

    Later.__module__ = "dispersed.memories.later"
    try:
        assert missing() == {Later}
    finally:
        Later.__module__ = __name__


@pytest.mark.parametrize("kind", sorted(cases.classes(), key=lambda kind: kind.__name__))
def test_every_public_method_is_in_the_battery(kind):
    bases = Network if issubclass(kind, Network) else Denoiser
    assert issubclass(kind, bases)
    tested = (NETWORK_METHODS if bases is Network else METHODS).keys() | ELSEWHERE.keys() | OWN.keys()
    tested |= {"sweep"} if bases is Network else set()
    public = {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}
    assert public <= tested


@pytest.mark.parametrize("name", CASES)
def test_inside_a_program(x64, name):
    everything_agrees(CASES[name], CASES[name].does & METHODS.keys(), CASES[name].does)


@pytest.mark.parametrize("wrapped", [in_mixture, in_smoothed])
@pytest.mark.parametrize("name", INSIDE)
def test_inside_another_memory(x64, name, wrapped):
    everything_agrees(wrapped(CASES[name]), BATCH, CORE)


@pytest.mark.parametrize("name", [*INSIDE, *STORED])
def test_called_one_by_one_in_single_precision(name):
    """As a user calls them: one state with a number; of patterns by any engine, a batch with a level per state too."""
    case = CASES[name]
    memory = case.make()
    of_patterns = isinstance(memory, PatternMemory)
    for method in sorted(case.does & (METHODS.keys() if of_patterns else CORE | {"nearest"})):
        for x, sigma in [(X[0].tolist(), 0.5), (X, LEVELS)] if of_patterns else [(X[0].tolist(), 0.5)]:
            found = METHODS[method](memory, x, sigma)
            agrees(case, method, found, np.asarray(x, float), np.asarray(sigma, float), 3e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_a_class_cannot_do_it_says_in_one_line(x64, name):
    case = CASES[name]
    memory = case.make()
    for method in METHODS.keys() - case.does:
        if hasattr(memory, method):
            says_so(lambda method=method: METHODS[method](memory, X[0], 0.5))
    if not case.completes:
        says_so(lambda: condition(memory, Observation(SEEN, mask=KNOWN, sigma=TAU)))
    if not case.measures:
        says_so(measured(case).make)
    if not case.proper:
        says_so(lambda: memory.sample(jax.random.key(0)))


def says_so(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", COMPLETED)
def test_conditioning_is_bayes_rule(x64, name):
    """The density of what was observed; entries that were not may be NaN."""
    case = CASES[name]
    memory, truth = case.make(), case.oracle()
    tol = 2e-6 if case.single else 1e-7
    for x in (SEEN, np.where(KNOWN, SEEN, np.nan)):
        found = condition(memory, Observation(x, mask=KNOWN, sigma=TAU)).log_evidence
        close(found, truth.observed(ROWS, SEEN[KNOWN], TAU).log_mass, tol, 10)


@pytest.mark.parametrize("name", [*INSIDE, *STORED])
def test_completion_by_recall(x64, name):
    """recall(known=) is one recall of the memory conditioned on the known entries, which come back as given."""
    case = CASES[name]
    memory, x = case.make(), np.where(KNOWN, SEEN, np.nan)
    if not case.completes:
        says_so(lambda: recall(memory, x, OneStep(), sigma=TAU, known=KNOWN))
        return
    found = np.asarray(recall(memory, x, OneStep(), sigma=TAU, known=KNOWN).x)
    truth = case.oracle().conditioned(ROWS, SEEN[KNOWN], TAU)
    if isinstance(memory, PatternMemory):
        expected = truth.moments()[0]
    else:
        start, level = conditioned(case).make().prior_start()
        expected = truth.denoise(start, max(TAU, float(level)))
    close(found, np.where(KNOWN, SEEN, expected), 1e-4)
    np.testing.assert_array_equal(found[KNOWN], SEEN[KNOWN].astype(np.float32))


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_the_prior_start_is_the_prior(x64, name):
    """The mean, at ten times the root-mean-square distance from it; conditioned shapes may say more, never less."""
    case = CASES[name]
    memory, truth = case.make(), case.oracle()
    if name == "sum of cores":
        says_so(memory.prior_start)
        return
    start, level = memory.prior_start()
    assert np.isfinite(start).all()
    assert float(level) >= 0
    if case.proper:
        mean, covariance = truth.moments()
        close(start, mean, 1e-6)
        spread = np.sqrt(np.trace(covariance))
        if spread > 0:
            close(level, 10 * spread, 1e-6)
        elif isinstance(memory, PatternMemory):  # nothing is to be known at any level, which is none of no noise
            assert float(level) > 0
    if case.completes and case.proper:
        start, level = conditioned(case).make().prior_start()
        mean, covariance = truth.conditioned(ROWS, SEEN[KNOWN], TAU).moments()
        assert float(level) >= 10 * np.sqrt(np.trace(covariance)) * (1 - 1e-6) - 1e-12
        assert np.linalg.norm(start - mean) <= float(level) / 5 + 1e-6


def numbers(found):
    return [np.asarray(part) for part in jax.tree.leaves(found)]


def results(name, memory):
    """All numbers of a memory, by the program of `test_inside_a_program` or `test_networks`, which look at it too."""
    case = ALL[name]
    if name in NETWORKS:
        return numbers(evaluated_network(memory, case))
    return numbers(evaluated(memory, case.does & METHODS.keys(), case.does))


def same(a, b):
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_pickled(x64, name):
    memory = ALL[name].make()
    again = pickle.loads(pickle.dumps(memory))
    assert type(again) is type(memory)
    assert repr(again) == repr(memory)
    assert same(results(name, again), results(name, memory))


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded(x64, name, tmp_path):
    """Into another memory of the same shapes, whose values do not matter; or refused in one line."""
    memory, other = ALL[name].make(), ALL[name].make(0.125)
    expected = results(name, memory)
    assert not same(results(name, other), expected)
    try:
        path = save(tmp_path / "memory", memory)
        again = load(path, other)
    except InputError:
        assert "scanned" in name
        return
    assert same(results(name, again), expected)
    del memory
    assert same(results(name, again), expected)


@eqx.filter_jit
def compiled_network(memory, x, names, slope):
    found = {name: NETWORK_METHODS[name](memory, x) for name in names}
    if slope:
        found["slope"] = jax.vmap(jax.grad(memory.energy))(x)
    return found, jax.vmap(memory.update)(x)


def evaluated_network(memory, case, call=compiled_network):
    """What a user's own program gets of the cues: methods of a batch, the slope of the energy, and a mapped update."""
    return call(memory, jnp.asarray(CUES), tuple(case.does), "energy" in case.does and not case.single)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(x64, name):
    """Every method of a network: a batch inside a program, mapped, one by one, and of one state."""
    case = NETWORKS[name]
    memory, truth, tol = case.make(), case.oracle(), 2e-6 if case.single else 1e-9
    methods = {method: NETWORK_METHODS[method] for method in case.does}
    multiplies_in_full_precision(evaluated_network(memory, case, compiled_network.lower))
    found, of_each = evaluated_network(memory, case)
    np.testing.assert_array_equal(of_each, found["update"])
    for method, call in methods.items():
        expected = [getattr(truth, method)(x) for x in CUES]
        ways = [(expected, found[method]), (expected, call(memory, CUES)), (expected[0], call(memory, CUES[0]))]
        for wanted, array in ways:
            if method == "nearest" and not (array[0] is None and np.ravel(wanted)[0] is None):
                wanted = tuple(np.asarray(wanted, float).T)
                np.testing.assert_array_equal(array[0], wanted[0])
                close(array[1], wanted[1], tol)
            elif method != "nearest":
                close(array, np.asarray(wanted), tol, 10)
    if "slope" in found:
        close(found["slope"], [numerical_slope(truth.energy, x) for x in CUES], 1e-6, 10)
    for method in NETWORK_METHODS.keys() - case.does:
        if hasattr(memory, method):
            says_so(lambda method=method: NETWORK_METHODS[method](memory, CUES[0]))


def numerical_slope(function, x, step=1e-5):
    return [(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(len(x))]

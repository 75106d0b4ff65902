"""Errors say how to mend what was given."""

import ast
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed as d
from dispersed import validation
from dispersed.validation import random_key

PATTERNS = np.eye(4, dtype=np.float32)
MEMORY = d.PatternMemory(PATTERNS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: d.PatternMemory(np.ones((3, 2, 2))),
            "patterns: got shape (3, 2, 2); at least one pattern of at least one unit, shape (n, d), is accepted: "
            "flatten with patterns.reshape(3, -1)",
        ),
        (
            lambda: d.PatternMemory(PATTERNS[0]),
            "patterns: got shape (4,); at least one pattern of at least one unit, shape (n, d), is accepted: "
            "give one pattern as [pattern]",
        ),
        (
            lambda: MEMORY.denoise(np.ones((5, 2, 2)), 0.5),
            "x: got shape (5, 2, 2); the memory has 4 units: shape (..., 4) is accepted; "
            "flatten images with x.reshape(*x.shape[:-2], 4)",
        ),
        (
            lambda: d.recall(MEMORY, PATTERNS, alpha=2.0),
            "alpha: got 2; signal levels in (0, 1] are accepted; a noise standard deviation is given as sigma",
        ),
        (
            lambda: d.recall(MEMORY, PATTERNS, d.ReverseSDE(), alpha=0.5),
            "key: got None; ReverseSDE is random: give key=jax.random.key(0)",
        ),
        (lambda: random_key(7), "key: got 7; a key is accepted, such as jax.random.key(7)"),
    ],
)
def test_what_to_do_is_in_the_message(call, message):
    with pytest.raises(d.InputError) as error:
        call()
    assert str(error.value) == message


def test_a_misspelt_noise_level_is_not_taken_for_one():
    with pytest.raises(TypeError, match="sigma"):
        MEMORY.denoise(jnp.zeros(4), sgima=0.5)
    assert MEMORY.denoise(jnp.zeros(4), sigma=0.5).shape == (4,)


def test_classes_and_seeds_are_told_what_to_become():
    """In a process without the run-time type checker, which would answer first."""
    code = """
import dispersed as d
for dynamics, key in ((d.OneStep, None), (d.AncestralSampling(), 7)):
    try:
        d.recall(d.PatternMemory([[1.0, -1.0]]), [1.0, 1.0], dynamics, alpha=0.5, key=key)
    except d.InputError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "dynamics: got the class OneStep; call it: OneStep()",
        "key: got 7; a key is accepted, such as jax.random.key(7)",
    ]


OF_ANOTHER_KIND = [
    ("process", "d.recall(memory, y[0], sigma=0.3, process='VP')"),
    ("process", "d.recall(d.ClassicalHopfield(2 * y - 1), y[0], process='VP')"),
    ("process", "d.recall_many(memory, y[0], sigma=0.3, process=d.VP, key=key)"),
    ("dynamics", "d.recall_many(memory, y[0], d.AncestralSampling, sigma=0.3, key=key)"),
    ("key", "d.recall_many(memory, y[0], sigma=0.3, key=jax.random.split(key))"),
    ("samples", "d.recall_many(memory, y[0], sigma=0.3, samples=2.5, key=key)"),
    ("mask_rate", "d.capacity(d.PatternMemory, 4, mask_rate='half')"),
    ("threshold", "d.capacity(d.PatternMemory, 4, threshold='small')"),
    ("also", "d.capacity(d.PatternMemory, 4, also=3)"),
    ("cells", "d.capacity(d.PatternMemory, 4, cells='folder', name='diffusion')"),
    ("probabilities", "d.reliability('x', [0])"),
    ("probabilities", "d.reliability([[0.5, 0.5], [1.0]], [0, 0])"),
    ("truth", "d.reliability([[0.5, 0.5]], [[0], [0, 1]])"),
    ("level", "d.reliability([[0.5, 0.5]], [0], level='x')"),
    ("rate", "d.VP([1.0, 2.0])"),
    ("rate", "d.VE([1.0, 2.0])"),
    ("first", "d.Linear([0.1, 0.2], 3.0)"),
    ("offset", "d.Cosine('x')"),
    ("offset", "d.Cosine(-1.0)"),
]
"""Calls, and the argument that each must name."""

COUNTS = [
    "d.recall(memory, y[0], d.ExponentialIntegrator(np.int64(3)), sigma=0.3)",
    "d.recall_many(memory, y[0], sigma=0.3, samples=np.int64(3), key=key)",
    "memory.sample(key, (np.int64(3),))",
    "memory.posterior(y[0], 0.3, leading=np.int64(2))",
    "d.DenseHopfield(2 * y - 1, d.Polynomial(np.uint8(3)))",
]
"""Calls with whole numbers of NumPy, which must be accepted."""


def test_arguments_of_another_kind_get_one_line():
    """In a process without the run-time type checker, which would answer first."""
    code = """
import sys, jax, dispersed as d, numpy as np
y, key = np.eye(4, dtype=np.float32), jax.random.key(0)
memory = d.PatternMemory(y)
for line in sys.stdin:
    try:
        eval(line)
    except d.InputError as error:
        print(repr(str(error)))
    else:
        print(repr("accepted"))
"""
    calls = "\n".join([*(call for _, call in OF_ANOTHER_KIND), *COUNTS])
    run = subprocess.run([sys.executable, "-c", code], input=calls, capture_output=True, text=True, check=True)
    messages = [literal_eval(line) for line in run.stdout.splitlines()]
    assert messages[len(OF_ANOTHER_KIND) :] == len(COUNTS) * ["accepted"]
    for (argument, call), message in zip(OF_ANOTHER_KIND, messages[: len(OF_ANOTHER_KIND)], strict=True):
        assert message.startswith(f"{argument}: "), call
        assert "\n" not in message, call


HOSTILE = ["a\nb", "a\x1b[31mb", "\x00", "é\u2028b", "x" * 100_000, "\r\n" * 5000, "\ud800"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_message_is_one_line_of_bounded_length(text):
    for parts in ((text, "given", "accepted"), ("argument", text, "accepted"), ("argument", "given", text)):
        message = str(d.InputError(*parts))
        assert message.isprintable()
        assert len(message) < 2000
        assert d.InputError(*parts).__reduce__() == (d.InputError, parts)
    assert str(d.InputError("a", "got 1 μm and  two", "b")) == "a: got 1 μm and  two; b"


MASKED = np.ma.array([1.0, -1.0, 1.0, -1.0], mask=[True, False, False, False])
WITH_MASKS = {
    "an array": MASKED,
    "a list": [MASKED],
    "nested lists": [[MASKED, np.ones(4)]],
    "a table": np.ma.array(np.ones((2, 4)), mask=np.eye(2, 4)),
}
"""Arrays with masked entries, which NumPy would drop without a word."""


@pytest.mark.parametrize("case", WITH_MASKS)
def test_a_mask_is_never_lost(tmp_path, case):
    masked = WITH_MASKS[case]
    rows = [masked] if case == "an array" else masked
    uses = [
        lambda: d.PatternMemory(rows),
        lambda: d.ModernHopfield(rows, 1.0),
        lambda: d.ClassicalHopfield(rows),
        lambda: d.recall(MEMORY, masked, sigma=0.5),
        lambda: MEMORY.denoise(masked, 0.5),
        lambda: MEMORY.posterior(masked, 0.5),
        lambda: d.storage.InMemory(rows),
        lambda: d.save_patterns(tmp_path / "a.npy", rows),
    ]
    for use in uses:
        with pytest.raises(d.InputError, match=r"masked entries|got a batch of shape|got shape"):
            use()
    with pytest.raises(d.InputError, match="masked entries"):
        uses[4]()
    whole = np.ma.array(PATTERNS, mask=False)
    assert MEMORY.denoise(whole, 0.5).shape == (4, 4)


def test_columns_of_pandas_that_may_have_missing_entries():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(PATTERNS)
    for kind in ("Int64", "Float32", "boolean", "float32[pyarrow]"):
        if kind.endswith("[pyarrow]"):
            pytest.importorskip("pyarrow")
        np.testing.assert_array_equal(d.PatternMemory(table.astype(kind)).patterns, PATTERNS)
    with pytest.raises(d.InputError, match="patterns"):
        d.PatternMemory(table.astype("Int64").mask(table == 1))


def test_tensors_without_numbers_are_one_line():
    torch = pytest.importorskip("torch")
    for tensor in (torch.ones(2, 4, device="meta"), torch.ones(2, 4).to_sparse(), torch.ones(2, 4, dtype=torch.cfloat)):
        with pytest.raises(d.InputError, match="patterns: got"):
            d.PatternMemory(tensor)
    assert d.PatternMemory(torch.eye(4, dtype=torch.bfloat16, requires_grad=True)).patterns.dtype == jnp.float32


def test_entries_that_were_not_observed_may_be_nan():
    known = np.array([True, True, False, False])
    cue = np.where(known, PATTERNS[0], np.nan)
    assert int(d.recall(MEMORY, cue, known=known, sigma=0.1).index) == 0
    assert int(d.recall(d.ModernHopfield(PATTERNS, 9.0), cue, known=known).index) == 0
    observed = d.condition(MEMORY, d.Observation(cue, mask=known, sigma=0.1))
    assert np.isfinite(observed.denoise(PATTERNS[0], 0.5)).all()
    with pytest.raises(d.InputError, match="cue: got 2 NaN"):
        d.recall(MEMORY, cue, known=~known, sigma=0.1)


SOURCES = sorted(Path(d.__file__).parent.rglob("*.py"))


def test_checked_counts_are_used_as_checked():
    """`at_least` makes whole numbers of Python of those of NumPy, which compiled programs would take for arrays."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr) and "paper" not in path.parts and "cli" not in path.parts:
                calls = [node.value] if isinstance(node.value, ast.Call) else getattr(node.value, "elts", [])
                names = [getattr(getattr(call, "func", None), "id", None) for call in calls]
                assert "at_least" not in names, f"{path}:{node.lineno}"


def ours(tree):
    """The names of functions of the library in a module: imported from it, or its own."""
    imported = [part for part in ast.walk(tree) if isinstance(part, ast.ImportFrom) and "dispersed" in str(part.module)]
    names = {name.asname or name.name for part in imported for name in part.names}
    return names | {part.name for part in ast.walk(tree) if isinstance(part, ast.FunctionDef)}


def called(node):
    """The names of functions called in a part of a program."""
    calls = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def test_no_input_error_is_swallowed():
    """It is a ValueError: whoever catches those must let it pass, or call nothing that checks its input."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    names = {path: ours(tree) for path, tree in trees.items()}
    checking = {name for name in vars(validation) if name != "is_known"}
    for path, tree in trees.items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        checking |= {node.name for node in functions if called(node) & names[path] & checking}
    tried = 0
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for handler in node.handlers if isinstance(node, ast.Try) else []:
                caught = ast.unparse(handler.type) if handler.type else "Exception"
                if "InputError" in caught:
                    break
                again = any(isinstance(part, ast.Raise) and part.exc is None for part in ast.walk(handler))
                if again or not any(name in caught for name in ("ValueError", "Exception")):
                    continue
                tried += 1
                found = {name for statement in node.body for name in called(statement)} & names[path] & checking
                assert not found, f"{path}:{handler.lineno} would swallow the errors of {found}"
    assert tried > 10


HUGE = {
    "steps": lambda n: d.DDIM(n),
    "iterations": lambda n: d.Iteration(n),
    "sweeps": lambda n: d.Asynchronous(n),
    "levels of a certified flow": lambda n: d.CertifiedFlow(n),
    "points": lambda n: d.Circuit(points=n),
    "samples": lambda n: d.recall_many(ONE, [0.0, 1.0], sigma=1.0, samples=n, key=jax.random.key(0)),
    "draws": lambda n: d.basins(ONE, [[0.0, 1.0]], 1.0, key=jax.random.key(0), draws=n),
    "shape": lambda n: ONE.sample(jax.random.key(0), n),
    "units": lambda n: d.LearnedMemory(lambda x, sigma: x, n),
    "degree": lambda n: d.Polynomial(n),
    "temperature": lambda n: d.ModernHopfield([[0.0, 1.0]], n**20),
    "trained levels": lambda n: d.LearnedMemory(lambda x, sigma: x, 2, levels=(1, n**20)),
}
ONE = d.PatternMemory(np.array([[0.0, 1.0]]))


@pytest.mark.parametrize("name", HUGE)
def test_whole_numbers_of_any_size_get_one_line(name):
    with pytest.raises(d.InputError) as error:
        HUGE[name](10**30)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("log_weights", [[-1e300, 0], [-1e308, 1e308]])
def test_priors_are_in_double_precision_in_silence(log_weights):
    """Also where their ratios are beyond it."""
    np.testing.assert_array_equal(d.PatternMemory(np.eye(2), log_weights=log_weights).weights, [0, 1])


@pytest.mark.parametrize("sigma", [1e-300, [1.0, 1e-300], np.float64(1e-300)])
def test_what_is_zero_in_single_precision_is_told_as_it_was_given(sigma):
    memory = d.PatternMemory([[1.0, -1.0], [1.0, 1.0]])
    for evaluate in (
        lambda: memory.denoise(np.zeros((2, 2)), sigma),
        lambda: d.recall(memory, np.zeros((2, 2)), sigma=sigma),
        lambda: d.recall(memory, np.zeros((2, 2)), alpha=sigma),
        lambda: d.Observation(np.zeros(2), sigma=sigma),
    ):
        with pytest.raises(d.InputError, match=r"got 1e-300; numbers from 1.2e-38 in float32 are accepted$"):
            evaluate()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, jnp.bfloat16])
@pytest.mark.parametrize("make", [np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]])
def test_every_entry_is_looked_at(dtype: type, make: Callable[[np.ndarray], np.ndarray]) -> None:
    largest = jnp.finfo(dtype).max if dtype is not np.longdouble else np.finfo(dtype).max
    for values in (np.zeros((3, 4)), np.full((3, 4), largest), np.full((3, 4), -largest), np.zeros((0, 4))):
        validation.check_finite("x", make(values.astype(dtype)))
    for odd in (np.nan, np.inf, -np.inf):
        array = np.full((3, 4), largest, dtype)
        array[1, 2] = odd
        with pytest.raises(d.InputError, match=r"x: got 1 NaN .* entry \(1, 2\)"):
            validation.check_finite("x", make(array))
    opposite = np.zeros((3, 4), dtype)
    opposite[0, 0], opposite[2, 3] = np.inf, -np.inf
    with pytest.raises(d.InputError, match="x: got 2 NaN or infinite entries"):
        validation.check_finite("x", make(opposite))

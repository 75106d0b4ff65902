"""One line in a terminal, pictures in a notebook, nothing that breaks under tracing."""

import base64
import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import dispersed as d
from dispersed.display import gallery, place


@pytest.fixture(scope="module")
def patterns():
    return jnp.sign(jax.random.normal(jax.random.key(0), (5, 9)))


def everything(y):
    memory = d.PatternMemory(y)
    potential = d.PotentialProcess(lambda x: -x @ x)
    return [
        (memory, "PatternMemory(5 patterns of 9 units, float32, Dense())"),
        (d.ClassicalHopfield(y), "ClassicalHopfield(5 patterns of 9 units, self_coupling=False, float32)"),
        (d.DenseHopfield(y), "DenseHopfield(5 patterns of 9 units, Polynomial(degree=3, rectified=False), float32)"),
        (d.ModernHopfield(y, 2.5), "ModernHopfield(5 patterns of 9 units, beta=2.5, float32)"),
        (d.Segment(y[0], y[1]), "Segment(9 units, float32)"),
        (d.Sphere(jnp.zeros(3), 1), "Sphere(3-dimensional in 3 units, float32)"),
        (d.GaussianMemory(y[0], jnp.eye(9)[:, :2]), "GaussianMemory(rank 2 in 9 units, float32)"),
        (d.Mixture([memory, d.Segment(y[0], y[1])]), "Mixture(1 PatternMemory, 1 Segment; 9 units, float32)"),
        (d.Smoothed(memory, 0.2), "Smoothed(PatternMemory(5 patterns of 9 units, float32, Dense()), bandwidth=0.2)"),
        (memory.at(0.5), "Held(PatternMemory(5 patterns of 9 units, float32, Dense()), sigma=0.5)"),
        (d.VE(2), "VE(rate=2)"),
        (d.VP(0.8), "VP(rate=Constant(rate=0.8))"),
        (d.VP(d.Linear()), "VP(rate=Linear(first=0.1, last=20))"),
        (potential, "PotentialProcess(potential=<lambda>, sigma=1)"),
        (
            d.FokkerPlanck(potential, [-1], [1], 10),
            "FokkerPlanck(PotentialProcess(potential=<lambda>, sigma=1), 10 cells, float64)",
        ),
        (d.MultistepFlow(), "MultistepFlow(steps=16, sigma_min=None, grid=log_one_plus_snr)"),
        (d.ExponentialIntegrator(), "ExponentialIntegrator(steps=20, sigma_min=None, grid=log_sigma, order=2)"),
        (d.OneStep(), "OneStep()"),
    ]


def test_every_kind_says_in_one_line_what_it_is(patterns):
    for thing, expected in everything(patterns):
        assert repr(thing) == expected


def test_results_say_how_many_and_where(patterns):
    memory = d.PatternMemory(patterns)
    many, one = (d.recall(memory, cue, d.OneStep(), alpha=0.9) for cue in (patterns[:3], patterns[0]))
    assert repr(many).startswith("Recall(3 states of 9 units, ")
    assert repr(one).startswith("Recall(one state of 9 units, ")
    assert repr(many).endswith("float32)")


def test_another_device_is_named():
    class Elsewhere:
        platform, id = "gpu", 1

        def __str__(self):
            return "cuda:1"

    array = jnp.zeros(3)
    assert place(array) == "float32"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(array), "devices", lambda self: {Elsewhere()})
        assert place(array) == "float32 on cuda:1"


def test_tracing_sees_shapes_only(patterns):
    seen = []

    @jax.jit
    def traced(y):
        seen.extend([repr(d.ModernHopfield(y, y[0, 0])), repr(d.VE(y[0, 0])), d.PatternMemory(y)._repr_html_()])
        return y

    traced(patterns)
    assert seen == ["ModernHopfield(5 patterns of 9 units, beta=float32[], float32)", "VE(rate=float32[])", None]


def images(html):
    for alt, data in re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', html):
        yield alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_recall_is_shown_as_pictures(patterns):
    result = d.recall(d.PatternMemory(patterns), patterns[jnp.array([3, 1])], d.OneStep(), alpha=0.99)
    shown = list(images(result._repr_html_()))
    assert [alt for alt, _ in shown] == ["state 0, memory 3, p = 1.00", "state 1, memory 1, p = 1.00"]
    for (_, picture), state in zip(shown, patterns[jnp.array([3, 1])], strict=True):
        np.testing.assert_array_equal(picture, np.where(np.asarray(state).reshape(3, 3) > 0, 0, 255))


def test_what_is_no_image_is_a_table(patterns):
    memory = d.PatternMemory(patterns[:, :8], jnp.array([1, 1, 1, 1, 4.0]))
    assert "<td>0.5</td><td>" + ", ".join(f"{x:.3g}" for x in patterns[4, :8]) in memory._repr_html_()
    cycle = d.recall(d.ClassicalHopfield([[1.0, -1]]), [1.0, 1])
    assert "2-cycle" in cycle._repr_html_()


def test_long_batches_are_cut_and_text_is_escaped():
    html = gallery("a < b", np.zeros((30, 2)), {"n": [str(i) for i in range(30)]}, 30)
    assert "a &lt; b" in html
    assert html.count("<tr>") == 25
    assert "and 6 more" in html


def test_a_memory_shows_its_first_patterns_and_counts_all(rng):
    html = d.PatternMemory(rng.standard_normal((100, 8)), engine=d.Scanned())._repr_html_()
    assert html.count("<tr>") == 25
    assert "and 76 more" in html

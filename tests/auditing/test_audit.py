"""Audits of samples of which it is known whether they are copies."""

import base64
import io
import json
import re
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import dispersed
from dispersed.auditing import audit, distinct_neighbours
from dispersed.auditing.page import as_json, write_page
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.validation import InputError


def trefoil(rng, n):
    t = 2 * np.pi * rng.random(n)
    curve = [np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -np.sin(3 * t)]
    return np.stack(curve, axis=1) + 1e-3 * rng.standard_normal((n, 3))


@pytest.fixture(scope="module")
def sets():
    """400 training patterns, 600 samples of a model that generalises, and 500 held-out states, of three sources."""
    rng = np.random.default_rng(1)
    means = 3 * rng.standard_normal((6, 12))
    draws = {
        "Gaussian": lambda n: rng.standard_normal((n, 20)) * np.linspace(0.1, 2, 20),
        "mixture": lambda n: means[rng.integers(6, size=n)] + rng.standard_normal((n, 12)) * 0.3,
        "trefoil": lambda n: trefoil(rng, n),
    }
    return {name: [draw(n) for n in (400, 600, 500)] for name, draw in draws.items()}


@pytest.mark.parametrize("source", ["Gaussian", "mixture", "trefoil"])
def test_new_samples_are_no_copies_and_copies_are_found(sets, source, rng):
    train, samples, held_out = sets[source]
    clean = audit(train, samples, held_out)
    assert len(clean.copies) <= 0.03 * 600
    assert clean.low == 0
    noise = 1e-4 * train.std(axis=0)
    planted = samples.copy()
    planted[:12] = train[100:112] + noise * rng.standard_normal((12, train.shape[1]))
    found = audit(train, planted, held_out)
    copied = {copy.sample: copy for copy in found.copies}
    assert sum(i in copied and copied[i].pattern == 100 + i for i in range(12)) >= 11
    assert found.low <= 0.02 <= found.high
    assert found.memorised + found.spurious + found.generalised == pytest.approx(1)
    for copy in found.copies:
        gap = float(np.linalg.norm(planted[copy.sample] - train[copy.pattern]))
        assert copy.distance == pytest.approx(gap, rel=1e-9)


def test_the_trefoil_misleads_the_third_but_not_the_null(sets):
    """On a curve new samples often have d1/d2 < 1/3; that without held-out states nothing is guaranteed is said."""
    train, samples, held_out = sets["trefoil"]
    naive = audit(train, samples)
    assert naive.copied > 0.1
    assert naive.p is None
    assert naive.held_out is None
    assert naive.leaked is None
    assert "no guarantee" in naive.verdict
    assert "no guarantee" in repr(naive)
    judged = audit(train, samples, held_out)
    assert judged.copied < 0.02
    assert "no more than" in judged.verdict
    assert judged.dimension == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("many", [0, 4096])
def test_neighbours_and_ratios_are_those_of_all_distances(rng, monkeypatch, many):
    """Near-duplicates of the nearest pattern are no second one, however many there are."""
    train = np.concatenate([rng.standard_normal((60, 5)), np.repeat(rng.standard_normal((1, 5)), 30, axis=0)])
    monkeypatch.setattr(distinct_neighbours, "MANY", many)
    train[60:] += 1e-3 * rng.standard_normal((30, 5))
    samples = np.concatenate([train[60:62] + 2e-3, rng.standard_normal((40, 5))])
    found = audit(train, samples)
    distance = np.linalg.norm(samples[:, None] - train, axis=-1)
    first = distance.argmin(axis=1)
    apart = np.linalg.norm(train[first][:, None] - train, axis=-1) > found.duplicate_distance
    np.testing.assert_array_equal(found.samples.pattern, first)
    np.testing.assert_allclose(found.samples.second, np.where(apart, distance, np.inf).min(axis=1), rtol=1e-12)
    assert {0, 1} <= {copy.sample for copy in found.copies}
    assert found.duplicates >= 30 / 90
    within = np.linalg.norm(train[:, None] - train, axis=-1) + np.diag(np.full(90, np.inf))
    np.testing.assert_allclose(np.sort(found.train.distance), np.sort(within.min(axis=1)), rtol=1e-12)


def test_which_patterns_were_copied_and_how_often(rng):
    train, held_out, samples = rng.standard_normal((80, 9)), rng.standard_normal((200, 9)), rng.standard_normal((50, 9))
    samples[[3, 7, 9]] = train[5] + 1e-6
    samples[20] = train[70]
    found = audit(train, samples, held_out)
    assert found.copied_patterns[0] == (5, 3)
    assert (70, 1) in found.copied_patterns
    rows = found.rows()
    assert [row["sample"] for row in rows] == list(range(50))
    assert [row["sample"] for row in rows if row["copied"]] == sorted(copy.sample for copy in found.copies)
    assert rows[20]["distance"] == 0
    assert rows[20]["p"] == pytest.approx(1 / 201)
    # Three samples repeat each other, but are copies; two others that agree are spurious.
    samples[30] = samples[31] + 1e-9
    assert audit(train, samples, held_out).spurious == pytest.approx(2 / 50, abs=0.02)


def test_leaked_held_out_states_are_counted(rng):
    train, held_out = rng.standard_normal((150, 7)), rng.standard_normal((150, 7))
    held_out[:9] = train[:9]
    found = audit(train, train[:20], held_out)
    assert found.leaked == 9
    assert "9 of the held-out states all but equal a training pattern, and hide copies." in found.verdict


def test_features_decide_what_is_near(rng):
    """Images shifted by a pixel are copies for a map that does not see shifts."""
    train, samples, held_out = (np.round(rng.random((n, 64)) - 0.2) for n in (200, 100, 300))
    samples[:10] = np.roll(train[:10].reshape(10, 8, 8), 1, axis=2).reshape(10, 64)

    def spectrum(states):
        assert states.shape[1] == 64
        return np.abs(np.fft.fft2(states.reshape(-1, 8, 8))).reshape(-1, 64)

    found = {copy.sample for copy in audit(train, samples, held_out, features=spectrum).copies}
    assert set(range(10)) <= found
    assert len(set(range(10)) & {copy.sample for copy in audit(train, samples, held_out).copies}) < 5
    with pytest.raises(InputError, match=r"features: gave shape \(200,\)"):
        audit(train, samples, features=lambda states: states[:, 0])


def test_few_patterns_and_few_samples():
    one = audit([[1.0, 2.0]], [[1.0, 2.0]])
    assert one.samples.pattern.tolist() == [0]
    assert one.rows()[0]["second"] is None
    assert [row["copied"] for row in audit([[1.0, 2.0]], [[1.0, 2.0], [4.0, 2.0]]).rows()] == [True, False]
    same = audit([[1.0, 2.0]] * 5, [[1.0, 2.5], [3.0, 2.0]])
    np.testing.assert_allclose(same.samples.distance, [0.5, 2])
    for found in (one, same):
        json.dumps(as_json(found), allow_nan=False)


def test_where_every_held_out_state_would_be_a_copy_calls_say_nothing(rng):
    y = rng.standard_normal((100, 4))
    found = audit(y[:50], y[50:99], y[99:], false_alarms=0.5)
    assert (found.copied, found.low) == (0, 0)


def test_bad_input_is_named(rng):
    y = rng.standard_normal((30, 4))
    with pytest.raises(InputError, match=r"false_alarms: got 0\.01 with 30 held-out states; at least 0\.0323 is"):
        audit(y, y, y)
    with pytest.raises(InputError, match=r"samples: got shape \(2, 3\); the training patterns have 4 units"):
        audit(y, y[:2, :3])
    with pytest.raises(InputError, match=r"held_out: got shape \(30, 2\)"):
        audit(y, y, y[:, :2], false_alarms=0.1)
    with pytest.raises(InputError, match=r"false_alarms: got 1\.5"):
        audit(y, y, y, false_alarms=1.5)
    with pytest.raises(InputError, match="key: got None"):
        audit(y, y, model=PatternMemory(y))
    with pytest.raises(InputError, match="model: has 3 units"):
        audit(y, y, model=PatternMemory(y[:, :3]), key=jax.random.key(0))


@pytest.fixture(scope="module")
def digits():
    from dispersed.datasets import load_digits

    patterns = np.asarray(load_digits()[0])
    return patterns[np.random.default_rng(0).permutation(len(patterns))]


def test_a_model_is_measured_beside_the_exact_denoiser(digits):
    """The exact denoiser memorises; the best Gaussian denoiser does not and says as much of held-out states."""
    train, held_out = digits[:40], digits[40:80]
    exact = audit(train, train[:5], model=PatternMemory(train), key=jax.random.key(0)).network
    np.testing.assert_allclose(exact.gap_train, 0, atol=1e-5)
    np.testing.assert_array_equal(exact.basin, exact.basin_exact)
    assert exact.basin[-1] == 1
    assert exact.local_dimension[-1] < 0.1
    assert exact.gap_held_out is None
    mean, width = jnp.asarray(digits.mean(axis=0)), jnp.asarray(digits.var(axis=0).mean())
    blurred = LearnedMemory(lambda z, s: mean + width / (width + s**2) * (z - mean), 64, "pattern", "VE")
    other = audit(train, train[:5], held_out, false_alarms=0.1, model=blurred, key=jax.random.key(0)).network
    assert other.basin[0] < 0.1
    assert other.local_dimension[-1] > 30
    np.testing.assert_allclose(other.error_train, other.error_held_out, rtol=0.2)
    assert other.gap_train[0] > 0.1
    assert len(other.rows()) == len(other.sigma)
    assert repr(other).startswith(f"NetworkAudit({len(other.sigma)} noise levels, σ from ")


def test_the_page_and_the_command(digits, tmp_path):
    from tests.cli.test_cli import dispersed as command

    train, samples, held_out = digits[:300], digits[300:500].copy(), digits[500:900]
    samples[4] = train[17] + 0.01
    for name, states in (("train", train), ("samples", samples), ("new", held_out)):
        np.save(tmp_path / f"{name}.npy", states)
    done = command("audit", "train.npy", "samples.npy", "--holdout", "new.npy", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "copies at a false-alarm rate of 0.01" in done.stdout
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert {"sample": 4, "pattern": 17} in [{k: c[k] for k in ("sample", "pattern")} for c in found["copies"]]
    assert len(found["samples"]) == 200
    assert found["low"] <= found["copied"] <= found["high"]
    page = (tmp_path / "out" / "audit.html").read_text()
    assert page.count("data:image/png") == 2 * len(found["copies"])
    assert found["verdict"] in page
    bare = command("audit", "train.npy", "samples.npy", "--out", "out", cwd=tmp_path)
    assert "no guarantee" in bare.stdout
    refused = command(
        "audit", "train.npy", "samples.npy", "--holdout", "new.npy", "--false-alarms", "1e-9", cwd=tmp_path
    )
    assert refused.returncode == 1
    assert "false_alarms: got 1e-09" in refused.stderr


def test_pages_of_states_that_are_no_images(rng, tmp_path):
    train = rng.standard_normal((50, 3))
    found = audit(train, np.concatenate([train[:2], rng.standard_normal((10, 3))]), rng.standard_normal((120, 3)))
    beside = [c.sample for c in found.copies], [c.pattern for c in found.copies]
    page = write_page(tmp_path / "a.html", found, "<b>", (train[: len(beside[0])], train[beside[1]])).read_text()
    assert "<img" not in page
    assert "&lt;b&gt;" in page
    assert "None." not in page
    assert dispersed.audit is audit


def test_images_are_shown_in_their_own_shape_and_the_command_is_one_that_runs(rng, tmp_path):
    """Also images that are no squares; 64 columns of a table are none, but cannot be told from 8 × 8 pixels."""
    from tests.cli.test_cli import dispersed as command

    np.save(tmp_path / "my train.npy", rng.standard_normal((30, 5, 3)))
    samples = np.concatenate([np.load(tmp_path / "my train.npy")[:2], rng.standard_normal((10, 5, 3))])
    np.save(tmp_path / "samples.npy", samples)
    words = ["audit", "my train.npy", "samples.npy", "--regimes", "--scale", "-2:2"]
    done = command(*words, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page, found = ((tmp_path / "out" / name).read_text() for name in ("audit.html", "audit.json"))
    pictures = re.findall('base64,([^"]+)', page)
    assert len(pictures) >= 4
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (3, 5)
    said = shlex.split(json.loads(found)["command"])
    assert said == ["dispersed", *words, "--out", "out"]

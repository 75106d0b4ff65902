"""`dispersed recall` on files, stores and images, against float64 NumPy and against the library's own call."""

import csv
import errno
import json
import os

import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax

import dispersed
from dispersed.cli.recalling import BATCH
from dispersed.names import BUILTIN
from dispersed.storage import Int8, PatternStore

from .test_cli import dispersed as command

N, D = 30, 48


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    patterns = np.sign(rng.standard_normal((N, D)))
    noise = rng.standard_normal((N, D))
    np.save(folder / "patterns.npy", patterns)
    np.save(folder / "cues.npy", patterns[::-1] + 0.5 * noise)
    np.save(folder / "vague.npy", (patterns[::-1] + 2.5 * noise).astype(np.float32))
    np.save(folder / "scaled.npy", 0.3 * patterns[::-1] + np.sqrt(1 - 0.3**2) * noise)
    holes = patterns.astype(np.float32)
    holes[:, ::3] = np.nan
    np.save(folder / "holes.npy", holes)
    np.save(folder / "narrow.npy", np.zeros((2, 3)))
    (folder / "words.csv").write_text("a,b\nc,d\n")
    (folder / "blocked").write_text("")
    os.mkfifo(folder / "pipe.npy")
    pages = [Image.fromarray(np.full((6, 8), level, np.uint8)) for level in (0, 200)]
    pages[0].save(folder / "two.gif", save_all=True, append_images=pages[1:])
    with PatternStore.create(folder / "store", D) as store:
        store.append(
            patterns, {"label": np.arange(N) + 100, "name": [f"n{j}" for j in range(N)], "index": np.arange(N)}
        )
    PatternStore.create(folder / "empty", D)
    dispersed.save_patterns(folder / "patterns.safetensors", patterns, Int8())
    dispersed.save_patterns(folder / "cues.safetensors", patterns[::-1] + 0.5 * noise)
    for name in ("images", "damaged"):
        (folder / name).mkdir()
    for j in range(5):
        picture = rng.integers(0, 256, (6, 8), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"stored{j}.png")
        noisy = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "damaged" / f"seen{4 - j}.png")
    return folder


@pytest.fixture
def run(data, tmp_path):
    def run(patterns, cues, *options, out=tmp_path):
        done = command("recall", data / patterns, data / cues, "--out", out, *options)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads((out / "recall.json").read_text()), done.stdout

    return run


def exact(patterns, z, sigma):
    """p(j | z) in double precision."""
    patterns, z = np.float64(patterns), np.float64(z)
    squares = ((z[:, None] - patterns) ** 2).sum(-1)
    return np.exp(log_softmax(-squares / (2 * sigma**2), axis=1))


def test_rows_say_what_was_recalled_and_how_surely(run, data, tmp_path):
    rows, shown = run("patterns.npy", "cues.npy", "--sigma", 0.5)
    assert [row["index"] for row in rows] == list(range(N - 1, -1, -1))
    assert list(rows[0]) == ["cue", "index", "probability", "converged", "result", "steps", "evaluations"]
    recalled = np.load(tmp_path / "recalled.npy")
    np.testing.assert_allclose(recalled, np.load(data / "patterns.npy")[::-1], atol=1e-3)
    with (tmp_path / "recall.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["index"]) for row in table] == [row["index"] for row in rows]
    assert {path.name for path in tmp_path.iterdir()} == {"recalled.npy", "recall.json", "recall.csv"}
    assert "30 cues of 48 units from 30 patterns by MultistepFlow(" in shown


def test_certainty_is_of_the_cue_and_apart_from_convergence(run, data):
    rows, shown = run("patterns.npy", "vague.npy", "--sigma", 2.5)
    p = exact(np.load(data / "patterns.npy"), np.load(data / "vague.npy"), 2.5)
    found = np.array([row["probability"] for row in rows])
    np.testing.assert_allclose(found, p[np.arange(N), [row["index"] for row in rows]], rtol=1e-4)
    assert found.mean() < 0.9, "too clear a cue tests nothing"
    assert f"p(index | cue) is {found.mean():.3f} on average, and above 0.99 for {np.mean(found > 0.99):.1%}" in shown
    settled = np.mean([row["converged"] for row in rows])
    assert f"Convergence: {settled:.1%} converged" in shown


def test_alpha_has_the_meaning_that_it_has_in_the_library(run, data, tmp_path):
    cues, patterns = np.load(data / "scaled.npy"), np.load(data / "patterns.npy")
    rows, _ = run("patterns.npy", "scaled.npy", "--alpha", 0.3)
    result = dispersed.recall(dispersed.PatternMemory(patterns), cues, alpha=0.3)
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), result.x, atol=1e-5)
    p = exact(patterns, cues / 0.3, np.sqrt(1 - 0.3**2) / 0.3)
    np.testing.assert_allclose(
        [row["probability"] for row in rows], p[np.arange(N), [row["index"] for row in rows]], rtol=1e-3, atol=1e-6
    )
    # The same noise of cues that keep the size of the patterns.
    np.save(data / "unscaled.npy", cues / 0.3)
    same, _ = run("patterns.npy", "unscaled.npy", "--alpha", 0.3, "--process", "ve")
    assert [row["index"] for row in same] == [row["index"] for row in rows]
    np.testing.assert_allclose([row["probability"] for row in same], [row["probability"] for row in rows], rtol=1e-4)
    scaled, _ = run("patterns.npy", "scaled.npy", "--sigma", float(np.sqrt(1 - 0.3**2) / 0.3), "--process", "vp")
    np.testing.assert_allclose([row["probability"] for row in scaled], [row["probability"] for row in rows], rtol=1e-4)


@pytest.mark.parametrize("options", [[], ["--estimate-sigma"]])
def test_a_level_that_is_not_given_is_estimated(run, data, options):
    rows, shown = run("patterns.npy", "cues.npy", *options)
    level = dispersed.estimate_sigma(
        dispersed.PatternMemory(np.load(data / "patterns.npy")), np.load(data / "cues.npy")
    )
    for name in ("sigma", "low", "high"):
        column = [row[name if name == "sigma" else f"sigma_{name}"] for row in rows]
        np.testing.assert_allclose(column, getattr(level, name), rtol=1e-3)
    assert f"Noise, estimated: σ is from {level.sigma.min():.3g} to {level.sigma.max():.3g}." in shown


@pytest.mark.parametrize("name", sorted(set(BUILTIN) - {"asynchronous"}))
def test_recall_by_every_dynamics(run, data, name):
    takes_steps = name not in ("one-step", "circuit")
    rows, shown = run(
        "patterns.npy", "cues.npy", "--sigma", 0.5, "--dynamics", name, *(["--steps", 25] if takes_steps else [])
    )
    assert [row["index"] for row in rows] == list(range(N - 1, -1, -1))
    assert f"by {BUILTIN[name].class_name}(" in shown
    assert "steps=25" in shown or not takes_steps


@pytest.mark.parametrize("patterns", ["patterns.npy", "store"])
def test_alternatives_are_the_posterior(run, data, tmp_path, patterns):
    run(patterns, "vague.npy", "--sigma", 2.5, "--top", 3)
    rows = json.loads((tmp_path / "alternatives.json").read_text())
    p = exact(np.load(data / "patterns.npy"), np.load(data / "vague.npy"), 2.5)
    assert [(row["cue"], row["rank"]) for row in rows] == [(i, rank) for i in range(N) for rank in (1, 2, 3)]
    np.testing.assert_allclose([row["probability"] for row in rows], np.sort(p)[:, :-4:-1].ravel(), rtol=1e-4)
    np.testing.assert_allclose([p[row["cue"], row["index"]] for row in rows], np.sort(p)[:, :-4:-1].ravel(), rtol=1e-6)
    if patterns == "store":
        assert all(row["name"] == f"n{row['index']}" and 0 <= row["bound"] < 1e-3 for row in rows)
    # Those of earlier cues do not stay beside the results of these.
    run(patterns, "cues.npy", "--sigma", 0.5)
    assert not (tmp_path / "alternatives.json").exists()


def test_alternatives_are_no_more_than_there_are_patterns(run, data, tmp_path):
    run("images", "damaged", "--sigma", 0.2, "--top", 99)
    assert len(json.loads((tmp_path / "alternatives.json").read_text())) == 25


def test_a_store_is_recalled_with_a_certificate_and_its_labels(run, data):
    rows, shown = run("store", "cues.npy", "--sigma", 0.5)
    assert [row["index"] for row in rows] == list(range(N - 1, -1, -1))
    for row in rows:
        j = row["index"]
        assert (row["label"], row["name"], row["pattern_index"], row["result"]) == (100 + j, f"n{j}", j, "certified")
        assert 0 <= row["bound"] <= 1e-3
    assert "by CertifiedFlow(" in shown
    assert "100.0% are certified" in shown


def test_a_store_and_safetensors_serve_as_cues(run):
    rows, _ = run("patterns.npy", "store", "--sigma", 0.3)
    assert [row["index"] for row in rows] == list(range(N))
    rows, shown = run("patterns.safetensors", "cues.safetensors", "--sigma", 0.5)
    assert [row["index"] for row in rows] == list(range(N - 1, -1, -1))
    assert "by CertifiedFlow(" in shown


def test_images_come_with_their_files(run):
    rows, _ = run("images", "damaged", "--sigma", 0.2)
    assert [(row["cue_file"], row["file"]) for row in rows] == [
        (f"seen{i}.png", f"stored{4 - i}.png") for i in range(5)
    ]


@pytest.mark.parametrize("patterns", ["patterns.npy", "store"])
def test_missing_entries_are_completed(run, data, tmp_path, patterns):
    complete = np.load(data / "patterns.npy")
    rows, _ = run(patterns, "holes.npy", "--missing", "nan", "--sigma", 0.1, "--top", 2)
    assert [row["index"] for row in rows] == list(range(N))
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), complete, atol=1e-3)
    seen = ~np.isnan(np.load(data / "holes.npy"))[0]
    p = np.sort(exact(complete[:, seen], complete[:, seen], 0.1))[:, :-3:-1]
    rows = json.loads((tmp_path / "alternatives.json").read_text())
    np.testing.assert_allclose([row["probability"] for row in rows], p.ravel(), rtol=1e-4, atol=1e-30)
    # −99.9 is another number in single precision, in which the file is.
    np.save(data / "marked.npy", np.nan_to_num(np.load(data / "holes.npy"), nan=-99.9))
    run(patterns, "marked.npy", "--missing", -99.9, "--sigma", 0.1)
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), complete, atol=1e-3)


def test_many_cues_are_recalled_in_batches(run, data, tmp_path):
    patterns = np.load(data / "patterns.npy")
    which = np.random.default_rng(1).integers(0, N, 2 * BATCH + 7)
    np.save(data / "many.npy", patterns[which] + 0.3)
    rows, _ = run("patterns.npy", "many.npy", "--sigma", 0.5)
    assert [row["index"] for row in rows] == which.tolist()
    assert [row["cue"] for row in rows] == list(range(len(which)))
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), patterns[which], atol=1e-3)


def test_random_recalls_of_one_cue_differ_from_batch_to_batch(run, data, tmp_path):
    np.save(data / "same.npy", np.zeros((2 * BATCH, D)))
    options = ["--sigma", 9, "--dynamics", "ancestral", "--steps", 4]
    rows, _ = run("patterns.npy", "same.npy", *options)
    first, second = (np.array([row["index"] for row in rows])[part] for part in (slice(BATCH), slice(BATCH, None)))
    assert (first != second).any()
    assert run("patterns.npy", "same.npy", *options)[0] == rows
    assert run("patterns.npy", "same.npy", *options, "--seed", 1)[0] != rows


def test_what_was_read_is_said(run, data):
    _, shown = run("patterns.npy", "holes.npy", "--missing", "nan", "--sigma", 0.1)
    assert f"Patterns {str(data / 'patterns.npy')!r}: 30 × 48, float64, from -1 to 1" in shown
    assert f"Cues {str(data / 'holes.npy')!r}: 30 × 48, float32, from -1 to 1, 480 NaN" in shown
    _, shown = run("images", "damaged", "--sigma", 0.2)
    assert f"Patterns {str(data / 'images')!r}: 5 × 48 (6 × 8), 8-bit grey levels, 0 and 255 made −1 and 1, " in shown
    _, shown = run("store", "cues.npy", "--sigma", 0.5)
    assert f"Patterns {str(data / 'store')!r}: 30 × 48, float32, memory-mapped" in shown


def test_options_say_how_files_are_read(run, data, tmp_path):
    patterns = np.load(data / "patterns.npy")
    named = ",".join(map(str, range(D)))
    for name, states in (("p.csv", patterns), ("c.csv", patterns[::-1])):
        lines = [",".join(f"{value:.0f}" for value in 127.5 * (row + 1)) for row in states]
        (data / name).write_text("\n".join([named, *lines]))
    done = command("recall", data / "p.csv", data / "c.csv", "--sigma", 0.5, "--out", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "line 1: 0, 1, 2, … may be column names or numbers; --header" in done.stderr
    rows, shown = run("p.csv", "c.csv", "--sigma", 0.5, "--header", "--scale", "0:255")
    assert [row["index"] for row in rows] == list(range(N - 1, -1, -1))
    assert shown.count("0 and 255 made −1 and 1, under the column names of line 1, from -1 to 1") == 2
    np.testing.assert_allclose(np.load(tmp_path / "recalled.npy"), patterns[::-1], atol=1e-3)


def test_pages_of_one_image_are_named(run, data):
    pages = [Image.open(path) for path in sorted((data / "images").iterdir())]
    pages[0].save(data / "pages.tif", save_all=True, append_images=pages[1:])
    rows, _ = run("images", "pages.tif", "--sigma", 0.2, "--pages")
    assert [(row["cue_file"], row["file"]) for row in rows] == [
        (f"pages.tif page {i + 1}", f"stored{i}.png") for i in range(5)
    ]
    rows, _ = run("images", "images/stored3.png", "--sigma", 0.2)
    assert [(row["cue_file"], row["file"]) for row in rows] == [("stored3.png", "stored3.png")]


BAD = {
    "no such file": (["none.npy", "cues.npy"], "patterns: "),
    "no such cues": (["patterns.npy", "none.safetensors"], "cues: "),
    "words": (["patterns.npy", "words.csv"], "cues: "),
    "other dimension": (["patterns.npy", "narrow.npy"], "cues: "),
    "an empty store": (["empty", "cues.npy"], "patterns: "),
    "a store without cues": (["patterns.npy", "empty"], "cues: "),
    "holes without --missing": (["patterns.npy", "holes.npy", "--sigma", 1], "cues: cue 0 has NaN"),
    "alpha above one": (["patterns.npy", "cues.npy", "--alpha", 1.5], "alpha: "),
    "alpha zero": (["patterns.npy", "cues.npy", "--alpha", 0], "alpha: "),
    "sigma zero": (["patterns.npy", "cues.npy", "--sigma", 0], "sigma: "),
    "sigma of nan": (["patterns.npy", "cues.npy", "--sigma", "nan"], "sigma: "),
    "two levels": (["patterns.npy", "cues.npy", "--sigma", 1, "--alpha", 0.5], "alpha, sigma: got both"),
    "a level and none": (["patterns.npy", "cues.npy", "--sigma", 1, "--estimate-sigma"], "estimate-sigma: "),
    "an estimate under vp": (["patterns.npy", "cues.npy", "--process", "vp"], "alpha, sigma: "),
    "no steps": (["patterns.npy", "cues.npy", "--steps", 0], "steps: "),
    "too few steps": (["patterns.npy", "cues.npy", "--steps", 1], "steps: "),
    "too many steps": (["patterns.npy", "cues.npy", "--steps", 10**20], "steps: "),
    "steps of one step": (["patterns.npy", "cues.npy", "--steps", 3, "--dynamics", "one-step"], "steps: "),
    "a dynamics of networks": (["patterns.npy", "cues.npy", "--dynamics", "asynchronous"], "dynamics: Asynchronous"),
    "pages": (["patterns.npy", "two.gif"], "cues: "),
    "a pipe": (["pipe.npy", "cues.npy"], "patterns: "),
    "no scale": (["patterns.npy", "cues.npy", "--scale", "0-255"], "scale: "),
    "no range": (["patterns.npy", "cues.npy", "--scale", "1:1"], "scale: "),
    "an infinite scale": (["patterns.npy", "cues.npy", "--scale", "0:inf"], "scale: "),
    "far too many alternatives": (["patterns.npy", "cues.npy", "--top", 10**20], "top: "),
    "an infinite level": (["patterns.npy", "cues.npy", "--sigma", "inf"], "sigma: "),
    "a level beyond single precision": (["patterns.npy", "cues.npy", "--sigma", "1e300"], "sigma: "),
    "no alternatives": (["patterns.npy", "cues.npy", "--top", 0], "top: "),
    "a negative seed": (["patterns.npy", "cues.npy", "--seed", -1], "seed: "),
    "a seed that equals 0": (["patterns.npy", "cues.npy", "--seed", 2**32], "seed: "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_left(data, tmp_path, case):
    (patterns, cues, *options), message = BAD[case]
    done = command("recall", data / patterns, data / cues, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"dispersed: {message}"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_bad_cue_far_down_leaves_the_old_results(run, data, tmp_path):
    run("patterns.npy", "cues.npy", "--sigma", 0.5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    spoilt = np.zeros((BATCH + 9, D))
    spoilt[BATCH + 3, 2] = np.inf
    np.save(data / "spoilt.npy", spoilt)
    done = command("recall", data / "patterns.npy", data / "spoilt.npy", "--sigma", 0.5, "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"dispersed: cues: cue {BATCH + 3} has NaN or infinite entries;")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_place_of_a_result_leaves_the_old_results(run, data, tmp_path):
    run("patterns.npy", "cues.npy", "--sigma", 0.5)
    (tmp_path / "recall.json").unlink()
    (tmp_path / "recall.json").mkdir()
    before = (tmp_path / "recalled.npy").read_bytes()
    done = command("recall", data / "patterns.npy", data / "patterns.npy", "--sigma", 0.5, "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("dispersed: out: ")
    assert (tmp_path / "recalled.npy").read_bytes() == before


def test_a_full_disk_leaves_the_old_results(run, data, tmp_path, monkeypatch):
    run("patterns.npy", "cues.npy", "--sigma", 0.5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    done = command("recall", data / "patterns.npy", data / "patterns.npy", "--sigma", 0.5, "--out", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dispersed: out: ")
    assert "No space left" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_that_steer_a_terminal_are_escaped(data, tmp_path):
    out = tmp_path / "a\x1b[31m"
    done = command("recall", data / "patterns.npy", data / "cues.npy", "--sigma", 0.5, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert (out / "recall.json").exists()


def test_labels_that_are_no_text_are_written(run, data):
    if not (data / "odd").exists():
        with PatternStore.create(data / "odd", D) as store:
            store.append(np.load(data / "patterns.npy"), {"name": ["\ud800"] * N})
    rows, _ = run("odd", "cues.npy", "--sigma", 0.5)
    assert rows[0]["name"] == "\ud800"


def test_folders_may_have_brackets_in_their_names(data, tmp_path):
    out = tmp_path / "[red]o"
    done = command("recall", data / "patterns.npy", data / "cues.npy", "--sigma", 0.5, "--out", out)
    assert f"Written: {out}/recalled.npy, recall.json, recall.csv" in done.stdout

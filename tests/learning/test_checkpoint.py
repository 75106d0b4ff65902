"""Checkpoints: the same curve after any interruption, and refusal of every file that is not the one meant."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dispersed.atomic import write_atomically
from dispersed.learning import (
    DivergedError,
    LogUniform,
    Recipe,
    load,
    noise_network,
    preconditioned_network,
    save,
    total_noise,
    train,
    train_ensemble,
)
from dispersed.learning.checkpoint import Checkpoint
from dispersed.learning.state import start
from dispersed.memories import DenseHopfield, LearnedMemory, PatternMemory, Polynomial
from dispersed.validation import InputError

PATTERNS = np.sign(np.random.default_rng(0).standard_normal((5, 6))).astype(np.float32)
RECIPE = Recipe(60, draws=2, average=0.9)


def network(width=12):
    return noise_network(6, width, 1, key=jax.random.key(0))


def with_other_activation():
    """A network of the same weights that computes something else."""

    class Other(type(network().model)):
        def __call__(self, x, level):
            for layer in self.layers[:-1]:
                x = jnp.tanh(layer(x, level))
            return self.layers[-1](x, level)

    other = network()
    model = object.__new__(Other)
    object.__setattr__(model, "layers", other.model.layers)
    return LearnedMemory(model, 6)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_interrupted_training_goes_on_bit_for_bit(tmp_path):
    key = jax.random.key(3)
    whole = train(network(), PATTERNS, RECIPE, key=key, check_every=10, patience=50)
    path = tmp_path / "run.checkpoint"
    half = Recipe(30, draws=2, average=0.9)
    train(network(), PATTERNS, half, key=key, check_every=10, patience=50, checkpoint=path)
    resumed = train(network(), PATTERNS, RECIPE, key=key, check_every=10, patience=50, checkpoint=path)
    assert same(whole, resumed)
    # A finished training is read back, not repeated.
    again = train(network(), PATTERNS, RECIPE, key=key, check_every=10, patience=50, checkpoint=path)
    assert same(whole, again)


def test_ensembles_resume_too(tmp_path):
    sets = np.stack([PATTERNS, -PATTERNS])
    key, path = jax.random.key(4), tmp_path / "ensemble.checkpoint"

    def run(steps, checkpoint=None):
        recipe = Recipe(steps, draws=2)
        make = lambda k: noise_network(6, 8, 1, key=k)  # noqa: E731
        return train_ensemble(sets, recipe, key=key, network=make, check_every=5, checkpoint=checkpoint)

    whole = run(20)
    run(10, path)
    assert same(whole, run(20, path))


def header(path):
    return json.loads(path.read_bytes().split(b"\n")[1])


SCRIPT = """
import sys, numpy as np, jax
from dispersed.learning import Recipe, noise_network, train
patterns = np.sign(np.random.default_rng(0).standard_normal((5, 6))).astype(np.float32)
result = train(noise_network(6, 12, 1, key=jax.random.key(0)), patterns, Recipe(int(sys.argv[2]), draws=2),
               key=jax.random.key(5), check_every=20, checkpoint=sys.argv[1], checkpoint_seconds=0.0)
print(len(result.curve.loss))
"""


def test_killed_process_resumes_to_the_same_curve(tmp_path):
    """A real process is killed (SIGKILL) in mid-training; another goes on from its checkpoint."""
    path = tmp_path / "killed.checkpoint"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), "100000000"], env=environment)
    deadline = time.monotonic() + 120
    try:
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        assert process.poll() is None, "the training ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    key, first = jax.random.key(5), network()

    def run(steps, checkpoint=None):
        recipe = Recipe(steps, draws=2)
        return train(first, PATTERNS, recipe, key=key, check_every=20, checkpoint=checkpoint, checkpoint_seconds=0.0)

    reached = header(path)["step"]
    with pytest.raises(InputError, match=f"has gone {reached} steps; this training has 1; ask for as many"):
        run(1, path)
    assert reached % 20 == 0
    steps = reached + 40
    assert same(run(steps), run(steps, path))


def test_killed_while_saving_keeps_the_previous_checkpoint(tmp_path):
    path = tmp_path / "file"
    path.write_text("previous")

    def dies(temporary):
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, dies)
    assert path.read_text() == "previous"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    script = (
        "import os, signal, sys; from pathlib import Path; from dispersed.atomic import write_atomically\n"
        "def dies(p):\n    p.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path(sys.argv[1]), dies)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    ended = subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "previous"


def test_divergence_names_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.checkpoint"
    # A learning rate that grows until the loss overflows.
    rising = optax.sgd(optax.exponential_decay(1e-3, 20, 100.0))
    recipe = Recipe(400, draws=2, optimiser=rising)
    with pytest.raises(DivergedError, match=r"at step \d+; the last good checkpoint is '.*run.checkpoint', step \d+"):
        train(
            network(), PATTERNS, recipe, key=jax.random.key(0), check_every=5, checkpoint=path, checkpoint_seconds=0.0
        )
    assert path.exists()


def test_other_trainings_and_shapes_are_refused(tmp_path):
    path, key = tmp_path / "run.checkpoint", jax.random.key(3)
    recipe = Recipe(4, draws=2)
    train(network(), PATTERNS, recipe, key=key, check_every=2, checkpoint=path)

    def resume(memory=None, patterns=PATTERNS, recipe=recipe, key=key):
        return train(memory or network(), patterns, recipe, key=key, check_every=2, checkpoint=path)

    for changed, message in (
        ({"key": jax.random.key(1)}, "belongs to a training with key = "),
        ({"patterns": -PATTERNS}, "with patterns = "),
        ({"recipe": Recipe(4, draws=3)}, "with draws = 2; this one has draws = 3"),
        (
            {"recipe": Recipe(4, draws=2, optimiser=optax.adam(1e-2))},
            r"with optimiser = -0.001, .*has optimiser = -0.01, ",
        ),
        ({"recipe": Recipe(4, draws=2, weighting=total_noise)}, "with weighting = "),
        ({"memory": with_other_activation()}, "with network = "),
        ({"memory": noise_network(6, 12, 1, key=jax.random.key(1))}, "with first weights = "),
        ({"recipe": Recipe(3, draws=2)}, "has gone 4 steps; this training has 3"),
        ({"memory": network(13)}, r"layers\[0\].weight: file \(1, 12, 6\) float32, here \(1, 13, 6\) float32"),
        ({"recipe": Recipe(4, draws=2, optimiser=optax.sgd(1e-3))}, r"mu.*: file .* float32, here none"),
    ):
        with pytest.raises(InputError, match=message):
            resume(**changed)


def test_truncated_damaged_and_foreign_files_are_refused(tmp_path):
    path = save(tmp_path / "memory", network())
    assert same(load(path, noise_network(6, 12, 1, key=jax.random.key(8))), network())
    whole = path.read_bytes()
    for content, message in (
        (whole[:-100], r"is cut short: \d+ of \d+ bytes"),
        (whole[:40], "has no header of a memory"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged: its checksum differs"),
        (b"", "has no header of a memory"),
        (b"\x80\x04\x95garbage", "has no header of a memory"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(path, network())
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"file \(12, 6\) float32, here \(13, 6\)"):
        load(path, network(13))
    with pytest.raises(InputError, match="holds other arrays"):
        load(path, PatternMemory(PATTERNS))
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "absent", network())
    with pytest.raises(InputError, match="a path in a folder that exists"):
        save(tmp_path / "no" / "folder", network())
    train(network(), PATTERNS, Recipe(2, draws=1), key=jax.random.key(0), checkpoint=tmp_path / "run", check_every=2)
    with pytest.raises(InputError, match="holds a training"):
        load(tmp_path / "run", network())


def sealed(content):
    """A file of these bytes with a checksum that is right."""
    return b"dispersed arrays 2 %d %s\n" % (len(content), hashlib.sha256(content).hexdigest().encode()) + content


def test_every_byte_is_under_a_checksum(tmp_path, rng):
    """Of saved networks all bytes, of checkpoints some hundred; one bit of each is flipped."""
    small, key = noise_network(2, 1, 0, key=jax.random.key(0)), jax.random.key(0)
    saved, run = save(tmp_path / "m", small), tmp_path / "run"
    patterns, recipe = np.ones((1, 2), np.float32), Recipe(2, draws=1)
    train(small, patterns, recipe, key=key, checkpoint=run, check_every=2)
    begun = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, start(small, recipe))
    identity = header(run)["identity"]

    def read_run():
        return Checkpoint(run, identity, 1.0).load(begun, None, 2)

    assert read_run()[2].shape == (1, 2)
    for path, read in ((saved, lambda: load(saved, small)), (run, read_run)):
        whole = path.read_bytes()
        for place in range(len(whole)) if path == saved else rng.integers(0, len(whole), 400):
            altered = bytearray(whole)
            altered[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(altered)
            with pytest.raises(InputError, match=r"no header|is damaged|cut short"):
                read()
        for length in (*range(0, len(whole), 7), len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(InputError, match=r"no header|is cut short"):
                read()
        path.write_bytes(whole + b"\0")
        with pytest.raises(InputError, match="is damaged"):
            read()
        path.write_bytes(whole)
        read()


def test_crafted_headers_are_one_line(tmp_path):
    """Checksums are right, what they are of is not."""
    small = noise_network(2, 1, 0, key=jax.random.key(0))
    begun = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, start(small, Recipe(2)))
    path, run = save(tmp_path / "m", small), tmp_path / "run"
    Checkpoint(run, {"key": "k"}, 1.0).save(begun, None, np.zeros((1, 1), np.float32), [])
    nested = b"[" * 100_000
    for file, read in (
        (path, lambda: load(path, small)),
        (run, lambda: Checkpoint(run, {"key": "k"}, 1.0).load(begun, None, 2)),
    ):
        read()
        _, line, arrays = file.read_bytes().split(b"\n", 2)
        right = json.loads(line)
        wrong = [b"", b"\n", b"null\n", b"[]\n", b"{}\n", nested + b"\n", b"\xff\n", b'{"kind": []}\n']
        wrong += [json.dumps({**right, "more": 1}).encode() + b"\n" + arrays, line[:-1] + b" }\n" + arrays]
        wrong += [line + b"\n" + arrays[:-1], line + b"\n" + arrays + b"\0", line]
        for name in right:
            for value in (None, 1, -1, 1e999, "x", [], [[]], {}, {"a": []}, True, [None], {"step": 1}):
                if repr(value) != repr(right[name]):
                    wrong.append(json.dumps({**right, name: value}).encode() + b"\n" + arrays)
            wrong.append(
                json.dumps({key: value for key, value in right.items() if key != name}).encode() + b"\n" + arrays
            )
        for content in wrong:
            file.write_bytes(sealed(content))
            with pytest.raises(InputError) as refused:
                read()
            assert len(str(refused.value)) < 1000
            assert "\n" not in str(refused.value)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "a\0b", tmp_path / ("a" * 300)):
        with pytest.raises(InputError, match="cannot be read"):
            load(path, network())
    for path in (tmp_path / "a\0b", tmp_path / ("a" * 300), tmp_path):
        with pytest.raises(InputError, match="cannot be written"):
            save(path, network())
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_settings_are_those_of_the_file(tmp_path):
    """What is no array is compared: numbers, texts, classes, functions, and what functions refer to."""

    def bounded(limit):
        return LearnedMemory(lambda z, sigma: jnp.tanh(weight * z) * limit, 2, "pattern", "VE")

    weight, key = jnp.ones(2), jax.random.key(0)
    one = preconditioned_network(3, 4, 1, 1.0, key=key)
    for saved, other, words in (
        (one, preconditioned_network(3, 4, 1, 3.0, key=key), r"\.model\.spread: file 1\.0, here 3\.0"),
        (one, eqx.tree_at(lambda m: m.coordinates, one, "VP"), r"\.coordinates: file 'VE', here 'VP'"),
        (network(), with_other_activation(), r"\.model: file Perceptron, here .*Other"),
        (bounded(1.0), bounded(2.0), r"\.model\.limit: file 1\.0, here 2\.0"),
        (LearnedMemory(jnp.tanh, 2), LearnedMemory(jnp.sin, 2), r"\.model: file .*tanh.*, here .*sin"),
        (
            DenseHopfield(np.ones((2, 3)), Polynomial(2)),
            DenseHopfield(np.ones((2, 3)), Polynomial(3)),
            "file 2, here 3",
        ),
    ):
        path = save(tmp_path / "m", saved)
        assert same(load(path, saved), saved)
        with pytest.raises(InputError, match=f"holds other settings .*{words}"):
            load(path, other)


def test_a_checkpoint_belongs_to_its_stream(tmp_path):
    def run(scale):
        stream = lambda key: scale * jax.random.rademacher(key, (2, 6), dtype=float)  # noqa: E731
        return train(network(), stream, Recipe(2, draws=1), key=key, checkpoint=tmp_path / "run", check_every=2)

    key = jax.random.key(0)
    assert same(run(1.0), run(1.0))
    with pytest.raises(InputError, match="belongs to a training with patterns = "):
        run(2.0)


def test_saved_memory_recalls_the_same(tmp_path):
    x = jnp.ones((2, 6))
    before = network().denoise(x, 0.5)
    np.testing.assert_array_equal(load(save(tmp_path / "m", network()), network(12)).denoise(x, 0.5), before)


def test_levels_of_the_training_travel_with_the_network(tmp_path):
    """From the recipe to the memory, through a file, into a network that knew none or others."""
    key = jax.random.key(0)
    trained = train(
        network(), jnp.ones((2, 6)), Recipe(2, draws=1, levels=LogUniform(0.1, 3.0)), key=key, check_every=2
    )
    assert trained.memory.levels == pytest.approx((0.1, 3.0))
    path = save(tmp_path / "m", trained.memory)
    for like in (network(), trained.memory, network().trained_at((1.0, 2.0))):
        assert load(path, like).levels == trained.memory.levels
        assert same(load(path, like), trained.memory)
    assert load(save(tmp_path / "n", network()), trained.memory).levels is None

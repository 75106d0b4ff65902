"""Patterns in memory and in files give the same rows and blocks."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dispersed import InputError
from dispersed.storage import ENCODINGS, Float32, InMemory, Int8, Mapped, encoding_named, open_patterns, save_patterns
from dispersed.storage import storage as storage_module

PLACES = [("float32", ".npy"), ("float16", ".npy"), *((name, ".safetensors") for name in ENCODINGS), ("int8", "")]


@pytest.fixture
def signs(rng):
    return np.sign(rng.standard_normal((29, 12)))


def placed(folder, patterns, name, suffix):
    encoding = encoding_named(name)
    if not suffix:
        return InMemory(patterns, encoding)
    return open_patterns(save_patterns(folder / f"p{suffix}", patterns, encoding))


@pytest.mark.parametrize(("name", "suffix"), PLACES)
def test_rows_and_blocks_are_the_patterns(tmp_path, signs, name, suffix):
    storage = placed(tmp_path, signs, name, suffix)
    assert (storage.shape, len(storage), storage.encoding.name) == ((29, 12), 29, name)
    assert storage.nbytes == 29 * storage.encoding.row_bytes(12)
    np.testing.assert_allclose(storage.rows(np.arange(29)), signs, rtol=1e-4)
    whole = storage.rows(np.arange(29))
    np.testing.assert_array_equal(storage.rows([28, 0, 5, 5]), whole[[28, 0, 5, 5]])
    assert storage.rows([]).shape == (0, 12)
    starts, blocks = [], []
    for start, codes, scale in storage.blocks(8):
        starts.append(start)
        blocks.append(storage.encoding.decode(codes, scale, 12))
        assert any(np.shares_memory(codes, part) for part, _ in storage.parts())
    assert starts == [0, 8, 16, 24]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert f"29 x 12, {name}, {storage.nbytes} bytes" in repr(storage)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_files_lie_as_jax_wants_them_and_are_those_of_numpy_and_safetensors(tmp_path, rng, suffix):
    patterns = rng.standard_normal((7, 16)).astype(np.float32)
    path = save_patterns(tmp_path / f"p{suffix}", (patterns[k : k + 2] for k in range(0, 7, 2)))
    loaded = np.load(path) if suffix == ".npy" else load_file(path)["patterns"]
    np.testing.assert_array_equal(loaded, patterns)
    ((codes, _),) = open_patterns(path).parts()
    assert codes.ctypes.data % 64 == 0
    assert not codes.flags.writeable


def test_files_of_the_safetensors_library(tmp_path, rng):
    patterns = rng.standard_normal((6, 5)).astype(np.float32)
    codes, scale = Int8().encode(patterns)
    save_file({"embedding": patterns}, tmp_path / "a.safetensors")
    save_file({"patterns": codes, "scale": scale}, tmp_path / "b.safetensors")
    np.testing.assert_array_equal(open_patterns(tmp_path / "a.safetensors").rows(range(6)), patterns)
    assert open_patterns(tmp_path / "b.safetensors").encoding == Int8()
    np.testing.assert_array_equal(open_patterns(tmp_path / "b.safetensors").rows([2]), codes[2:3] * scale[2])


def resident_of_files():
    """MiB of files that count as resident memory of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from Linux")
@pytest.mark.parametrize("give_back", [True, False])
def test_what_was_read_of_a_file_is_given_back(tmp_path, rng, monkeypatch, give_back):
    storage = open_patterns(save_patterns(tmp_path / "p.npy", np.ones((1 << 16, 128), np.float32)))  # 32 MiB
    assert isinstance(storage, Mapped)
    monkeypatch.setattr(storage_module, "RESIDENT", 1 << 21)
    monkeypatch.setattr(storage_module, "SCATTERED", 32)
    if not give_back:
        monkeypatch.setattr(storage, "release", lambda: None)
    before, most = resident_of_files(), 0.0
    for _, codes, _ in storage.blocks(1 << 11):
        codes.max()
        most = max(most, resident_of_files() - before)
    for indices in rng.integers(0, len(storage), (20, 100)):
        storage.rows(indices)
        most = max(most, resident_of_files() - before)
    assert (most < 6) if give_back else (most > 24)


def test_encoded_patterns_are_kept_as_they_are(rng):
    codes, scale = Int8().encode(rng.standard_normal((4, 3)))
    storage = InMemory.of_codes(codes, scale, Int8(), 3)
    assert storage.parts()[0][0] is codes
    for spoilt in ((codes, None), (codes[:, :2], scale), (codes.astype(np.uint8), scale), (codes, scale[:2])):
        with pytest.raises(InputError, match=r"codes: got|scale: got"):
            InMemory.of_codes(*spoilt, Int8(), 3)


@pytest.mark.parametrize("indices", [[4], [-1], [0.5], [[0]]])
def test_indices_outside_are_refused(indices):
    with pytest.raises(InputError, match="indices: got"):
        InMemory(np.ones((4, 2))).rows(indices)


def spoil(folder):
    """Every kind of unusable file: its name, and what its error says."""
    good = np.ones((50, 4), np.float32)
    np.save(folder / "double.npy", good.astype(float))
    np.save(folder / "flat.npy", good[0])
    np.save(folder / "none.npy", good[:0])
    np.save(folder / "fortran.npy", np.asfortranarray(good))
    np.save(folder / "whole.npy", good)
    np.save(folder / "swapped.npy", good.astype(">f4"))
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:-1])
    (folder / "head.npy").write_bytes(b"\x93NUMPY\x01")
    (folder / "text.npy").write_text("no array")
    (folder / "folder.npy").mkdir()
    (folder / "data.bin").write_bytes(b"")
    whole = save_patterns(folder / "whole.safetensors", good, Int8()).read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1])
    (folder / "head.safetensors").write_bytes(whole[:20])
    (folder / "json.safetensors").write_bytes(whole[:8] + b"x" + whole[9:])
    save_file({"a": good, "b": good}, folder / "two.safetensors")
    save_file({"patterns": good.astype(float)}, folder / "double.safetensors")
    save_file({"patterns": np.ones((2, 1), np.uint8)}, folder / "bits.safetensors")
    save_file({"patterns": np.ones((2, 3), np.int8)}, folder / "scale.safetensors")
    save_file({"patterns": good[0]}, folder / "flat.safetensors")
    save_file({"patterns": good}, folder / "other.safetensors", {"encoding": "int8"})
    save_file({"patterns": good}, folder / "new.safetensors", {"encoding": "int4"})


SPOILT = {
    "double.npy": "holds float64; float32 and float16 are accepted; save_patterns converts",
    "flat.npy": r"holds shape \(4,\)",
    "none.npy": r"holds shape \(0, 4\)",
    "fortran.npy": "Fortran order",
    "swapped.npy": "holds >f4",
    "cut.npy": "is truncated: 927 bytes",
    "head.npy": "not a .npy file",
    "text.npy": "not a .npy file",
    "folder.npy": "cannot be read",
    "missing.npy": "cannot be read",
    "data.bin": "unknown suffix",
    "cut.safetensors": "is truncated",
    "head.safetensors": "truncated or damaged",
    "json.safetensors": "damaged header",
    "two.safetensors": "holds the tensors a, b",
    "double.safetensors": "of type F64",
    "bits.safetensors": "no number of units",
    "scale.safetensors": "holds no scale",
    "flat.safetensors": r"shape \(4,\)",
    "other.safetensors": "for int8 of 4 units",
    "new.safetensors": "is encoded as 'int4'",
}


@pytest.mark.parametrize("name", SPOILT)
def test_unusable_files_get_one_line_that_names_them(tmp_path, name):
    spoil(tmp_path)
    with pytest.raises(InputError, match=SPOILT[name]) as error:
        open_patterns(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_what_cannot_be_saved_leaves_what_was_there(tmp_path):
    path = save_patterns(tmp_path / "p.npy", np.ones((3, 2)))
    before = path.read_bytes()
    unusable = [
        np.ones((2, 2, 2)),
        [],
        iter([np.ones((2, 3)), np.ones((2, 4))]),
        iter([np.ones((1, 2)), [[np.nan, 0]]]),
    ]
    for patterns in unusable:
        with pytest.raises(InputError, match="patterns: "):
            save_patterns(path, patterns)
    with pytest.raises(InputError, match=r"path: .*npy holds float32 and float16"):
        save_patterns(path, np.ones((3, 2)), Int8())
    with pytest.raises(InputError, match=r"path: .*cannot be written"):
        save_patterns(tmp_path / "missing" / "p.npy", np.ones((3, 2)), Float32())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.npy"]

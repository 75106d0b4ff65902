"""Arrays of every type and order, and headers that no file should have."""

import json
import struct
import sys
import zipfile

import numpy as np
import pytest

from dispersed import InputError, save_patterns
from dispersed.reading import open_source, read_states
from dispersed.reading.source import LOADED
from dispersed.storage import ENCODINGS, PatternStore

X = np.random.default_rng(0).standard_normal((5, 6))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", ">f2", "g", "i1", ">i2", "<i8", "u1", ">u8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_and_order(tmp_path, dtype, order):
    array = np.asarray(10 * X if np.dtype(dtype).kind != "u" else abs(10 * X), order=order).astype(dtype, order=order)
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, array)
    source = open_source(tmp_path / "A.NPY")
    found = source.read(1, 4)
    assert found.dtype.isnative
    assert found.dtype.itemsize <= 8
    np.testing.assert_array_equal(found, array[1:4].astype(float))
    np.testing.assert_array_equal(source.all(), array.astype(float))
    assert f"5 × 6, {array.dtype.name}, from {float(array.min()):.6g} to {float(array.max()):.6g}" in source.about()
    np.savez_compressed(tmp_path / "a.npz", array)
    np.testing.assert_array_equal(read_states(tmp_path / "a.npz"), array.astype(float))


def test_a_scale_maps_two_numbers_to_minus_and_plus_one(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 255], [51, 204]], np.uint8))
    found = read_states(tmp_path / "a.npy", scale=(0, 255))
    np.testing.assert_allclose(found, [[-1, 1], [-0.6, 0.6]], atol=1e-6)
    assert found.dtype == np.float32
    for scale in ((0, 0), (0, np.inf), (np.nan, 1), (0, 1e-320), (1e308, -1e308), (1.0, 1.0)):
        with pytest.raises(InputError, match="scale: "):
            read_states(tmp_path / "a.npy", scale=scale)


def npy(shape, version=(1, 0), dtype="<f8", data=b"\0" * 64, extra=""):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, {extra}}}".encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + data


HEADERS = {
    "negative": npy("(-4, 8)"),
    "two negatives": npy("(-4, -2)"),
    "wrapped": npy(f"({2**62}, 4)"),
    "wrapped to less": npy(f"({2**33}, {2**33})"),
    "truth value": npy("(True, 8)"),
    "floating": npy("(1.0, 8)"),
    "no tuple": npy("8"),
    "version 9": npy("(2, 4)", version=(9, 0)),
    "objects": npy("(2, 4)", dtype="|O"),
    "times": npy("(2, 4)", dtype="<m8[s]"),
    "nothing wide": npy("(2, 4)", dtype="|V0"),
    "deep": npy("(" * 4000 + ")" * 4000),
    "long": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 64,
    "one number": npy("()"),
    "no states": npy("(0, 8)"),
    "no units": npy("(8, 0)"),
    "truncated": npy("(9, 9)"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_npy_files_that_nobody_should_write(tmp_path, case):
    (tmp_path / "a.npy").write_bytes(HEADERS[case])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", HEADERS[case])
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match=rf"cues: .*{name}") as error:
            read_states(tmp_path / name, "cues")
        assert len(str(error.value)) < 2000


def test_archives_that_would_fill_the_memory(tmp_path):
    rows = LOADED // 8 // 1000 + 1
    for promised, held in ((rows, 2), (2, 2)):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", npy(f"({promised}, 1000)", data=b"\0" * 8000 * held))
        if promised == held:
            assert read_states(tmp_path / "a.npz").shape == (2, 1000)
        else:
            with pytest.raises(InputError, match="bytes of numbers; up to"):
                read_states(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK\5\6" + b"\0" * 18)
    with pytest.raises(InputError, match="damaged"):
        read_states(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.txt", "1,2")
    with pytest.raises(InputError, match=r"not a \.npy file"):
        read_states(tmp_path / "a.npz")


def test_files_larger_than_what_is_loaded_are_read_piece_by_piece(tmp_path):
    n = LOADED // 400 + 1
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(npy(f"({n}, 100)", dtype="<f4", data=b""))
        file.truncate(file.tell() + 400 * n)  # a hole, which takes no room on the disk
    source = open_source(tmp_path / "a.npy")
    assert source.read(n - 3, n).shape == (3, 100)
    with pytest.raises(InputError, match=r"up to .* are loaded at once"):
        source.all()


def safetensors(header, data=b"\0" * 48):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape=(2, 6), offsets=(0, 48), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


GOOD = json.dumps({"x": tensor()})
SAFETENSORS = {
    "overlap": safetensors({"x": tensor(), "y": tensor((6,), (0, 24))}),
    "hole": safetensors({"x": tensor((1, 6), (24, 48))}),
    "hole between": safetensors({"x": tensor((6,), (0, 24)), "y": tensor((2,), (40, 48))}),
    "trailing bytes": safetensors({"x": tensor()}, b"\0" * 50),
    "truncated": safetensors({"x": tensor()}, b"\0" * 47),
    "twice": safetensors(f'{{"x": {json.dumps(tensor())}, "x": {json.dumps(tensor())}}}'.encode()),
    "floating shape": safetensors({"x": tensor((2.0, 6))}),
    "truth value": safetensors({"x": tensor((True, 12))}),
    "negative": safetensors({"x": tensor((-2, -6))}),
    "too large": safetensors(GOOD.replace("[2, 6]", f"[{2**63}, 6]").encode()),
    "wrapped": safetensors({"x": tensor((2**33, 2**33))}),
    "infinite": safetensors(GOOD.replace("[2, 6]", "[1e999, 6]").encode()),
    "NaN": safetensors(GOOD.replace("[2, 6]", "[NaN, 6]").encode()),
    "no metadata": safetensors({"__metadata__": None, "x": tensor()}),
    "numbers in metadata": safetensors({"__metadata__": {"d": 6}, "x": tensor()}),
    "deep": safetensors(b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "long": struct.pack("<Q", 300 << 20),
    "longest": struct.pack("<Q", 2**64 - 1) + b"{}",
    "other types": safetensors({"x": tensor(dtype="F128")}),
    "more keys": safetensors({"x": tensor() | {"more": 1}}),
    "an array": safetensors(b"[]"),
    "no UTF-8": safetensors(b'{"\xff": 1}'),
    "complex": safetensors({"x": tensor((1, 6), dtype="C64")}),
    "nothing": safetensors({}, b""),
    "two": safetensors({"x": tensor((6,), (0, 24)), "y": tensor((6,), (24, 48))}),
    "no rows": safetensors({"x": tensor((0, 6), (0, 0))}, b""),
    "int8 without scale": safetensors(
        {"__metadata__": {"encoding": "int8", "d": "6"}, "patterns": tensor((8, 6), dtype="I8")}
    ),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_headers_of_safetensors_files_that_nobody_should_write(tmp_path, case):
    path = tmp_path / "a.safetensors"
    path.write_bytes(SAFETENSORS[case])
    if case == "long":
        with path.open("r+b") as file:
            file.truncate((300 << 20) + 100)
    with pytest.raises(InputError, match=r"cues: .*a\.safetensors") as error:
        read_states(path, "cues")
    assert len(str(error.value)) < 2000


def test_safetensors_of_every_type(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "A.SAFETENSORS"
    for dtype in ("f8", "f4", "f2", "i8", "u2", "i1", "u1", "?"):
        array = (10 * X).astype(np.int64).astype(dtype)
        save_file({"anything": array}, path)
        np.testing.assert_array_equal(read_states(path), array.astype(float))
    save_file({"images": np.arange(24.0).reshape(2, 3, 4)}, path)
    assert open_source(path).each == (3, 4)
    path.write_bytes(safetensors({"x": tensor((2, 2), (0, 8), "BF16")}, b"\x80\x3f\x00\xc0\x20\x3e\x00\x00"))
    np.testing.assert_array_equal(read_states(path), [[1, -2], [0.15625, 0]])


@pytest.mark.parametrize("name", ENCODINGS)
def test_stores_and_encoded_files(tmp_path, name):
    patterns = np.sign(X)
    path = save_patterns(tmp_path / "a.safetensors", patterns, ENCODINGS[name])
    np.testing.assert_allclose(read_states(path), patterns, atol=1 / 254)
    with PatternStore.create(tmp_path / "store", 6, ENCODINGS[name]) as store:
        store.append(patterns)
    source = open_source(tmp_path / "store")
    np.testing.assert_allclose(source.read(1, 3), patterns[1:3], atol=1 / 254)
    assert f"5 × 6, {name}, from -1" in source.about()


def test_tables_of_arrow_and_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")

    def written(columns):
        table = pyarrow.table(columns)
        parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
        feather.write_feather(table, tmp_path / "a.feather")
        with pyarrow.ipc.new_stream(tmp_path / "a.arrow", table.schema) as stream:
            stream.write_table(table)
        return [tmp_path / name for name in ("a.parquet", "a.feather", "a.arrow")]

    small = {"u": np.float32([1, 2, 3]), "v": [True, False, True], "w": np.int8([4, 5, 6])}
    for path in written(small):
        found = read_states(path)
        np.testing.assert_array_equal(found, [[1, 1, 4], [2, 0, 5], [3, 1, 6]])
        assert found.dtype == np.float32
    for path in written({"u": [1, None, 3]}):
        np.testing.assert_array_equal(read_states(path), [[1], [np.nan], [3]])
    for path in written({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}):
        np.testing.assert_array_equal(read_states(path), [[1, 2], [3, 4], [5, 6]])
    refused = {
        "is not numbers": {"u": [1, 2], "name": ["a", "b"]},
        "lists of several lengths": {"x": [[1.0], [1.0, 2.0]]},
        "index=False": {"u": [1, 2], "__index_level_0__": [3, 4]},
        "holds no numbers": {"u": np.zeros(0)},
    }
    for words, columns in refused.items():
        for path in written(columns):
            with pytest.raises(InputError, match=words):
                read_states(path)


def test_without_pyarrow_a_line_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="needs pyarrow, which is not installed; pip install"):
        read_states(tmp_path / "a.parquet")

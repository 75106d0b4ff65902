"""Labels and other columns from files."""

import json
import math

import numpy as np
import pytest

from dispersed import InputError
from dispersed.reading import Table, read_labels
from dispersed.storage import PatternStore


def test_columns_of_a_csv_file_are_what_all_of_their_cells_are(tmp_path):
    (tmp_path / "t.csv").write_text('id,zip,size,note\n1,007,1.5,"a, b"\n\n-2,100,,é\n3,5,2,\n')
    table = Table(tmp_path / "t.csv")
    assert (table.rows, table.kinds) == (3, {"id": "int64", "zip": "str", "size": "float64", "note": "str"})
    first, rest = table.batches([1, 2])
    assert first == {"id": [1], "zip": ["007"], "size": [1.5], "note": ["a, b"]}
    assert rest["id"] == [-2, 3]
    assert math.isnan(rest["size"][0])
    assert rest["note"] == ["é", ""]


def test_entries_of_a_jsonl_file_keep_their_kind(tmp_path):
    rows = [{"a": 1, "b": True, "c": "x"}, {"a": 2.5, "b": False}, {"a": None, "b": True, "c": None}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = Table(tmp_path / "t.jsonl")
    assert table.kinds == {"a": "float64", "b": "bool", "c": "str"}
    (batch,) = table.batches([3])
    assert (batch["b"], batch["c"]) == ([True, False, True], ["x", "", ""])
    assert batch["a"][:2] == [1.0, 2.5]


def test_labels_of_a_npy_file(tmp_path):
    np.save(tmp_path / "t.npy", np.array([3, 1, 2], np.uint8))
    table = Table(tmp_path / "t.npy")
    assert list(table.batches([2, 1])) == [{"label": [3, 1]}, {"label": [2]}]


SPOILT = {
    "a.txt": ("x", "unknown suffix"),
    "a.csv": ("", "holds no rows"),
    "b.csv": ("a,a\n1,2\n", "names its columns twice"),
    "c.csv": ("a,b\n1,2\n1\n", "1 cells for 2 columns in line 3"),
    "a.jsonl": ('{"a": 1}\nno\n', "no JSON in line 2"),
    "b.jsonl": ("[1]\n", "no object in line 1"),
    "c.jsonl": ('{"a": [1]}\n', "holds list in the column 'a'"),
    "d.jsonl": ('{"a": 1}\n{"a": "x"}\n', "mixes int64, str in the column 'a'"),
    "a.npy": ("no", "is not a .npy file"),
    "missing.csv": (None, "does not exist"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_unusable_tables_get_one_line_that_names_them(tmp_path, name):
    content, words = SPOILT[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"labels: .*{name}.*{words}"):
        Table(tmp_path / name)


EXACT = {
    "19 digits": (["1234567890123456789", "-9223372036854775808"], "int64"),
    "64 bits without a sign": (["18446744073709551615", "1"], "str"),
    "20 digits": (["12345678901234567890", "2"], "str"),
    "beyond 2^53 among numbers": (["9007199254740993", "0.5"], "str"),
    "beyond 2^53 and an empty cell": (["9007199254740993", ""], "str"),
    "whole numbers among numbers": (["9007199254740992", "0.5"], "float64"),
    "many digits": (["1234567890.123456789", "0.5"], "str"),
    "as NumPy prints doubles": (["1.000000000000000056e-01", "2.5"], "float64"),
    "as Python prints doubles": (["0.1", "0.30000000000000004"], "float64"),
    "overflow": (["1e400", "1"], "str"),
    "underflow": (["1e-400", "1"], "str"),
    "leading zeros": (["007", "1"], "str"),
    "underscores": (["1_000", "1"], "str"),
    "other digits": (["１", "1"], "str"),
    "unknown": (["nan", "inf"], "float64"),
}


@pytest.mark.parametrize("case", EXACT)
def test_labels_of_a_csv_file_are_exact_or_texts(tmp_path, case):
    cells, kind = EXACT[case]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *(f"{cell},a" for cell in cells)]) + "\n")
    table = Table(tmp_path / "t.csv")
    assert table.kinds["x"] == kind
    (batch,) = table.batches([len(cells)])
    expected = [{"int64": int, "float64": float, "str": str}[kind](cell) for cell in cells]
    assert batch["x"] == expected or (kind == "float64" and all(map(math.isnan, batch["x"][:1])))
    with PatternStore.create(tmp_path / "store", 2) as store:
        store.append(np.zeros((len(cells), 2)), batch)
    kept = [row["x"] for row in PatternStore.open(tmp_path / "store").metadata(range(len(cells)))]
    assert list(map(repr, kept)) == list(map(repr, expected))


@pytest.mark.parametrize(
    "rows",
    [
        [2**64, 1],
        [2**63, 1],
        [2**53 + 1, 0.5],
        [2**53 + 1, None],
        [True, 1],
        [1, "1"],
    ],
    ids=repr,
)
def test_labels_of_a_jsonl_file_are_exact_or_refused(tmp_path, rows):
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"x": value}) for value in rows))
    with pytest.raises(InputError, match=r"labels: .*t\.jsonl' .* in the column 'x'"):
        Table(tmp_path / "t.jsonl")


def test_what_json_would_change_is_refused(tmp_path):
    for text, words in (('{"x": 1e400}', "beyond 64 bits"), ('{"x": 1, "x": 2}', "a key twice in line 1")):
        (tmp_path / "t.jsonl").write_text(text)
        with pytest.raises(InputError, match=words):
            Table(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text('{"x": 9223372036854775807}\n{"x": -9223372036854775808}')
    assert next(Table(tmp_path / "t.jsonl").batches([2]))["x"] == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize("dtype", ["<u8", ">i8", "<i8", ">f4", "g", "<U5", "?"])
def test_labels_of_a_npy_file_of_every_type_are_exact(tmp_path, dtype):
    labels = np.array([1, 0, 1]).astype(dtype)
    np.save(tmp_path / "t.npy", labels)
    assert next(Table(tmp_path / "t.npy").batches([3]))["label"] == labels.tolist()
    changed = {"<u8": np.array([2**63, 1], "u8"), "g": np.array([np.longdouble(1) + np.finfo("g").eps])}
    if dtype in changed:
        np.save(tmp_path / "t.npy", changed[dtype])
        with pytest.raises(InputError, match=r"t\.npy' holds"):
            Table(tmp_path / "t.npy")


def test_labels_with_other_separators_and_encodings(tmp_path):
    for name, text in (("t.csv", 'id;note\n1;"a; b"\n2;c, d\n'), ("t.tsv", "id\tnote\n1\ta; b\n2\tc, d\n")):
        for encoding in ("utf-8-sig", "utf-16"):
            (tmp_path / name).write_bytes(text.encode(encoding))
            (batch,) = Table(tmp_path / name).batches([2])
            assert batch == {"id": [1, 2], "note": ["a; b", "c, d"]}
    (tmp_path / "t.csv").write_bytes("id,note\n1,größe\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not text in UTF-8"):
        Table(tmp_path / "t.csv")


COLUMNS = {
    "lists that NumPy would round": [2**53 + 1, 0.5],
    "64 bits without a sign": [1, 2**63],
    "more": [1, 2**64],
    "truth values among numbers": [True, 2],
    "truth values among floating-point numbers": [True, 0.5],
    "texts among numbers": ["1", 2],
    "an array of them": np.array([1, 2**63], np.uint64),
    "extended precision": np.array([1, 1 + np.finfo("g").eps], "g"),
    "masked": np.ma.array([1, 2], mask=[True, False]),
    "times": np.array([1, 2], "m8[s]"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_given_to_a_store_are_exact_or_refused(tmp_path, case):
    with PatternStore.create(tmp_path / "store", 2) as store:
        with pytest.raises(InputError, match=r"metadata\['x'\]"):
            store.append(np.zeros((2, 2)), {"x": COLUMNS[case]})
        assert len(store) == 0


def test_whole_numbers_that_join_a_column_of_numbers_are_exact_or_refused(tmp_path):
    with PatternStore.create(tmp_path / "store", 2) as store:
        store.append(np.zeros((1, 2)), {"x": [0.5]})
        store.append(np.zeros((1, 2)), {"x": [2**60]})
        with pytest.raises(InputError, match=r"9007199254740993.* would be rounded"):
            store.append(np.zeros((1, 2)), {"x": [2**53 + 1]})
        assert [row["x"] for row in store.metadata([0, 1])] == [0.5, 2.0**60]


FILES = {
    "a.txt": "red\ngrün, 1\nred\n\n",
    "a.csv": "red\ngrün\nred\n",
    "named.csv": 'colour\nred\n"grün"\nred\n',
    "named.tsv": "colour\nred\ngrün\nred",
    "a.jsonl": '{"colour": "red"}\n{"colour": "grün"}\n{"colour": "red"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_one_label_a_pattern(tmp_path, name):
    (tmp_path / name).write_text(FILES[name], encoding="utf-8-sig" if name != "a.jsonl" else "utf-8")
    first, second, third = read_labels(tmp_path / name, 3)
    assert first == third == "red"
    assert second.startswith("grün")
    with pytest.raises(InputError, match=f"{name}' has [34] labels; one label for each of the 5 patterns"):
        read_labels(tmp_path / name, 5)


def test_labels_of_numpy_and_what_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", [3, 1, 3])
    assert read_labels(tmp_path / "a.npy", 3) == [3, 1, 3]
    refused = {
        "two.csv": ("a,b\n1,2\n", "has 2 columns; one column"),
        "hole.csv": ("a\n1\n\n2\n", "line 3: no label"),
        "hole.txt": ("a\n \nb\n", "line 2: no label"),
        "two.jsonl": ('{"a": 1, "b": 2}\n', "has 2 columns"),
        "none.txt": ("", "has 0 columns"),
    }
    for name, (text, words) in refused.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=words):
            read_labels(tmp_path / name, 3)
    (tmp_path / "latin.txt").write_bytes("größe\n".encode("latin-1"))
    for name, words in (("latin.txt", "is not text"), ("nowhere.txt", "does not exist"), (".", "is a folder")):
        with pytest.raises(InputError, match=words):
            read_labels(tmp_path / name, 1)

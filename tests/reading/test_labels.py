"""Labels and other columns from files."""

import json
import math

import numpy as np
import pytest

from dispersed import InputError
from dispersed.reading import Table


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

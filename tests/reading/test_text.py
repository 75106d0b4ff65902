"""Text files: encodings, separators, headers, and where a mistake is."""

import codecs

import numpy as np
import pytest

from dispersed import InputError
from dispersed.reading import open_source, read_states

NUMBERS = np.array([[1.5, -2.0], [3.0, 4e-3]])
READ = {
    "commas": "1.5,-2\n3,4e-3\n",
    "semicolons": "1.5;-2\n3;4e-3\n",
    "tabs": "1.5\t-2\n3\t4e-3\n",
    "spaces around": " 1.5 , -2 \n3,4e-3\n",
    "quotes": '"1.5","-2"\n"3","4e-3"\n',
    "CRLF": "1.5,-2\r\n3,4e-3\r\n",
    "CR": "1.5,-2\r3,4e-3",
    "no end": "1.5,-2\n3,4e-3",
    "empty lines": "\n1.5,-2\n\n3,4e-3\n\n",
    "names": "u,v\n1.5,-2\n3,4e-3\n",
    "quoted names with commas": '"u, in m";"v, in s"\n1.5;-2\n3;4e-3\n',
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_spreadsheets_and_programs_write_is_read(tmp_path, case, encoding):
    path = tmp_path / "A.CSV"
    path.write_bytes(READ[case].encode(encoding))
    np.testing.assert_array_equal(read_states(path), NUMBERS)


def test_other_byte_order_and_suffix(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(codecs.BOM_UTF16_BE + READ["tabs"].encode("utf-16-be"))
    np.testing.assert_array_equal(read_states(path), NUMBERS)


REFUSED = {
    "a typo in line 1": ("1,2x\n3,4\n", "line 1, column 2: '2x' is not a number"),
    "a typo further down": ("u,v\n1,2\n3,4l\n", "line 3, column 2: '4l' is not a number"),
    "an empty cell in line 1": ("1,\n3,4\n", "line 1, column 2: no number; nan stands"),
    "an empty cell": ("1,2\n\n,4\n", "line 3, column 1: no number"),
    "names and numbers": ("u,2\n3,4\n", "line 1, column 1: 'u' is not a number"),
    "two lines of names": ("u,v\nm,s\n1,2\n", "line 2, column 1: 'm' is not a number"),
    "a misspelt number alone": ("1.O\n2.0\n", "line 1, column 1: '1.O' may be a name or a misspelt number; --header"),
    "spaces between": ("1 2\n3 4\n", "line 1: numbers separated by spaces; commas"),
    "names over spaces": ("u v\n1 2\n3 4\n", "line 2: numbers separated by spaces; commas"),
    "names or numbers": ("0,1,2\n3,4,5\n", "line 1: 0, 1, 2, … may be column names or numbers; --header"),
    "an index": (",u,v\n0,1,2\n", "line 1, column 1: a column without a name"),
    "lines of other lengths": ("1,2\n3,4\n5\n", "line 3: 1 cells where lines before have 2"),
    "decimal commas": ("u;v;w\n1,5;2;3\n", "line 2, column 1: '1,5' is not a number; decimal points"),
    "two separators": ("1,5;2,5\n3,5;4,5\n", "may be separated by ';' or ','"),
    "underscores": ("1_0,2\n", "line 1, column 1: '1_0' is not a number"),
    "digits of other scripts": ("１,2\n", "line 1, column 1: '１' is not a number"),
    "an open quote": ('1,"2\n3,4\n', "unexpected end of data"),
    "names alone": ("u,v\n", "holds no numbers"),
    "nothing": ("", "holds no numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_named_with_line_and_column(tmp_path, case):
    text, words = REFUSED[case]
    for encoding, end in (("utf-8", "\n"), ("utf-16", "\r\n")):
        path = tmp_path / "a.csv"
        path.write_bytes(text.replace("\n", end).encode(encoding))
        with pytest.raises(InputError) as error:
            read_states(path, "cues")
        assert str(error.value).startswith(f"cues: {str(path)!r}")
        assert words in str(error.value)


def test_header_decides_what_a_first_line_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,1,2\n3,4,5\n")
    assert read_states(path, header=True).tolist() == [[3, 4, 5]]
    assert read_states(path, header=False).tolist() == [[0, 1, 2], [3, 4, 5]]
    source = open_source(path, header=True)
    assert "under the column names of line 1" in source.about()
    path.write_text("u,v\n1,2\n")
    with pytest.raises(InputError, match="line 1, column 1: 'u' is not a number"):
        read_states(path, header=False)


def test_text_that_is_none_is_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_states(tmp_path / "latin.csv")
    (tmp_path / "long.csv").write_text("1" * 200_000)
    with pytest.raises(InputError, match="line 1: "):
        read_states(tmp_path / "long.csv")

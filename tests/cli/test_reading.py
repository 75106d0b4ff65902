"""Every command that reads files reads them in the same way."""

import numpy as np
from PIL import Image

from dispersed.storage import PatternStore

from .test_cli import dispersed as command


def test_a_store_takes_files_as_recall_does(tmp_path):
    (tmp_path / "p.csv").write_text("0,1,2,3\n0,255,0,255\n")
    Image.fromarray(np.array([[255, 0], [0, 255]], np.uint8)).save(tmp_path / "p.PNG")
    command("store", "create", tmp_path / "store", "--dimension", 4)
    done = command("store", "add", tmp_path / "store", tmp_path / "p.csv", tmp_path / "p.PNG")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--header" in done.stderr
    assert len(PatternStore.open(tmp_path / "store")) == 0
    options = ["--header", "--scale", "0:255"]
    done = command("store", "add", tmp_path / "store", tmp_path / "p.csv", tmp_path / "p.PNG", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "p.csv': 1 × 4, numbers of text, 0 and 255 made −1 and 1, under the column names of line 1, from" in done.stdout
    )
    assert "p.PNG': 1 × 4 (2 × 2), 8-bit grey levels, 0 and 255 made −1 and 1, from -1 to 1" in done.stdout
    rows = PatternStore.open(tmp_path / "store").storage.rows([0, 1])
    np.testing.assert_array_equal(rows, [[-1, 1, -1, 1], [1, -1, -1, 1]])

import numpy as np
import pytest
from PIL import Image

from dispersed import InputError
from dispersed.reading import read_states


def test_npy_npz_and_csv_hold_the_same_states(tmp_path):
    states = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "a.npy", states)
    np.savez(tmp_path / "a.npz", states)
    np.savetxt(tmp_path / "a.csv", states, delimiter=",")
    (tmp_path / "named.csv").write_text("u,v,w\n" + (tmp_path / "a.csv").read_text())
    for name in ("a.npy", "a.npz", "a.csv", "named.csv"):
        np.testing.assert_array_equal(read_states(tmp_path / name, "cues"), states)


def test_images_become_rows_of_grey_values(tmp_path):
    for name, value in (("a.png", 0), ("b.png", 255)):
        Image.fromarray(np.full((5, 4), value, np.uint8)).save(tmp_path / name)
    states = read_states(tmp_path, "patterns")
    np.testing.assert_array_equal(states, np.repeat([[-1.0], [1.0]], 20, axis=1))


def test_a_stack_of_images_is_flattened_and_one_state_is_one_row(tmp_path):
    np.save(tmp_path / "stack.npy", np.zeros((6, 2, 3)))
    np.save(tmp_path / "one.npy", np.zeros(7))
    assert read_states(tmp_path / "stack.npy", "cues").shape == (6, 6)
    assert read_states(tmp_path / "one.npy", "cues").shape == (1, 7)


def spoil(folder):
    """Every kind of unusable input, by name."""
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save(folder / "empty.npy", np.zeros((0, 3)))
    np.savez(folder / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(folder / "good.npy", np.zeros((50, 3)))
    (folder / "cut.npy").write_bytes((folder / "good.npy").read_bytes()[:300])
    np.savez(folder / "good.npz", np.zeros((50, 3)))
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:300])
    (folder / "words.csv").write_text("1,2\nthree,4\n")
    (folder / "ragged.csv").write_text("1,2\n3\n")
    (folder / "nothing.csv").write_text("")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "notes.txt").write_text("1 2")
    (folder / "no_images").mkdir()
    (folder / "not_images").mkdir()
    (folder / "not_images" / "a.png").write_text("not an image")
    (folder / "sizes").mkdir()
    for name, size in (("a.png", (2, 2)), ("b.png", (3, 2))):
        Image.fromarray(np.zeros(size, np.uint8)).save(folder / "sizes" / name)


SPOILT = ["text.npy", "objects.npy", "empty.npy", "two.npz", "cut.npy", "cut.npz", "words.csv", "ragged.csv"]
SPOILT += ["nothing.csv", "binary.csv", "notes.txt", "no_images", "not_images", "sizes", "missing.npy"]


@pytest.mark.parametrize("name", SPOILT)
def test_unusable_files_get_one_line_that_names_them(tmp_path, name):
    spoil(tmp_path)
    with pytest.raises(InputError, match="cues") as error:
        read_states(tmp_path / name, "cues")
    assert "\n" not in str(error.value)
    assert name.split(".")[0] in str(error.value)

"""Files that never end, names that lead nowhere, and how much memory is taken."""

import os
import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dispersed import InputError
from dispersed.reading import Table, open_source, read_states

SUFFIXES = [".npy", ".npz", ".csv", ".tsv", ".safetensors", ".parquet", ".png", ""]


def refused(path, words):
    for read in (open_source, Table) if str(path).endswith((".csv", ".npy")) else (open_source,):
        with pytest.raises(InputError, match=words) as error:
            read(path)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file_is_not_opened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    (tmp_path / f"lost{suffix}").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / f"pipe{suffix}", "is a pipe or device")
    refused(tmp_path / f"device{suffix}", "is a pipe or device")
    refused(tmp_path / f"loop{suffix}", "Too many levels of symbolic links")
    refused(tmp_path / f"lost{suffix}", "does not exist")
    refused(tmp_path / ("x" * 300 + suffix), "File name too long")
    refused(f"a\0b{suffix}", "cannot be read")
    refused(f"a\nb\x1b[31m{suffix}", "does not exist")


def test_pipes_among_images_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refused(tmp_path, "is a pipe or device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    (tmp_path / "a.npy").chmod(0)
    refused(tmp_path / "a.npy", "Permission denied")


def test_names_that_are_no_text_are_written_as_text(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff\x1b.png")
    (name,) = open_source(tmp_path).names
    assert name.encode() == b"\\xff\x1b.png"


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1000, 4)))
    source = open_source(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 1000)
    with pytest.raises(InputError, match="was truncated while it was read"):
        source.read(900, 1000)


def test_text_takes_little_more_memory_than_its_numbers(tmp_path):
    rng = np.random.default_rng(0)
    lines = [",".join(f"{v:.7f}" for v in row) for row in rng.standard_normal((50, 100))]
    (tmp_path / "a.csv").write_text("\n".join(lines * 120))
    code = f"""
    import resource
    from dispersed.reading import read_states
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = peak()
    print(read_states({str(tmp_path / "a.csv")!r}).nbytes, peak() - before)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    nbytes, grown = map(int, run.stdout.split())
    assert nbytes == 6000 * 100 * 8
    assert grown < 3 * nbytes


def test_an_image_of_many_pixels_and_few_bytes_is_bounded(tmp_path):
    """A process that may take no more than the bound refuses or reads it, and does not end in a MemoryError."""
    (tmp_path / "a.pgm").write_bytes(b"P5 5000 6000 255\n" + bytes(5000 * 6000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_states(tmp_path / "a.pgm").shape == (1, 30_000_000)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 1 << 29

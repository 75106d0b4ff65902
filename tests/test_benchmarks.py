"""The benchmarks that state goals run, on their smallest cases; what they time on a busy machine is not judged here."""

import importlib
import math
from pathlib import Path

import benchmarks
import pytest
from benchmarks import conditioning, default_path

RIVALS = {"faiss", "pyarrow", "torch", "zarr"}
"""Packages of the extra `bench`."""


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("[!_]*.py")))
def test_every_benchmark_can_be_imported(name):
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name not in RIVALS:
            raise
        pytest.skip(f"{error.name} is not installed")


def test_the_default_path_is_measured_with_its_error(capsys):
    lines = default_path.main(quick=True, only="patterns 100x10")
    assert all(math.isfinite(line.figure) and line.figure > 0 for line in lines)
    assert all(line.reached == (line.figure <= line.goal) for line in lines if line.goal)
    denoised = [line for line in lines if line.name.startswith("denoise")]
    assert [line.name.partition(":")[0] for line in denoised] == ["denoise, σ = 1", "denoise, σ = 0.02"]
    assert all(float(line.error) < 1e-5 for line in denoised)
    recalled = [line.error.partition(",")[0] for line in lines if line.name.startswith("recall")]
    assert recalled[:2] == ["8/8", "8/8"]
    assert "goals are reached" in capsys.readouterr().out


def test_conditioning_is_measured_with_its_error():
    lines = conditioning.main(quick=True)
    assert all(line["seconds"] > 0 and line["error"] < 1e-4 for line in lines)
    # Nothing of the size of (observations, patterns, units) in single precision.
    assert all(line["mebibytes"] < 50 * 2000 * 64 * 4 / 2**20 / 4 for line in lines)

"""The library alone needs none of the optional packages, and what is missing is one line."""

import subprocess
import sys

import pytest

from dispersed.extras import EXTRAS, MissingExtraError, optional_packages

ABSENT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(EXTRAS)!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Absent())
"""
"""Importing any of these packages fails as if it were not installed."""


def run(code):
    command = [sys.executable, "-c", ABSENT + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_library_alone_recalls_and_trains_without_any_of_them():
    done = run(
        "import numpy as np, jax, dispersed as ds\n"
        "from dispersed.learning import Recipe\n"
        "offered = [getattr(ds, name) for name in ds.__all__]\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized(), 'an import computes something'\n"
        "memory = ds.PatternMemory(np.eye(4, dtype='f4'))\n"
        "result = ds.recall(memory, memory.patterns[:2], sigma=0.1)\n"
        "assert result.index.tolist() == [0, 1]\n"
        "assert result._repr_html_().count('<td>') > 2\n"
        "network = ds.noise_network(4, 8, key=jax.random.key(0))\n"
        "ds.train(network, memory.patterns, Recipe(steps=2), key=jax.random.key(1))\n"
        "try:\n    from dispersed.datasets import load_digits; load_digits()\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("MissingExtraError sklearn is not installed; pip install 'dispersed[paper]' brings it\n")


def test_the_command_line_says_in_one_line_what_is_missing():
    done = run("from dispersed.cli import main; main()")
    assert done.returncode == 1
    assert done.stderr == "dispersed: typer is not installed; pip install 'dispersed[cli]' brings it\n"


def test_other_imports_fail_as_they_do():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), optional_packages():
        raise ModuleNotFoundError("No module named 'no_such_package'", name="no_such_package")
    line = r"uvicorn is not installed; pip install 'dispersed\[explorer\]'"
    with pytest.raises(MissingExtraError, match=line), optional_packages():
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn.config")

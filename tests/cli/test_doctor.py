"""The doctor passes a healthy installation and fails one that computes something else."""

import subprocess
import sys

import pytest
import typer

from dispersed import selftest
from dispersed.cli.doctor import doctor_command
from dispersed.memories import PatternMemory


def test_a_healthy_installation_passes():
    found = list(selftest.selftest())
    assert [check.name for check in found] == ["denoiser", "float64", "recall", "sampling", "speed"]
    assert all(check.passed for check in found), found


def test_wrong_numbers_fail_with_exit_code_one(monkeypatch, capsys):
    right = PatternMemory.denoise
    monkeypatch.setattr(PatternMemory, "denoise", lambda self, x, sigma: right(self, x, 1.01 * sigma))
    monkeypatch.setattr(selftest, "CHECKS", {"denoiser": selftest.denoiser, "float64": selftest.double})
    with pytest.raises(typer.Exit) as exit:
        doctor_command()
    assert exit.value.exit_code == 1
    shown = capsys.readouterr().out
    assert "FAIL  denoiser" in shown
    assert "pass  float64" in shown
    assert "Failed in" in shown
    for package in ("python", "jax", "jaxlib", "numpy", "equinox", "diffrax", "devices"):
        assert f"\n{package} " in "\n" + shown


def test_a_check_that_raises_has_failed(monkeypatch):
    def broken():
        raise RuntimeError("no such device\nand more")

    monkeypatch.setattr(selftest, "CHECKS", {"recall": broken})
    assert list(selftest.selftest()) == [("recall", False, "RuntimeError: no such device")]


def test_help_does_not_wait_for_jax():
    code = "import sys, dispersed.cli.main; sys.exit(any(name in sys.modules for name in ('jax', 'scipy', 'optax')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The README's examples run as printed, each in at most 15 lines, and so does the command on their files."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispersed.cli.main import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_examples_run_as_written(tmp_path, monkeypatch, capsys):
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    for example in examples:
        assert len([line for line in example.splitlines() if line.strip()]) <= 15
        exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "recalled.png").stat().st_size > 5000
    assert "8 states of 64 units" in capsys.readouterr().out
    command = re.search(r"^\.venv/bin/dispersed (recall .*)$", README, re.MULTILINE).group(1)
    ran = CliRunner().invoke(app, command.split())
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "results" / "recalled.npy").exists()
    assert (tmp_path / "results" / "alternatives.csv").exists()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/design.md", "docs/theory.md"])
def test_links_and_pictures_exist(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), f"{page} points to {target}"

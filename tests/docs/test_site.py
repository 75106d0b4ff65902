"""What the site promises: every public name, the commands as they are, examples that fail the build if broken."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

import dispersed

DOCS = Path(__file__).parent.parent.parent / "docs"
sys.path.insert(0, str(DOCS / "extensions"))

import cli_reference
import docstrings
import examples


@pytest.fixture(autouse=True)
def no_figures_of_other_tests():
    """A block shows the figures that are open after it."""
    plt.close("all")


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"\.\. (?:py:data|auto(?:class|function|exception)):: (\S+)", pages))
    for module in re.findall(r"\.\. automodule:: (\S+)\n(?!   :no-members:)", pages):
        documented |= set(vars(sys.modules.get(module) or __import__(module, fromlist=["x"])))
    public = {name for name in dispersed.__all__ if not isinstance(getattr(dispersed, name), types.ModuleType)}
    assert len(public) > 50
    documented |= {name.removeprefix("dispersed.") for name in documented}
    assert public - documented == set()
    for module in (dispersed.engines, dispersed.storage):
        names = {name for name in module.__all__ if callable(getattr(module, name))}
        assert {name for name in names - documented if f"{module.__name__}.{name}" not in documented} == set()


def test_the_command_reference_is_what_the_commands_say():
    assert cli_reference.PAGE.read_text() == cli_reference.reference(), "run `make cli-reference`"


def test_every_list_of_commands_has_the_summary_of_the_command_that_it_names():
    """A name may be that of a command and of an experiment, too."""
    sections = dict(re.findall(r"^#+ `(dispersed .+)`\n\n(.+)$", cli_reference.PAGE.read_text(), re.MULTILINE))
    group, listed = "dispersed", 0
    for line in cli_reference.PAGE.read_text().splitlines():
        if heading := re.fullmatch(r"#+ `(dispersed .+)`", line):
            group = heading[1]
        elif entry := re.fullmatch(r"\* `([a-z][\w-]*)`: (.+)", line):
            assert entry[2] == sections[f"{group} {entry[1]}"]
            listed += 1
    assert listed == len(sections)


def test_code_that_is_not_run_is_only_where_it_is_known_to_be():
    pages = {path.relative_to(DOCS).as_posix(): path.read_text() for path in DOCS.rglob("*.md")}
    assert {name for name, text in pages.items() if re.search(r"^```py$", text, re.MULTILINE)} == {
        "differences.md",
        "guides/hosts.md",
        "guides/sampler.md",
        "guides/unet.md",
    }
    assert len(re.findall(r"^```python$", "".join(pages.values()), re.MULTILINE)) > 40


def test_a_block_shows_what_it_prints_and_its_value():
    namespace = {}
    assert examples.run("a = 2", namespace, "page") == []
    (box,) = examples.run("print('seen')\na + 1", namespace, "page")
    assert box.astext() == "seen\n3"


def test_a_figure_becomes_an_image_with_its_title_as_alternative():
    code = "import matplotlib.pyplot as plt\nfigure, axis = plt.subplots(figsize=(1, 1))\n"
    (image,) = examples.run(code + "figure.suptitle('Errors < 1')", {}, "page")
    assert image.astext().startswith('<img alt="Errors &lt; 1" src="data:image/png;base64,')
    with pytest.raises(ValueError, match="suptitle"):
        examples.run(code, {}, "page")


@pytest.mark.parametrize(
    ("block", "message"),
    [("1 / 0", "ZeroDivisionError"), ("import warnings\nwarnings.warn('old')", "UserWarning: old")],
)
def test_a_broken_example_fails_the_build(tmp_path, block, message):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(DOCS / 'extensions')!r})\nextensions = ['myst_parser', 'examples']\n"
    )
    (tmp_path / "index.md").write_text(f"# Page\n\n```python\n{block}\n```\n")
    command = [sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(tmp_path / "site")]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert built.returncode != 0
    assert "this example fails" in built.stderr
    assert message in built.stderr


def test_docstrings_keep_equations_and_bars():
    lines = [
        "Says p(j | x) of `...`:",
        "",
        "    E = ‖x‖ + |x|",
        "",
        "- `a | b`: one,",
        "  two | three.",
        "",
        "    not an equation",
    ]
    assert docstrings.as_rst(lines) == [
        *[r"Says p(j \| x) of ``...``:", "", "::", "", "    E = ‖x‖ + |x|", ""],
        *["- `a | b`: one,", r"  two \| three.", "", "    not an equation"],
    ]

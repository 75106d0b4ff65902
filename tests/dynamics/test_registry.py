"""Dynamics by name: those of the library, those that other packages add, and where the names must appear."""

import re
import sys
from pathlib import Path

import pytest

import dispersed
from dispersed import dynamics
from dispersed.dynamics import Dynamics, named
from dispersed.explorer import digits, landscape
from dispersed.explorer.server import PAGE
from dispersed.names import BUILTIN, registered_dynamics
from dispersed.validation import InputError

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", BUILTIN)
def test_every_name_makes_its_dynamics(name):
    assert type(named(name)) is getattr(dispersed, BUILTIN[name].class_name)


def test_every_dynamics_of_the_library_has_a_name():
    classes = {
        kind.__name__ for kind in vars(dynamics).values() if isinstance(kind, type) and issubclass(kind, Dynamics)
    }
    assert {entry.class_name for entry in BUILTIN.values()} == classes - {"Dynamics", "Solver"}


def test_settings_are_those_of_the_class():
    assert named("ancestral", steps=7, order=1) == dispersed.AncestralSampling(7, order=1)
    with pytest.raises(InputError, match=r"steps: got 3 for the dynamics one-step; it takes no settings"):
        named("one-step", steps=3)
    with pytest.raises(InputError, match=r"rate: got 0.1 for the dynamics heun; it takes steps, sigma_min, grid"):
        named("heun", rate=0.1)


def test_an_unknown_name_gets_one_line():
    with pytest.raises(
        InputError, match=r"^dynamics: got 'floe'; multistep, exponential, ddim, .* circuit are accepted$"
    ):
        named("floe")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that adds dynamics, good and bad ones."""
    (tmp_path / "its_module.py").write_text(
        "from dispersed.dynamics import DDIM\n\n\nclass Annealing(DDIM):\n    pass\n\n\nnothing = 3\n"
    )
    info = tmp_path / "its_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: its-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dispersed.dynamics]\nannealing = its_module:Annealing\nabsent = its_module:Absent\n"
        "nowhere = no_such_module:X\nnothing = its_module:nothing\nheun = its_module:Annealing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("its_module", None)


def test_entry_points_of_other_packages_are_found(package):
    found = registered_dynamics()
    assert list(found) == [*BUILTIN, "absent", "annealing", "nothing", "nowhere"]
    assert found["annealing"].help == "of the package its-package"
    made = named("annealing", steps=5)
    assert (type(made).__name__, type(made).__module__, made.steps) == ("Annealing", "its_module", 5)
    assert type(named("heun")) is dispersed.Heun
    memory = dispersed.PatternMemory([[1.0, 1, -1], [-1, 1, 1]])
    assert int(dispersed.recall(memory, [0.9, 0.2, -0.8], made, sigma=0.5).index) == 0


@pytest.mark.parametrize(("name", "why"), [("absent", "Absent"), ("nowhere", "no_such_module"), ("nothing", "is 3")])
def test_entry_points_that_lead_nowhere_get_one_line(package, name, why):
    with pytest.raises(InputError, match=rf"^dynamics: '{name}', of the package its-package, .*{why}"):
        named(name)


def test_the_page_offers_what_the_server_answers():
    options = re.search(r'<select id="digit-dynamics">(.*?)</select>', (PAGE / "index.html").read_text(), re.DOTALL)
    assert set(re.findall(r'value="([^"]+)"', options[1])) == set(digits.DYNAMICS) <= set(BUILTIN)
    methods = re.search(r"const METHODS = {(.*?)};", (PAGE / "landscape.js").read_text(), re.DOTALL)
    assert set(re.findall(r"^  (\S+): \[", methods[1], re.MULTILINE)) == set(landscape.DYNAMICS) <= set(BUILTIN)


def test_the_pages_list_all_names():
    commands = (DOCS / "cli.md").read_text()
    assert [name for name, entry in BUILTIN.items() if f" {name}: {entry.help}" not in commands] == []
    (table,) = re.findall(r"\| you want \| take \| its name \|.*?\n\n", (DOCS / "choose.md").read_text(), re.DOTALL)
    names = [row.split("|")[3].strip() for row in table.strip().splitlines()[2:]]
    assert sorted(name for cell in names if cell for name in cell.split(", ")) == sorted(BUILTIN)

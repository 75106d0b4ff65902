"""The index from equation to symbol to file: complete, and every symbol says itself which equation it is."""

import re
from pathlib import Path

import pytest

import dispersed
from dispersed.equation_index import equations


def named(line):
    """The equations and sections that a line names, by number and as text."""
    found = set()
    for numbers in re.findall(r"Eqs?\. (\d+(?:(?:–|, )\d+)*)", line):
        found |= {int(number) for number in re.findall(r"\d+", numbers)}
    return found | set(re.findall(r"Sec\. (\d\.\d)", line))


def test_every_equation_of_the_paper_is_there():
    assert list(equations) == [*range(1, 30), "5.1", "5.2", "6.1", "6.2"]
    assert dispersed.equations is equations


@pytest.mark.parametrize("place", equations)
def test_the_symbol_says_which_equation_it_is(place):
    equation = equations[place]
    assert place in named(equation.summary), f"{equation.symbol}: {equation.summary}"
    source = Path(dispersed.__file__).parent.parent / equation.file
    name = re.split("[.:]", equation.symbol)[-1]
    first_lines = source.read_text(encoding="utf-8").splitlines()[equation.line - 1 :][:3]
    assert any(re.search(rf"(class|def) {name}\b", line) for line in first_lines), first_lines


def test_an_equation_says_where_it_is():
    equation = equations[12]
    assert str(equation).startswith("Eq. 12, energy of stored patterns: dispersed.memories.patterns:PatternMemory (")
    assert named("one (Eq. 12, 28) and (Sec. 5.1), not Eq. 3") == {12, 28, 3, "5.1"}

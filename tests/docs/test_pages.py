"""What pages say is so: files, modules and names exist, and the words are those of the field."""

import ast
import importlib
import pkgutil
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "dispersed"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
)

DIALECT = re.compile(
    r"\b(felt|uninformed|half-seen|log_rest|a look at|told apart|(?<!all-)gather(s|ed|ing)?|owned|heights|facts)\b",
    re.IGNORECASE,
)
"""Words that this project once had for what has a standard term, where no other sense of them is usual here."""


def quoted(page: str) -> set[str]:
    """What stands between backticks in the prose of a page."""
    text = (ROOT / page).read_text()
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)))


@pytest.mark.parametrize("page", PAGES)
def test_files_and_folders_that_a_page_names_exist(page):
    files = {name for name in quoted(page) if re.fullmatch(r"[\w./-]+(\.(py|pyi|md|html)|/)", name)}
    files = {name for name in files if not name.startswith(("results/", "site/", "OUT/"))}  # the reader's
    homes = (ROOT, ROOT / "src", SOURCE, ROOT / "docs", ROOT / "docs" / "extensions")
    assert {name for name in files if not any((home / name).exists() for home in homes)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_names_that_a_page_names_exist(page):
    for name in quoted(page):
        if dotted := re.match(r"(dispersed(\.\w+)+)\b(?!\.\w)", name):
            pkgutil.resolve_name(dotted[1])
        if benchmark := re.match(r"python -m (benchmarks\.\w+)", name):
            assert benchmark[1] == "benchmarks.NAME" or (ROOT / f"{benchmark[1].replace('.', '/')}.py").exists()


def public_classes() -> dict[str, type]:
    found = {}
    for module in (
        "",
        *(f".{room}" for room in ("capacities", "dynamics", "engines", "learning", "memories", "processes", "storage")),
    ):
        package = importlib.import_module(f"dispersed{module}")
        names = {name: getattr(package, name) for name in package.__all__}
        found |= {name: value for name, value in names.items() if isinstance(value, type)}
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if "differences" not in page])
def test_classes_and_fields_that_a_page_names_exist(page):
    classes = public_classes()
    assert len(classes) > 60
    for name in quoted(page):
        if (field := re.match(r"([A-Z]\w+)\.(\w+)", name)) and field[1] in classes:
            assert hasattr(classes[field[1]], field[2]) or any(
                field[2] in vars(base).get("__annotations__", {}) for base in classes[field[1]].__mro__
            ), name
        if called := re.match(r"([A-Z][a-z]\w+)\(", name):
            assert called[1] in classes or called[1] in {"Midpoint", "EulerInSigma"}, name


def docstrings(path: Path):
    """Docstrings of a module, its classes and functions, and of fields and constants."""
    for node in ast.walk(ast.parse(path.read_text())):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield str(statement.value.value)


def test_the_words_are_those_of_the_field():
    texts = {page: (ROOT / page).read_text() for page in PAGES}
    for path in SOURCE.rglob("*.py"):
        texts[path.relative_to(ROOT).as_posix()] = "\n".join(docstrings(path))
    assert len(texts) > 150
    found = {
        name: words for name, text in texts.items() if (words := {match[0].lower() for match in DIALECT.finditer(text)})
    }
    assert found == {}


def test_the_script_for_several_hosts_gives_what_one_host_gives(tmp_path):
    (script,) = re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs/guides/hosts.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "script.py").write_text(script)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    commands = [[sys.executable, str(tmp_path / "script.py"), address, number] for number in "01"]
    hosts = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    said = [host.communicate(timeout=240) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    parts = [np.random.default_rng(number).standard_normal((5_000, 16)).astype(np.float32) for number in (0, 1)]
    cues = np.random.default_rng(1).standard_normal((5_000, 16)).astype(np.float32)[:3]
    squares = ((np.concatenate(parts)[None] - cues[:, None]) ** 2).sum(axis=-1)
    assert [out.decode().splitlines()[-1].split("] ")[0] for out, _ in said] == [
        str(squares.argmin(axis=1)).rstrip("]")
    ] * 2

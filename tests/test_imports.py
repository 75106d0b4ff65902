"""Imports run one way, from the command line at the top down to memories, engines, storage and types."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import dispersed

ROOT = Path(dispersed.__file__).parent
LAYERS = [
    {"tracing", "types", "validation"},
    {
        "posterior",
        "conditioning",
        "atomic",
        "batching",
        "compiling",
        "datasets",
        "derived",
        "display",
        "extras",
        "keys",
        "machine",
        "multistep",
        "names",
        "noise",
        "precision",
        "primitives",
        "progress",
        "resampling",
        "theory",
    },
    {"storage"},
    {"reading"},
    {"engines"},
    {"memories", "processes"},
    {"dynamics"},
    {"learning", "diagnostics", "layers", "regime", "bifurcation"},
    {"interop"},
    {"testbench"},
    {"plasticity", "consolidation"},
    {"capacities"},
    {"selftest", "equation_index", "auditing"},
    {"paper"},
    {"explorer"},
    {"cli"},
]
FLOOR = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_no_import_runs_up():
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).with_suffix("").parts[0]
        if place in ("__init__", "__main__"):
            continue
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "dispersed" and len(parts) > 1 and place != "cli":
                assert FLOOR[parts[1]] <= FLOOR[place], f"{path.relative_to(ROOT)} imports {module}"
            if parts[0] in ("matplotlib", "typer"):
                assert place in ("paper", "cli"), f"{path.relative_to(ROOT)} imports {module}"


def test_every_module_has_its_floor():
    names = {path.stem if path.is_file() else path.name for path in ROOT.iterdir() if path.suffix in (".py", "")}
    assert names - {"__init__", "__main__", "__pycache__"} <= set(FLOOR)


def test_no_function_has_the_name_of_a_module():
    """A module that is imported takes the place of what else its package calls by that name."""
    modules = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()}
    for name in set(dispersed.__all__) & modules:
        assert inspect.ismodule(getattr(dispersed, name)), name


def test_a_default_recall_imports_no_library_that_it_does_not_use():
    """They are slow to import: together they take longer than JAX itself."""
    unused = {"diffrax", "lineax", "matplotlib", "optax", "scipy", "typer"}
    program = (
        "import sys, dispersed; memory = dispersed.PatternMemory([[1.0, -1], [1, 1]]);"
        "dispersed.recall(memory, [0.9, 0.1], sigma=0.5); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not unused & set(done.stdout.split())

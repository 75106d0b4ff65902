"""Rows that `dispersed reproduce all --quick` wrote, as far as claims read them.

`python -m tests.paper.recorded RESULTS` records those of the folder RESULTS anew; experiments that are not there stay.
"""

import importlib
import json
import sys
from pathlib import Path

from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.findings import read_about, read_rows

ROWS = Path(__file__).parent / "rows"
READ = {"figure2_trajectories": {"method": "modern_hopfield"}, "learned_recall": {"part": "network"}}
"""Of long tables, the only rows that claims read."""
UNREAD = {"figure3_errors", "figure3_trainings"}


def claims(name):
    """The claims of an experiment."""
    return importlib.import_module(f"dispersed.paper.{name}.claims").CLAIMS


def recorded(name):
    """The tables of an experiment, a copy of their own for every caller."""
    return json.loads((ROWS / f"{name}.json").read_text(encoding="utf-8"))


def record(results):
    """Take the rows of every experiment from a folder of results, with six digits."""
    for name in EXPERIMENTS:
        about, tables = read_about(results, name), {}
        if about is None:
            continue
        for table in {name, *about.tables} - UNREAD:
            chosen = READ.get(table, {}).items()
            rows = [row for row in read_rows(results, table) if chosen <= row.items()]
            tables[table] = [
                {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
                for row in rows
            ]
        text = json.dumps(tables, ensure_ascii=False, sort_keys=True)
        (ROWS / f"{name}.json").write_text(text.replace("}, {", "},\n{") + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(Path(sys.argv[1]))

import matplotlib.pyplot as plt
import pytest

from dispersed.paper.claim import Claim
from dispersed.paper.experiment import Findings
from dispersed.paper.findings import write
from dispersed.paper.table1.claims import CLAIMS
from dispersed.paper.table1.measure import METHODS, PUBLISHED
from tests.browser import chromium


@pytest.fixture(scope="session")
def table1_rows():
    """Table 1 as if every value had come out as printed, but one."""
    rows = []
    for task in ("denoising", "completion"):
        for column, n in enumerate((10, 20, 30)):
            for method in METHODS:
                printed = PUBLISHED.get((task, method))
                value = 0.5 if printed is None else printed[column]
                rows.append(
                    {
                        "task": task,
                        "n_patterns": n,
                        "method": method,
                        "correlation": value,
                        "ci_low": value - 0.004,
                        "ci_high": value + 0.004,
                        "published": None if printed is None else value,
                    }
                )
    rows[0] |= {"correlation": 0.9, "ci_low": 0.896, "ci_high": 0.904}
    return rows


@pytest.fixture
def results(tmp_path, table1_rows):
    """A folder with the results of Table 1 and of a capacity."""
    _, axis = plt.subplots()
    findings = Findings(table1_rows, axis, [*CLAIMS, Claim("safe", lambda tables: (True, {}), "Made <up> & safe.")])
    write(tmp_path, "table1", "Table 1: of a test", findings, "dispersed reproduce table1 --seed 3", {"seed": 3}, 4.2)
    _, axis = plt.subplots()
    more = Findings([{"a": None, "b": 1e-7}], axis, [], {"capacity_errors": [{"n": i} for i in range(100)]})
    write(tmp_path, "capacity", "A capacity", more, "dispersed capacity", {"seed": 0}, 4000.0)
    return tmp_path


@pytest.fixture(scope="session")
def browser():
    with chromium() as launched:
        yield launched

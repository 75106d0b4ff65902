"""`dispersed reproduce all`: everything once, nothing twice, and the page at the end."""

import math
import pickle

import matplotlib.pyplot as plt
import pytest

from dispersed import InputError
from dispersed.cli.reproduce import everything
from dispersed.paper import catalogue, run
from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.claim import Claim
from dispersed.paper.experiment import Experiment, Findings
from dispersed.paper.findings import read_about, read_rows
from dispersed.paper.report import page


@pytest.fixture
def calls(monkeypatch):
    """A catalogue of two instant experiments, and the list of what was computed."""
    made = []

    def experiment(name):
        def find(folder, seed, size):
            made.append((name, seed, size))
            if size == 13:
                raise KeyboardInterrupt
            small = Claim("small", lambda tables: (size < 5, tables[name][0]), name + " [of|is not small:] {size}.")
            return Findings([{"size": size}], plt.subplots()[1], [small])

        return Experiment(name, "Sec. 0", f"{name}, {{size}}", "", "", "A dot.", find, {"size": 9}, {"size": 2})

    for name in list(EXPERIMENTS):
        monkeypatch.delitem(catalogue.EXPERIMENTS, name)
    for name in ("first", "second"):
        monkeypatch.setitem(catalogue.EXPERIMENTS, name, experiment(name))
    # Other processes would not see this catalogue.
    monkeypatch.setattr(run, "beside", lambda function, jobs: (function(*job) for job in jobs))
    monkeypatch.setattr(page, "IN_PAPER", ())
    return made


@pytest.fixture
def reproduce(capsys, tmp_path):
    """`dispersed reproduce all` into a folder: the lines that it prints."""

    def command(seed=0, quick=False, again=False):
        everything(tmp_path, seed, quick, again)
        return capsys.readouterr().out.splitlines()

    return command


def test_all_ends_with_the_path_of_the_page(calls, reproduce, tmp_path):
    lines = reproduce(seed=4, quick=True)
    assert lines[-1] == str(tmp_path / "report.html")
    assert calls == [("first", 4, 2), ("second", 4, 2)]
    assert "✓ first of 2." in lines
    about = read_about(tmp_path, "second")
    assert about.title == "second, 2"
    assert [(verdict.name, verdict.holds) for verdict in about.verdicts] == [("small", True)]
    assert about.settings == {"size": 2, "seed": 4}
    assert about.command == "dispersed reproduce second --quick --seed 4"
    assert {"jax", "python", "dispersed"} < set(about.versions)
    assert int(about.machine["cores"]) > 0


def test_what_is_there_is_kept_and_what_is_not_is_made(calls, reproduce, tmp_path, monkeypatch):
    reproduce(quick=True)
    lines = reproduce(quick=True)
    assert len(calls) == 2
    assert lines[0].startswith("Kept from an earlier run: first, second.")
    (tmp_path / "second.png").unlink()
    reproduce(quick=True)
    assert [name for name, *_ in calls[2:]] == ["second"]
    reproduce(quick=True, again=True)
    assert len(calls) == 5
    reproduce()
    assert calls[5:] == [("first", 0, 9), ("second", 0, 9)]
    assert "✗ first is not small: 9." in (tmp_path / "first.md").read_text(encoding="utf-8")
    monkeypatch.setattr(run, "code", lambda: "other code")
    reproduce()
    assert len(calls) == 9


def test_a_stopped_run_goes_on_where_it_was(calls, reproduce, tmp_path, monkeypatch):
    second = catalogue.EXPERIMENTS["second"]
    broken = Experiment(**{**vars(second), "full": {"size": 13}})
    monkeypatch.setitem(catalogue.EXPERIMENTS, "second", broken)
    with pytest.raises(KeyboardInterrupt):
        reproduce()
    assert read_about(tmp_path, "second") is None
    monkeypatch.setitem(catalogue.EXPERIMENTS, "second", second)
    reproduce()
    assert calls == [("first", 0, 9), ("second", 0, 13), ("second", 0, 9)]


def test_old_results_do_not_pass_for_new_ones(calls, reproduce, tmp_path, monkeypatch):
    reproduce()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("dispersed.paper.findings.write_figure", full)
    with pytest.raises(OSError, match="disk"):
        run.run(catalogue.EXPERIMENTS["first"], tmp_path, 7, False)
    assert read_rows(tmp_path, "first") == [{"size": 9}]
    assert read_about(tmp_path, "first") is None


def test_jobs_run_beside_each_other_and_errors_come_back():
    found = run.beside(math.sqrt, [(4.0,), (9.0,), ("four",)])
    with pytest.raises(TypeError, match="real number"):
        assert sum(found) == 0
    error = pickle.loads(pickle.dumps(InputError("out", "got it", "not accepted")))
    assert str(error) == "out: got it; not accepted"


def test_commands_are_those_of_the_catalogue():
    from dispersed.cli.reproduce import reproduce_app

    assert [command.name for command in reproduce_app.registered_commands] == [*EXPERIMENTS, "all"]
    for experiment in EXPERIMENTS.values():
        assert set(experiment.settings(quick=True)) == set(experiment.full)
        assert experiment.picture.endswith(".")

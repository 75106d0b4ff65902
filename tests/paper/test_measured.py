"""What each experiment claims, measured anew at the smallest size at which its rows decide it."""

import jax
import pytest

from dispersed.capacities.methods import methods
from dispersed.paper.capacity.measure import capacities
from dispersed.paper.continuum import measure as continuum
from dispersed.paper.digits import measure as digits
from dispersed.paper.figure1 import measure as figure1
from dispersed.paper.figure2 import measure as figure2
from dispersed.paper.learned import measure as learned
from dispersed.paper.plasticity import measure as plasticity
from dispersed.paper.posterior import measure as posterior
from dispersed.paper.potential import measure as potential
from dispersed.paper.reconstruction import measure as reconstruction
from dispersed.paper.replay import measure as replay
from dispersed.paper.spectrum import measure as spectrum
from tests.paper.recorded import claims


def verdicts(name, tables, *chosen):
    """Whether these claims of an experiment hold."""
    found = {claim.name: claim.judge(tables) for claim in claims(name) if claim.name in chosen}
    return {claim: found[claim].holds for claim in chosen}


@pytest.fixture
def few_gaussians(monkeypatch):
    """Three Gaussians are fitted in no time."""
    for module in (continuum, reconstruction, spectrum):
        fit = module.gaussian_semantics
        monkeypatch.setattr(module, "gaussian_semantics", lambda images, k, seed, fit=fit: fit(images[::4], 3, seed))


def test_figure_1(monkeypatch):
    both = {name: memory for name, memory in figure1.memories().items() if name != "extended"}
    monkeypatch.setattr(figure1, "memories", lambda: both)
    rows, _ = figure1.figure1(starts=30, resolution=10)
    assert all(verdicts("figure1", {"figure1": rows}, "points", "semantic").values())


def test_figure_2(monkeypatch):
    for name, value in {"STEPS": 50, "WIDTH": 64, "CUES": 3}.items():
        monkeypatch.setattr(figure2, name, value)
    summary, path = figure2.figure2(training_steps=200)
    tables = {"figure2": summary, "figure2_trajectories": path}
    assert all(verdicts("figure2", tables, "diffusion", "learned", "single_update").values())


@pytest.mark.slow
def test_figure_3():
    chosen = {
        name: methods()[name] for name in ("diffusion", "modern_hopfield", "classical", "classical_null_diagonal")
    }
    rows, _ = capacities(chosen, (4, 8, 12, 16), alpha=0.68, threshold=0.03, sets=40, seed=0)
    assert all(verdicts("figure3", {"figure3": rows}, "growth", "classical", "equal").values())


def test_digits(monkeypatch):
    monkeypatch.setattr(digits, "DYNAMICS", {name: digits.DYNAMICS[name] for name in ("exponential", "flow")})
    monkeypatch.setattr(digits, "ALPHAS", (0.68,))
    rows, _ = digits.digits(cues=24)
    assert verdicts("digits", {"digits": rows}, "few_steps", "zero_mask", "evidence") == {
        "few_steps": True,
        "zero_mask": False,
        "evidence": True,
    }


def test_posterior(monkeypatch):
    for part in ("_one_cue", "_steps"):
        monkeypatch.setattr(posterior, part, lambda *_: [])
    rows = posterior.posterior(repeats=5, cues=20)
    tables = {"posterior": rows}
    assert all(verdicts("posterior", tables, "calibrated_exact", "calibrated_recalled", "many_cues").values())


def test_potential(monkeypatch):
    monkeypatch.setattr(
        potential, "PROCESSES", {name: potential.PROCESSES[name] for name in ("double_well", "quartic")}
    )
    rows, _ = potential.potential(finest=4, paths=1000)
    assert verdicts("potential", {"potential": rows}, "limit", "negligible", "paths") == {
        "limit": True,
        "negligible": False,
        "paths": True,
    }


def test_reconstruction(few_gaussians, monkeypatch):
    monkeypatch.setattr(reconstruction, "WIDTHS", (8,))
    monkeypatch.setattr(reconstruction, "_broken_glass", lambda *_: None)
    both = reconstruction._both
    monkeypatch.setattr(reconstruction, "_both", lambda *core: {"conditioned": both(*core)["conditioned"]})
    rows, _ = reconstruction.reconstruction(events=12)
    assert all(verdicts("reconstruction", {"reconstruction": rows}, "core", "rest", "plausible").values())


def test_spectrum(few_gaussians, monkeypatch):
    monkeypatch.setattr(spectrum, "SIGMAS", (0.05, 0.3, 0.6, 1.2, 2.4))
    rows = spectrum.spectrum(probes=4)
    assert all(verdicts("spectrum", {"spectrum": rows}, "seen_more_often", "localised", "dimension").values())


def test_continuum(few_gaussians, monkeypatch):
    monkeypatch.setattr(continuum, "ALPHAS", (0.99, 0.55, 0.01))
    rows, _ = continuum.continuum(cues=20)
    assert all(verdicts("continuum", {"continuum": rows}, "exact", "smoothed", "gaussians", "novelty").values())


def test_replay():
    rows = replay._forgetting(jax.random.key(0), 20, 0)
    assert all(verdicts("replay", {"replay": rows}, "interleaving", "forgetting").values())


@pytest.mark.slow
def test_learned():
    gaps, ends = learned.learned(2, steps=512, width=64)
    tables = {"learned": gaps, "learned_recall": ends}
    assert all(verdicts("learned", tables, "paper_gap", "preconditioned_gap").values())


def test_plasticity(monkeypatch):
    monkeypatch.setattr(plasticity, "HIDDEN", (0.01, 100.0))
    monkeypatch.setattr(plasticity, "RAMPS", (1.0,))
    bench = plasticity.Bench(2, 0)
    ways = [bench.row("cue", bench.cues), *plasticity.learned_by(bench, "online", 2000), *plasticity.by_circuit(bench)]
    grown = [row for n in (4, 8) for row in plasticity.samples_needed("online", 20, n, 2, 3200, 0)]
    tables = {"plasticity": ways, "plasticity_scaling": grown}
    assert all(verdicts("plasticity", tables, "online", "circuit_1").values())
    few, many = ([row["needed"] for row in grown if row["patterns"] == n] for n in (4, 8))
    assert max(few) < min(many)

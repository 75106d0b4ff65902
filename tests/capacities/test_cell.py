"""Measured cells against a slow oracle in double precision, and the randomness they stand on."""

import itertools

import numpy as np
import pytest

from dispersed import (
    ClassicalHopfield,
    ExponentialIntegrator,
    Iteration,
    ModernHopfield,
    PatternMemory,
    ProbabilityFlow,
)
from dispersed.capacities.cell import Trial, cell_of, damaged_sets, measure_cell, random_sets, recaller_of, signs
from dispersed.capacities.corruption import Mask, Noise
from dispersed.capacities.products import flow_by_products, updates_by_products
from dispersed.dynamics import uniform_time

ALPHA, SETS, SEED = 0.68, 6, 5


def cell_of_trial(trial, n, sets):
    counts = measure_cell(trial, n, range(sets))
    return cell_of(trial, n, {name: np.array(row) for name, row in counts.items()})


def cues_of(corruption, d, n):
    patterns, noise, chance = (array.astype(float) for array in random_sets(SEED, d, n, SETS))
    if isinstance(corruption, Noise):
        return patterns, ALPHA * patterns + np.sqrt(1 - ALPHA**2) * noise
    return patterns, patterns * (chance >= 0.5)


def errors_of(recalled, patterns):
    wrong = np.where(np.abs(recalled) < 1e-3, 0.5, (np.sign(recalled) != patterns).astype(float))
    return wrong.mean(axis=1), (wrong > 0).any(axis=1).mean()


def exact_flow(patterns, cue, steps=300):
    """The paper's recall, one cue at a time: Euler in t of the variance-preserving flow with γ = 1."""
    times = np.linspace(-2 * np.log(ALPHA), 0, steps + 1)
    x = cue.copy()
    for t, after in itertools.pairwise(times):
        theta = np.exp(-t / 2)
        logits = -((x - theta * patterns) ** 2).sum(axis=1) / (2 * (1 - theta**2))
        h = np.exp(logits - logits.max())
        denoised = (h / h.sum()) @ patterns
        if after == 0:
            return denoised
        score = (theta * denoised - x) / (1 - theta**2)
        x = x + (t - after) * (x + score) / 2
    raise AssertionError


def modern(patterns, cue):
    x = cue.copy()
    for _ in range(150):
        logits = 5 * patterns @ x
        h = np.exp(logits - logits.max())
        x = (h / h.sum()) @ patterns
    return x


def classical(patterns, cue):
    w = patterns.T @ patterns
    np.fill_diagonal(w, 0)
    x, before = cue.copy(), None
    for _ in range(150):
        field = w @ x
        new = np.where(field == 0, np.where(x < 0, -1, 1), np.sign(field))
        if np.array_equal(new, x) or (before is not None and np.array_equal(new, before)):
            return new
        before, x = x, new
    return x


@pytest.mark.parametrize(
    ("family", "dynamics", "oracle", "corruption"),
    [
        (PatternMemory, ProbabilityFlow(sigma_min=0.0, grid=uniform_time), exact_flow, Noise(ALPHA)),
        (PatternMemory, ProbabilityFlow(sigma_min=0.0, grid=uniform_time), exact_flow, Mask(0.5, ALPHA)),
        (lambda y: ModernHopfield(y, 5.0), Iteration(150, tol=0.0), modern, Noise(ALPHA)),
        (lambda y: ModernHopfield(y, 5.0), Iteration(150, tol=0.0), modern, Mask(0.5, ALPHA)),
        (ClassicalHopfield, Iteration(), classical, Noise(ALPHA)),
        (ClassicalHopfield, Iteration(), classical, Mask(0.5, ALPHA)),
    ],
    ids=["diffusion", "diffusion-mask", "modern_hopfield", "modern_hopfield-mask", "classical", "classical-mask"],
)
def test_cell_is_the_oracles(family, dynamics, oracle, corruption):
    d, n = 7, 6
    patterns, cues = cues_of(corruption, d, n)
    cell = cell_of_trial(Trial(family, d, dynamics, corruption, max_cues=4, seed=SEED), n, SETS)
    assert cell.cues == 4
    assert cell.errors["hamming"].mean() > 0.005, "a cell without errors would prove nothing"
    for r in range(SETS):
        outputs = np.stack([oracle(patterns[r], cue) for cue in cues[r, :4]])
        hamming, whole = errors_of(outputs, patterns[r, :4])
        assert cell.errors["hamming"][r] == pytest.approx(hamming.mean(), abs=1e-12)
        assert cell.errors["pattern"][r] == pytest.approx(whole, abs=1e-12)


def test_sets_are_nested_and_random():
    many, few = random_sets(1, 5, 40, 3), random_sets(1, 5, 8, 2)
    for large, small in zip(many, few, strict=True):
        np.testing.assert_array_equal(large[:2, :8], small)
    patterns, noise, chance = random_sets(2, 6, 50, 200)
    assert set(np.unique(patterns)) == {-1, 1}
    assert abs(patterns.mean()) < 4 / np.sqrt(patterns.size)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * noise.size)
    assert abs(chance.mean() - 0.5) < 4 / np.sqrt(12 * chance.size)
    assert abs((patterns * noise).mean()) < 4 / np.sqrt(patterns.size)
    assert not np.array_equal(random_sets(2, 6, 50, 2)[0], random_sets(3, 6, 50, 2)[0])


def test_undecided_units_are_half_wrong():
    """Two patterns that a masked cue cannot tell apart are recalled as their mean."""

    def flat(patterns):
        return PatternMemory(patterns.at[1].set(-patterns[0]).at[2:].set(0.0), weights=np.array([0.5, 0.5, 0.0]))

    # With all entries masked, nothing is known: every unit of the mean is zero.
    cell = cell_of_trial(Trial(flat, 4, ExponentialIntegrator(5), Mask(1 - 1e-9), max_cues=1), 3, 3)
    np.testing.assert_array_equal(cell.errors["hamming"], 0.5)
    np.testing.assert_array_equal(cell.errors["pattern"], 1)


def test_fast_recalls_have_the_same_signs():
    """What allows Figure 3 an exponential integrator of order 2 in 20 steps instead of 300 Euler steps, and
    products.
    """
    euler = ProbabilityFlow(sigma_min=0.0, grid=uniform_time)
    ways = {
        "euler": (PatternMemory, euler),
        "exponential": (PatternMemory, ExponentialIntegrator(20)),
        "products": (PatternMemory, flow_by_products(ALPHA)),
        "hopfield": (modern_memory, Iteration(150, tol=0.0)),
        "updates": (modern_memory, updates_by_products(5.0)),
    }
    for d, n in ((6, 8), (12, 24)):
        found = {}
        for name, (family, dynamics) in ways.items():
            trial = Trial(family, d, dynamics, Noise(ALPHA))
            recalled = recaller_of(trial, n, 30)(*damaged_sets(trial, n, range(30)), range(30))
            found[name] = signs(recalled, trial.levels)
        assert np.mean(found["euler"] != found["exponential"]) < 2e-3
        np.testing.assert_array_equal(found["exponential"], found["products"])
        np.testing.assert_array_equal(found["hopfield"], found["updates"])


def modern_memory(patterns):
    return ModernHopfield(patterns, 5.0)


def test_blocks_of_sets_are_the_sets_of_one_block():
    trial = Trial(PatternMemory, 5, ExponentialIntegrator(5), Noise(ALPHA), seed=SEED)
    whole, *parts = (measure_cell(trial, 4, sets) for sets in (range(12), range(4), range(4, 12)))
    in_fours = measure_cell(trial, 4, range(4, 12), recaller_of(trial, 4, 4))
    for name, counts in whole.items():
        assert counts == parts[0][name] + parts[1][name]
        assert in_fours[name] == parts[1][name]

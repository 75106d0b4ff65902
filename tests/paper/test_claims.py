"""Every claim of every experiment: it is judged from recorded rows, it can hold, and rows that contradict it say so."""

import re

import pytest

from dispersed.paper.capacity.claims import measured
from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.claim import Claim, Interval, only
from dispersed.paper.table1.measure import PUBLISHED
from tests.paper.recorded import claims, recorded


def change(where, /, **values):
    """Set `values`, numbers or functions of the row, in the rows that have the values `where`; there must be some."""

    def apply(rows):
        chosen = [row for row in rows if where.items() <= row.items()]
        assert chosen, where
        for row in chosen:
            row |= {name: value(row) if callable(value) else value for name, value in values.items()}

    return apply


def line(task, method):
    return change({"task": task, "method": method, "n_patterns": 20}, published=0.5)


def classical(row):
    return PUBLISHED[row["task"], "classical"][row["n_patterns"] // 10 - 1]


def network(kind, **values):
    return change({"part": "network", "kind": kind, "generation": 8}, **values)


def recalled(memory, **values):
    return change({"task": "fidelity", "memory": memory, "core": 8}, **values)


CONTRADICT = {
    "table1": {
        "published": change({}, published=lambda row: row["published"] and 0.1),
        **{f"{task}_{method}": line(task, method) for task, method in PUBLISHED},
        "order": change({"method": "true_patterns", "n_patterns": 30}, ci_high=1.0),
        "self_coupling": change({"method": "classical_null_diagonal", "n_patterns": 10}, correlation=0.4),
        "sampling": change({"method": "diffusion_sde", "n_patterns": 10}, ci_high=1.0),
    },
    "figure1": {
        "points": change({"memory": "points"}, local_dimension=0.6),
        "extended": change({"memory": "extended"}, local_dimension=1.9),
        "semantic": change({"memory": "semantic"}, largest_distance=0.3),
    },
    "figure2": {
        **{
            method: change({"method": method}, same_as_hopfield=0.9)
            for method in ("diffusion", "diffusion_sde", "learned")
        },
        "single_update": ("figure2_trajectories", change({"step": 1}, unit_1=5.0)),
    },
    "figure3": {
        "growth": change({"method": "diffusion"}, capacity=lambda row: 40.0 - row["dimension"]),
        "classical": change({"method": "classical_null_diagonal", "dimension": 16}, ci_high=30.0),
        "equal": change({"method": "modern_hopfield", "dimension": 16}, ci_low=30.0, ci_high=40.0),
        "euler": ("figure3_agreement", change({}, same=0.99)),
        "smoothing": change({"method": "diffusion"}, smoothed=lambda row: row["capacity"]),
        "learned": change({"method": "learned"}, ci_low=19.0, ci_high=21.0),
    },
    "digits": {
        "few_steps": change({"task": "noise", "alpha": 0.68, "method": "exponential"}, exact=1.0),
        "zero_mask": change({"task": "zero_mask", "method": "flow"}, exact=0.5),
        "evidence": change({"task": "evidence", "method": "sde"}, exact=0.9),
    },
    "posterior": {
        "one_cue": change({"part": "recall", "method": "sde_vp"}, total_variation=0.1),
        "orders": change({"part": "order", "method": "sde_vp"}, ci_high=0.9),
        "calibrated_exact": change({"part": "calibration", "method": "exact"}, p_value=1e-4),
        "calibrated_recalled": change({"part": "calibration", "method": "recalled"}, p_value=1e-4),
        "many_cues": change({"part": "cues"}, statistic=lambda row: 1.2 * row["freedom"]),
    },
    "potential": {
        "limit": change({"part": "rate", "compared": "eq21", "potential": "quartic"}, ci_low=-0.1),
        "negligible": change({"part": "rate", "compared": "eq21"}, ci_high=1.2),
        "linearised": change({"part": "rate", "compared": "linearised", "potential": "quartic"}, ci_low=-0.1),
        "paths": change({"part": "paths"}, p_value=1e-3),
    },
    "reconstruction": {
        "core": recalled("conditioned", core_error=0.02),
        "rest": recalled("conditioned", rest_error=0.5),
        "plausible": recalled("conditioned", plausibility=-6.0),
        "printed": recalled("printed", core_error=0.06),
        "broken_glass": change({"task": "broken_glass", "memory": "pattern_memory"}, ink_high=1.0),
    },
    "spectrum": {
        "seen_more_often": change({"memory": "exact", "repeats": 1000}, effective_patterns=3.0),
        "localised": change({"memory": "exact"}, local_dimension=2.0),
        "dimension": change({"memory": "gaussians"}, local_dimension=40.0),
    },
    "continuum": {
        **{
            memory: change({"memory": memory, "alpha": 0.01}, other_digit=0.4)
            for memory in ("exact", "smoothed", "gaussians")
        },
        "novelty": change({"memory": "exact", "alpha": 0.01}, novelty=0.2),
    },
    "equivalence": {
        "equal_norms": change({"ensemble": "sphere"}, output_difference=1e-3),
        "unequal_norms": change({"ensemble": "gaussian"}, same_end=0.5),
        "repaired": change({"prior": "repaired", "ensemble": "digits"}, output_difference=1e-3),
        "bound": change({"ensemble": "gaussian"}, bound_holds=False),
        "predicted": change({"ensemble": "0/1"}, predicted=0.3),
        "recall_of_unequal_norms": change({}, right_network=lambda row: row["right_diffusion"]),
    },
    "theta": {
        "channel": ("theta_slopes", change({"alpha": 0.5}, slope=0.5, ci_low=0.4)),
        "growth": ("theta_slopes", change({"alpha": 0.8}, ci_low=0.0)),
        "union_bound": change({"alpha": 0.68, "dimension": 14}, ci_high=1.0),
        "tolerance": change({"alpha": 0.68, "dimension": 14}, ci_low=0.1),
        "correction": ("theta_recall", change({"alpha": 0.8}, hamming_mean=-1.0)),
    },
    "continuous": {
        "finite": change({"dimension": 8, "ensemble": "spherical"}, expected=lambda row: 2 * row["capacity"]),
        "gaussian": change({"dimension": 12, "ensemble": "gaussian", "decoder": "dot product"}, ci_high=400.0),
        "correlated": change({"dimension": 12, "ensemble": "correlated", "decoder": "distance"}, ci_high=400.0),
        "equal_norms": ("continuous_recall", change({"ensemble": "spherical"}, decoders_agree=0.9)),
        "limit": ("continuous_theory", change({"dimension": 256}, expected_rate=0.4)),
        "diffusion_recall": ("continuous_recall", change({"memory": "exact diffusion"}, as_decoded=0.8)),
        "hopfield_recall": ("continuous_recall", change({"memory": "modern Hopfield"}, ci_low=0.2)),
    },
    "regimes": {
        "speciation": change({"dimension": 32}, speciation=3.0),
        "cloning": ("regimes_cloning", change({"dimension": 128}, cloning_of_classes=0.2)),
        "collapse": change({"dimension": 8}, collapse=2.0),
        "digits": ("regimes_digits", change({}, cloning_of_classes_low=0.3)),
    },
    "replay": {
        "drift": change({"kind": "neutral", "part": "feedback"}, time_expected=100.0),
        "positive_feedback": change({"kind": "neutral", "part": "feedback"}, time_expected=43.0),
        "sharper": change({"kind": "sharp", "part": "feedback"}, time_high=60.0),
        "novelty": change({"kind": "novelty", "part": "feedback"}, wins_low=0.12),
        "interleaving": change({"part": "forgetting", "kind": "0.9", "generation": 7}, ci_low=0.0),
        "forgetting": change({"part": "forgetting", "kind": "0.5", "generation": 7}, expected=0.9),
        "core": change({"part": "core", "generation": 5}, core_rms=0.4),
        "network_drift": network("drift", expected=0.1),
        "network_interleaved": network("interleaved", distance=9.0),
        "network_novelty": network("novelty", first_low=0.1),
    },
    "learned": {
        claim: changed
        for name in ("paper", "preconditioned")
        for claim, changed in {
            f"{name}_gap": change({"network": name, "steps": 1920}, gap=5.0),
            f"{name}_recall": ("learned_recall", change({"network": name}, ci_low=0.94)),
            f"{name}_attractors": ("learned_recall", change({"network": name}, spurious=0.3, mixtures=0.5)),
        }.items()
    },
    "memorisation": {
        "order": change({"memory": "network", "n": 512}, generalised=0.4),
        "time": ("memorisation_halves", change({"memory": "network"}, time_0=2000.0, time_1=2000.1)),
        "halves": ("memorisation_halves", change({"memory": "network", "n": 512}, apart=0.5)),
        "exact": change({"memory": "exact", "n": 512}, memorised=0.9),
        "patches": change({"memory": "local", "n": 8}, memorised=0.9),
        "errors": change({"memory": "network", "n": 8}, held_out=0.1),
    },
    "plasticity": {
        **{
            part: change({"part": part}, agreement=0.9)
            for part in ("online", "node_perturbation", "node_perturbation_decorrelated", "rhythm")
        },
        "leak": change({"part": "rhythm", "leak": 1.0}, distance=None),
        "circuit_0.1": change({"part": "circuit", "ramp": 0.1}, ci_low=0.9),
        "circuit_1": change({"part": "circuit", "ramp": 1.0}, ci_low=0.9),
        "cost_of_perturbation": ("plasticity_scaling", change({"part": "online", "set": 0}, needed=1e9)),
        **{
            f"{part}_{grown}": ("plasticity_scaling", change({"part": part}, needed=needed))
            for part in ("online", "node_perturbation_decorrelated")
            for grown, needed in (
                ("units", lambda row: float(row["dimension"] ** 2)),
                ("patterns", lambda row: float(row["patterns"]) ** 0.5),
            )
        },
    },
}
"""By experiment and claim, a change of rows, of the main table unless another is named, that contradicts the claim."""

SUPPORT = {
    "table1": {
        "denoising_true_patterns": change({"method": "true_patterns"}, published=lambda row: row["correlation"]),
        "self_coupling": change({"method": "classical_null_diagonal"}, correlation=classical),
    },
    "figure2": {"diffusion_sde": change({"method": "diffusion_sde"}, same_as_hopfield=0.96)},
    "figure3": {"smoothing": change({"method": "diffusion"}, smoothed=1.0)},
    "digits": {"zero_mask": change({"task": "zero_mask"}, exact=1.0)},
    "posterior": {"orders": change({"part": "order"}, ci_low=0.9, ci_high=2.1)},
    "potential": {"negligible": change({"part": "rate", "compared": "eq21"}, ci_high=3.0)},
    "equivalence": {"unequal_norms": change({}, same_end=1.0)},
    "reconstruction": {"printed": recalled("printed", plausibility=0.0, core_error=0.01)},
    "replay": {
        "drift": change({"kind": "neutral", "part": "feedback"}, wins_low=0.1),
        "positive_feedback": change({"kind": "neutral", "part": "feedback"}, time_expected=100.0),
        "network_drift": network("drift", expected=lambda row: row["value"]),
    },
    "plasticity": {
        "rhythm": change({"part": "rhythm"}, agreement=0.96),
        "leak": change({"part": "rhythm"}, ci_low=0.96, ci_high=0.98, distance=0.1),
    },
}
"""The same for the claims that the recorded rows do not support: changes that do."""

ALL = [(name, claim) for name in EXPERIMENTS for claim in claims(name)]


def words(sentence):
    return re.sub(r"[\d.,−+%]+", "", sentence)


def changed(tables, name, registry, claim):
    by = registry.get(name, {}).get(claim.name)
    if by is not None:
        table, apply = by if isinstance(by, tuple) else (name, by)
        apply(tables[table])
    return claim.judge(tables)


@pytest.mark.parametrize(("name", "claim"), ALL, ids=lambda value: getattr(value, "name", value))
def test_a_claim_holds_where_rows_support_it_and_fails_where_they_contradict_it(name, claim):
    tables = recorded(name)
    claim.judge(tables)
    held = changed(tables, name, SUPPORT, claim)
    failed = changed(tables, name, CONTRADICT, claim)
    assert (held.holds, held.departure) == (True, False)
    assert (failed.holds, failed.departure) == (False, claim.published)
    assert words(held.sentence) != words(failed.sentence), "the words say whether it holds, not only the numbers"
    for sentence in (held.sentence, failed.sentence):
        assert re.fullmatch(r"[^{}|]{20,}\.", sentence)
        assert "nan" not in sentence


def test_every_claim_has_rows_that_contradict_it():
    assert {name: set(of) for name, of in CONTRADICT.items()} == {
        name: {claim.name for claim in claims(name)} for name in EXPERIMENTS
    }
    for name in EXPERIMENTS:
        assert len({claim.name for claim in claims(name)}) == len(claims(name))


def test_sentences_change_with_the_rows():
    tables = recorded("table1")
    line = only(claims_of("table1"), name="completion_diffusion")["claim"]
    assert "the printed 0.996, 0.991, 0.989 with 10, 20, 30 patterns are reproduced" in line.judge(tables).sentence
    change({"task": "completion", "method": "diffusion", "n_patterns": 10}, published=0.9)(tables["table1"])
    assert "where the paper has 0.900, 0.991, 0.989: differences of +0.0" in line.judge(tables).sentence


def claims_of(name):
    return [{"name": claim.name, "claim": claim} for claim in claims(name)]


def test_a_capacity_beyond_measure_is_told_as_a_bound():
    rows = [
        {"method": "m", "dimension": d, "capacity": 3.0, "ci_low": 2.0, "ci_high": 4.0, "beyond": d > 5} for d in (4, 8)
    ]
    claim = measured("m", "a memory")
    assert (
        claim.judge({"capacity": rows[:1]}).marked
        == "✓ Capacity of a memory, with 95 % interval: d = 4: 3.0 [2.0, 4.0]."
    )
    assert claim.judge({"capacity": rows}).sentence.endswith("; at d = 8 it is larger, and this a lower bound.")


def test_templates_choose_and_format():
    numbers = {"x": -0.5, "many": [1, 2.5], "by": {"a": Interval(0.5, 0.25, 0.75)}, "text": "a-b"}
    claim = Claim("", lambda tables: ("rows" in tables, numbers), "[|Not ]{x:.1f}, {many:.1f}; {by:.0%}[!|, {text}].")
    assert claim.judge({"rows": []}).sentence == "−0.5, 1.0, 2.5; a: 50% [25%, 75%]!."
    assert claim.judge({}).sentence == "Not −0.5, 1.0, 2.5; a: 50% [25%, 75%], a-b."


def test_intervals_decide():
    low, high, wide = Interval(1.0, 0.5, 1.5), Interval(3.0, 2.5, 3.5), Interval(2.0, 1.0, 3.0)
    assert high > low
    assert not low > high
    assert not high > wide
    assert wide.overlaps(high)
    assert high.overlaps(wide)
    assert not low.overlaps(high)
    assert 1.5 in low
    assert 1.6 not in low
    half = Interval.fraction(0.5, 100)
    assert (half.low, half.high) == pytest.approx((0.4038, 0.5962), abs=1e-4)

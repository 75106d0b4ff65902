"""What differs from the paper is told with the numbers of the rows, and only where it differs."""

from dispersed.paper import departures


def test_orders_outside_their_interval():
    def order(method, value):
        return {
            "part": "order",
            "method": method,
            "order": value,
            "ci_low": value - 0.1,
            "ci_high": value + 0.1,
            "declared": 1,
        }

    said = departures.posterior({"posterior": [{"part": "recall"}, order("sde_ve", 1.05), order("sde_vp", 1.5)]})
    assert len(said) == 1
    assert "VP" in said[0]
    assert "1.50 [1.40, 1.60] misses the declared 1" in said[0]


def test_rules_that_do_not_reach_95_percent():
    def row(part, samples, agreement, leak=None):
        return {
            "part": part,
            "samples": samples,
            "agreement": agreement,
            "ci_low": agreement - 0.01,
            "ci_high": agreement + 0.01,
            "leak": leak,
            "distance": None if agreement == 0.6 else 0.1,
        }

    rows = [row("online", 1, 0.5), row("online", 9, 0.97), row("node_perturbation", 9, 0.9)]
    rows += [row("node_perturbation_decorrelated", 9, 0.96), row("rhythm", 9, 0.96, 0.0), row("rhythm", 9, 0.6, 0.1)]
    said = departures.synaptic({"synaptic": rows})
    assert len(said) == 2
    assert said[0].startswith("Node perturbation does not reach 95 %")
    assert "60.0% [59.0%, 61.0%] at a leak of 0.1, where the network diverges." in said[1]


def test_drift_and_weights():
    neutral = {"wins": 0.12, "wins_low": 0.1, "wins_high": 0.15, "wins_expected": 0.125, "fixation_time": 40.0}
    rows = [{"part": "feedback", "kind": kind} | neutral for kind in ("neutral", "sharp")]
    assert "0.120 [0.100, 0.150]" in departures.replay({"replay": rows})[0]
    rates = [{"part": "rate", "compared": kind, "exponent": k} for kind, k in (("eq21", 1.1), ("eq21_weighted", 2.0))]
    assert "t^1.10 to t^1.10" in departures.potential({"potential": rates})[0]
    ends = [{"part": "network", "network": "paper", "agreement": 0.99, "spurious": 0.25}]
    assert "25.0% of its recalls" in departures.learned({"learned_recall": ends})[0]
